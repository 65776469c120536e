// A back end on azure-iot-provisioning-service: enrollments and groups, their keys, queries with pages, bulk
// operations and registration records over HTTPS.
//
// Environment: PROVISIONING_CONNECTION_STRING, GROUP (an enrollment group), MEMBER (a device of it that has
// registered), NODE_EXTRA_CA_CERTS. Prints one JSON object for each step.
'use strict';

const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

function step(name, result) {
  console.log(JSON.stringify({ step: name, ...result }));
}

async function refused(name, call) {
  try {
    await call();
    step(name, { error: 'accepted' });
  } catch (err) {
    let code = '';
    try {
      code = String(JSON.parse(err.responseBody).errorCode);
    } catch { /* the text says what came instead */ }
    step(name, { error: err.constructor.name, status: code, text: err.message });
  }
}

const body = (answer) => answer.responseBody ?? answer;

async function pages(query) {
  const all = [];
  while (query.hasMoreResults) {
    const page = await new Promise((resolve, reject) => query.next((err, rows) => (err ? reject(err) : resolve(rows))));
    all.push(page.map((row) => row.registrationId ?? row.enrollmentGroupId));
  }
  return JSON.stringify(all);
}

async function enrollments(client) {
  const made = body(await client.createOrUpdateIndividualEnrollment({
    registrationId: 'js-enrollment', deviceId: 'js-device', attestation: { type: 'symmetricKey' },
    initialTwin: { tags: { site: 'here' }, properties: { desired: { rate: 5 } } },
    reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false },
  }));
  step('create', { device: made.deviceId, status: made.provisioningStatus, text: `${made.attestation.type} ${Buffer.from(made.attestation.symmetricKey.primaryKey, 'base64').length}` });
  const keys = body(await client.getIndividualEnrollmentAttestationMechanism('js-enrollment'));
  step('keys', { text: String(Buffer.from(keys.symmetricKey.primaryKey, 'base64').length) });
  await refused('create again', () => client.createOrUpdateIndividualEnrollment({ registrationId: 'js-enrollment', attestation: { type: 'symmetricKey' } }));
  const updated = body(await client.createOrUpdateIndividualEnrollment({ ...made, provisioningStatus: 'disabled' }));
  step('update', { status: updated.provisioningStatus, text: String(updated.etag !== made.etag) });
  await refused('update stale', () => client.createOrUpdateIndividualEnrollment({ ...made, deviceId: 'other' }));
  await refused('unknown', () => client.getIndividualEnrollment('js-none'));
  await refused('bad', () => client.createOrUpdateIndividualEnrollment({ registrationId: 'js-bad', attestation: { type: 'tpm', tpm: { endorsementKey: 'a' } } }));

  // Without a callback this one operation of the SDK never ends.
  const bulk = (mode, names) => new Promise((resolve, reject) => client.runBulkEnrollmentOperation({
    mode, enrollments: names.map((registrationId) => ({ registrationId, attestation: { type: 'symmetricKey' } })),
  }, (err, result) => (err ? reject(err) : resolve(result))));
  step('bulk', { status: String(body(await bulk('create', ['js-b1', 'js-b2', 'js-b3'])).isSuccessful) });
  const again = body(await bulk('create', ['js-b1', 'js-b4']));
  step('bulk again', { status: String(again.isSuccessful), error: String(again.errors[0].errorCode), text: again.errors[0].registrationId });
  step('query', { text: await pages(client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2)) });
  await refused('query syntax', () => pages(client.createIndividualEnrollmentQuery({ query: 'SELECT x FROM y WHERE' }, 2)));
  step('bulk delete', { status: String(body(await bulk('delete', ['js-b1', 'js-b2', 'js-b3', 'js-b4'])).isSuccessful) });

  await refused('delete stale', () => client.deleteIndividualEnrollment(made));
  await client.deleteIndividualEnrollment(updated);
  await refused('deleted', () => client.getIndividualEnrollment('js-enrollment'));
}

async function groups(client) {
  const made = body(await client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: 'js-group', attestation: { type: 'symmetricKey' }, allocationPolicy: 'static',
  }));
  step('group', { device: made.enrollmentGroupId, status: made.allocationPolicy });
  const keys = body(await client.getEnrollmentGroupAttestationMechanism('js-group'));
  step('group keys', { text: String(Buffer.from(keys.symmetricKey.secondaryKey, 'base64').length) });
  step('groups', { text: await pages(client.createEnrollmentGroupQuery({ query: 'SELECT * FROM enrollmentGroups' }, 1)) });
  await client.deleteEnrollmentGroup('js-group', made.etag);
  await refused('group deleted', () => client.getEnrollmentGroup('js-group'));
}

async function registrations(client) {
  const member = process.env.MEMBER;
  step('members', { text: await pages(client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: 'SELECT *' }, process.env.GROUP, 10)) });
  const state = body(await client.getDeviceRegistrationState(member));
  step('registration', { device: state.deviceId, status: state.status, text: state.assignedHub });
  await client.deleteDeviceRegistrationState(state);
  await refused('registration deleted', () => client.getDeviceRegistrationState(member));
}

async function main() {
  const connectionString = process.env.PROVISIONING_CONNECTION_STRING;
  const client = ProvisioningServiceClient.fromConnectionString(connectionString);
  await enrollments(client);
  await groups(client);
  await registrations(client);
  const stranger = ProvisioningServiceClient.fromConnectionString(connectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmc='));
  await refused('wrong key', () => stranger.getEnrollmentGroup('demo-x509'));
}

main().catch((err) => {
  step('failed', { error: err.constructor.name, text: err.message });
  process.exitCode = 1;
});

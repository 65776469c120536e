// A back end on azure-iothub: registry, modules, twins, methods, queries, jobs, configurations, import and
// export, and statistics over HTTPS.
//
// Environment: IOTHUB_CONNECTION_STRING, DEVICE_ID (a connected device that answers methods), CONTAINER_URI
// (a signed blob container for import and export), NODE_EXTRA_CA_CERTS. Prints one JSON object for each step.
'use strict';

const { Registry, Client, JobClient } = require('azure-iothub');

const connectionString = process.env.IOTHUB_CONNECTION_STRING;
const live = process.env.DEVICE_ID;

function step(name, result) {
  console.log(JSON.stringify({ step: name, ...result }));
}

async function refused(name, call) {
  try {
    await call();
    step(name, { error: 'accepted' });
  } catch (err) {
    step(name, { error: err.constructor.name, text: err.message });
  }
}

// Some calls answer { responseBody }, some { result }, some { jobStatus }, some the thing itself.
const body = (answer) => answer.responseBody ?? answer.result ?? answer.jobStatus ?? answer;

async function all(query) {
  const pages = [];
  while (query.hasMoreResults) {
    pages.push((await query.next(query.continuationToken)).result.map((row) => row.deviceId));
  }
  return pages;
}

async function main() {
  const registry = Registry.fromConnectionString(connectionString);
  const device = body(await registry.create({ deviceId: 'js-1' }));
  step('create', { device: device.deviceId, status: device.status, text: device.authentication.type });
  await refused('create again', () => registry.create({ deviceId: 'js-1' }));
  await refused('unknown', () => registry.get('JS-1'));
  const updated = body(await registry.update({ ...device, statusReason: 'moved' }));
  step('update', { text: updated.statusReason });
  await refused('bad thumbprint', () => registry.create({ deviceId: 'js-2', authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: 'zz' } } }));

  const added = body(await registry.addDevices([{ deviceId: 'js-2' }, { deviceId: 'js-3' }, { deviceId: 'js-4' }]));
  step('bulk', { status: String(added.isSuccessful) });
  await refused('bulk again', () => registry.addDevices([{ deviceId: 'js-2' }]));
  step('list', { text: String(body(await registry.list()).filter((d) => d.deviceId.startsWith('js-')).length) });

  const module = body(await registry.addModule({ deviceId: 'js-1', moduleId: 'mod', managedBy: 'me' }));
  step('module', { device: module.moduleId, text: body(await registry.getModulesOnDevice('js-1'))[0].moduleId });

  const twin = body(await registry.getTwin('js-1'));
  const patched = body(await twin.update({ tags: { site: 'here' }, properties: { desired: { rate: 5 } } }));
  step('twin', { text: JSON.stringify(patched.tags), status: String(patched.properties.desired.rate) });
  await refused('twin stale', () => registry.updateTwin('js-1', { tags: { x: 1 } }, 'AAAAAAAAAAE='));
  const moduleTwin = body(await registry.updateModuleTwin('js-1', 'mod', { properties: { desired: { m: 1 } } }, '*'));
  step('module twin', { text: String(moduleTwin.properties.desired.m) });

  step('query', { text: JSON.stringify(await all(registry.createQuery("SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'js-')", 3))) });
  const counted = await registry.createQuery("SELECT COUNT() AS n FROM devices WHERE tags.site = 'here'").next();
  step('count', { text: JSON.stringify(counted.result) });
  await refused('query syntax', () => registry.createQuery('SELECT * FROM devices WHERE x ==').next());

  const client = Client.fromConnectionString(connectionString);
  const answer = body(await client.invokeDeviceMethod(live, { methodName: 'reboot', payload: { in: 1 }, responseTimeoutInSeconds: 10 }));
  step('method', { status: String(answer.status), text: JSON.stringify(answer.payload) });
  await refused('method offline', () => client.invokeDeviceMethod('js-1', { methodName: 'reboot', payload: null }));

  const jobs = JobClient.fromConnectionString(connectionString);
  await jobs.scheduleTwinUpdate('js-job', "tags.site = 'here'", { etag: '*', tags: { job: true } }, new Date(), 60);
  let job;
  for (let i = 0; i < 50; i++) {
    job = body(await jobs.getJob('js-job'));
    if (job.status === 'completed' || job.status === 'failed') break;
    await new Promise((done) => setTimeout(done, 100));
  }
  step('job', { status: job.status, text: String(job.deviceJobStatistics.succeededCount) });
  const rows = await jobs.createQuery('scheduleUpdateTwin', 'completed').next();
  step('jobs', { text: rows.result[0].jobId });

  await registry.addConfiguration({
    id: 'js-config', priority: 5, targetCondition: "tags.site='here'", content: { deviceContent: { 'properties.desired.fleet': { on: true } } },
  });
  const configuration = body(await registry.getConfiguration('js-config'));
  step('configuration', { device: configuration.id, text: configuration.schemaVersion });
  await registry.applyConfigurationContentOnDevice('js-1', { modulesContent: { mod: { 'properties.desired': { applied: true } } } });
  step('applied', { text: String(body(await registry.getModuleTwin('js-1', 'mod')).properties.desired.applied) });
  await registry.removeConfiguration('js-config');

  await jobs.scheduleDeviceMethod('js-method-job', `deviceId = '${live}'`, { methodName: 'reboot', payload: null, responseTimeoutInSeconds: 10 }, new Date(), 60);
  do {
    job = body(await jobs.getJob('js-method-job'));
    await new Promise((done) => setTimeout(done, 100));
  } while (!['completed', 'failed'].includes(job.status));
  step('method job', { status: job.status, text: String(job.deviceJobStatistics.succeededCount) });
  await jobs.scheduleTwinUpdate('js-late', '*', { etag: '*', tags: { late: true } }, new Date(Date.now() + 3600000), 60);
  step('job cancelled', { status: body(await jobs.cancelJob('js-late')).status });
  await refused('job unknown', () => jobs.getJob('js-none'));

  const container = process.env.CONTAINER_URI;
  const exported = body(await registry.exportDevicesToBlob(container, false));
  step('export', { status: body(await registry.getJob(exported.jobId)).status });
  await registry.delete('js-4');
  const imported = body(await registry.importDevicesFromBlob(container, container));
  step('import', { status: imported.status, text: body(await registry.get('js-4')).deviceId });
  step('transfers', { text: String(body(await registry.listJobs()).length) });
  await refused('export elsewhere', () => registry.exportDevicesToBlob('https://account.blob.core.windows.net/x?sig=y', true));

  const statistics = body(await registry.getRegistryStatistics());
  step('statistics', { text: String(statistics.disabledDeviceCount) });
  await registry.removeModule('js-1', 'mod');
  await registry.removeDevices([{ deviceId: 'js-2' }, { deviceId: 'js-3' }, { deviceId: 'js-4' }], true);
  await registry.delete('js-1');
  await refused('deleted', () => registry.getTwin('js-1'));

  const wrong = Registry.fromConnectionString(connectionString.replace(/SharedAccessKey=.*/, 'SharedAccessKey=d3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3Jvbmcgd3I='));
  await refused('wrong key', () => wrong.list());
}

main().catch((err) => {
  console.error(err);
  process.exit(3);
});

// One device, or with MODULE_ID one module, on the Azure IoT SDK for Node: registers by DPS unless told a
// hub, sends telemetry, uploads a file if UPLOAD names one, and with SESSION uses all that a hub offers until
// it is told "bye" by a message or a method. TRANSPORT is mqtt, ws (MQTT over WebSocket) or http. With LOAD it
// sends that many messages and uses its twin meanwhile; the SDK does again by itself what may pass, but not
// a twin's requests that are throttled, or lost with their connection. TOKEN_LIFE is in seconds.
// Settings come from the environment, as `fakecloud env --for node` prints it or one by one; each step is printed as one JSON line. A refusal ends with exit
// code 3 and the SDK's own error name. The CA is trusted by NODE_EXTRA_CA_CERTS.
'use strict';

const fs = require('fs');
const { Client, Message, ModuleClient } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
const { ExponentialBackOffWithJitter } = require('azure-iot-common');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: ProvisioningMqtt, MqttWs: ProvisioningMqttWs } = require('azure-iot-provisioning-device-mqtt');
const { Http: ProvisioningHttp } = require('azure-iot-provisioning-device-http');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const env = process.env;
const transport = { ws: MqttWs, http: Http }[env.TRANSPORT] || Mqtt;
const provisioning = { ws: ProvisioningMqttWs, http: ProvisioningHttp }[env.TRANSPORT] || ProvisioningMqtt;
const say = (step, facts) => console.log(JSON.stringify({ step, ...facts }));

const certificate = () => ({
  cert: fs.readFileSync(env.CERT_FILE, 'ascii'),
  key: fs.readFileSync(env.KEY_FILE, 'ascii'),
});

async function register() {
  const id = env.PROVISIONING_REGISTRATION_ID;
  const security = env.CERT_FILE
    ? new X509Security(id, certificate())
    : new SymmetricKeySecurityClient(id, env.DEVICE_KEY || env.PROVISIONING_SYMMETRIC_KEY);
  const client = ProvisioningDeviceClient.create(
    env.PROVISIONING_HOST, env.PROVISIONING_IDSCOPE, new provisioning(), security);
  const result = await client.register();
  say('registered', { status: result.status, hub: result.assignedHub, device: result.deviceId });
  return [result.assignedHub, result.deviceId];
}

function telemetry(temperature) {
  const message = new Message(JSON.stringify({ temperature }));
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('temperatureAlert', 'true');
  return message;
}

// Asks until there is an answer: to a request that was lost with its connection the SDK waits forever.
async function again(ask) {
  for (;;) {
    let late;
    const silence = new Promise((_, reject) => { late = setTimeout(() => reject(new Error('no answer')), 2000); });
    try {
      return await Promise.race([ask(), silence]);
    } catch (error) {
      say('again', { error: error.name, text: error.message });
    } finally {
      clearTimeout(late);
    }
  }
}

const report = (twin, patch) => new Promise((resolve, reject) => {
  twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
});

// Sends messages one after the other, now and then with a round of the twin.
async function load(client, twin, count) {
  for (let i = 0; i < count; i += 1) {
    await client.sendEvent(new Message(`m-${i}`));
    if (i % 10 === 0) {
      await again(() => report(twin, { round: i / 10 }));
      await again(() => twin.get());
      if (twin.properties.reported.round !== i / 10) throw new Error('the twin lacks what was reported');
    }
  }
  say('acknowledged', { text: String(count) });
}

// Uses twins, methods and messages until it is told bye.
async function session(client) {
  let leave, twin;
  const bye = new Promise((resolve) => { leave = resolve; });
  if (!env.MODULE_ID) {
    client.on('message', (message) => {
      const body = message.getData().toString();
      // The HTTPS transport leaves the header's prefix on the names.
      const p = message.properties.propertyList.find((property) => /^(iothub-app-)?p$/.test(property.key));
      say('message', { text: `${body} ${p && p.value}` });
      client.complete(message, () => { if (body === 'bye') leave(); });
    });
  }
  if (env.TRANSPORT !== 'http') {
    for (const name of ['reboot', 'bye']) {
      client[env.MODULE_ID ? 'onMethod' : 'onDeviceMethod'](name, (request, response) => {
        say('method', { text: `${name} ${JSON.stringify(request.payload)}` });
        response.send(207, { ok: true }, () => { if (name === 'bye') leave(); });
      });
    }
    const persist = env.LOAD ? again : (ask) => ask();
    twin = await persist(() => client.getTwin());
    say('twin', { text: String(twin.properties.desired.$version) });
    twin.on('properties.desired', (patch) => say('desired', { text: String(patch.interval) }));
    await persist(() => report(twin, { firmware: '1.2' }));
    say('reported', {});
  }
  say('ready', {});
  if (env.LOAD) await load(client, twin, Number(env.LOAD));
  await bye;
  await client.sendEvent(telemetry(32));
  say('done', {});
}

async function main() {
  let [hub, device] = [env.HUB_HOST, env.DEVICE_ID];
  if (env.PROVISIONING_HOST && !env.CONNECTION_STRING) [hub, device] = await register();
  const gateway = env.GATEWAY_HOST ? `;GatewayHostName=${env.GATEWAY_HOST}` : '';
  const secret = env.CERT_FILE ? 'x509=true' : `SharedAccessKey=${env.DEVICE_KEY || env.PROVISIONING_SYMMETRIC_KEY}`;
  const text = env.CONNECTION_STRING || `HostName=${hub};DeviceId=${device};${secret}${gateway}`;
  const client = env.MODULE_ID
    ? ModuleClient.fromConnectionString(`${text};ModuleId=${env.MODULE_ID}`, transport)
    : Client.fromConnectionString(text, transport);
  if (env.TOKEN_LIFE) {
    const life = Number(env.TOKEN_LIFE);
    await client.setOptions({ tokenRenewal: { tokenValidTimeInSeconds: life, tokenRenewalMarginInSeconds: life / 2 } });
  }
  const root = env.EDGE_CA ? { ca: fs.readFileSync(env.EDGE_CA, 'utf-8') } : {};
  if (env.CERT_FILE || env.EDGE_CA) {
    const set = client.setOptions({ ...(env.CERT_FILE ? certificate() : {}), ...root });
    if (env.TRANSPORT !== 'http') await set; // the HTTPS transport never says that it is done
  }
  if (env.TRANSPORT === 'http') client.setOptions({ http: { receivePolicy: { interval: 1 } } });
  if (env.LOAD) { // ten seconds after each 429 are too long for a test
    const policy = new ExponentialBackOffWithJitter();
    policy.throttledParameters.cMin = 100;
    client.setRetryPolicy(policy);
  }
  await client.open();
  say('connected', { hub, device });
  await client.sendEvent(telemetry(31));
  say('sent', {});
  if (env.UPLOAD) {
    const size = fs.statSync(env.UPLOAD_FILE).size;
    await client.uploadToBlob(env.UPLOAD, fs.createReadStream(env.UPLOAD_FILE), size);
    say('uploaded', { text: String(size) });
  }
  if (env.SESSION) await session(client);
  await client.close();
}

main().then(() => process.exit(0), (error) => {
  say('failed', { error: error.name || error.constructor.name, text: String(error.message) });
  process.exit(3);
});

// One device on the Azure IoT SDK for Node: registers by DPS unless told a hub, sends telemetry, and
// uploads a file if UPLOAD names one. TRANSPORT is mqtt, ws (MQTT over WebSocket) or http.
// Settings come from the environment; each step is printed as one JSON line. A refusal ends with exit
// code 3 and the SDK's own error name. The CA is trusted by NODE_EXTRA_CA_CERTS.
'use strict';

const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const { Http } = require('azure-iot-device-http');
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
    : new SymmetricKeySecurityClient(id, env.DEVICE_KEY);
  const client = ProvisioningDeviceClient.create(
    env.PROVISIONING_HOST, env.PROVISIONING_IDSCOPE, new provisioning(), security);
  const result = await client.register();
  say('registered', { status: result.status, hub: result.assignedHub, device: result.deviceId });
  return [result.assignedHub, result.deviceId];
}

async function main() {
  let [hub, device] = [env.HUB_HOST, env.DEVICE_ID];
  if (env.PROVISIONING_HOST) [hub, device] = await register();
  const gateway = env.GATEWAY_HOST ? `;GatewayHostName=${env.GATEWAY_HOST}` : '';
  const secret = env.CERT_FILE ? 'x509=true' : `SharedAccessKey=${env.DEVICE_KEY}`;
  const client = Client.fromConnectionString(`HostName=${hub};DeviceId=${device};${secret}${gateway}`, transport);
  if (env.CERT_FILE) {
    const set = client.setOptions(certificate());
    if (env.TRANSPORT !== 'http') await set; // the HTTPS transport never says that it is done
  }
  await client.open();
  say('connected', { hub, device });
  const message = new Message('{"temperature":31}');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('temperatureAlert', 'true');
  await client.sendEvent(message);
  say('sent', {});
  if (env.UPLOAD) {
    const size = fs.statSync(env.UPLOAD_FILE).size;
    await client.uploadToBlob(env.UPLOAD, fs.createReadStream(env.UPLOAD_FILE), size);
    say('uploaded', { text: String(size) });
  }
  await client.close();
}

main().then(() => process.exit(0), (error) => {
  say('failed', { error: error.name || error.constructor.name, text: String(error.message) });
  process.exit(3);
});

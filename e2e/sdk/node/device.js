// One device on the Azure IoT SDK for Node: registers by DPS unless told a hub, then sends telemetry.
// Settings come from the environment; each step is printed as one JSON line. A refusal ends with exit
// code 3 and the SDK's own error name. The CA is trusted by NODE_EXTRA_CA_CERTS.
'use strict';

const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Mqtt: ProvisioningMqtt } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const env = process.env;
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
    env.PROVISIONING_HOST, env.PROVISIONING_IDSCOPE, new ProvisioningMqtt(), security);
  const result = await client.register();
  say('registered', { status: result.status, hub: result.assignedHub, device: result.deviceId });
  return [result.assignedHub, result.deviceId];
}

async function main() {
  let [hub, device] = [env.HUB_HOST, env.DEVICE_ID];
  if (env.PROVISIONING_HOST) [hub, device] = await register();
  const gateway = env.GATEWAY_HOST ? `;GatewayHostName=${env.GATEWAY_HOST}` : '';
  const secret = env.CERT_FILE ? 'x509=true' : `SharedAccessKey=${env.DEVICE_KEY}`;
  const client = Client.fromConnectionString(`HostName=${hub};DeviceId=${device};${secret}${gateway}`, Mqtt);
  if (env.CERT_FILE) await client.setOptions(certificate());
  await client.open();
  say('connected', { hub, device });
  const message = new Message('{"temperature":31}');
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('temperatureAlert', 'true');
  await client.sendEvent(message);
  say('sent', {});
  await client.close();
}

main().then(() => process.exit(0), (error) => {
  say('failed', { error: error.name || error.constructor.name, text: String(error.message) });
  process.exit(3);
});

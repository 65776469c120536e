// MindSphere's SDK for Node: delivery jobs and time series by its clients, and the token for the private cloud's
// broker. The first argument says which part. Prints one JSON line per step.
"use strict";
const fs = require("fs");
const { MindConnectBase, MindSphereSdk, MqttOpcUaAuth } = require("@mindconnect/mindconnect-nodejs");

const { GATEWAY, TENANT, CLIENT_ID } = process.env;
const print = (step, more) => console.log(JSON.stringify({ step, ...more }));

// Bearer is an authorizer of one's own, as the SDK's documentation suggests: the usual ones ask the identity
// provider for a token.
class Bearer extends MindConnectBase {
  GetGateway() { return GATEWAY; }
  GetTenant() { return TENANT; }
  async GetToken() { return TENANT; }
  async RenewToken() { return true; }
}

async function jobs() {
  const commanding = new MindSphereSdk(new Bearer()).GetCommandingClient();
  const refused = await commanding.PostDeliveryJob({ name: "many", clientIds: Array(21).fill(CLIENT_ID), data: { k: "v" } }).catch((err) => err);
  print("refused", { text: refused.message });
  const job = await commanding.PostDeliveryJob({ name: "restart", clientIds: [CLIENT_ID], data: { k: "v" } });
  print("created", { status: job.status, text: job.id });
  let command;
  for (let n = 0; n < 100; n++) {
    const all = await commanding.GetDeliveryJobCommands(job.id);
    command = await commanding.GetDeliveryJobCommand(job.id, all._embedded.commands[0].id);
    if (command.status !== "EXECUTING") break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  print("command", { status: command.status, text: JSON.stringify(command.response) });
  const done = await commanding.GetDeliveryJob(job.id);
  print("job", { status: done.status });
  const list = await commanding.GetDeliveryJobs();
  print("list", { text: list._embedded.deliveryJobs.map((j) => j.name).join() });
  await commanding.DeleteDeliveryJob(job.id);
  print("deleted");
}

async function token() {
  const [ca, cert, key] = process.argv.slice(3).map((name) => fs.readFileSync(name).toString());
  print("token", { text: new MqttOpcUaAuth(CLIENT_ID, ca, cert, 3600, key, undefined, undefined, TENANT).GetMqttToken() });
}

({ jobs, token })[process.argv[2]]().catch((err) => {
  print("failed", { text: err.message });
  process.exit(1);
});

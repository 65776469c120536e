// A MindConnect MQTT agent with MQTT.js: connects with its certificate, reconnects by itself, sends a version 4
// model and one value. With ALPN set it asks for MQTT on port 443. Prints one JSON line per step.
"use strict";
const fs = require("fs");
const mqtt = require("mqtt");

const { HOST, PORT, ALPN, TENANT, CLIENT_ID, CA_FILE, CERT_FILE, KEY_FILE } = process.env;
const print = (step, more) => console.log(JSON.stringify({ step, ...more }));
const branch = `tc/${TENANT}/${CLIENT_ID}`;

const client = mqtt.connect({
  protocol: "mqtts", host: HOST, port: Number(PORT), servername: HOST, clientId: CLIENT_ID, clean: false,
  ca: fs.readFileSync(CA_FILE), cert: fs.readFileSync(CERT_FILE), key: fs.readFileSync(KEY_FILE),
  ...(ALPN ? { ALPNProtocols: [ALPN] } : {}),
});
client.on("error", (err) => print("error", { text: err.message }));
client.on("close", () => print("closed"));
client.once("connect", async () => {
  print("connected");
  try {
    const [granted] = await client.subscribeAsync(`${branch}/i/amo_v4/#`, { qos: 1 });
    print("subscribed", { status: String(granted.qos) });
    await client.publishAsync(`${branch}/o/amo_v4/mi`, fs.readFileSync(process.argv[2]), { qos: 1 });
  } catch (err) {
    print("failed", { text: err.message });
    process.exit(1);
  }
});
client.on("message", async (topic, payload) => {
  const answer = JSON.parse(payload.toString());
  print("answer", { status: answer.data.status, text: topic });
  if (answer.data.status !== "Success") return;
  await client.publishAsync(`${branch}/o/mc_v3/ts`, JSON.stringify({
    timeseries: [{ timestamp: "2026-01-01T00:00:00.000Z", values: [{ dataPointId: "rpm", value: 1450, qualityCode: "0" }] }],
  }), { qos: 1 });
  client.removeAllListeners("close");
  await client.endAsync();
  print("done");
});

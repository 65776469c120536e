"""A MindConnect MQTT agent with Paho, in the manner of the vendor's sample: clean session 0, TLS 1.2, one SUBSCRIBE
with three filters when connected, the network loop in a thread that reconnects by itself.

Sends a version 3 model, instantiates it, sends a value, and asks for a token. Prints one JSON line per step.
"""

import json
import os
import queue
import ssl
import sys

import paho.mqtt.client as mqtt

WAIT = 20

host, tenant, client_id = os.environ["HOST"], os.environ["TENANT"], os.environ["CLIENT_ID"]
branch = f"tc/{tenant}/{client_id}"
inbox = queue.Queue()


def show(step, **more):
    print(json.dumps({"step": step, **more}), flush=True)


def on_connect(client, data, flags, code):
    show("connected", status=str(code))
    client.subscribe([(f"{branch}/i/cmd_v3/c", 1), (f"{branch}/i/amo_v3/#", 1), (f"{branch}/i/agm_v3/tr", 1)])


client = mqtt.Client(client_id=client_id, clean_session=False, protocol=mqtt.MQTTv311)
client.username_pw_set("", "")
client.tls_set(os.environ["CA_FILE"], os.environ["CERT_FILE"], os.environ["KEY_FILE"],
               cert_reqs=ssl.CERT_REQUIRED, tls_version=ssl.PROTOCOL_TLSv1_2)
client.on_connect = on_connect
client.on_disconnect = lambda c, data, code: show("disconnected", status=str(code))
client.on_subscribe = lambda c, data, mid, granted: inbox.put(("suback", list(granted)))
client.on_message = lambda c, data, m: inbox.put((m.topic, json.loads(m.payload)))
client.connect(host, 8883, keepalive=60)
client.loop_start()


def expect(topic):
    got, value = inbox.get(timeout=WAIT)
    if got != topic:
        sys.exit(f"expected {topic}, got {got} {value}")
    return value


def publish(topic, payload):
    client.publish(f"{branch}/o/{topic}", json.dumps(payload), 1)


show("subscribed", status=str(expect("suback")))
with open(sys.argv[1], encoding="utf-8") as f:
    publish("amo_v3/m", json.load(f))
show("model", status=expect(f"{branch}/i/amo_v3/ms")["data"]["status"])
publish("amo_v3/i", {"id": "i1", "data": {"modelExternalId": "PumpModel", "parameterization": {"values": [
    {"name": "assetName", "value": "Pump"}, {"name": "childName", "value": "Valve"}]}}})
while True:
    status = expect(f"{branch}/i/amo_v3/ip")["data"]["status"]
    show("instance", status=status)
    if status != "InProgress":
        break
publish("mc_v3/ts", {"timeseries": [{"timestamp": "2026-01-01T00:00:00.123456Z", "values": [
    {"dataPointId": "temperature", "value": "21.5", "qualityCode": "0"}]}]})
publish("agm_v3/t", {"id": "t1"})
token = expect(f"{branch}/i/agm_v3/tr")
show("token", status=str(token["data"]["expires_in"]), text=token["requestId"])
client.on_disconnect = None
client.disconnect()
client.loop_stop()
show("done")

"""Registers by DPS with a plain MQTT client (Paho), step by step as MindSphere's onboarding page says:
SUBSCRIBE to the status topic, PUBLISH an empty message to register, then empty messages to poll.

Prints "TOPIC PAYLOAD" for each answer.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt

ANSWERS = "$dps/registrations/res/#"
WAIT = 10

host, scope, client_id, ca, cert, key = sys.argv[1:]
inbox = queue.Queue()
client = mqtt.Client(client_id=client_id, protocol=mqtt.MQTTv311)
client.username_pw_set(f"{scope}/registrations/{client_id}/api-version=2019-03-31", "")
client.tls_set(ca, cert, key)
client.on_connect = lambda c, data, flags, code: inbox.put(("connack", code))
client.on_subscribe = lambda c, data, mid, granted: inbox.put(("suback", granted))
client.on_message = lambda c, data, m: inbox.put((m.topic, m.payload.decode()))
client.connect(host, 8883)
client.loop_start()


def expect(what):
    kind, value = inbox.get(timeout=WAIT)
    if kind != what:
        sys.exit(f"expected {what}, got {kind} {value}")
    return value


if expect("connack") != 0:
    sys.exit("refused")
client.subscribe(ANSWERS, 1)
expect("suback")
client.publish("$dps/registrations/PUT/iotdps-register/?$rid=1", b"", 1)
for rid in range(2, 10):
    topic, payload = inbox.get(timeout=WAIT)
    print(topic, payload, flush=True)
    answer = json.loads(payload)
    if answer.get("status") != "assigning":
        break
    client.publish(
        f"$dps/registrations/GET/iotdps-get-operationstatus/?$rid={rid}&operationId={answer['operationId']}", b"", 1)
client.disconnect()
client.loop_stop()

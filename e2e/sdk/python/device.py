"""One device, or with MODULE_ID one module, on the Azure IoT SDK for Python: registers by DPS unless told a
hub, sends telemetry, uploads a file if UPLOAD names one, and with SESSION uses all that a hub offers until
it is told "bye" by a message or a method. TRANSPORT=ws is MQTT over WebSocket. TOKEN_LIFE is
in seconds. With LOAD it sends that many messages and uses its twin meanwhile, each again as long as the SDK
reports a failure.

Settings come from the environment, as `fakecloud env --for python` prints it or one by one; each step is printed as one JSON line. A refusal ends with exit
code 3 and the SDK's own error class.
"""

import json
import os
import sys
import threading

from azure.iot.device import (
    IoTHubDeviceClient, IoTHubModuleClient, Message, MethodResponse, ProvisioningDeviceClient, X509)
from azure.iot.device.exceptions import (
    ClientError, CredentialError, OperationCancelled, OperationTimeout, ServiceError)

env = os.environ.get


said = threading.Lock()


def say(step, **facts):
    """Prints a step as one line, whichever of the SDK's threads it comes from."""
    with said:
        print(json.dumps({"step": step, **facts}), flush=True)


def x509():
    return X509(cert_file=env("CERT_FILE"), key_file=env("KEY_FILE"), pass_phrase=env("KEY_PASSWORD"))


def register(ca):
    common = {
        "provisioning_host": env("PROVISIONING_HOST"),
        "registration_id": env("PROVISIONING_REGISTRATION_ID"),
        "id_scope": env("PROVISIONING_IDSCOPE"),
        "server_verification_cert": ca,
        "websockets": env("TRANSPORT") == "ws",
    }
    if env("CERT_FILE"):
        client = ProvisioningDeviceClient.create_from_x509_certificate(x509=x509(), **common)
    else:
        key = env("DEVICE_KEY") or env("PROVISIONING_SYMMETRIC_KEY")
        client = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=key, **common)
    result = client.register()
    state = result.registration_state
    say("registered", status=result.status, hub=getattr(state, "assigned_hub", None),
        device=getattr(state, "device_id", None), substatus=getattr(state, "sub_status", None))
    if result.status != "assigned":
        sys.exit(3)
    return state.assigned_hub, state.device_id


def hub_client(ca, hub, device):
    options = {"server_verification_cert": ca, "websockets": env("TRANSPORT") == "ws", "connection_retry_interval": 1}
    module, gateway = env("MODULE_ID"), env("GATEWAY_HOST")
    if env("TOKEN_LIFE"):
        options["sastoken_ttl"] = int(env("TOKEN_LIFE"))
    if env("CONNECTION_STRING"):
        return IoTHubDeviceClient.create_from_connection_string(env("CONNECTION_STRING"), **options)
    if env("CERT_FILE"):
        if gateway:
            options["gateway_hostname"] = gateway
        if module:
            return IoTHubModuleClient.create_from_x509_certificate(
                x509=x509(), hostname=hub, device_id=device, module_id=module, **options)
        return IoTHubDeviceClient.create_from_x509_certificate(
            x509=x509(), hostname=hub, device_id=device, **options)
    text = f"HostName={hub};DeviceId={device};SharedAccessKey={env('DEVICE_KEY') or env('PROVISIONING_SYMMETRIC_KEY')}"
    if gateway:
        text += f";GatewayHostName={gateway}"
    if module:
        return IoTHubModuleClient.create_from_connection_string(f"{text};ModuleId={module}", **options)
    return IoTHubDeviceClient.create_from_connection_string(text, **options)


def upload(client):
    from azure.storage.blob import BlobClient

    info = client.get_storage_info_for_blob(env("UPLOAD"))
    url = f"https://{info['hostName']}/{info['containerName']}/{info['blobName']}{info['sasToken']}"
    with open(env("UPLOAD_FILE"), "rb") as file:
        with BlobClient.from_blob_url(url, connection_verify=env("CA_FILE"), max_single_put_size=1 << 20,
                                      max_block_size=1 << 20) as blob:
            blob.upload_blob(file, overwrite=True)
            size = len(blob.download_blob().readall())
    client.notify_blob_upload_status(info["correlationId"], True, 200, "done")
    say("uploaded", text=str(size))


def telemetry(temperature):
    message = Message(json.dumps({"temperature": temperature}), content_encoding="utf-8", content_type="application/json")
    message.custom_properties["temperatureAlert"] = "true"
    return message


def again(do, *arguments):
    """Does what an application has to when the SDK reports a failure that may pass: the same again."""
    while True:
        try:
            return do(*arguments)
        except CredentialError:
            raise
        except (ClientError, OperationCancelled, OperationTimeout, ServiceError) as error:
            say("again", error=type(error).__name__)


def supervise(hub, device):
    """Begins the program anew from where it was when a thread of the SDK ends by an error.

    Paho 1.6 does not expect SSLEOFError, which a write to a connection brings that the server has just closed:
    its network thread ends, and the SDK waits for it forever.
    """
    def restart(failure):
        say("restart", error=failure.exc_type.__name__)
        os.environ.update(HUB_HOST=hub, DEVICE_ID=device, PROVISIONING_HOST="")
        os.execv(sys.executable, [sys.executable, *sys.argv])

    threading.excepthook = restart


def load(client, count):
    """Sends messages one after the other, now and then with a round of the twin."""
    for i in range(int(env("LOAD_DONE", "0")), count):
        os.environ["LOAD_DONE"] = str(i)
        again(client.send_message, Message(f"m-{i}"))
        if i % 10 == 0:
            again(client.patch_twin_reported_properties, {"round": i // 10})
            if again(client.get_twin)["reported"]["round"] != i // 10:
                raise ValueError("the twin lacks what was reported")
    os.environ["LOAD_DONE"] = str(count)
    say("acknowledged", text=str(count))


def session(client):
    """Uses twins, methods and messages until it is told bye."""
    bye = threading.Event()

    def on_message(message):
        body = message.data.decode()
        say("message", text=f"{body} {message.custom_properties.get('p')}")
        if body == "bye":
            bye.set()

    def on_method(request):
        say("method", text=f"{request.name} {json.dumps(request.payload)}")
        again(client.send_method_response, MethodResponse.create_from_method_request(request, 207, {"ok": True}))
        if request.name == "bye":
            bye.set()

    client.on_message_received = on_message
    client.on_method_request_received = on_method
    client.on_twin_desired_properties_patch_received = lambda patch: say("desired", text=str(patch.get("interval")))
    client.on_connection_state_change = lambda: say("reconnected" if client.connected else "lost")
    say("twin", text=str(again(client.get_twin)["desired"]["$version"]))
    again(client.patch_twin_reported_properties, {"firmware": "1.2"})
    say("reported")
    say("ready")
    if env("LOAD"):
        load(client, int(env("LOAD")))
    if not env("BYE"):
        bye.wait()
    os.environ["BYE"] = "1"
    again(client.send_message, telemetry(32))
    client.on_connection_state_change = None
    say("done")


def main():
    ca = None  # the roots that OpenSSL is told by SSL_CERT_FILE
    if env("CA_FILE"):
        with open(env("CA_FILE"), encoding="ascii") as file:
            ca = file.read()
    hub, device = env("HUB_HOST"), env("DEVICE_ID")
    if env("PROVISIONING_HOST") and not env("CONNECTION_STRING"):
        hub, device = register(ca)
    client = hub_client(ca, hub, device)
    persist = lambda do, *arguments: do(*arguments)
    if env("LOAD"):
        supervise(hub, device)
        persist = again
    persist(client.connect)
    say("connected", hub=hub, device=device)
    persist(client.send_message, telemetry(31))
    say("sent")
    if env("UPLOAD"):
        upload(client)
    if env("SESSION"):
        session(client)
    client.shutdown()


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # every refusal surfaces as some class of the SDK's
        say("failed", error=type(error).__name__, text=str(error), cause=repr(error.__cause__))
        sys.exit(3)

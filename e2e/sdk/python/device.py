"""One device on the Azure IoT SDK for Python: registers by DPS unless told a hub, sends telemetry, and
uploads a file if UPLOAD names one. TRANSPORT=ws is MQTT over WebSocket.

Settings come from the environment; each step is printed as one JSON line. A refusal ends with exit
code 3 and the SDK's own error class.
"""

import json
import os
import sys

from azure.iot.device import IoTHubDeviceClient, Message, ProvisioningDeviceClient, X509

env = os.environ.get


def say(step, **facts):
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
        client = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=env("DEVICE_KEY"), **common)
    result = client.register()
    state = result.registration_state
    say("registered", status=result.status, hub=getattr(state, "assigned_hub", None),
        device=getattr(state, "device_id", None), substatus=getattr(state, "sub_status", None))
    if result.status != "assigned":
        sys.exit(3)
    return state.assigned_hub, state.device_id


def hub_client(ca, hub, device):
    options = {"server_verification_cert": ca, "websockets": env("TRANSPORT") == "ws"}
    gateway = env("GATEWAY_HOST")
    if env("CERT_FILE"):
        if gateway:
            options["gateway_hostname"] = gateway
        return IoTHubDeviceClient.create_from_x509_certificate(
            x509=x509(), hostname=hub, device_id=device, **options)
    text = f"HostName={hub};DeviceId={device};SharedAccessKey={env('DEVICE_KEY')}"
    if gateway:
        text += f";GatewayHostName={gateway}"
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


def main():
    with open(env("CA_FILE"), encoding="ascii") as file:
        ca = file.read()
    hub, device = env("HUB_HOST"), env("DEVICE_ID")
    if env("PROVISIONING_HOST"):
        hub, device = register(ca)
    client = hub_client(ca, hub, device)
    client.connect()
    say("connected", hub=hub, device=device)
    message = Message('{"temperature":31}', content_encoding="utf-8", content_type="application/json")
    message.custom_properties["temperatureAlert"] = "true"
    client.send_message(message)
    say("sent")
    if env("UPLOAD"):
        upload(client)
    client.shutdown()


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # every refusal surfaces as some class of the SDK's
        say("failed", error=type(error).__name__, text=str(error), cause=repr(error.__cause__))
        sys.exit(3)

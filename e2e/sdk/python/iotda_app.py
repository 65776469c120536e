"""An application on Huawei's own SDK (huaweicloudsdkiotda). Settings come from the environment; each step is a JSON line.

With DERIVED=1 calls are signed with a derived key (V11-HMAC-SHA256), else with the secret key itself.
"""

import json
import os

from huaweicloudsdkcore.auth.credentials import BasicCredentials, DerivedCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkiotda.v5 import *  # noqa: F403, the SDK's own samples do it


def step(name, text=""):
    print(json.dumps({"step": name, "text": str(text)}), flush=True)


def client():
    config = HttpConfig.get_default_config()
    config.ssl_ca_cert = os.environ["CA_FILE"]
    credentials = BasicCredentials(os.environ["AK"], os.environ["SK"], os.environ["PROJECT_ID"])
    if os.environ.get("DERIVED"):
        credentials.with_derived_predicate(DerivedCredentials.get_default_derived_predicate())
    return (
        IoTDAClient.new_builder()
        .with_http_config(config)
        .with_credentials(credentials)
        .with_region(Region("cn-north-4", os.environ["ENDPOINT"]))
        .build()
    )


def main():
    iotda = client()
    try:
        spaces = iotda.show_applications(ShowApplicationsRequest())
    except ClientRequestException as e:
        step("refused", f"{e.status_code} {e.error_code}")
        return
    step("spaces", len(spaces.applications))
    prop = ServiceProperty(property_name="level", data_type="int", required=True, min="0", max="100", max_length=0, step=1, unit="%", method="RW")
    product = iotda.create_product(
        CreateProductRequest(
            body=AddProduct(
                name="pump", device_type="pump", protocol_type="MQTT", data_format="json",
                service_capabilities=[ServiceCapability(service_id="Tank", service_type="Tank", properties=[prop])],
            )
        )
    )
    step("product", product.name)
    device = iotda.add_device(
        AddDeviceRequest(
            body=AddDevice(
                node_id="py-1", device_name="py", product_id=product.product_id,
                auth_info=AuthInfo(auth_type="SECRET", secret="mySecret_0123", secure_access=True),
                shadow=[InitialDesired(service_id="Tank", desired={"level": 5})],
            )
        )
    )
    step("device", device.device_id.endswith("_py-1") and device.auth_info.secret)
    listed = iotda.list_devices(ListDevicesRequest(product_id=product.product_id, limit=1))
    step("listed", f"{listed.page.count} {listed.devices[0].status}")
    shadow = iotda.show_device_shadow(ShowDeviceShadowRequest(device_id=device.device_id))
    step("shadow", shadow.shadow[0].desired.properties)
    iotda.tag_device(TagDeviceRequest(body=BindTagsDTO(resource_type="device", resource_id=device.device_id, tags=[TagV5DTO(tag_key="hall", tag_value="3")])))
    found = iotda.list_resources_by_tags(ListResourcesByTagsRequest(body=QueryResourceByTagsDTO(resource_type="device", tags=[TagV5DTO(tag_key="hall", tag_value="3")])))
    step("tagged", found.resources[0].resource_id == device.device_id)
    group = iotda.add_device_group(AddDeviceGroupRequest(body=AddDeviceGroupDTO(name="hall")))
    iotda.create_or_delete_device_in_group(CreateOrDeleteDeviceInGroupRequest(group_id=group.group_id, action_id="addDevice", device_id=device.device_id))
    step("group", len(iotda.show_devices_in_group(ShowDevicesInGroupRequest(group_id=group.group_id)).devices))
    message = iotda.create_message(CreateMessageRequest(device_id=device.device_id, body=DeviceMessageRequest(message={"hello": 1}, ttl=60)))
    step("message", message.result["status"] if isinstance(message.result, dict) else message.result.status)
    try:
        iotda.create_command(CreateCommandRequest(device_id=device.device_id, body=DeviceCommandRequest(service_id="Tank", command_name="x", paras={})))
    except ClientRequestException as e:
        step("offline", f"{e.status_code} {e.error_code}")
    with open(os.environ["DEVICE_CA"], encoding="utf-8") as f:
        ca = iotda.add_certificate(AddCertificateRequest(body=CreateCertificateDTO(content=f.read())))
    step("certificate", f"{ca.status} {len(ca.verify_code)}")
    rule = iotda.create_routing_rule(CreateRoutingRuleRequest(body=AddRuleReq(rule_name="r", subject=RoutingRuleSubject(resource="device.property", event="report"), app_type="GLOBAL")))
    step("rule", rule.active)
    sent = iotda.create_command(
        CreateCommandRequest(device_id=os.environ["DEVICE_ID"], body=DeviceCommandRequest(service_id="Battery", command_name="recharge", paras={"hours": 2}))
    ) if os.environ.get("DEVICE_ID") else None
    if sent:
        step("command", sent.response)
        iotda.update_properties(UpdatePropertiesRequest(device_id=os.environ["DEVICE_ID"], body=DevicePropertiesRequest(services=[{"service_id": "Battery", "properties": {"batteryLevel": 50}}])))
        got = iotda.list_properties(ListPropertiesRequest(device_id=os.environ["DEVICE_ID"], service_id="Battery"))
        step("properties", json.dumps(got.response))
    iotda.delete_device(DeleteDeviceRequest(device_id=device.device_id))
    iotda.delete_product(DeleteProductRequest(product_id=product.product_id))
    step("deleted")


main()

"""A back end on azure-iot-hub: registry, modules, twins, methods, queries, jobs, configurations, import and
export, and statistics over HTTPS; the exported blob is read and an import's written with azure-storage-blob.

Environment: IOTHUB_CONNECTION_STRING, DEVICE_ID (a connected device that answers methods), CONTAINER_URI (a
signed blob container), REQUESTS_CA_BUNDLE.
Prints one JSON object for each step.
"""

import json
import os
import time
import uuid

from azure.iot.hub import IoTHubConfigurationManager, IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    ExportImportDevice,
    JobProperties,
    JobRequest,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from azure.storage.blob import ContainerClient
from msrest.exceptions import HttpOperationError

connection_string = os.environ["IOTHUB_CONNECTION_STRING"]
live = os.environ["DEVICE_ID"]


def step(name, **result):
    print(json.dumps({"step": name, **result}), flush=True)


def refused(name, call):
    try:
        call()
    except HttpOperationError as err:
        text = json.loads(err.response.text).get("Message", "")
        step(name, status=str(err.response.status_code), error=err.response.headers.get("iothub-errorcode"), text=text)
    else:
        step(name, error="accepted")


registry = IoTHubRegistryManager.from_connection_string(connection_string)

device = registry.create_device_with_sas("py-1", "", "", "enabled")
step("create", device=device.device_id, status=device.status, text=device.authentication.type)
refused("create again", lambda: registry.create_device_with_sas("py-1", "", "", "enabled"))
device = registry.create_device_with_x509("py-2", "A" * 40, "B" * 40, "enabled")
step("create x509", text=registry.get_device("py-2").authentication.x509_thumbprint.primary_thumbprint)
device = registry.create_device_with_certificate_authority("py-3", "enabled")
step("create ca", text=registry.get_device("py-3").authentication.type)

first = registry.get_device("py-1")
keys = first.authentication.symmetric_key
changed = registry.update_device_with_sas("py-1", first.etag, keys.primary_key, keys.secondary_key, "disabled", status_reason="sold")
step("update", status=changed.status, text=changed.status_reason)
refused("update stale", lambda: registry.update_device_with_sas("py-1", first.etag, keys.primary_key, keys.secondary_key, "enabled"))

module = registry.create_module_with_sas("py-1", "mod", "me", "", "")
step("module", text=module.module_id, device=registry.get_modules("py-1")[0].module_id)

twin = registry.update_twin("py-1", Twin(tags={"site": "here"}, properties=TwinProperties(desired={"rate": 5})))
step("twin", text=json.dumps(registry.get_twin("py-1").tags), status=str(twin.properties.desired["rate"]))
twin = registry.replace_twin("py-1", Twin(tags={"site": "there"}), twin.etag)
step("twin replaced", text=json.dumps(twin.tags), status=str("rate" in twin.properties.desired))
refused("twin stale", lambda: registry.update_twin("py-1", Twin(tags={"x": 1}), "AAAAAAAAAAE="))
twin = registry.update_module_twin("py-1", "mod", Twin(properties=TwinProperties(desired={"m": 1})))
step("module twin", text=str(twin.properties.desired["m"]))

answer = registry.invoke_device_method(live, CloudToDeviceMethod(method_name="reboot", payload={"in": 1}, response_timeout_in_seconds=10))
step("method", status=str(answer.status), text=json.dumps(answer.payload))
refused("method offline", lambda: registry.invoke_device_method("py-2", CloudToDeviceMethod(method_name="reboot", payload=None)))

pages, token = [], None
while True:
    result = registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices WHERE STARTS_WITH(deviceId, 'py-')"), token, 2)
    pages.append([item.device_id for item in result.items])
    token = result.continuation_token
    if not token:
        break
step("query", text=json.dumps(pages))
refused("query syntax", lambda: registry.query_iot_hub(QuerySpecification(query="SELECT * FROM devices WHERE x ==")))

bulk = registry.bulk_create_or_update_devices([
    ExportImportDevice(id="bulk-1", import_mode="create", status="enabled"),
    ExportImportDevice(id="bulk-2", import_mode="create", status="enabled"),
])
step("bulk", status=str(bulk.is_successful))
bulk = registry.bulk_create_or_update_devices([ExportImportDevice(id="bulk-1", import_mode="create", status="enabled")])
step("bulk again", status=str(bulk.is_successful), text=bulk.errors[0].device_id)

statistics = registry.get_device_registry_statistics()
step("statistics", text=str(statistics.disabled_device_count), status=str(registry.get_service_statistics().connected_device_count))

jobs = IoTHubJobManager.from_connection_string(connection_string)
job_id = str(uuid.uuid4())
jobs.create_scheduled_job(job_id, JobRequest(
    job_id=job_id, type="scheduleUpdateTwin", query_condition="tags.site = 'there'", max_execution_time_in_seconds=60,
    update_twin=Twin(etag="*", tags={"job": True}),
))
for _ in range(50):
    job = jobs.get_scheduled_job(job_id)
    if job.status in ("completed", "failed"):
        break
    time.sleep(0.1)
step("job", status=job.status, text=str(job.device_job_statistics.succeeded_count))
step("job done", text=json.dumps(registry.get_twin("py-1").tags, sort_keys=True))

configurations = IoTHubConfigurationManager.from_connection_string(connection_string)
configuration = configurations.create_configuration(Configuration(
    id="py-config", schema_version="1.0", priority=5, target_condition="tags.site='there'", labels={"a": "b"},
    content=ConfigurationContent(device_content={"properties.desired.fleet": {"on": True}}),
))
step("configuration", text=configuration.id, status=str(configurations.get_configuration("py-config").priority))
step("configured", text=json.dumps(registry.get_twin("py-1").properties.desired.get("fleet")))
configuration = configurations.get_configuration("py-config")
configuration.priority = 7
step("reconfigured", text=str(configurations.update_configuration(configuration, configuration.etag).priority))
refused("reconfigured stale", lambda: configurations.update_configuration(configuration, configuration.etag))
tested = configurations.test_configuration_queries(ConfigurationQueriesTestInput(target_condition="tags.site =="))
step("condition tested", text=str(bool(tested.target_condition_error)))
configurations.apply_configuration_on_edge_device("py-1", ConfigurationContent(modules_content={"mod": {"properties.desired": {"applied": True}}}))
step("applied", text=str(registry.get_module_twin("py-1", "mod").properties.desired["applied"]))
configurations.delete_configuration("py-config")
step("configurations", text=str(len(configurations.get_configurations())))

late = str(uuid.uuid4())
jobs.create_scheduled_job(late, JobRequest(
    job_id=late, type="scheduleDeviceMethod", query_condition="*", start_time="2027-06-01T00:00:00Z", max_execution_time_in_seconds=60,
    cloud_to_device_method=CloudToDeviceMethod(method_name="reboot", payload={}),
))
jobs.cancel_scheduled_job(late)
step("job cancelled", status=jobs.get_scheduled_job(late).status)

container = os.environ["CONTAINER_URI"]
blobs = ContainerClient.from_container_url(container, connection_verify=os.environ["REQUESTS_CA_BUNDLE"])
export = jobs.create_import_export_job(JobProperties(type="export", output_blob_container_uri=container, exclude_keys_in_export=True))
lines = blobs.download_blob("devices.txt").readall().decode().splitlines()
step("export", status=jobs.get_import_export_job(export.job_id).status, text=str(sum('"id":"py-' in line for line in lines)))
blobs.upload_blob("new.txt", json.dumps({"id": "imported-1", "tags": {"site": "new"}}) + "\n" + json.dumps({"id": "no such id"}) + "\n")
done = jobs.create_import_export_job(JobProperties(
    type="import", input_blob_container_uri=container, input_blob_name="new.txt", output_blob_container_uri=container,
))
step("import", status=done.status, text=json.dumps(registry.get_twin("imported-1").tags))
step("import errors", text=json.loads(blobs.download_blob("importErrors.log").readall())["id"])
step("transfers", text=str(len(jobs.get_import_export_jobs())))
registry.delete_device("imported-1")

registry.delete_module("py-1", "mod")
for name in ("py-1", "py-2", "py-3", "bulk-1", "bulk-2"):
    registry.delete_device(name)
refused("deleted", lambda: registry.get_device("py-1"))

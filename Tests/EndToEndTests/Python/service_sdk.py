"""Drives every operation of azure-iot-hub that the hub serves over HTTPS, and azure-iot-device over MQTT, against a hub on
the standard ports. Writes one JSON object a line: client, operation, result ("ok" or what went wrong)."""

import base64
import json
import os
import queue
import sys
import time
import traceback

import certifi
import requests

# uamqp, which sends messages to devices, trusts what certifi names and has no other way to be told.
certifi.where = lambda: os.environ["HEDGEROW_CA"]

from azure.iot.device import IoTHubDeviceClient, IoTHubModuleClient, MethodResponse
from azure.iot.hub import (
    DigitalTwinClient,
    IoTHubConfigurationManager,
    IoTHubHttpRuntimeManager,
    IoTHubJobManager,
    IoTHubRegistryManager,
)
from azure.iot.hub.protocol import models
from azure.iot.hub.sastoken import SasToken

CONNECTION = os.environ["HEDGEROW_CONNECTION_STRING"]
ROOT = os.environ["HEDGEROW_CA"]
os.environ["REQUESTS_CA_BUNDLE"] = ROOT
PARTS = dict(part.split("=", 1) for part in CONNECTION.split(";"))
HOST = PARTS["HostName"]
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER_KEY = base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
THUMBPRINT = "A" * 40

registry = IoTHubRegistryManager.from_connection_string(CONNECTION)
configurations = IoTHubConfigurationManager.from_connection_string(CONNECTION)
jobs = IoTHubJobManager.from_connection_string(CONNECTION)
runtime = IoTHubHttpRuntimeManager.from_connection_string(CONNECTION)
digital_twins = DigitalTwinClient.from_connection_string(CONNECTION)
results = []


def operation(client):
    """Runs the function at once and notes what came of it under its name."""

    def decorate(function):
        name = function.__name__.replace("_", " ")
        try:
            function()
            result = "ok"
        except Exception as error:  # noqa: BLE001 what went wrong is the result
            body = getattr(getattr(error, "response", None), "text", "")
            result = f"{type(error).__name__}: {error} {body}".strip()
            traceback.print_exc()
        results.append(result)
        print(json.dumps({"client": client, "operation": name, "result": result}), flush=True)
        return function

    return decorate


def status_of(call):
    """The HTTP status of a call that has to be refused."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return error.response.status_code
    return None


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("it did not come in time")
        time.sleep(0.05)


hub_sdk = operation("azure-iot-hub 2.7.0")
device_sdk = operation("azure-iot-device 2.14.0")


@hub_sdk
def create_device_with_sas():
    device = registry.create_device_with_sas("d1", KEY, OTHER_KEY, "enabled")
    assert device.authentication.symmetric_key.primary_key == KEY
    assert device.generation_id and device.etag and device.connection_state == "Disconnected"
    generated = registry.create_device_with_sas("generated", "", "", "enabled")
    assert len(base64.b64decode(generated.authentication.symmetric_key.primary_key)) == 32
    assert status_of(lambda: registry.create_device_with_sas("d1", KEY, OTHER_KEY, "enabled")) == 409


@hub_sdk
def create_edge_device_with_scope():
    edge = registry.create_device_with_sas("gw", KEY, OTHER_KEY, "enabled", iot_edge=True)
    assert edge.capabilities.iot_edge and edge.device_scope.startswith("ms-azure-iot-edge://gw-")
    leaf = registry.create_device_with_sas("leaf", KEY, OTHER_KEY, "enabled", device_scope=edge.device_scope)
    assert leaf.device_scope == edge.device_scope
    assert {module.module_id for module in registry.get_modules("gw")} == {"$edgeAgent", "$edgeHub"}


@hub_sdk
def create_device_with_x509():
    device = registry.create_device_with_x509("x1", THUMBPRINT, THUMBPRINT, "enabled")
    assert device.authentication.type == "selfSigned"
    assert device.authentication.x509_thumbprint.primary_thumbprint == THUMBPRINT


@hub_sdk
def create_device_with_certificate_authority():
    device = registry.create_device_with_certificate_authority("ca1", "enabled")
    assert device.authentication.type == "certificateAuthority"


@hub_sdk
def update_device_with_sas():
    before = registry.get_device("d1")
    changed = registry.update_device_with_sas("d1", before.etag, OTHER_KEY, KEY, "enabled", status_reason="why not")
    assert changed.authentication.symmetric_key.primary_key == OTHER_KEY and changed.status_reason == "why not"
    stale = lambda: registry.update_device_with_sas("d1", before.etag, KEY, OTHER_KEY, "enabled")  # noqa: E731
    assert status_of(stale) == 412
    registry.update_device_with_sas("d1", "*", KEY, OTHER_KEY, "enabled")


@hub_sdk
def update_device_with_x509_and_authority():
    device = registry.get_device("x1")
    changed = registry.update_device_with_x509("x1", device.etag, "B" * 64, "B" * 64, "disabled")
    assert changed.status == "disabled"
    device = registry.get_device("ca1")
    assert registry.update_device_with_certificate_authority("ca1", device.etag, "disabled").status == "disabled"


@hub_sdk
def get_device_and_devices():
    assert registry.get_device("d1").device_id == "d1"
    assert status_of(lambda: registry.get_device("nobody")) == 404
    assert {"d1", "gw", "leaf"} <= {device.device_id for device in registry.get_devices()}
    assert len(registry.get_devices(2)) == 2


@hub_sdk
def modules():
    made = registry.create_module_with_sas("d1", "m1", "me", KEY, OTHER_KEY)
    assert made.module_id == "m1" and made.managed_by == "me"
    registry.create_module_with_x509("d1", "m2", "me", THUMBPRINT, THUMBPRINT)
    registry.create_module_with_certificate_authority("d1", "m3", "me")
    changed = registry.update_module_with_sas("d1", "m1", "you", made.etag, OTHER_KEY, KEY)
    assert changed.managed_by == "you"
    registry.update_module_with_x509("d1", "m2", "you", "*", "C" * 40, "C" * 40)
    registry.update_module_with_certificate_authority("d1", "m3", "you", "*")
    assert registry.get_module("d1", "m2").authentication.x509_thumbprint.primary_thumbprint == "C" * 40
    assert len(registry.get_modules("d1")) == 3
    registry.delete_module("d1", "m3")
    assert status_of(lambda: registry.get_module("d1", "m3")) == 404


@hub_sdk
def statistics():
    counts = registry.get_device_registry_statistics()
    assert counts.total_device_count == 6 and counts.disabled_device_count == 2
    assert registry.get_service_statistics().connected_device_count == 0


@hub_sdk
def bulk_create_or_update_devices():
    auth = models.AuthenticationMechanism(
        type="sas", symmetric_key=models.SymmetricKey(primary_key=KEY, secondary_key=OTHER_KEY)
    )
    entries = [
        models.ExportImportDevice(
            id=f"bulk{number:02}", import_mode="create", status="enabled", authentication=auth, tags={"n": number}
        )
        for number in range(25)
    ]
    result = registry.bulk_create_or_update_devices(entries)
    assert result.is_successful and not result.errors
    again = registry.bulk_create_or_update_devices(entries[:1])
    assert not again.is_successful and again.errors[0].device_id == "bulk00"


@hub_sdk
def query_iot_hub_page_by_page():
    specification = models.QuerySpecification(query="select * from devices where tags.n >= 0")
    seen, token, pages = [], None, 0
    while True:
        page = registry.query_iot_hub(specification, token, 10)
        seen += [twin.device_id for twin in page.items]
        pages += 1
        token = page.continuation_token
        if not token:
            break
    assert pages == 3 and seen == [f"bulk{number:02}" for number in range(25)]
    count = registry.query_iot_hub(models.QuerySpecification(query="select count() as n from devices"))
    assert count.items[0].additional_properties["n"] == 31
    assert status_of(lambda: registry.query_iot_hub(models.QuerySpecification(query="select"))) == 400


@hub_sdk
def device_twin():
    twin = registry.get_twin("d1")
    assert twin.device_id == "d1" and twin.properties.desired["$version"] == 1
    patch = models.Twin(tags={"site": "north"}, properties=models.TwinProperties(desired={"period": 5}))
    changed = registry.update_twin("d1", patch, twin.etag)
    assert changed.tags == {"site": "north"} and changed.properties.desired["period"] == 5
    assert status_of(lambda: registry.update_twin("d1", patch, twin.etag)) == 412
    whole = registry.update_twin("d1", registry.get_twin("d1"), "*")
    assert whole.properties.desired["period"] == 5
    replaced = registry.replace_twin(
        "d1", models.Twin(properties=models.TwinProperties(desired={"other": [1, 2]})), changed.etag and "*"
    )
    assert replaced.tags in (None, {}) and "period" not in replaced.properties.desired


@hub_sdk
def module_twin():
    patch = models.Twin(tags={"a": 1}, properties=models.TwinProperties(desired={"x": {"y": 1}}))
    assert registry.update_module_twin("d1", "m1", patch).properties.desired["x"] == {"y": 1}
    assert registry.replace_module_twin("d1", "m1", models.Twin(tags={"b": 2}), "*").tags == {"b": 2}
    assert registry.get_module_twin("d1", "m1").module_id == "m1"


EDGE = {
    "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {"probe": {"type": "docker"}}}},
    "$edgeHub": {"properties.desired": {"schemaVersion": "1.1", "routes": {}}},
}


@hub_sdk
def configurations_from_creation_to_deletion():
    made = configurations.create_configuration(
        models.Configuration(
            id="c1",
            schema_version="2.0",
            content=models.ConfigurationContent(device_content={"properties.desired.chiller": {"t": 66}}),
            target_condition="tags.n < 5",
            priority=3,
            labels={"owner": "me"},
            metrics=models.ConfigurationMetrics(queries={"all": "select deviceId from devices"}),
        )
    )
    assert made.system_metrics.results["targetedCount"] == 5 and made.metrics.results["all"] == 31
    assert registry.get_twin("bulk03").properties.desired["chiller"] == {"t": 66}
    made.priority = 4
    changed = configurations.update_configuration(made, made.etag)
    assert changed.priority == 4
    assert status_of(lambda: configurations.update_configuration(made, made.etag)) == 412
    assert configurations.get_configuration("c1").labels == {"owner": "me"}
    assert [entry.id for entry in configurations.get_configurations()] == ["c1"]
    configurations.delete_configuration("c1")
    assert "chiller" not in registry.get_twin("bulk03").properties.desired
    assert status_of(lambda: configurations.get_configuration("c1")) == 404


@hub_sdk
def test_configuration_queries():
    answer = configurations.test_configuration_queries(
        models.ConfigurationQueriesTestInput(
            target_condition="tags.x = ", custom_metric_queries={"good": "select * from devices", "bad": "select"}
        )
    )
    assert answer.target_condition_error and list(answer.custom_metric_query_errors) == ["bad"]


@hub_sdk
def apply_configuration_on_edge_device():
    configurations.apply_configuration_on_edge_device("gw", models.ConfigurationContent(modules_content=EDGE))
    assert {module.module_id for module in registry.get_modules("gw")} == {"$edgeAgent", "$edgeHub", "probe"}


def connect_device(name="d1"):
    device = IoTHubDeviceClient.create_from_connection_string(
        f"HostName={HOST};DeviceId={name};SharedAccessKey={KEY}", server_verification_cert=open(ROOT).read()
    )
    device.connect()
    return device


device = connect_device()
received = queue.Queue()
methods = queue.Queue()


def answer(request):
    methods.put((request.name, request.payload))
    device.send_method_response(MethodResponse.create_from_method_request(request, 207, {"echo": request.payload}))


def send_to(path, body, headers=None, host=HOST):
    token = SasToken(host, PARTS["SharedAccessKey"], PARTS["SharedAccessKeyName"])
    return requests.post(
        f"https://{host}/devices/{path}/messages/deviceBound?api-version=2021-04-12",
        data=body,
        headers={"Authorization": str(token), **(headers or {})},
        timeout=30,
    )


@device_sdk
def receive_cloud_to_device_messages():
    device.on_message_received = received.put
    headers = {
        "iothub-messageid": "m1",
        "iothub-correlationid": "c1",
        "iothub-ack": "full",
        "iothub-contenttype": "application/json",
        "iothub-contentencoding": "utf-8",
        "iothub-app-colour": "red/blue",
    }
    assert send_to("d1", b'{"a":1}', headers).status_code == 204
    message = received.get(timeout=30)
    assert message.data == b'{"a":1}' and message.message_id == "m1" and message.correlation_id == "c1"
    assert message.content_type == "application/json" and message.custom_properties["colour"] == "red/blue"
    for number in range(20):
        assert send_to("d1", str(number)).status_code == 204
    assert [received.get(timeout=30).data for _ in range(20)] == [str(number).encode() for number in range(20)]
    wait_for(lambda: registry.get_device("d1").cloud_to_device_message_count == 0)
    assert send_to("nobody", "x").status_code == 404


@hub_sdk
def send_c2d_message():
    registry.send_c2d_message("d1", "over the SDK", {"messageId": "m2", "correlationId": "c2", "colour": "blue"})
    message = received.get(timeout=30)
    assert message.data == b"over the SDK" and message.message_id == "m2" and message.correlation_id == "c2"
    assert message.custom_properties["colour"] == "blue"


@device_sdk
def receive_what_was_sent_while_away():
    device.disconnect()
    wait_for(lambda: registry.get_device("d1").connection_state == "Disconnected")
    assert send_to("d1", "while away").status_code == 204
    assert registry.get_twin("d1").cloud_to_device_message_count == 1
    device.connect()
    assert received.get(timeout=30).data == b"while away"


def feedback_status():
    token = SasToken(HOST, PARTS["SharedAccessKey"], PARTS["SharedAccessKeyName"])
    answer = requests.get(
        f"https://{HOST}/messages/serviceBound/feedback?api-version=2021-04-12",
        headers={"Authorization": str(token)},
        timeout=30,
    )
    if answer.status_code == 200:
        assert [record["originalMessageId"] for record in answer.json()] == ["m1"]
    return answer.status_code


@hub_sdk
def receive_feedback_notification():
    # The SDK drops the body, so it sees that there is none, and a request of our own sees what there is.
    assert runtime.receive_feedback_notification() is None
    wait_for(lambda: feedback_status() == 200, 40)


@hub_sdk
def invoke_device_method():
    device.on_method_request_received = answer
    result = registry.invoke_device_method(
        "d1", models.CloudToDeviceMethod(method_name="reboot", payload={"in": 5}, response_timeout_in_seconds=30)
    )
    assert result.status == 207 and result.payload == {"echo": {"in": 5}}
    assert methods.get(timeout=1) == ("reboot", {"in": 5})
    absent = models.CloudToDeviceMethod(method_name="reboot", payload=None)
    assert status_of(lambda: registry.invoke_device_method("leaf", absent)) == 404


@hub_sdk
def invoke_device_module_method():
    module = IoTHubModuleClient.create_from_connection_string(
        f"HostName={HOST};DeviceId=d1;ModuleId=m1;SharedAccessKey={OTHER_KEY}",
        server_verification_cert=open(ROOT).read(),
    )
    module.connect()
    module.on_method_request_received = lambda request: module.send_method_response(
        MethodResponse.create_from_method_request(request, 200, "done")
    )
    call = models.CloudToDeviceMethod(method_name="poll", payload="now", response_timeout_in_seconds=30)
    result = registry.invoke_device_module_method("d1", "m1", call)
    assert result.status == 200 and result.payload == "done"
    module.shutdown()


def ended(job):
    wait_for(lambda: jobs.get_scheduled_job(job).status in ("completed", "failed", "cancelled"))
    return jobs.get_scheduled_job(job)


@hub_sdk
def create_scheduled_job_of_twins():
    request = models.JobRequest(
        job_id="twins",
        type="scheduleUpdateTwin",
        max_execution_time_in_seconds=60,
        update_twin=models.Twin(etag="*", tags={"ring": 2}),
        query_condition="tags.n < 10",
    )
    assert jobs.create_scheduled_job("twins", request).job_id == "twins"
    job = ended("twins")
    assert job.status == "completed" and job.device_job_statistics.succeeded_count == 10
    assert registry.get_twin("bulk09").tags == {"n": 9, "ring": 2}


@hub_sdk
def create_scheduled_job_of_methods():
    request = models.JobRequest(
        job_id="methods",
        type="scheduleDeviceMethod",
        max_execution_time_in_seconds=60,
        cloud_to_device_method=models.CloudToDeviceMethod(method_name="m", payload=1, response_timeout_in_seconds=30),
        query_condition="deviceId IN ['d1', 'leaf']",
    )
    jobs.create_scheduled_job("methods", request)
    counts = ended("methods").device_job_statistics
    assert counts.device_count == 2 and counts.succeeded_count == 1 and counts.failed_count == 1


@hub_sdk
def cancel_scheduled_job():
    request = models.JobRequest(
        job_id="later",
        type="scheduleUpdateTwin",
        start_time="2100-01-01T00:00:00Z",
        max_execution_time_in_seconds=60,
        update_twin=models.Twin(etag="*", tags={"never": 1}),
        query_condition="*",
    )
    jobs.create_scheduled_job("later", request)
    assert jobs.get_scheduled_job("later").status == "scheduled"
    jobs.cancel_scheduled_job("later")
    assert jobs.get_scheduled_job("later").status == "cancelled"


# IoTHubJobManager.query_scheduled_jobs reads an object where every hub answers with a list: it works with none.


@device_sdk
def twin_and_desired_properties():
    patches = queue.Queue()
    device.on_twin_desired_properties_patch_received = patches.put
    twin = device.get_twin()
    assert "$version" in twin["desired"] and "$version" in twin["reported"]
    device.patch_twin_reported_properties({"battery": 80})
    assert registry.get_twin("d1").properties.reported["battery"] == 80
    registry.update_twin("d1", models.Twin(properties=models.TwinProperties(desired={"speed": 3})), "*")
    assert patches.get(timeout=30)["speed"] == 3


@hub_sdk
def digital_twin():
    digital_twins.update_digital_twin("d1", [{"op": "add", "path": "/target", "value": 21}])
    found = digital_twins.get_digital_twin("d1")
    assert found["$dtId"] == "d1" and found["$metadata"]["target"]["desiredValue"] == 21


@hub_sdk
def invoke_command_and_component_command():
    assert digital_twins.invoke_command("d1", "reboot", {"in": 1}, 5, 30) == {"echo": {"in": 1}}
    assert digital_twins.invoke_component_command("d1", "t1", "reboot", {"in": 2}, 5, 30) == {"echo": {"in": 2}}
    names = [methods.get(timeout=1)[0] for _ in range(methods.qsize())]
    assert names[-2:] == ["reboot", "t1*reboot"]


@hub_sdk
def create_import_export_job():
    def transfer(**properties):
        job = jobs.create_import_export_job(models.JobProperties(**properties))
        wait_for(lambda: jobs.get_import_export_job(job.job_id).status in ("completed", "failed"))
        done = jobs.get_import_export_job(job.job_id)
        assert done.status == "completed" and done.progress == 100, done.failure_reason
        assert job.job_id in [entry.job_id for entry in jobs.get_import_export_jobs()]
        return job.job_id

    transfer(type="export", output_blob_container_uri="file:///fleet")
    registry.delete_device("bulk07")
    last = transfer(
        type="import", input_blob_container_uri="file:///fleet", output_blob_container_uri="file:///fleet"
    )
    assert registry.get_twin("bulk07").tags == {"n": 7, "ring": 2}
    assert status_of(lambda: jobs.get_import_export_job("none")) == 404
    jobs.cancel_import_export_job(last)
    away = models.JobProperties(type="export", output_blob_container_uri="https://x.blob.core.windows.net/c")
    assert status_of(lambda: jobs.create_import_export_job(away)) == 400


@hub_sdk
def delete_device():
    device.shutdown()
    registry.delete_device("d1")
    assert status_of(lambda: registry.get_device("d1")) == 404
    etag = registry.get_device("gw").etag
    assert status_of(lambda: registry.delete_device("gw", "wrong")) == 412
    registry.delete_device("gw", etag)


sys.exit(0 if all(result == "ok" for result in results) else 1)

"""Enrols devices with azure-iot-deviceprovisioning and lets azure-iot-device register them, by symmetric keys and by
certificates that OpenSSL made, against a hub on the standard ports."""

import base64
import hashlib
import hmac
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from azure.core.exceptions import HttpResponseError
from azure.iot.device import X509, IoTHubDeviceClient, Message, ProvisioningDeviceClient
from azure.iot.deviceprovisioning import DeviceProvisioningClient
from azure.iot.hub import IoTHubRegistryManager

from reporting import operation

CONNECTION = os.environ["HEDGEROW_CONNECTION_STRING"]
SCOPE = os.environ["HEDGEROW_ID_SCOPE"]
ROOT = os.environ["HEDGEROW_CA"]
os.environ["REQUESTS_CA_BUNDLE"] = ROOT
ROOT_TEXT = open(ROOT).read()
HOST = dict(part.split("=", 1) for part in CONNECTION.split(";"))["HostName"]
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER_KEY = base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()

service = DeviceProvisioningClient.from_connection_string(CONNECTION)
registry = IoTHubRegistryManager.from_connection_string(CONNECTION)
service_sdk = operation("azure-iot-deviceprovisioning 1.0.0b1")
device_sdk = operation("azure-iot-device 2.14.0")


def symmetric(primary=KEY, secondary=OTHER_KEY):
    return {"type": "symmetricKey", "symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def make_authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip


def make_leaf(name, authority=None):
    """A certificate of a device: its own, or of an authority."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}"]
    if authority is None:
        openssl("req", "-x509", *new, "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        return
    openssl("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-days", "2", "-out", f"{name}.pem")  # fmt: skip


def status_of(call):
    """The HTTP status of a call that has to be refused."""
    try:
        call()
    except HttpResponseError as error:
        return error.status_code
    return None


def derived(name, key=KEY):
    return base64.b64encode(hmac.new(base64.b64decode(key), name.encode(), hashlib.sha256).digest()).decode()


@service_sdk
def individual_enrollments():
    made = service.enrollment.create_or_update(
        "lone",
        {
            "registrationId": "lone",
            "deviceId": "lone-device",
            "attestation": symmetric(),
            "capabilities": {"iotEdge": True},
            "initialTwin": {"tags": {"site": "north"}, "properties": {"desired": {"period": 5}}},
        },
    )
    assert made["provisioningStatus"] == "enabled" and made["etag"]
    found = service.enrollment.get("lone")
    assert found["deviceId"] == "lone-device" and found["capabilities"]["iotEdge"]
    found["deviceId"] = "lone-gateway"
    changed = service.enrollment.create_or_update("lone", found, if_match=found["etag"])
    assert changed["deviceId"] == "lone-gateway"
    stale = lambda: service.enrollment.create_or_update("lone", found, if_match=found["etag"])  # noqa: E731
    assert status_of(stale) == 412
    assert status_of(lambda: service.enrollment.create_or_update("lone", found)) == 409
    assert status_of(lambda: service.enrollment.get("nobody")) == 404


@service_sdk
def attestation_mechanism():
    keys = service.enrollment.get_attestation_mechanism("lone")["symmetricKey"]
    assert keys == {"primaryKey": KEY, "secondaryKey": OTHER_KEY}


@service_sdk
def x509_enrollments():
    make_authority("factory")
    make_leaf("single")
    make_leaf("line-7", "factory")
    certificate = {"primary": {"certificate": open("single.pem").read()}}
    service.enrollment.create_or_update(
        "single", {"registrationId": "single", "attestation": {"type": "x509", "x509": {"clientCertificates": certificate}}}
    )
    read = service.enrollment.get("single")["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    assert read["subjectName"] == "CN=single" and len(read["sha256Thumbprint"]) == 64
    signing = {"primary": {"certificate": open("factory.pem").read()}}
    service.enrollment_group.create_or_update(
        "factory",
        {"enrollmentGroupId": "factory", "attestation": {"type": "x509", "x509": {"signingCertificates": signing}}},
    )


@service_sdk
def enrollment_groups():
    service.enrollment_group.create_or_update(
        "fleet", {"enrollmentGroupId": "fleet", "attestation": symmetric(), "initialTwin": {"tags": {"ring": 1}}}
    )
    assert service.enrollment_group.get("fleet")["attestation"]["type"] == "symmetricKey"
    assert service.enrollment_group.get_attestation_mechanism("fleet")["symmetricKey"]["primaryKey"] == KEY
    names = [entry["enrollmentGroupId"] for entry in service.enrollment_group.query({"query": "SELECT * FROM enrollmentGroups"})]
    assert names == ["factory", "fleet"]


@service_sdk
def bulk_and_query_of_enrollments():
    entries = [{"registrationId": f"bulk-{number}", "attestation": symmetric()} for number in range(10)]
    assert service.enrollment.run_bulk_operation({"mode": "create", "enrollments": entries})["isSuccessful"]
    seen = [entry["registrationId"] for entry in service.enrollment.query({"query": "SELECT * FROM enrollments"})]
    assert seen == [f"bulk-{number}" for number in range(10)] + ["lone", "single"]
    gone = service.enrollment.run_bulk_operation({"mode": "delete", "enrollments": entries})
    assert gone["isSuccessful"] and not gone["errors"]


def registration(name, key=None, websockets=False):
    common = {"provisioning_host": HOST, "registration_id": name, "id_scope": SCOPE}
    options = {"server_verification_cert": ROOT_TEXT, "websockets": websockets}
    if key:
        client = ProvisioningDeviceClient.create_from_symmetric_key(symmetric_key=key, **common, **options)
    else:
        client = ProvisioningDeviceClient.create_from_x509_certificate(x509=certificate(name), **common, **options)
    return client.register()


def certificate(name):
    return X509(f"{name}.pem", f"{name}.key")


# A device waits some seconds before it asks what became of it, so all of them wait at the same time.
pool = ThreadPoolExecutor()
waiting = {
    "lone": pool.submit(registration, "lone", KEY),
    "member": pool.submit(registration, "member", derived("member")),
    "web": pool.submit(registration, "web", derived("web"), True),
    "single": pool.submit(registration, "single"),
    "line-7": pool.submit(registration, "line-7"),
    "stranger": pool.submit(registration, "stranger", KEY),
}


def result_of(name):
    result = waiting[name].result(timeout=300)
    assert result.status == "assigned" and result.registration_state.assigned_hub == HOST
    return result.registration_state.device_id


def say_hello(client):
    client.connect()
    client.send_message(Message("hello"))
    client.shutdown()


def client_with_key(name, key):
    return IoTHubDeviceClient.create_from_symmetric_key(key, HOST, name, server_verification_cert=ROOT_TEXT)


def client_with_certificate(name):
    return IoTHubDeviceClient.create_from_x509_certificate(
        certificate(name), HOST, name, server_verification_cert=ROOT_TEXT
    )


@device_sdk
def register_by_symmetric_key():
    assert result_of("lone") == "lone-gateway"
    twin = registry.get_twin("lone-gateway")
    assert twin.tags == {"site": "north"} and twin.properties.desired["period"] == 5 and twin.capabilities.iot_edge
    say_hello(client_with_key("lone-gateway", KEY))


@device_sdk
def register_by_derived_key_of_a_group():
    assert result_of("member") == "member"
    assert registry.get_twin("member").tags == {"ring": 1}
    say_hello(client_with_key("member", derived("member")))


@device_sdk
def register_over_web_sockets():
    assert result_of("web") == "web"


@device_sdk
def register_by_certificate():
    assert result_of("single") == "single"
    say_hello(client_with_certificate("single"))


@device_sdk
def register_by_certificate_of_an_authority():
    assert result_of("line-7") == "line-7"
    say_hello(client_with_certificate("line-7"))


@device_sdk
def be_refused_when_not_enrolled():
    error = waiting["stranger"].exception(timeout=300)
    assert error is not None, "it was registered"


@service_sdk
def registration_states():
    state = service.device_registration_state.get("member")
    assert state["status"] == "assigned" and state["deviceId"] == "member"
    names = [entry["registrationId"] for entry in service.device_registration_state.query("fleet")]
    assert names == ["member", "web"]
    service.device_registration_state.delete("member", if_match=state["etag"])
    assert status_of(lambda: service.device_registration_state.get("member")) == 404
    assert service.enrollment.get("lone")["registrationState"]["deviceId"] == "lone-gateway"


@service_sdk
def deletion_of_enrollments():
    service.enrollment.delete("single", if_match=service.enrollment.get("single")["etag"])
    service.enrollment_group.delete("fleet")
    assert status_of(lambda: service.enrollment_group.get("fleet")) == 404
    assert registry.get_device("web").device_id == "web"


pool.shutdown()

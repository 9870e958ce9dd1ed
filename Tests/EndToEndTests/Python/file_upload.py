"""A device uploads files with azure-iot-device and azure-storage-blob to a hub on the standard ports, and a service is told
over AMQP and reads them."""

import json
import os

import certifi
import requests

# uamqp trusts what certifi names and has no other way to be told.
certifi.where = lambda: os.environ["HEDGEROW_CA"]

import uamqp
from azure.core.exceptions import HttpResponseError
from azure.iot.device import IoTHubDeviceClient
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.sastoken import SasToken
from azure.storage.blob import BlobClient

from reporting import operation

CONNECTION = os.environ["HEDGEROW_CONNECTION_STRING"]
ROOT = os.environ["HEDGEROW_CA"]
os.environ["REQUESTS_CA_BUNDLE"] = ROOT
PARTS = dict(part.split("=", 1) for part in CONNECTION.split(";"))
HOST = PARTS["HostName"]

registry = IoTHubRegistryManager.from_connection_string(CONNECTION)
key = registry.create_device_with_sas("d1", "", "", "enabled").authentication.symmetric_key.primary_key
device = IoTHubDeviceClient.create_from_connection_string(
    f"HostName={HOST};DeviceId=d1;SharedAccessKey={key}", server_verification_cert=open(ROOT).read()
)
device.connect()

device_sdk = operation("azure-iot-device 2.14.0")
blob_sdk = operation("azure-storage-blob 12.31.1")
service = operation("uamqp 1.6.11")
SMALL = b"hello, file"
LARGE = os.urandom(9 << 20)
begun = {}


def blob_of(name):
    info = begun[name]
    url = f"https://{info['hostName']}/{info['containerName']}/{info['blobName']}{info['sasToken']}"
    return url


@device_sdk
def get_storage_info_for_blob():
    for name in ("small.txt", "large.bin", "deep/er/blocks.bin", "never.bin"):
        begun[name] = device.get_storage_info_for_blob(name)
        assert begun[name]["blobName"] == f"d1/{name}" and begun[name]["correlationId"]


@blob_sdk
def upload_at_once():
    with BlobClient.from_blob_url(blob_of("small.txt")) as blob:
        blob.upload_blob(SMALL)
    with BlobClient.from_blob_url(blob_of("large.bin")) as blob:
        blob.upload_blob(LARGE, overwrite=True)


@blob_sdk
def upload_in_blocks():
    with BlobClient.from_blob_url(
        blob_of("deep/er/blocks.bin"), max_single_put_size=1 << 20, max_block_size=4 << 20
    ) as blob:
        blob.upload_blob(LARGE, max_concurrency=2)


@blob_sdk
def download_and_properties():
    with BlobClient.from_blob_url(blob_of("large.bin")) as blob:
        assert blob.get_blob_properties().size == len(LARGE)
        assert blob.download_blob().readall() == LARGE
    with BlobClient.from_blob_url(blob_of("deep/er/blocks.bin"), max_single_get_size=1 << 20) as blob:
        assert blob.download_blob(offset=5 << 20, length=3 << 20).readall() == LARGE[5 << 20 : 8 << 20]


@device_sdk
def notify_blob_upload_status():
    for name in ("small.txt", "large.bin", "deep/er/blocks.bin"):
        device.notify_blob_upload_status(begun[name]["correlationId"], True, 200, "done")
    device.notify_blob_upload_status(begun["never.bin"]["correlationId"], False, 500, "lost")


@blob_sdk
def be_refused_after_the_end():
    with BlobClient.from_blob_url(blob_of("small.txt")) as blob:
        try:
            blob.upload_blob(b"too late", overwrite=True)
        except HttpResponseError as error:
            assert error.status_code == 403, error
        else:
            raise AssertionError("it was taken")


@service
def receive_file_notifications():
    token = str(SasToken(HOST, PARTS["SharedAccessKey"], PARTS["SharedAccessKeyName"]))
    user = f"{PARTS['SharedAccessKeyName']}@sas.root.{HOST.split('.')[0]}"
    auth = uamqp.authentication.SASLPlain(HOST, user, token)
    source = f"amqps://{HOST}/messages/serviceBound/filenotifications"
    client = uamqp.ReceiveClient(source, auth=auth, timeout=60_000, prefetch=1)
    told = {}
    try:
        while len(told) < 3:
            for message in client.receive_message_batch(max_batch_size=1, timeout=60_000):
                entry = json.loads(b"".join(message.get_data()))
                told[entry["blobName"]] = entry
                message.accept()
    finally:
        client.close()
    assert set(told) == {"d1/small.txt", "d1/large.bin", "d1/deep/er/blocks.bin"}
    assert told["d1/large.bin"]["blobSizeInBytes"] == len(LARGE)
    begun["uri"] = told["d1/small.txt"]["blobUri"]


@service
def read_a_file_with_a_policy():
    token = str(SasToken(HOST, PARTS["SharedAccessKey"], PARTS["SharedAccessKeyName"]))
    assert requests.get(begun["uri"], timeout=60).status_code == 403
    assert requests.get(begun["uri"], headers={"Authorization": token}, timeout=60).content == SMALL


device.shutdown()

"""Drives a hub on the standard ports over AMQP 1.0: azure-eventhub and the AMQP parts of azure-iot-hub as they are, and
device links by Qpid Proton in the way of the SDKs for .NET and C. Writes one JSON object a line: client, operation, result
("ok" or what went wrong)."""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
import traceback
import urllib.parse
import uuid

import certifi

CONNECTION = os.environ["HEDGEROW_CONNECTION_STRING"]
ROOT = os.environ["HEDGEROW_CA"]
os.environ["REQUESTS_CA_BUNDLE"] = ROOT
# uamqp trusts what certifi names, and has no other way to be told.
certifi.where = lambda: ROOT

import uamqp  # noqa: E402
from azure.eventhub import EventHubConsumerClient, TransportType  # noqa: E402
from azure.iot.hub import IoTHubRegistryManager  # noqa: E402
from azure.iot.hub.iothub_amqp_client import IoTHubAmqpClientSharedAccessKeyAuth  # noqa: E402
from azure.iot.hub.protocol import models  # noqa: E402
from proton import ConnectionException, Message, SSLDomain, int32, symbol  # noqa: E402
from proton.reactor import AtMostOnce, LinkOption  # noqa: E402
from proton.utils import BlockingConnection, LinkDetached, SendException  # noqa: E402

PARTS = dict(part.split("=", 1) for part in CONNECTION.split(";"))
HOST = PARTS["HostName"]
ENTITY = HOST.split(".")[0]
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER_KEY = base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()

registry = IoTHubRegistryManager.from_connection_string(CONNECTION)


def operation(client):
    """Runs the function at once and notes what came of it under its name."""

    def decorate(function):
        name = function.__name__.replace("_", " ")
        try:
            function()
            result = "ok"
        except Exception as error:  # noqa: BLE001 what went wrong is the result
            result = f"{type(error).__name__}: {error}".strip()
            traceback.print_exc()
        print(json.dumps({"client": client, "operation": name, "result": result}), flush=True)
        return function

    return decorate


def token(resource, key=KEY, policy=None, lifetime=3600):
    encoded = urllib.parse.quote(resource, safe="")
    expiry = str(int(time.time()) + lifetime)
    digest = hmac.new(base64.b64decode(key), f"{encoded}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest), safe="")
    text = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}"
    return text + (f"&skn={policy}" if policy else "")


def make_device(name, modules=()):
    registry.create_device_with_sas(name, KEY, OTHER_KEY, "enabled")
    for module in modules:
        registry.create_module_with_sas(name, module, "", KEY, OTHER_KEY)


# MARK: Device links


class Channel(LinkOption):
    """The properties of a link by which requests and their answers belong together."""

    def __init__(self, kind, correlation):
        self.properties = {
            symbol("com.microsoft:channel-correlation-id"): f"{kind}:{correlation}",
            symbol("com.microsoft:api-version"): "2020-09-30",
            symbol("com.microsoft:client-version"): "test",
        }

    def apply(self, link):
        link.properties = self.properties


class Hub:
    """One AMQP connection, with tokens put on `$cbs`."""

    def __init__(self, mechanism="ANONYMOUS", user=None, password=None):
        domain = SSLDomain(SSLDomain.MODE_CLIENT)
        domain.set_trusted_ca_db(ROOT)
        domain.set_peer_authentication(SSLDomain.VERIFY_PEER)
        self.connection = BlockingConnection(
            f"amqps://{HOST}:5671", ssl_domain=domain, timeout=20, allowed_mechs=mechanism, virtual_host=HOST,
            user=user, password=password,
        )
        self.claims = None

    def put(self, audience, text, kind="servicebus.windows.net:sastoken"):
        if self.claims is None:
            self.claims = (
                self.connection.create_sender("$cbs"), self.connection.create_receiver("$cbs", credit=100),
            )
        sender, receiver = self.claims
        name = uuid.uuid4()
        sender.send(
            Message(
                id=name, reply_to="cbs", body=text,
                properties={"operation": "put-token", "type": kind, "name": audience},
            )
        )
        answer = receiver.receive(timeout=20)
        assert answer.correlation_id == name, answer
        return int(answer.properties["status-code"])

    def close(self):
        self.connection.close()


class Device:
    """What a device does over a connection."""

    def __init__(self, hub, name, module=None, authorize=True):
        self.hub = hub
        self.resource = f"{HOST}/devices/{name}" + (f"/modules/{module}" if module else "")
        self.path = f"amqps://{self.resource}"
        if authorize:
            assert hub.put(self.resource, token(self.resource)) == 200
        self.connection = hub.connection

    def sender(self, node, *options):
        return self.connection.create_sender(f"{self.path}/{node}", options=list(options) or None)

    def receiver(self, node, *options, credit=100):
        return self.connection.create_receiver(f"{self.path}/{node}", credit=credit, options=list(options) or None)

    def telemetry(self):
        return self.sender("messages/events")

    def twin(self):
        return Twin(self)


class Twin:
    def __init__(self, device):
        correlation = uuid.uuid4()
        self.receiver = device.receiver("twin", AtMostOnce(), Channel("twin", correlation))
        self.sender = device.sender("twin", AtMostOnce(), Channel("twin", correlation))
        self.changes = []

    def ask(self, verb, resource=None, body=None, version=None):
        name = f"{verb.title()}{uuid.uuid4()}"
        annotations = {symbol("operation"): verb}
        if resource:
            annotations[symbol("resource")] = resource
        if version is not None:
            annotations[symbol("version")] = version
        self.sender.send(
            Message(
                correlation_id=name, annotations=annotations, inferred=True,
                body=b"" if body is None else json.dumps(body).encode(),
            )
        )
        while True:
            answer = self.receiver.receive(timeout=20)
            if answer.correlation_id is None:
                self.changes.append(answer)
                continue
            assert answer.correlation_id == name, answer
            body = bytes(answer.body)
            return answer.annotations["status"], answer.annotations.get("version"), json.loads(body) if body else None

    def change(self):
        """The next change of the desired properties."""
        answer = self.changes.pop(0) if self.changes else self.receiver.receive(timeout=20)
        assert answer.correlation_id is None, answer
        assert answer.annotations["resource"] == "/properties/desired", answer
        return answer.annotations["version"], json.loads(bytes(answer.body))


def event(text, **properties):
    return Message(inferred=True, body=text.encode(), **properties)


make_device("amqp-1", modules=["m"])
make_device("amqp-2")
hub = Hub()
first = Device(hub, "amqp-1")
second = Device(hub, "amqp-2")
module = Device(hub, "amqp-1", module="m")


@operation("Qpid Proton")
def put_a_token_that_is_good_bad_or_none():
    own = f"{HOST}/devices/amqp-1"
    assert hub.put(own, token(own)) == 200
    assert hub.put(own, token(own, key=OTHER_KEY)) == 200
    assert hub.put(own, token(own), kind="azure-devices.net:sastoken") == 200
    assert hub.put(own, token(own, key=base64.b64encode(b"x" * 32).decode())) == 401
    assert hub.put(own, token(own, lifetime=-3600)) == 401
    assert hub.put(own, token(f"{HOST}/devices/nobody")) == 401
    assert hub.put(own, "nonsense") == 400
    assert hub.put(own, token(own), kind="jwt") == 400


@operation("Qpid Proton")
def send_telemetry_of_several_identities_on_one_connection():
    for device, name in [(first, "amqp-1"), (second, "amqp-2"), (module, "amqp-1/m")]:
        sender = device.telemetry()
        for number in range(10):
            sender.send(
                event(
                    json.dumps({"from": name, "number": number}), id=f"{name}-{number}", content_type="application/json",
                    content_encoding="utf-8", properties={"level": "info", "a b": "c&d=é"},
                    annotations={symbol("iothub-interface-id"): "urn:test"},
                )
            )
        sender.close()


@operation("Qpid Proton")
def telemetry_that_is_too_large_is_rejected():
    sender = first.telemetry()
    try:
        sender.send(event("x" * (257 * 1024)))
        raise AssertionError("it was taken")
    except SendException:
        pass
    sender.send(event("x" * (250 * 1024)))
    sender.close()


@operation("Qpid Proton")
def a_link_without_a_token_is_refused():
    other = Hub()
    for node in ["devices/amqp-2/messages/events", "devices/amqp-1/modules/m/messages/events"]:
        assert other.put(f"{HOST}/devices/amqp-1", token(f"{HOST}/devices/amqp-1")) == 200
        try:
            other.connection.create_sender(node)
            raise AssertionError("it was attached")
        except LinkDetached as error:
            assert error.condition == "amqp:unauthorized-access", error
    try:
        other.connection.create_sender("devices/amqp-1/nothing")
        raise AssertionError("it was attached")
    except LinkDetached as error:
        assert error.condition == "amqp:not-found", error
    other.close()


@operation("Qpid Proton")
def twin_get_report_and_desired_changes():
    twin = first.twin()
    status, _, document = twin.ask("GET")
    assert status == 200 and document["desired"]["$version"] == 1, document
    status, version, _ = twin.ask("PATCH", "/properties/reported", {"speed": 7})
    assert status == 200 and version == 2, (status, version)
    status, version, _ = twin.ask("PATCH", "/properties/reported", {"speed": 8}, version=2)
    assert status == 200 and version == 3
    status, _, error = twin.ask("PATCH", "/properties/reported", {"speed": 9}, version=2)
    assert status == 412 and error["errorCode"] == 412001, error
    status, _, error = twin.ask("PATCH", "/properties/reported", [1])
    assert status == 400, error
    assert twin.ask("PUT", "/notifications/twin/properties/desired")[0] == 200
    registry.update_twin("amqp-1", models.Twin(properties=models.TwinProperties(desired={"colour": "red"})))
    version, patch = twin.change()
    assert version == 2 and patch == {"colour": "red", "$version": 2}, patch
    assert twin.ask("DELETE", "/notifications/twin/properties/desired")[0] == 200
    registry.update_twin("amqp-1", models.Twin(properties=models.TwinProperties(desired={"colour": "blue"})))
    status, _, document = twin.ask("GET")
    assert document["desired"]["colour"] == "blue" and document["reported"]["speed"] == 8, document
    assert not twin.changes
    assert registry.get_twin("amqp-1").properties.reported["speed"] == 8
    twin.sender.close()
    twin.receiver.close()


@operation("Qpid Proton")
def methods_of_a_device_and_a_module():
    for device, call in [
        (first, lambda method: registry.invoke_device_method("amqp-1", method)),
        (module, lambda method: registry.invoke_device_module_method("amqp-1", "m", method)),
    ]:
        correlation = uuid.uuid4()
        receiver = device.receiver("methods/devicebound", AtMostOnce(), Channel("methods", correlation))
        sender = device.sender("methods/devicebound", Channel("methods", correlation))
        answers = []
        caller = threading.Thread(
            target=lambda: answers.append(
                call(models.CloudToDeviceMethod(method_name="reboot", payload={"in": 3}, response_timeout_in_seconds=20))
            )
        )
        caller.start()
        request = receiver.receive(timeout=20)
        assert isinstance(request.correlation_id, uuid.UUID), request
        assert request.properties["IoThub-methodname"] == "reboot", request
        assert json.loads(bytes(request.body)) == {"in": 3}, request
        sender.send(
            Message(
                correlation_id=request.correlation_id, inferred=True, body=json.dumps({"done": True}).encode(),
                properties={"IoThub-status": int32(201)},
            )
        )
        caller.join()
        assert answers and answers[0].status == 201 and answers[0].payload == {"done": True}, answers
        sender.close()
        receiver.close()


# MARK: Services


def entity_client(**options):
    connection = (
        f"Endpoint=sb://{HOST}/;SharedAccessKeyName={PARTS['SharedAccessKeyName']};"
        f"SharedAccessKey={PARTS['SharedAccessKey']};EntityPath={ENTITY}"
    )
    return EventHubConsumerClient.from_connection_string(
        connection, consumer_group="$Default", connection_verify=ROOT, **options
    )


def receive(count, seconds=40, client=None, **options):
    """So many events, by partition."""
    own = client or entity_client()
    events = []
    done = threading.Event()

    def take(context, batch):
        events.extend((context.partition_id, each) for each in batch)
        if len(events) >= count:
            done.set()

    reader = threading.Thread(
        target=lambda: own.receive_batch(on_event_batch=take, max_wait_time=0.2, **options), daemon=True
    )
    reader.start()
    assert done.wait(seconds), f"{len(events)} of {count} events"
    own.close()
    reader.join(20)
    return events


@operation("azure-eventhub")
def properties_of_the_entity_and_its_partitions():
    with entity_client() as client:
        facts = client.get_eventhub_properties()
        assert facts["eventhub_name"] == ENTITY and facts["partition_ids"] == ["0", "1", "2", "3"], facts
        partitions = [client.get_partition_properties(each) for each in facts["partition_ids"]]
        assert any(not each["is_empty"] and each["last_enqueued_sequence_number"] >= 9 for each in partitions), partitions


everything = []


@operation("azure-eventhub")
def receive_from_the_beginning():
    everything.extend(receive(31, starting_position="-1"))
    own = [
        (part, each) for part, each in everything
        if each.system_properties[b"iothub-connection-device-id"] == b"amqp-1"
        and b"iothub-connection-module-id" not in each.system_properties
    ]
    small = [(part, each) for part, each in own if each.content_type == "application/json"]
    assert [json.loads(each.body_as_str())["number"] for _, each in small] == list(range(10)), small
    assert len({part for part, _ in own}) == 1
    part, one = small[0]
    system = one.system_properties
    assert system[b"message-id"] == b"amqp-1-0" and system[b"content-encoding"] == b"utf-8", system
    assert system[b"iothub-message-source"] == b"Telemetry" and system[b"iothub-enqueuedtime"] > 0, system
    assert json.loads(system[b"iothub-connection-auth-method"])["scope"] == "device", system
    assert system[b"iothub-interface-id"] == b"urn:test", system
    assert one.properties == {b"level": b"info", b"a b": "c&d=é".encode()}, one.properties
    from_module = [each for _, each in everything if each.system_properties.get(b"iothub-connection-module-id") == b"m"]
    assert len(from_module) == 10
    numbers = [each.sequence_number for each_part, each in everything if each_part == part]
    assert numbers == sorted(set(numbers))


def of_one_partition():
    part = everything[0][0]
    return part, [each for each_part, each in everything if each_part == part]


@operation("azure-eventhub")
def receive_after_and_at_an_offset_a_sequence_number_and_a_time():
    part, known = of_one_partition()
    middle = known[len(known) // 2]
    later = [each.sequence_number for each in known if each.sequence_number > middle.sequence_number]
    for position, inclusive in [
        (middle.offset, False), (middle.offset, True), (middle.sequence_number, False), (middle.sequence_number, True),
    ]:
        expected = ([middle.sequence_number] if inclusive else []) + later
        found = receive(
            len(expected), partition_id=part, starting_position=position, starting_position_inclusive=inclusive
        )
        assert [each.sequence_number for _, each in found][: len(expected)] == expected, (position, inclusive)
    found = receive(1, partition_id=part, starting_position=middle.enqueued_time, starting_position_inclusive=True)
    first_found = found[0][1]
    assert first_found.enqueued_time >= middle.enqueued_time and first_found.sequence_number <= middle.sequence_number


@operation("azure-eventhub")
def receive_what_comes_from_now_on():
    client = entity_client()
    events = []
    done = threading.Event()

    def take(context, one):
        if one is not None:
            events.append(one)
            done.set()

    ready = threading.Event()
    reader = threading.Thread(
        target=lambda: client.receive(
            take, starting_position="@latest", on_partition_initialize=lambda context: ready.set()
        ), daemon=True,
    )
    reader.start()
    assert ready.wait(30)
    sender = second.telemetry()
    # A reader begins a moment after it was announced, so that the first of these may come before it.
    for number in range(60):
        sender.send(event(f"now-{number}"))
        if done.wait(0.5):
            break
    assert events and events[0].body_as_str().startswith("now-"), events
    sender.close()
    client.close()
    reader.join(20)


@operation("azure-eventhub")
def a_higher_epoch_takes_the_partition():
    part, known = of_one_partition()
    low, high = entity_client(), entity_client()
    taken, lost = threading.Event(), threading.Event()

    def take(context, batch):
        if batch:
            taken.set()

    def fail(context, error):
        if "stolen" in str(error).lower() or "epoch" in str(error).lower():
            lost.set()

    reader = threading.Thread(
        target=lambda: low.receive_batch(
            take, partition_id=part, owner_level=1, starting_position="-1", on_error=fail, max_wait_time=0.2
        ), daemon=True,
    )
    reader.start()
    assert taken.wait(30)
    found = receive(1, client=high, partition_id=part, owner_level=2, starting_position="-1")
    assert found
    assert lost.wait(30)
    low.close()
    reader.join(20)


@operation("azure-eventhub")
def receive_over_websocket():
    found = receive(1, client=entity_client(transport_type=TransportType.AmqpOverWebsocket), starting_position="-1")
    assert found


@operation("Qpid Proton")
def events_are_redirected_to_the_entity():
    service = Hub("PLAIN", f"iothubowner@sas.root.{ENTITY}", token(HOST, PARTS["SharedAccessKey"], "iothubowner"))
    try:
        service.connection.create_receiver("/messages/events/$management")
        raise AssertionError("it was attached")
    except LinkDetached as error:
        assert error.condition == "amqp:link:redirect", error
    service.close()


@operation("azure-iot-hub")
def cloud_to_device_messages_and_their_settlement():
    receiver = first.receiver("messages/devicebound", credit=0)
    queue = IoTHubAmqpClientSharedAccessKeyAuth(HOST, PARTS["SharedAccessKeyName"], PARTS["SharedAccessKey"])
    for number in range(3):
        queue.send_message_to_device(
            "amqp-1", f"message {number}",
            {"messageId": f"c2d-{number}", "contentType": "text/plain", "iothub-ack": "full", "colour": "red"},
        )
    message = receiver.receive(timeout=20)
    assert bytes(message.body) == b"message 0" and message.id == "c2d-0", message
    assert message.properties["colour"] == "red" and message.content_type == "text/plain", message
    assert message.annotations["x-opt-sequence-number"] > 0 and message.annotations["iothub-deliverycount"] == 0
    receiver.accept()
    message = receiver.receive(timeout=20)
    assert message.id == "c2d-1", message
    receiver.release(delivered=False)
    message = receiver.receive(timeout=20)
    assert message.id in ("c2d-1", "c2d-2"), message
    receiver.accept()
    message = receiver.receive(timeout=20)
    assert message.id in ("c2d-1", "c2d-2"), message
    receiver.reject()
    receiver.close()
    try:
        queue.send_message_to_device("nobody", "lost", {})
        was_taken = True
    except Exception:  # noqa: BLE001 of several classes, by the version
        was_taken = False
    assert not was_taken
    queue.disconnect_sync()


@operation("azure-iot-hub")
def a_message_to_a_device_over_websocket():
    receiver = second.receiver("messages/devicebound")
    queue = IoTHubAmqpClientSharedAccessKeyAuth(
        HOST, PARTS["SharedAccessKeyName"], PARTS["SharedAccessKey"], uamqp.TransportType.AmqpOverWebsocket
    )
    queue.send_message_to_device("amqp-2", "over websocket", {})
    message = receiver.receive(timeout=20)
    assert bytes(message.body) == b"over websocket", message
    receiver.accept()
    receiver.close()
    queue.disconnect_sync()


@operation("Qpid Proton")
def feedback_about_messages():
    service = Hub()
    assert service.put(HOST, token(HOST, PARTS["SharedAccessKey"], "iothubowner")) == 200
    receiver = service.connection.create_receiver("/messages/serviceBound/feedback", credit=10)
    message = receiver.receive(timeout=40)
    records = json.loads(bytes(message.body))
    outcomes = {each["originalMessageId"]: each["statusCode"] for each in records}
    assert outcomes.get("c2d-0") == "Success" and "Rejected" in outcomes.values(), outcomes
    receiver.accept()
    service.close()


@operation("Qpid Proton")
def a_second_connection_takes_an_identity_over():
    sender = second.telemetry()
    sender.send(event("before"))
    other = Hub()
    taken = Device(other, "amqp-2").telemetry()
    taken.send(event("after"))
    try:
        for _ in range(3):
            sender.send(event("too late"))
        raise AssertionError("the older connection still sends")
    except LinkDetached as error:
        assert error.condition == "amqp:link:stolen", error
    # What else lives on the older connection is not disturbed.
    still = first.telemetry()
    still.send(event("still here"))
    still.close()
    other.close()


@operation("Qpid Proton")
def one_identity_by_plain_sasl():
    own = Hub("PLAIN", f"amqp-2@sas.{ENTITY}", token(f"{HOST}/devices/amqp-2"))
    sender = Device(own, "amqp-2", authorize=False).telemetry()
    sender.send(event("plain"))
    own.close()
    try:
        Hub("PLAIN", f"amqp-2@sas.{ENTITY}", token(f"{HOST}/devices/amqp-1"))
        raise AssertionError("it was taken")
    except ConnectionException:
        pass


@operation("Qpid Proton")
def a_disabled_device_loses_its_links():
    sender = second.telemetry()
    sender.send(event("enabled"))
    registry.update_device_with_sas("amqp-2", "*", KEY, OTHER_KEY, "disabled")
    try:
        for _ in range(100):
            sender.send(event("disabled"))
        raise AssertionError("it still sends")
    except LinkDetached as error:
        assert error.condition == "amqp:unauthorized-access", error


hub.close()

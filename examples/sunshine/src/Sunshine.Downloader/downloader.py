"""Reads a solar inverter over HTTP and sends what it says as messages.

Where the inverter is, and how often to ask, come from the desired properties of the module's twin:

    {"inverter": {"address": "http://host:8080", "username": "…", "password": "…"},
     "liveDataSeconds": 20, "feedSeconds": 300}

Each change is taken over at once and confirmed in the reported properties (never the password).
The direct method `status` answers with what was sent so far, `poll` asks the inverter at once.
"""

import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import urllib.error
import urllib.request
import uuid

from azure.iot.device import Message, MethodResponse
from azure.iot.device.aio import IoTHubModuleClient

log = logging.getLogger("downloader")

HTTP_TIMEOUT_SECONDS = 10
LARGEST_ANSWER = 200_000


class Inverter:
    """The inverter's HTTP interface, with basic authentication."""

    def __init__(self, address, username, password):
        self.address = address.rstrip("/")
        credentials = f"{username}:{password}".encode()
        self.authorization = "Basic " + base64.b64encode(credentials).decode()

    def _get(self, path):
        request = urllib.request.Request(self.address + path, headers={"Authorization": self.authorization})
        with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read(LARGEST_ANSWER))

    async def get(self, path):
        return await asyncio.to_thread(self._get, path)


class Settings:
    """The desired properties, with defaults for what they leave out."""

    def __init__(self, desired):
        inverter = desired.get("inverter") or {}
        self.address = inverter.get("address")
        self.username = inverter.get("username", "")
        self.password = inverter.get("password", "")
        self.live_seconds = max(0.2, float(desired.get("liveDataSeconds", 20)))
        self.feed_seconds = max(1.0, float(desired.get("feedSeconds", 300)))

    @property
    def inverter(self):
        return Inverter(self.address, self.username, self.password) if self.address else None


class Downloader:
    def __init__(self, client):
        self.client = client
        self.desired = {}
        self.settings = Settings({})
        self.changed = asyncio.Event()
        self.sent = {"liveData": 0, "liveList": 0, "feed": 0}
        self.last_error = None

    # Messages

    async def send(self, kind, body, correlation):
        text = json.dumps(body, separators=(",", ":"))
        message = Message(text, str(uuid.uuid4()), content_encoding="utf-8", content_type="application/json")
        message.correlation_id = correlation
        message.custom_properties["__messageType"] = kind
        await self.client.send_message(message)
        self.sent[kind] += 1

    async def poll_live(self, inverter):
        await self.send("liveData", await inverter.get("/v1/livedata"), str(uuid.uuid4()))

    async def poll_feeds(self, inverter):
        correlation = str(uuid.uuid4())
        listing = await inverter.get("/v1/livedata/list")
        await self.send("liveList", listing, correlation)
        for feed in listing["feeds"]:
            await self.send("feed", await inverter.get(f"/v1/feeds/{feed}"), correlation)

    # The loops: one for live data, one for lists and feeds

    async def every(self, seconds, work):
        """Does `work` again and again, at the period that the twin asks for at that moment."""
        while True:
            inverter = self.settings.inverter
            if inverter is not None:
                try:
                    await work(inverter)
                    self.last_error = None
                except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
                    # The inverter sleeps, restarts, or refuses: say so once and ask again next time.
                    if str(error) != self.last_error:
                        log.warning("inverter: %s", error)
                    self.last_error = str(error)
            changed = self.changed
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), seconds() if inverter else None)

    # Twin and methods

    async def take_over(self, patch):
        version = patch.pop("$version", None)
        self.desired = merge(self.desired, patch)
        try:
            self.settings = Settings(self.desired)
            problem = None
        except (TypeError, ValueError) as error:
            problem = f"desired properties refused: {error}"
            log.error(problem)
        wake, self.changed = self.changed, asyncio.Event()
        wake.set()
        await self.client.patch_twin_reported_properties(
            {
                "state": problem or ("running" if self.settings.address else "waiting for the inverter's address"),
                "desiredVersion": version,
                "inverter": {"address": self.settings.address},
                "liveDataSeconds": self.settings.live_seconds,
                "feedSeconds": self.settings.feed_seconds,
            }
        )

    async def report_specs(self, inverter):
        specs = await inverter.get("/v1/specs")
        await self.client.patch_twin_reported_properties({"specs": specs})

    async def answer(self, request):
        status, payload = 200, {"sent": self.sent, "lastError": self.last_error}
        if request.name == "poll":
            inverter = self.settings.inverter
            if inverter is None:
                status, payload = 409, {"error": "the twin names no inverter"}
            else:
                try:
                    payload = await inverter.get("/v1/livedata")
                except (OSError, ValueError) as error:
                    status, payload = 502, {"error": str(error)}
        elif request.name != "status":
            status, payload = 404, {"error": f"no method {request.name}", "methods": ["status", "poll"]}
        await self.client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))

    async def run(self):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.client.connect()
        log.info("connected")
        self.client.on_twin_desired_properties_patch_received = on(loop, self.take_over)
        self.client.on_method_request_received = on(loop, self.answer)
        twin = await self.client.get_twin()
        await self.take_over(dict(twin["desired"]))

        specs_reported = False

        async def feeds(inverter):
            nonlocal specs_reported
            if not specs_reported:
                await self.report_specs(inverter)
                specs_reported = True
            await self.poll_feeds(inverter)

        loops = [
            asyncio.create_task(self.every(lambda: self.settings.live_seconds, self.poll_live)),
            asyncio.create_task(self.every(lambda: self.settings.feed_seconds, feeds)),
            asyncio.create_task(stop.wait()),
        ]
        # A loop that ends has failed for a reason of its own; the restart policy takes it from there.
        done, pending = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        log.info("stopping after %s", self.sent)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self.client.shutdown(), 5)
        for task in done:
            task.result()


def on(loop, handle):
    """The SDK calls handlers on an event loop of its own; what they touch, and wake, belongs to `loop`."""

    async def handler(argument):
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(handle(argument), loop))

    return handler


def merge(old, patch):
    """A JSON merge patch: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


async def main():
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s %(message)s")
    if os.environ.get("LOG_LEVEL") != "DEBUG":
        logging.getLogger("azure").setLevel(logging.ERROR)
    await Downloader(IoTHubModuleClient.create_from_edge_environment()).run()


if __name__ == "__main__":
    asyncio.run(main())

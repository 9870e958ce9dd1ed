#!/usr/bin/env python3
"""hub.py PROGRAM: the hub against mosquitto in the same run, in alternation, and a registry of a million twins.

Telemetry at quality 1 over TLS with 1, 10 and 100 connections: ours acknowledged when it is on disk, mosquitto's in memory
and with its persistence; latency at 70 % of what was reached; idle TLS connections with the memory of each; reported
properties a second; and what a deployment to all twins takes. Each figure is the median of the rounds.

ROUNDS (3), SECONDS (6), IDLE (19000), TWINS (1000000) make it longer or shorter; ONLY=telemetry,idle,twins,registry runs
parts of it. Needs mosquitto, libssl-dev and a C compiler (scripts/setup --for-bench).
"""
import base64
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "6"))
IDLE = int(os.environ.get("IDLE", "19000"))
TWINS = int(os.environ.get("TWINS", "1000000"))
ONLY = set(filter(None, os.environ.get("ONLY", "").split(",")))
VERSION = "api-version=2021-04-12"
SIZE = 256


def wanted(part):
    return not ONLY or part in ONLY


def signed(resource, key, name=None):
    resource, expiry = urllib.parse.quote(resource, safe=""), int(time.time()) + 86_400
    signature = base64.b64encode(
        hmac.new(base64.b64decode(key), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest())
    token = f"SharedAccessSignature sr={resource}&sig={urllib.parse.quote(signature, safe='')}&se={expiry}"
    return token + (f"&skn={name}" if name else "")


def pss(pid):
    """Kilobytes of memory that are this process's own, shared ones in proportion."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


class Hub:
    def __init__(self, program, folder):
        self.folder = f"{folder}/hub"
        self.log = open(f"{folder}/hub.log", "w")
        self.process = subprocess.Popen(
            [program, "hub", "run", "--data", self.folder, "--hostname", "localhost", "--bind", "127.0.0.1",
             "--https-port", "0", "--mqtt-port", "0", "--amqp-port", "0", "--log-level", "warning"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready = self.process.stdout.readline().split()
        if not ready or ready[0] != "ready":
            sys.exit(f"bench-hub: the hub does not serve; {folder}/hub.log tells why")
        ports = dict(word.split("=") for word in ready[1:])
        self.https, self.mqtt = int(ports["https"]), int(ports["mqtt"])
        fields = dict(
            field.split("=", 1) for field in subprocess.run(
                [program, "hub", "connection-string", "--data", self.folder], capture_output=True, text=True,
                check=True).stdout.strip().split(";"))
        self.token = signed("localhost", fields["SharedAccessKey"], fields["SharedAccessKeyName"])
        authority = subprocess.run(
            [program, "hub", "ca", "--data", self.folder], capture_output=True, text=True, check=True).stdout
        self.trust = ssl.create_default_context(cadata=authority)

    def connection(self):
        return http.client.HTTPSConnection("localhost", self.https, context=self.trust, timeout=600)

    def call(self, method, path, body=None, connection=None, headers=None):
        connection = connection or self.connection()
        connection.request(
            method, f"{path}{'&' if '?' in path else '?'}{VERSION}",
            None if body is None else json.dumps(body),
            {"Authorization": self.token, "Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"bench-hub: {method} {path} answers {answer.status}: {text[:300].decode(errors='replace')}")
        return json.loads(text) if text else None

    def register(self, entries, hands=4):
        """Bulk calls of a hundred each, over several connections."""
        def some(parts):
            connection = self.connection()
            for part in parts:
                answer = self.call("POST", "/devices", part, connection)
                if answer and not answer.get("isSuccessful", True):
                    sys.exit(f"bench-hub: registering fails: {json.dumps(answer)[:300]}")
        batches = [entries[start:start + 100] for start in range(0, len(entries), 100)]
        with concurrent.futures.ThreadPoolExecutor(hands) as pool:
            list(pool.map(some, [batches[hand::hands] for hand in range(hands)]))

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Mosquitto:
    def __init__(self, folder, name, port, persistence):
        self.port = port
        path = f"{folder}/{name}"
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o777)
        with open(f"{path}/mosquitto.conf", "w") as file:
            file.write(
                f"listener {port} 127.0.0.1\ncertfile {folder}/cert.pem\nkeyfile {folder}/key.pem\n"
                f"allow_anonymous true\nmax_inflight_messages 1000\nmax_queued_messages 0\nlog_type error\n"
                f"persistence {'true' if persistence else 'false'}\n"
                + (f"persistence_location {path}/\nautosave_interval 1\n" if persistence else ""))
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([program, "-c", f"{path}/mosquitto.conf"], stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Load:
    def __init__(self, folder):
        self.program = f"{folder}/fleet"
        subprocess.run(
            ["cc", "-O2", "-o", self.program, f"{HERE}/hub/fleet.c", "-lssl", "-lcrypto"], check=True)

    def arguments(self, mode, port, **options):
        return [self.program, mode, f"port={port}"] + [f"{name}={value}" for name, value in options.items()]

    def run(self, mode, port, **options):
        done = subprocess.run(self.arguments(mode, port, **options), capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"bench-hub: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def hold(self, port, **options):
        process = subprocess.Popen(
            self.arguments("connect", port, **options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        if not line:
            sys.exit("bench-hub: the connections were not made")
        return process, json.loads(line)


def median(values):
    return statistics.median(values)


def devices(hub, folder, count):
    """Registers clients, and writes them down as the load generator reads them."""
    key = base64.b64encode(hashlib.sha256(b"bench").digest()).decode()
    entries = [
        {"id": f"bench-{place}", "importMode": "create", "status": "enabled",
         "authentication": {"type": "sas", "symmetricKey": {"primaryKey": key, "secondaryKey": key}}}
        for place in range(count)]
    hub.register(entries)
    path = f"{folder}/identities"
    with open(path, "w") as file:
        for entry in entries:
            name = entry["id"]
            file.write("\t".join([
                name, f"localhost/{name}/?api-version=2021-04-12", signed(f"localhost/devices/{name}", key),
                f"devices/{name}/messages/events/"]) + "\n")
    return path


def telemetry(hub, load, identities, memory, disk):
    print(f"telemetry, quality 1, {SIZE} bytes, TLS; messages a second (hub: on disk before it is acknowledged)")
    for count, window in ((1, 100), (10, 100), (100, 100), (100, 1)):
        rates = {"hub": [], "memory": [], "persistent": []}
        for _ in range(ROUNDS):
            common = dict(count=count, window=window, seconds=SECONDS, size=SIZE)
            rates["hub"].append(load.run("publish", hub.mqtt, identities=identities, **common)["rate"])
            rates["memory"].append(load.run("publish", memory.port, **common)["rate"])
            rates["persistent"].append(load.run("publish", disk.port, **common)["rate"])
        ours, peer, kept = (median(rates[name]) for name in ("hub", "memory", "persistent"))
        print(
            f"  {count:3} connections, {window:3} in flight each: hub {ours:,.0f}; mosquitto {peer:,.0f}, with persistence"
            f" {kept:,.0f}; ratio {ours / peer:.2f} and {ours / kept:.2f}", flush=True)
        if (count, window) == (10, 100):
            rate = int(ours * 0.7)
    for rate in (2_000, rate):
        found = {"hub": [], "mosquitto": []}
        for _ in range(ROUNDS):
            common = dict(count=10, rate=rate, seconds=SECONDS, size=SIZE)
            found["hub"].append(load.run("publish", hub.mqtt, identities=identities, **common))
            found["mosquitto"].append(load.run("publish", memory.port, **common))
        told = "; ".join(
            f"{name} p50 {median([run['p50'] for run in runs]):.2f}, p99 {median([run['p99'] for run in runs]):.2f}"
            for name, runs in found.items())
        print(f"  until acknowledged at {rate:,} a second, ms: {told}", flush=True)


def idle(hub, load, identities, memory):
    print(f"{IDLE:,} idle TLS connections")
    for name, pid, port, options in (
            ("hub", hub.process.pid, hub.mqtt, {"identities": identities}),
            ("mosquitto", memory.process.pid, memory.port, {})):
        before = pss(pid)
        process, told = load.hold(port, count=IDLE, parallel=64, **options)
        time.sleep(3)
        each = (pss(pid) - before) / IDLE
        process.stdin.close()
        process.wait()
        print(f"  {name}: {told['rate']:,.0f} connects a second, {each:.1f} KB for each", flush=True)


def twins(hub, load, identities):
    print("reported properties, durable")
    for count, window in ((1, 1), (16, 1), (16, 16)):
        runs = [
            load.run("twin", hub.mqtt, identities=identities, count=count, window=window, seconds=SECONDS)
            for _ in range(ROUNDS)]
        print(
            f"  {count:2} devices, {window:2} in flight each: {median([run['rate'] for run in runs]):,.0f} a second,"
            f" p50 {median([run['p50'] for run in runs]):.2f} ms, p99 {median([run['p99'] for run in runs]):.2f} ms",
            flush=True)


def registry(hub):
    print(f"{TWINS:,} devices")
    began = time.monotonic()
    step = 50_000
    for start in range(0, TWINS, step):
        hub.register([
            {"id": f"twin-{place}", "importMode": "create", "status": "enabled", "capabilities": {"iotEdge": True},
             "tags": {"site": f"site-{place % 100}", "floor": place % 10}}
            for place in range(start, min(TWINS, start + step))])
    took = time.monotonic() - began
    print(f"  registered in {took:,.1f} s, {TWINS / took:,.0f} a second; {pss(hub.process.pid) / 1024:,.0f} MB", flush=True)

    def counted(name, metric):
        found = hub.call("GET", f"/configurations/{name}")
        return found.get("systemMetrics", {}).get("results", {}).get(metric, 0)

    def deployment(name, condition, expected):
        modules = {
            "$edgeAgent": {"properties.desired": {
                "schemaVersion": "1.1",
                "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
                "systemModules": {
                    kind: {"type": "docker", "settings": {"image": f"mcr.microsoft.com/azureiotedge-{image}:1.5"}}
                    | ({"status": "running", "restartPolicy": "always"} if kind == "edgeHub" else {})
                    for kind, image in (("edgeAgent", "agent"), ("edgeHub", "hub"))},
                "modules": {}}},
            "$edgeHub": {"properties.desired": {
                "schemaVersion": "1.1", "routes": {}, "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}}}
        began = time.monotonic()
        hub.call("PUT", f"/configurations/{name}", {
            "id": name, "schemaVersion": "2.0", "targetCondition": condition, "priority": 1 + len(name),
            "content": {"modulesContent": modules}})
        answered, times = time.monotonic() - began, {}
        while "appliedCount" not in times:
            for metric in ("targetedCount", "appliedCount"):
                if metric not in times and counted(name, metric) >= expected:
                    times[metric] = time.monotonic() - began
            if time.monotonic() - began > 900:
                print(f"  {condition}: not everywhere after 900 s ({counted(name, 'appliedCount'):,})", flush=True)
                return
            time.sleep(0.05)
        print(
            f"  {condition}: answered in {answered * 1000:,.0f} ms, {expected:,} targeted after"
            f" {times['targetedCount']:,.2f} s, written after {times['appliedCount']:,.2f} s", flush=True)

    connection = hub.connection()
    found = []
    for _ in range(20):
        began = time.monotonic()
        hub.call("POST", "/devices/query", {"query": "SELECT COUNT() AS n FROM devices WHERE tags.site='site-7'"},
                 connection)
        found.append((time.monotonic() - began) * 1000)
    print(f"  query that counts by a tag: {median(found):,.1f} ms", flush=True)
    deployment("one-site", "tags.site='site-7'", TWINS // 100)
    deployment("everywhere", "tags.floor >= 0", TWINS)

    found = []
    for place in range(20):
        device = f"twin-{7 + 100 * place}"
        began = time.monotonic()
        hub.call("PATCH", f"/twins/{device}", {"tags": {"site": "site-8", "floor": None}}, connection)
        while True:
            twin = hub.call("GET", f"/twins/{device}/modules/%24edgeAgent", connection=connection)
            if not twin.get("configurations"):
                break
        found.append((time.monotonic() - began) * 1000)
    print(f"  a device that leaves its deployments: {median(found):,.1f} ms until its agent's twin says so", flush=True)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = tempfile.mkdtemp(prefix="hedgerow-bench-")
    os.chmod(folder, 0o755)
    running = []
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"],
            check=True, capture_output=True)
        os.chmod(f"{folder}/key.pem", 0o644)
        load = Load(folder)
        memory = Mosquitto(folder, "memory", 18_891, False)
        running.append(memory)
        disk = Mosquitto(folder, "persistent", 18_892, True)
        running.append(disk)
        hub = Hub(os.path.abspath(sys.argv[1]), folder)
        running.append(hub)
        identities = devices(hub, folder, max(IDLE if wanted("idle") else 0, 100))
        if wanted("telemetry"):
            telemetry(hub, load, identities, memory, disk)
        if wanted("idle"):
            idle(hub, load, identities, memory)
        if wanted("twins"):
            twins(hub, load, identities)
        if wanted("registry"):
            registry(hub)
    finally:
        for one in running:
            one.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

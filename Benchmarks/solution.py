#!/usr/bin/env python3
"""solution.py PROGRAM: our solution tool and the former one (iotedgedev from PyPI) in alternation, as ratios.

genconfig with 1 and 50 modules; build with nothing changed, 1 and 10 modules (needs an engine). Each figure is the median of
the rounds (ROUNDS, 9); the ratio is that of the medians. The former tool is installed into a cache of its own, or named by
IOTEDGEDEV. Exit status 1 when a ratio misses its mark.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = int(os.environ.get("ROUNDS", "9"))
MARKS = {"genconfig": 30, "build": 5}


def former():
    named = os.environ.get("IOTEDGEDEV")
    if named:
        return named
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    venv = f"{cache}/hedgerow/bench/iotedgedev"
    program = f"{venv}/bin/iotedgedev"
    if not os.path.exists(program):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([f"{venv}/bin/pip", "install", "--quiet", "iotedgedev==3.3.9"], check=True)
    return program


def solution(folder, count):
    """A solution with so many modules, each of one small file on an empty base."""
    modules = {}
    for number in range(count):
        name = f"module{number}"
        path = f"{folder}/modules/{name}"
        os.makedirs(path)
        with open(f"{path}/module.json", "w") as file:
            json.dump({"image": {"repository": f"hedgerow.bench/{name}", "tag": {
                "version": "1", "platforms": {"amd64": "Dockerfile"}}, "buildOptions": [], "contextPath": "./"}}, file)
        with open(f"{path}/Dockerfile", "w") as file:
            file.write("FROM scratch\nCOPY payload /\n")
        with open(f"{path}/payload", "w") as file:
            file.write(name)
        modules[name] = {"version": "1.0", "type": "docker", "status": "running", "restartPolicy": "always", "settings": {
            "image": "${MODULES.%s}" % name, "createOptions": {"HostConfig": {"Binds": ["/a:/b"]}}}}
    template = {"$schema-template": "4.0.0", "modulesContent": {
        "$edgeAgent": {"properties.desired": {
            "schemaVersion": "1.1", "runtime": {"type": "docker", "settings": {"minDockerVersion": "v1.25"}},
            "systemModules": {
                "edgeAgent": {"type": "docker", "settings": {"image": "agent:1", "createOptions": {}}},
                "edgeHub": {"type": "docker", "status": "running", "restartPolicy": "always", "settings": {
                    "image": "hub:1", "createOptions": {}}}},
            "modules": modules}},
        "$edgeHub": {"properties.desired": {
            "schemaVersion": "1.1", "routes": {"all": "FROM /messages/* INTO $upstream"},
            "storeAndForwardConfiguration": {"timeToLiveSecs": 7200}}}}}
    with open(f"{folder}/deployment.template.json", "w") as file:
        json.dump(template, file, indent=2)


def run(program, command, folder, environment):
    start = time.perf_counter()
    result = subprocess.run([program, command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    elapsed = time.perf_counter() - start
    if result.returncode != 0:
        sys.exit(f"{program} {command} failed:\n{result.stdout.decode()}{result.stderr.decode()}")
    return elapsed


def compare(ours, theirs, command, count, environment):
    folders = []
    with tempfile.TemporaryDirectory(prefix="hedgerow-bench-") as root:
        for name in ("ours", "theirs"):
            folders.append(f"{root}/{name}")
            os.makedirs(folders[-1])
            solution(folders[-1], count)
        times = ([], [])
        for place, program in enumerate((ours, theirs)):
            run(program, command, folders[place], environment)
        # A file that is younger than a tick of the clock cannot be trusted by its times.
        run(ours, command, folders[0], environment)
        for _ in range(ROUNDS):
            for place, program in enumerate((ours, theirs)):
                times[place].append(run(program, command, folders[place], environment))
        if command == "genconfig":
            manifests = [json.load(open(f"{folder}/config/deployment.amd64.json")) for folder in folders]
            assert manifests[0] == manifests[1], "the manifests differ"
    mine, other = (statistics.median(values) for values in times)
    ratio = other / mine
    word = "module " if count == 1 else "modules"
    verdict = "" if ratio >= MARKS[command] else f"  below the mark of {MARKS[command]}x"
    print(f"{command:9} {count:3} {word}  ours {mine * 1000:7.1f} ms   iotedgedev {other * 1000:7.1f} ms   "
          f"{ratio:6.1f}x{verdict}", flush=True)
    return not verdict


def main():
    ours = os.path.abspath(sys.argv[1])
    theirs = former()
    with tempfile.TemporaryDirectory(prefix="hedgerow-bench-home-") as home:
        os.makedirs(f"{home}/.iotedgedev")
        with open(f"{home}/.iotedgedev/setting.ini", "w") as file:
            file.write("[DEFAULT]\nfirsttime = no\ncollect_telemetry = no\n")
        environment = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
        if "DOCKER_HOST" in os.environ:
            environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
        good = [compare(ours, theirs, "genconfig", count, environment) for count in (1, 50)]
        good += [compare(ours, theirs, "build", count, environment) for count in (1, 10)]
    if shutil.which("docker"):
        names = [f"hedgerow.bench/module{number}:1-amd64" for number in range(10)]
        subprocess.run(["docker", "image", "rm", "--force", *names], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sys.exit(0 if all(good) else 1)


main()

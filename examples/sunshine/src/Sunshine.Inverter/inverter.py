"""A solar inverter that exists only as its HTTP interface.

    GET /v1/specs            what it is
    GET /v1/livedata         what it does now
    GET /v1/livedata/list    the values it knows, with units, and the names of its feeds
    GET /v1/feeds/NAME       one value over the day so far: power, energy, temperature

Basic authentication (USERNAME, PASSWORD of the environment). The day is computed, not stored: a sun that rises at
six, stands highest at one, sets at eight, and clouds that are the same for the same moment. DAY_SECONDS says how many
real seconds a day lasts (86400: the wall clock); a shorter day starts at nine in the morning.
"""

import base64
import hmac
import json
import math
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = int(os.environ.get("PORT", "8080"))
USERNAME = os.environ.get("USERNAME", "sunshine")
PASSWORD = os.environ.get("PASSWORD", "clear-sky")
DAY_SECONDS = float(os.environ.get("DAY_SECONDS", "86400"))

PEAK_WATTS = 7400.0
SUNRISE, NOON, SUNSET = 6.0, 13.0, 20.0
STARTED = time.time()
FEEDS = ("power", "energy", "temperature")


def hour_now():
    """The hour of the solar day, 0 up to 24, and the number of days gone by."""
    if DAY_SECONDS >= 86400:
        now = time.localtime()
        return now.tm_hour + now.tm_min / 60 + now.tm_sec / 3600, 0
    days = 9 / 24 + (time.time() - STARTED) / DAY_SECONDS
    return (days % 1) * 24, int(days)


def clouds(hour):
    """What the clouds let through, 0.55 to 1: slow waves, no chance involved."""
    wave = math.sin(hour * 2.3) + math.sin(hour * 5.1 + 1) + math.sin(hour * 11.7 + 2)
    return 1 - 0.45 * max(0.0, wave / 3)


def watts(hour):
    if not SUNRISE < hour < SUNSET:
        return 0.0
    half = (NOON - SUNRISE) if hour < NOON else (SUNSET - NOON)
    height = math.cos((hour - NOON) / half * math.pi / 2)
    return PEAK_WATTS * height**1.3 * clouds(hour)


def watt_hours(hour, step=0.05):
    """The energy of the day up to `hour`, by the midpoint rule."""
    steps = int(hour / step)
    return sum(watts((index + 0.5) * step) for index in range(steps)) * step


def celsius(hour):
    return 16 + 9 * math.sin((hour - 9) / 24 * 2 * math.pi) + 22 * watts(hour) / PEAK_WATTS


def clock(hour):
    return f"{int(hour) % 24:02}:{int(hour * 60) % 60:02}"


def specs():
    return {
        "manufacturer": "Hedgerow Works",
        "model": "SUN-8K-MOCK",
        "serial": "HW-0008-2019",
        "firmware": "1.4.2",
        "ratedPower": PEAK_WATTS,
        "strings": 2,
        "phases": 3,
    }


def livedata():
    hour, _ = hour_now()
    power = watts(hour)
    return {
        "time": clock(hour),
        "state": "feeding" if power > 50 else "sleeping",
        "acPower": round(power, 1),
        "dcPower": round(power / 0.972, 1),
        "energyToday": round(watt_hours(hour)),
        "temperature": round(celsius(hour), 1),
        "gridVoltage": [round(230 + 2.5 * math.sin(hour * 7 + phase), 1) for phase in range(3)],
        "gridFrequency": round(50 + 0.02 * math.sin(hour * 31), 3),
    }


def listing():
    units = {"acPower": "W", "dcPower": "W", "energyToday": "Wh", "temperature": "°C", "gridVoltage": "V",
             "gridFrequency": "Hz"}
    return {"values": [{"name": name, "unit": unit} for name, unit in units.items()], "feeds": list(FEEDS)}


def feed(name):
    value, unit = {"power": (watts, "W"), "energy": (watt_hours, "Wh"), "temperature": (celsius, "°C")}[name]
    hour, _ = hour_now()
    points = [quarter / 4 for quarter in range(int(hour * 4) + 1)][-24:]
    return {"name": name, "unit": unit, "points": [{"time": clock(at), "value": round(value(at), 1)} for at in points]}


class Handler(BaseHTTPRequestHandler):
    server_version = "Inverter/1.4"
    protocol_version = "HTTP/1.1"
    timeout = 30

    def allowed(self):
        expected = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode())

    def answer(self, status, body, **headers):
        content = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        path = self.path.split("?")[0].rstrip("/")
        if not self.allowed():
            return self.answer(401, {"error": "user name or password wrong"}, WWW_Authenticate='Basic realm="inverter"')
        pages = {"/v1/specs": specs, "/v1/livedata": livedata, "/v1/livedata/list": listing}
        if path in pages:
            return self.answer(200, pages[path]())
        name = path.removeprefix("/v1/feeds/")
        if name != path and name in FEEDS:
            return self.answer(200, feed(name))
        return self.answer(404, {"error": f"nothing at {path or '/'}"})

    def log_message(self, format, *arguments):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"inverter listens on port {PORT}", flush=True)
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()

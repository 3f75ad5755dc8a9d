"""A month in the life of a gateway, in a fraction of the time. See `run`."""

import glob
import json
import math
import os
import pathlib
import signal
import statistics
import subprocess
import threading
import time

import paho.mqtt.client as paho
import store
from broker import Mosquitto
from common import Failed, binary, main

SITE, GATEWAY = "soak", "gw-1"
SIZE = (40, 24)
# Two rows of receivers under the ceiling.
RECEIVERS = {f"r{row}{column}": (5 + 10 * column, 6 + 12 * row) for row in range(2) for column in range(4)}
ZONES = 6
DEVICES = 300
# Of all advertisements, those of registered beacons; the rest are strangers', as in a street of shops.
SHARE = 0.06
# How many shoppers with one are in the store at most.
INSIDE = 30
OPEN = (8, 21)
# Compared are samples of the second quarter, when everything has its size, and of the last. A day has to pass before the outbox
# keeps no more than it did: less than two say nothing.
FEWEST_DAYS = 2.0
# Seconds for the last events to arrive, before the end.
LAST_EVENTS = 10
# What may grow between them.
MOST_MEMORY, MOST_DISK, MOST_FILES = 0.05, 0.10, 2


RULES = """caps = ["3 per day"]
quiet_hours = ["20:00-09:00"]
"""
WHENS = [
    '{ entered = "aisle-1" }',
    '{ dwelled = "2m", in = "kind=aisle" }',
    '{ absent = "2d" }',
    '{ sequence = ["aisle-1", "aisle-5"], within = "30m" }',
    '{ missed = "aisle-4", was_in = "aisle-2" }',
]


def site(directory):
    """A hall of six zones side by side, its devices, and rules."""
    width = SIZE[0] / ZONES
    settings = {"labels": {"kind": "aisle"}, "dwell": ["30s", "5m"], "lost_after": "30s"}
    zones = [store._zone(f"aisle-{n}", (n * width, 0, (n + 1) * width, SIZE[1]), **settings) for n in range(ZONES)]
    devices = [f"d{number:03}" for number in range(DEVICES)]
    beacons = [(f"b-{device}", f"mac:{address(number)}", device) for number, device in enumerate(devices)]
    store.write(directory, SITE, SIZE, RECEIVERS, zones, devices, beacons)
    table = (directory / "devices.csv").read_text()
    (directory / "devices.csv").write_text(table.replace(",presence,", ",presence;marketing,"))
    rules = [f'\n[[trigger]]\nid = "t{n}"\ncampaign = "c{n % 3}"\nwhen = {when}\n' for n, when in enumerate(WHENS)]
    (directory / "triggers.toml").write_text(RULES + "".join(rules))


def address(number):
    return f"C2:00:00:00:{number >> 8:02X}:{number & 255:02X}"


class Shoppers:
    """Who is in the store at a simulated second, and what is heard of it."""

    def __init__(self, rng, rate):
        self.rng, self.rate = rng, rate
        self.there, self.lines = {}, {}
        names = list(RECEIVERS)
        stranger = lambda: "d5:" + rng.randbytes(5).hex(":")
        self.strangers = [self._line(rng.choice(names), stranger(), rng.randrange(-95, -60)) for _ in range(100_000)]

    def _line(self, receiver, who, rssi):
        line = {"time": "2026-01-01T00:00:00.000Z", "receiver": receiver, "address": who, "address_type": "random", "rssi": rssi}
        line["manufacturer_data"] = {"004c": "02155afe57a6123443219bcd00c0ffee123400070008c5"}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def second(self, at):
        """The lines of that second."""
        rng, hour = self.rng, at % 86_400 / 3_600
        is_open = OPEN[0] <= hour < OPEN[1]
        if is_open and len(self.there) < INSIDE and rng.random() < 0.05:
            device = rng.randrange(DEVICES)
            self.there.setdefault(device, [rng.uniform(0, SIZE[0]), rng.uniform(0, SIZE[1]), at + rng.uniform(120, 3_600)])
        for device, known in list(self.there.items()):
            if known[2] < at or not is_open:
                del self.there[device]
        lines = []
        if self.there:
            names = list(self.there)
            for _ in range(int(self.rate * SHARE / 3)):
                device = rng.choice(names)
                known = self.there[device]
                if rng.random() < 0.02:
                    known[0] = min(max(known[0] + rng.gauss(0, 4), 0), SIZE[0])
                    known[1] = min(max(known[1] + rng.gauss(0, 3), 0), SIZE[1])
                x, y = known[0], known[1]
                near = sorted(RECEIVERS, key=lambda name: math.hypot(x - RECEIVERS[name][0], y - RECEIVERS[name][1]))[:3]
                for name in near:
                    distance = max(math.hypot(x - RECEIVERS[name][0], y - RECEIVERS[name][1], 1.5), 0.5)
                    key = (device, name, round(-59 - 25 * math.log10(distance) + rng.gauss(0, 3)))
                    line = self.lines.get(key)
                    if line is None:
                        line = self.lines[key] = self._line(name, address(device).lower(), key[2])
                    lines.append(line)
        # A stretch of strangers costs next to nothing; where it begins is drawn.
        count = self.rate - len(lines)
        begin = rng.randrange(len(self.strangers) - count)
        return lines + self.strangers[begin : begin + count]


class Back:
    """A back end that counts: every event once or more, none missing, in order."""

    def __init__(self, run, port):
        self.last, self.events, self.again, self.missing, self.epochs = -1, 0, 0, 0, set()
        self.seen, self.lock = set(), threading.Lock()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "soak", protocol=paho.MQTTv5)
        trees = [(f"beaconfence/v1/{SITE}/{tree}/#", 1) for tree in ("events", "triggers")]
        self.client.on_connect = lambda client, *_: client.subscribe(trees)
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port, keepalive=60)
        self.client.loop_start()
        run.at_end(self.client.loop_stop)
        if not ready.wait(30):
            raise Failed("the subscriber is not let in")

    def _on_message(self, _client, _userdata, message):
        data = json.loads(message.payload)["data"]
        with self.lock:
            self.epochs.add(data["epoch"])
            if data["sequence"] in self.seen:
                self.again += 1
                return
            self.seen.add(data["sequence"])
            self.events += 1
            # Several are under way at a time: what is long past is not needed any more.
            if len(self.seen) > 20_000:
                floor = max(self.seen) - 10_000
                while self.last + 1 < floor:
                    self.last += 1
                    self.missing += self.last not in self.seen
                    self.seen.discard(self.last)

    def lacks(self):
        """How many numbers below the last one never came."""
        with self.lock:
            return self.missing + sum(number not in self.seen for number in range(self.last + 1, max(self.seen, default=-1) + 1))


def measure(child, data):
    """Memory and disk in bytes, open files, threads."""
    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
    field = lambda name: int(next(line for line in status.splitlines() if line.startswith(name)).split()[1])
    disk = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    return field("VmRSS:") * 1024, disk, len(os.listdir(f"/proc/{child.pid}/fd")), field("Threads:")


def try_out(environment, speed):
    """The faster clock on a small program, before anything is concluded from it."""
    program = "import time; a = time.monotonic(), time.time(); time.sleep(10); b = time.monotonic(), time.time(); print(b[0] - a[0], b[1] - a[1])"
    began = time.monotonic()
    done = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60)
    took = time.monotonic() - began
    try:
        passed = [float(word) for word in done.stdout.split()]
    except ValueError:
        passed = []
    if len(passed) != 2 or any(not 9 <= each <= 30 for each in passed) or took > 20 / speed + 2:
        raise Failed(f"libfaketime does not work here: {passed} s passed in {took:.2f} s; {done.stderr.strip()}")


def body(run):
    options = run.options
    hours = options.days * 24 / options.speed
    run.say(f"{options.days:g} days at {options.rate} advertisements a second, {options.speed} times as fast: {hours:.2f} hours")
    libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    if not libraries:
        raise Failed("libfaketime is missing: install the package faketime")
    environment = {"LD_PRELOAD": libraries[0], "FAKETIME": f"+0 x{options.speed}"}
    try_out(environment, options.speed)
    directory = run.dir / "site"
    site(directory)
    broker = Mosquitto(run, "max_queued_messages 100000\n")
    back = Back(run, broker.port)
    data = run.dir / "data"
    # A broker that answers within a second answers within `speed` seconds of the gateway's.
    keep_alive = min(18 * 3_600, 60 * options.speed)
    (run.dir / "gateway.toml").write_text(
        f'id = "{GATEWAY}"\nsite = {json.dumps(str(directory))}\ndata_dir = {json.dumps(str(data))}\n[mqtt]\nbrokers = ["{broker.url}"]\n'
        f'keep_alive = "{keep_alive}s"\nstatus_interval = "1h"\n[http]\nlisten = []\n'
    )
    child = run.spawn(
        [binary(), "run", "--config", str(run.dir / "gateway.toml"), "--sightings", "-"],
        "gateway.log", "the gateway", stdin=subprocess.PIPE, env={**os.environ, **environment},
    )
    shoppers = Shoppers(run.rng, options.rate)
    every = max(options.days * 86_400 / 120, 600)
    total, at, sampled, written, samples = options.days * 86_400, 0, 0, 0, []
    # The store opens two hours after the beginning.
    morning = (OPEN[0] - 2) * 3_600
    began = time.monotonic()
    heads = f"{'day':>6} {'advertisements':>15} {'events':>9} {'memory MB':>10} {'disk MB':>8} {'files':>6} {'threads':>8} {'pace':>6}"
    print(heads, flush=True)
    while at < total:
        lines = shoppers.second(at + morning)
        child.stdin.write(b"".join(lines))
        child.stdin.flush()
        written += len(lines)
        at += 1
        run.all_alive()
        ahead = at / options.speed - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
        if at - sampled >= every or at == total:
            sampled = at
            memory, disk, files, threads = measure(child, data)
            samples.append((memory, disk, files))
            pace = at / (time.monotonic() - began)
            row = f"{at / 86_400:6.2f} {written:15,} {back.events:9,} {memory / 1e6:10.1f} {disk / 1e6:8.1f} {files:6} {threads:8} {pace:5.0f}x"
            print(row, flush=True)
    run.unwatch(child)
    child.stdin.close()
    # The time that the gateway gives its last events is simulated time: too short for the broker, which lives in ours.
    time.sleep(LAST_EVENTS)
    child.send_signal(signal.SIGTERM)
    if child.wait(120) != 0:
        raise Failed(f"the gateway ended with {child.returncode}")
    time.sleep(2)
    judge(run, samples, back, options.days)


def judge(run, samples, back, days):
    log = (run.dir / "gateway.log").read_text(errors="replace")
    run.verdict.published = back.events
    lines = [f"soak/events measured={back.events} again={back.again} missing={back.lacks()}"]
    wrong = []
    if back.events == 0:
        wrong.append("no event came")
    if back.lacks():
        wrong.append(f"{back.lacks()} events never came")
    if len(back.epochs) != 1:
        wrong.append(f"there were {len(back.epochs)} epochs")
    if "panicked" in log:
        wrong.append("something panicked; see gateway.log")
    if days < FEWEST_DAYS:
        wrong.append(f"{days:g} days say nothing of growth: take --days {FEWEST_DAYS:g} or more")
    else:
        quarter = len(samples) // 4
        middle = lambda part, at: statistics.median(sample[at] for sample in part)
        early, late = samples[quarter : 2 * quarter], samples[-quarter:]
        for name, at, most, of in (("memory", 0, MOST_MEMORY, True), ("disk", 1, MOST_DISK, True), ("files", 2, MOST_FILES, False)):
            before, after = middle(early, at), middle(late, at)
            grown = after / before - 1 if of else after - before
            verdict = "met" if grown <= most else "missed"
            unit = f"{100 * grown:.1f}% goal={100 * most:.0f}%" if of else f"{grown:.0f} goal={most}"
            lines.append(f"soak/{name}-growth measured={unit} {verdict}")
            if verdict == "missed":
                wrong.append(f"{name} grew: {before:,.0f} in the second quarter, {after:,.0f} in the last")
    print("\n".join(lines))
    for problem in wrong:
        run.verdict.problem("wrong", problem)


def arguments(parser):
    parser.add_argument("--days", type=float, default=30.0, help="simulated days")
    parser.add_argument("--speed", type=int, default=400, help="how many times faster the clock goes")
    parser.add_argument("--rate", type=int, default=500, help="advertisements a simulated second")


main("soak", body, arguments)

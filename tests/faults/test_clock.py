"""The wall clock jumps under the gateway (libfaketime); devices stand in zones meanwhile. Durations are true, nobody leaves,
no threshold is reached too early, and nothing in the queue grows old."""

import datetime
import glob
import os
import subprocess
import time

import common
import judge
import store
from broker import Mosquitto
from common import Failed, seconds
from crowd import Crowd, standing
from gateway import ID, Gateway
from proxy import Proxy
from subscriber import Subscriber
from test_kill_sightings import still_inside

HALL = {"enter_after": "1s", "exit_after": "1s", "lost_after": "4s", "dwell": ["3s", "10s", "1h", "2h"]}
SITE = {"lost_after": "5s", "dwell": ["5s", "1h", "10d"]}
REACHED = {"hall": [3.0, 10.0], "site": [5.0]}
HOUR = 3600
IN_2020 = datetime.datetime(2020, 3, 1, 12, tzinfo=datetime.timezone.utc).timestamp()
PHASE = 7.0
TOLERANCE = 2.0


class FakeClock:
    """The offset of a process's wall clock, changed while it runs. The monotonic clock is left alone."""

    def __init__(self, run):
        libraries = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not libraries:
            raise Failed("libfaketime is missing: install the package faketime")
        self.path = run.dir / "faketime"
        self.environment = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": str(self.path),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, offset):
        new = self.path.with_suffix(".new")
        new.write_text(f"{offset:+.0f}\n")
        os.replace(new, self.path)

    def try_out(self):
        """On a small program, before anything is concluded from it."""
        program = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
        child = subprocess.Popen(
            ["/usr/bin/python3", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        try:
            for offset in (IN_2020 - time.time(), 0, 3 * HOUR, -2 * HOUR, 30 * 24 * HOUR):
                self.set(offset)
                child.stdin.write("now\n")
                child.stdin.flush()
                wall, monotonic = map(float, child.stdout.readline().split())
                if abs(wall - time.time() - offset) > 2 or abs(monotonic - time.monotonic()) > 2:
                    raise Failed(f"libfaketime does not work here: {wall}, {monotonic} at {offset}")
        finally:
            child.kill()
            child.wait()


def body(run):
    clock = FakeClock(run)
    clock.try_out()
    broker = Mosquitto(run)
    proxy = Proxy(run, broker.port)
    standers = ["stander-0", "stander-1"]
    phases = ["in 2020", "now", "ahead 3 h", "back 5 h", "ahead 30 d, broker away", "broker back"]
    # Each phase has a visitor of its own.
    visitors = [f"visitor-{n}" for n in range(len(phases))]
    devices = standers + visitors
    site = store.write_sightings_site(run.dir / "site", devices, HALL, SITE)
    subscriber = Subscriber(run, broker.port, store.SIGHTINGS, ID)
    gateway = Gateway(run, site, store.SIGHTINGS, proxy.url, feed=True, environment=clock.environment)
    crowd = Crowd(run.rng, gateway, devices)

    offset = IN_2020 - time.time()
    clock.set(offset)
    gateway.start()
    run.wait_for("the gateway is online", lambda: subscriber.status().get("state") == "online")
    crowd.start()
    for n, device in enumerate(standers):
        crowd.come(device, standing(5 + 6 * n, 8))
    moments = []
    for n, phase in enumerate(phases):
        if n > 0:
            offset = {1: 0, 2: 3 * HOUR, 3: -2 * HOUR, 4: 30 * 24 * HOUR, 5: 30 * 24 * HOUR}[n]
            if n == 4:
                proxy.begin("away")
                # Something waits already when the clock jumps.
                run.pause(1.0)
            clock.set(offset)
            if n == 5:
                proxy.end()
            else:
                run.verdict.faults += 1
        moments.append((time.monotonic(), offset))
        run.pause(1.5)
        crowd.come(visitors[n], standing(8, 5))
        run.pause(2.5)
        crowd.go(visitors[n])
        # In the last phase, the visits can end before the standers go.
        run.pause(PHASE - 4)
    silent = time.monotonic()
    crowd.stop()
    run.wait_for("everybody has left", lambda: subscriber.events() and not still_inside(subscriber), step=0.2)
    next_sequence = judge.settle(run, gateway, subscriber)
    events = judge.judge(run, subscriber, next_sequence, closed=True)

    stays = {stay.device: stay for stay in crowd.stays}
    away = (moments[4][0] - 2, moments[5][0] + 30)
    for event in events:
        check_event(run, event, stays[event.device], away)
    for device in devices:
        for zone, reached in REACHED.items():
            check_device(run, [e for e in events if e.device == device and e.zone == zone], device, zone, reached if device in standers else None)
    check_suspect(run, events, visitors, moments)
    for name in ("events_dropped", "events_parked", "refused_ahead", "refused_behind"):
        if subscriber.counter(name):
            run.verdict.problem("lost" if name == "events_dropped" else "wrong", f"{name} is {subscriber.counter(name)}")
    run.verdict.note(f"stood for {silent - moments[0][0]:.0f} s in truth")


def check_event(run, event, stay, away):
    """Durations are those of the monotonic clock."""
    if event.kind == "entered":
        return
    duration = event.data["duration_s"]
    if event.kind == "exited":
        true = stay.ends - stay.begins
        if event.data["reason"] != "lost":
            run.verdict.problem("wrong", f"{event} for the reason {event.data['reason']}")
    else:
        threshold = event.data["threshold_s"]
        if not threshold <= duration <= threshold + TOLERANCE:
            run.verdict.problem("wrong", f"{event}: reached {threshold} s after {duration} s")
        if event.at is None or away[0] < event.at < away[1]:
            return  # it came late, for good reasons
        true = event.at - stay.begins
    if abs(duration - true) > TOLERANCE:
        run.verdict.problem("wrong", f"{event}: duration_s is {duration}, in truth it was {true:.1f} s")


def check_device(run, events, device, zone, reached):
    entered = sum(event.kind == "entered" for event in events)
    if entered != 1:
        run.verdict.problem("wrong", f"{device} has {entered} visits of {zone}, and not one")
    thresholds = [event.data["threshold_s"] for event in events if event.kind == "dwelled"]
    if reached is not None and thresholds != reached:
        run.verdict.problem("wrong", f"{device} reached the thresholds {thresholds} in {zone}, and not {reached}")


def check_suspect(run, events, visitors, moments):
    """Marked while the clock stands in 2020, no longer when it is right; and then the times are right."""
    found = []
    for n, device in enumerate(visitors):
        entered = [e for e in events if e.device == device and e.kind == "entered"]
        marks = {bool(e.data.get("suspect")) for e in entered}
        off = seconds(entered[0].data["observed_at"]) - (time.time() - time.monotonic()) - moments[n][0] - moments[n][1] - 1.5 if entered else None
        found.append((n, marks, off))
        if n == 0 and marks != {True}:
            run.verdict.problem("wrong", f"the clock stood in 2020, and {device} entered without suspect")
        if n == 1:
            if marks != {False}:
                run.verdict.problem("wrong", f"the clock was right, and the entry of {device} is suspect")
            if off is not None and abs(off) > TOLERANCE:
                run.verdict.problem("wrong", f"the clock was right, and the entry of {device} is {off:.1f} s off")
    for n, marks, off in found:
        run.verdict.note(f"phase {n}: suspect {sorted(marks)}, observed_at {off:+.1f} s from the gateway's wall clock" if off is not None else f"phase {n}: nobody entered")


if __name__ == "__main__":
    common.main("clock", body)

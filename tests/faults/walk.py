"""Devices that walk in and out of zones, and say where they are."""

import threading
import time

import store
from common import Failed, instant

# The gateway's clock may be some milliseconds off the test's; a report from the future would be decided later.
BEHIND = 50


class Walk:
    """The reports of N devices, in one order; each is newer than the one before. One more, the marker, stands still."""

    def __init__(self, rng, devices):
        self.rng = rng
        self.devices = [f"d{n}" for n in range(devices)]
        self.marker = "marker"
        self.reports = []
        self._last = 0
        self._at = {device: (store.CORRIDOR, 0) for device in self.devices}

    def report(self, device, x, y, accuracy=1.0):
        self._last = max(self._last + 1, int(time.time() * 1000) - BEHIND)
        latitude, longitude = store.place(x, y)
        report = {"time": instant(self._last), "device": device, "latitude": latitude, "longitude": longitude,
                  "accuracy": accuracy, "level": 0}  # fmt: skip
        self.reports.append(report)
        return report

    @property
    def everybody(self):
        return [*self.devices, self.marker]

    def forget_last(self):
        """The last report reached nobody."""
        self.reports.pop()

    def step(self):
        """The next report: a device stands for a while, then goes somewhere else."""
        rng = self.rng
        device = rng.choice(self.devices)
        (x, y), stays = self._at[device]
        if stays == 0:
            stays = rng.choice((1, 1, 2, 3, 5, 8, 30))
            kind = rng.random()
            if kind < 0.25:
                x, y = rng.uniform(2, 98), 25.0
            elif kind < 0.8:
                x, y = store.middle(rng.randrange(len(store.AISLES)))
            else:
                x, y = rng.uniform(0, 100), rng.uniform(0, 30)
        self._at[device] = ((x, y), stays - 1)
        return self.report(device, x + rng.gauss(0, 0.3), y + rng.gauss(0, 0.3), rng.choice((0.8, 1.0, 2.0)))


class Walker:
    """Sends steps of a walk at a rate, in a thread of its own, until it is stopped."""

    def __init__(self, walk, send, rate):
        self.walk, self.send, self.rate = walk, send, rate
        self.sent = 0
        self.failure = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._walk, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def _walk(self):
        due = time.monotonic()
        try:
            while not self._stopped.is_set():
                self.send(self.walk.step())
                self.sent += 1
                due = max(due + 1 / self.rate, time.monotonic() - 0.2)
                self._stopped.wait(max(0.0, due - time.monotonic()))
        except Exception as failure:  # told to the main thread by stop()
            self.failure = failure

    def stop(self):
        self._stopped.set()
        self._thread.join(120)
        if self._thread.is_alive():
            raise Failed("the walk does not end: the gateway takes no reports")
        if self.failure:
            raise self.failure


def announce(run, walk, send_heard, subscriber):
    """Every device reports from the corridor once, before anything else. They are first seen within ten seconds of the
    gateway's start, and of the reference's first line: `initial` on their entry to the site, and never again."""
    began = time.monotonic()
    for device in walk.everybody:
        while not send_heard(walk.report(device, *store.CORRIDOR)):
            walk.forget_last()
            run.all_alive()
            if time.monotonic() - began > 30:
                raise Failed("nobody listens for position reports within 30 s")
            time.sleep(0.05)
    for device in walk.everybody:
        subscriber.wait_for(f"{device} is on the site", lambda event: event.device == device and event.zone == "site")


def finish(walk, send, subscriber, limit=120):
    """One last visit, by a device that did not walk: when its events are there, every report was worked off."""
    x, y = store.middle(0)
    send(walk.report(walk.marker, x, y))
    subscriber.wait_for("the last report's event", lambda event: event.device == walk.marker and event.zone == "aisle-0", limit)

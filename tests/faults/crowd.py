"""Beacons that are heard: who is there when, and the truth about it. Times are monotonic."""

import dataclasses
import threading
import time

import store

TICK = 0.1


@dataclasses.dataclass
class Stay:
    """One stay of a device, from the first sighting to the last."""

    device: str
    begins: float
    ends: float | None = None  # none while it lasts
    worst_gap: float = 0.0  # the longest time between two sightings that were handed over


class Crowd:
    """Feeds a gateway with what its receivers hear, in a thread of its own. `devices` in the order of the site directory."""

    def __init__(self, rng, gateway, devices):
        self.rng, self.gateway, self.devices = rng, gateway, devices
        self.stays = []
        self.failure = None
        self._there = {}  # device -> (function of time to a place, stay, last handed over)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def come(self, device, place):
        """From now on it is heard. `place`: a function of the time."""
        with self._lock:
            stay = Stay(device, time.monotonic())
            self.stays.append(stay)
            self._there[device] = [place, stay, stay.begins]

    def go(self, device):
        with self._lock:
            there = self._there.pop(device, None)
            if there:
                there[1].ends = there[2]

    def is_there(self, device):
        with self._lock:
            return device in self._there

    def stop(self):
        """Everybody falls silent."""
        self._stopped.set()
        self._thread.join(30)
        with self._lock:
            for device in list(self._there):
                there = self._there.pop(device)
                there[1].ends = there[2]
        if self.failure:
            raise self.failure

    def _run(self):
        try:
            while not self._stopped.wait(TICK):
                self._tick()
        except Exception as failure:  # told to the main thread by stop()
            self.failure = failure

    def _tick(self):
        with self._lock:
            present = list(self._there.items())
            lines = []
            for device, (place, _, _) in present:
                lines += store.sightings(self.rng, self.devices.index(device), *place(time.monotonic()))
        if lines and self.gateway.feed(lines, patience=0):
            now = time.monotonic()
            with self._lock:
                for _, there in present:
                    there[1].worst_gap = max(there[1].worst_gap, now - there[2])
                    there[2] = now


def standing(x, y):
    return lambda _at: (x, y)


def pacing(period):
    """Between the two sides of the hall."""
    return lambda at: (3.0, 8.0) if at % (2 * period) < period else (13.0, 8.0)

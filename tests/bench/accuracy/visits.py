"""True visits, and how events are compared with them.

Truth. The simulation says twice a second where each device is; a zone holds it or not by the zone's rectangle. A
device that has left the store has no position and is in no zone. A *stay* is an unbroken run of positions inside.
Stays of one device in one zone that are no more than 5 s apart are one *visit*: `exit_after`, 5 s by default, is
the absence that the gateway is told to overlook. A visit whose time inside exceeds 10 s is *true*: it must be found.
A shorter one is *brief* (somebody walks through): that it is found is no fault, that it is not found neither.

Events are taken at `decided_at`, when a subscriber could know. An event answers to a true change of its device, zone
and kind where it comes between 10 s before it and 10 s + the zone's own hold after it. 10 s: as long as the shortest
true visit, so an event cannot answer to another visit's change; some metres of error at walking pace are that much
time. The hold is what the gateway is told to wait: `enter_after` (1 s) for entered; for exited `exit_after` (5 s),
or `lost_after` (60 s) where the device truly fell silent inside the zone, as those do who go out of the store's door.

recall: true visits' changes that were answered, of all. Not asked for: what would be due after the end of the
recording, and the exits of visits that last until then. precision: events that answer to a true visit's change, of
those and all that answer to nothing. Those that answer to a brief visit count neither way."""

import bisect
import csv
import dataclasses
import json
import math

from common import instant
from store import zone_distance

MERGED = 5.0  # exit_after
SHORTEST = 10.0
TOLERANCE = 10.0
ENTER_AFTER, EXIT_AFTER, LOST_AFTER = 1.0, 5.0, 60.0
STEP = 0.5  # between two true positions
GONE = 2 * STEP


@dataclasses.dataclass
class Visit:
    entered: float
    exited: float
    inside: float = 0.0
    silent: bool = False  # ended by leaving the store
    open: bool = False  # goes on at the end

    @property
    def true(self):
        return self.inside > SHORTEST


class Truth:
    """Where the devices were."""

    def __init__(self, path):
        self.paths = {}
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                track = self.paths.setdefault(row["device"], ([], [], []))
                for column, value in zip(track, (instant(row["time"]), float(row["x"]), float(row["y"]))):
                    column.append(value)
        self.start = min(track[0][0] for track in self.paths.values())
        self.end = max(track[0][-1] for track in self.paths.values())

    def standing(self):
        """Those who never moved."""
        return {
            device for device, (times, xs, ys) in self.paths.items()
            if len(times) > 100 and min(xs) == max(xs) and min(ys) == max(ys)
        }

    def at(self, device, time):
        """The true position at about that time; none while out of the store."""
        times, xs, ys = self.paths.get(device, ((), (), ()))
        i = bisect.bisect_right(times, time + 1e-6) - 1
        if i < 0 or time - times[i] > GONE:
            return None
        return xs[i], ys[i]

    def inside(self, device, zone, time):
        """Whether the device truly was in the zone at about that time."""
        point = self.at(device, time)
        return point is not None and zone_distance(zone, *point) == 0

    def nearest(self, device, zone, start, end):
        """How near the device truly was to the zone between two times, in metres; infinity while out of the store."""
        times, xs, ys = self.paths.get(device, ((), (), ()))
        between = range(bisect.bisect_left(times, start), bisect.bisect_right(times, end))
        return min((zone_distance(zone, xs[i], ys[i]) for i in between), default=math.inf)

    def visits(self, device, zone):
        """Visits of one device in one zone, true and brief."""
        times, xs, ys = self.paths[device]
        found = []
        last = None
        for time, x, y in zip(times, xs, ys):
            if zone_distance(zone, x, y) > 0:
                continue
            if last is None or time - last > MERGED:
                found.append(Visit(time, time))
            found[-1].inside += STEP
            found[-1].exited = last = time
        for visit in found:
            visit.open = visit.exited >= self.end - STEP
            visit.silent = not visit.open and self.at(device, visit.exited + GONE + STEP) is None
        return found


@dataclasses.dataclass
class Event:
    time: float
    kind: str
    device: str
    zone: str


def events(path, zones):
    """Entered and exited of these zones, by the time they were decided."""
    found = []
    with open(path, "rb") as file:
        for line in file:
            event = json.loads(line)
            kind, data = event["type"].rsplit(".", 1)[-1], event["data"]
            if kind in ("entered", "exited") and data["zone"]["id"] in zones:
                found.append(Event(instant(data["decided_at"]), kind, data["device"]["id"], data["zone"]["id"]))
    found.sort(key=lambda event: event.time)
    return found


@dataclasses.dataclass
class Count:
    asked: int = 0
    found: int = 0
    false: list = dataclasses.field(default_factory=list)

    @property
    def recall(self):
        return self.found / self.asked if self.asked else math.nan

    @property
    def precision(self):
        return self.found / (self.found + len(self.false)) if self.found or self.false else math.nan


def compare(truth, found, zones):
    """Counts for entered and exited."""
    counts = {"entered": Count(), "exited": Count()}
    by = {}
    for event in found:
        by.setdefault((event.device, event.zone, event.kind), []).append(event)
    for device in truth.paths:
        for zone in zones:
            visits = truth.visits(device, zone)
            for kind, count in counts.items():
                left = by.pop((device, zone, kind), [])
                # True visits take their events first; what is left may answer to brief ones.
                for visit in sorted(visits, key=lambda visit: not visit.true):
                    if kind == "exited" and visit.open:
                        continue
                    time, hold = due(visit, kind)
                    near = [e for e in left if -TOLERANCE <= e.time - time <= TOLERANCE + hold]
                    if near:
                        left.remove(min(near, key=lambda event: abs(event.time - time - hold)))
                    if visit.true and (near or time + hold + TOLERANCE <= truth.end):
                        count.asked += 1
                        count.found += bool(near)
                count.false += left
    for (_, _, kind), unknown in by.items():
        counts[kind].false += unknown
    return counts


def due(visit, kind):
    """When a change truly was, and the hold after it."""
    if kind == "entered":
        return visit.entered, ENTER_AFTER
    return visit.exited, LOST_AFTER if visit.silent else EXIT_AFTER


def position_errors(path, truth):
    """Errors in metres, how many within one and two accuracies, and how many instants had no position. As the scorer of
    the recordings has it: at each full second, from 5 s after a device came, the newest position that is not from later;
    none in the last 10 s is missing. Seconds at which the device is out of the store don't count."""
    found = {}
    with open(path, "rb") as file:
        for line in file:
            p = json.loads(line)
            track = found.setdefault(p["device"], ([], []))
            track[0].append(instant(p["time"]))
            track[1].append((p["x"], p["y"], p["accuracy"]))
    errors, one, two, missing = [], 0, 0, 0
    for device, (times, xs, ys) in truth.paths.items():
        at, positions = found.get(device, ((), ()))
        came = times[0]
        for i, time in enumerate(times):
            if i and time - times[i - 1] > GONE:
                came = time
            if time - came < 5 or abs(time - round(time)) > 1e-3:
                continue
            j = bisect.bisect_right(at, time) - 1
            if j < 0 or time - at[j] > 10:
                missing += 1
                continue
            x, y, accuracy = positions[j]
            error = math.hypot(x - xs[i], y - ys[i])
            errors.append(error)
            one += error <= accuracy
            two += error <= 2 * accuracy
    return sorted(errors), one, two, missing

"""The checkers: what was recorded, and whether it is what it should be. They know nothing of processes or sockets."""

import dataclasses
import json
from collections import defaultdict

# What may differ between a live run and its reference.
LIVE_ONLY = ("decided_at",)
KINDS = ("lost", "duplicated", "wrong")
SHOWN = 20


class Verdict:
    """What a test found."""

    def __init__(self, name):
        self.name = name
        self.faults = 0
        self.published = 0
        self.redelivered = 0
        self.replayed = 0
        self.problems = {kind: [] for kind in KINDS}
        self.notes = []

    def problem(self, kind, text):
        self.problems[kind].append(text)

    def note(self, text):
        self.notes.append(text)

    def add(self, problems):
        for kind, text in problems:
            self.problem(kind, text)

    def holds(self):
        return not any(self.problems.values())

    def report(self):
        for note in self.notes:
            print(f"{self.name}: {note}")
        print(f"{self.name}: {self.redelivered} delivered again with the same bytes, {self.replayed} came by replay")
        for kind, texts in self.problems.items():
            for text in texts[:SHOWN]:
                print(f"{self.name}: {kind.upper()}: {text}")
            if len(texts) > SHOWN:
                print(f"{self.name}: {kind.upper()}: and {len(texts) - SHOWN} more")

    def line(self):
        lost, duplicated = len(self.problems["lost"]), len(self.problems["duplicated"])
        return f"{self.name} faults={self.faults} published={self.published} lost={lost} duplicated={duplicated}"


@dataclasses.dataclass
class Event:
    """One event, as it first came."""

    raw: bytes
    body: dict
    at: float | None  # when it first came live (monotonic), none where only a replay had it

    @property
    def id(self):
        return self.body["id"]

    @property
    def data(self):
        return self.body["data"]

    @property
    def kind(self):
        return self.body["type"].rsplit(".", 1)[-1]

    @property
    def device(self):
        return self.body["subject"]

    @property
    def zone(self):
        return self.data["zone"]["id"]

    @property
    def sequence(self):
        return self.data["sequence"]

    @property
    def visit(self):
        return self.data["visit_id"]

    def __str__(self):
        return f"{self.device} {self.kind} {self.zone} (sequence {self.sequence}, visit {self.visit[-6:]}/{self.data['visit_sequence']})"


class Recording:
    """Everything that a subscriber was given."""

    def __init__(self):
        self.by_id = {}
        self.live_order = defaultdict(list)  # device -> its events as they first came live
        self.deliveries = 0
        self.redelivered = 0
        self.replayed = 0
        self.problems = []

    def add(self, topic, payload, live, at):
        """One delivery. Returns the event where it is new."""
        self.deliveries += 1
        try:
            body = json.loads(payload)
            event = Event(payload, body, at if live else None)
            key, words = event.id, (event.kind, event.device, event.zone, event.sequence, event.visit)
            _ = body["data"]["visit_sequence"], body["data"]["epoch"]
        except (ValueError, KeyError, TypeError) as error:
            self.problems.append(("wrong", f"not an event on {topic}: {error!r}: {payload[:200]!r}"))
            return None
        if live and topic.split("/")[-2:] != [event.zone, event.kind]:
            self.problems.append(("wrong", f"{event} came on {topic}"))
        known = self.by_id.get(key)
        if known is None:
            self.by_id[key] = event
            if live:
                self.live_order[event.device].append(event)
            else:
                self.replayed += 1
            return event
        if known.raw != payload:
            self.problems.append(("duplicated", f"{known} and {words} have one id and different contents"))
        elif live:
            self.redelivered += 1
            if known.at is None:
                known.at = at
        return None

    def events(self):
        return sorted(self.by_id.values(), key=lambda event: event.sequence)

    def sequences(self):
        return {event.sequence for event in self.by_id.values()}

    def missing(self, until):
        """The sequences below `until` that never came, as ranges, ends included."""
        have = self.sequences()
        return ranges(n for n in range(until) if n not in have)


def ranges(numbers):
    found = []
    for n in numbers:
        if found and found[-1][1] == n - 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return [tuple(pair) for pair in found]


def check_recording(recording):
    """What must hold for every recording: ids, one epoch, one event a sequence, the order of each device's deliveries."""
    problems = list(recording.problems)
    events = recording.events()
    epochs = {event.data["epoch"] for event in events}
    if len(epochs) > 1:
        problems.append(("wrong", f"{len(epochs)} epochs: {sorted(epochs)}"))
    by_sequence = {}
    for event in events:
        other = by_sequence.setdefault(event.sequence, event)
        if other is not event:
            problems.append(("wrong", f"two events with one sequence: {other} and {event}"))
    for came in recording.live_order.values():
        for before, after in zip(came, came[1:]):
            if after.sequence < before.sequence:
                problems.append(("wrong", f"out of order: {after} came after {before}"))
    return problems


def check_complete(recording, next_sequence):
    """Every event up to `next_sequence` is there, and none beyond."""
    problems = []
    for first, last in recording.missing(next_sequence):
        problems.extend(("lost", f"sequence {n} never came") for n in range(first, last + 1))
    for event in recording.events():
        if event.sequence >= next_sequence:
            problems.append(("wrong", f"{event}, but the gateway says that its next sequence is {next_sequence}"))
    return problems


def check_visits(recording, closed, whole=True):
    """Each visit is whole, and the visits of a device to a zone follow one another.

    `closed`: every visit has ended. `whole=False` where events are known to be missing."""
    problems = []
    visits = defaultdict(list)
    stays = defaultdict(list)
    for event in recording.events():
        visits[event.visit].append(event)
        stays[event.device, event.zone].append(event)
    for visit, events in visits.items():
        events = sorted(events, key=lambda event: event.data["visit_sequence"])
        first, last = events[0], events[-1]
        if len({(event.device, event.zone) for event in events}) > 1:
            problems.append(("wrong", f"visit {visit} is of several devices or zones"))
        numbers = [event.data["visit_sequence"] for event in events]
        if whole and numbers != list(range(len(numbers))):
            problems.append(("wrong", f"visit of {first} has the visit_sequence {numbers}"))
        for event in events:
            if (event.kind == "entered") != (event.data["visit_sequence"] == 0):
                problems.append(("wrong", f"{event}: entered is 0, and nothing else is"))
            if event.kind == "exited" and event is not last:
                problems.append(("wrong", f"{event} is followed by {last}"))
        if sum(event.kind == "entered" for event in events) > 1 or sum(event.kind == "exited" for event in events) > 1:
            problems.append(("wrong", f"visit of {first} has {[event.kind for event in events]}"))
        thresholds = [event.data.get("threshold_s", -1.0) for event in events if event.kind == "dwelled"]
        if thresholds != sorted(set(thresholds)):
            problems.append(("wrong", f"visit of {first} reached the thresholds {thresholds}"))
        sequences = [event.sequence for event in events]
        if sequences != sorted(sequences):
            problems.append(("wrong", f"visit of {first}: sequence and visit_sequence disagree: {sequences}"))
        if closed and last.kind != "exited":
            problems.append(("wrong", f"visit of {first} has no exited"))
    if whole:
        for events in stays.values():
            inside = None
            for event in events:
                if event.kind == "entered":
                    if inside:
                        problems.append(("wrong", f"{event} while {inside} is open"))
                    inside = event
                elif inside is None or inside.visit != event.visit:
                    problems.append(("wrong", f"{event} outside its visit"))
                elif event.kind == "exited":
                    inside = None
    return problems


def check_reference(recording, reference):
    """The recorded events are exactly those of the reference: ids and contents, but for what only a live run has."""
    problems = []
    expected = {body["id"]: body for body in reference}
    if len(expected) != len(reference):
        problems.append(("wrong", "the reference has one id twice"))
    for key, body in expected.items():
        event = recording.by_id.get(key)
        if event is None:
            problems.append(("lost", f"{Event(b'', body, None)} of the reference never came"))
            continue
        if "decided_at" not in event.data:
            problems.append(("wrong", f"{event} has no decided_at"))
        differ = differences(without_live(body), without_live(event.body))
        if differ:
            problems.append(("wrong", f"{event} differs from the reference: {'; '.join(differ)}"))
    for event in recording.events():
        if event.id not in expected:
            problems.append(("wrong", f"{event} is not in the reference"))
    return problems


def without_live(body):
    return {**body, "data": {key: value for key, value in body["data"].items() if key not in LIVE_ONLY}}


def differences(expected, found, path=""):
    if isinstance(expected, dict) and isinstance(found, dict):
        inner = []
        for key in sorted({*expected, *found}):
            inner += differences(expected.get(key), found.get(key), f"{path}.{key}" if path else key)
        return inner
    if type(expected) is not type(found) or expected != found:
        return [f"{path} is {found!r} and not {expected!r}"]
    return []

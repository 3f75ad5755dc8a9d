"""The fault tests can fail: faulty recordings are rejected, a broken gateway is found out, and each fault is one."""

import copy
import json
import os
import random
import socket
import subprocess
import threading
import time

import check
import common
import judge
import paho.mqtt.client as paho
import store
import test_clock
from broker import Mosquitto
from proxy import Proxy
from subscriber import PREFIX, Subscriber
from walk import Walk

SITE = "selftest"
GATEWAY = "gw-1"
COUNT = 12


def good_events():
    """Three devices, two zones, five visits."""
    sequence = 0
    bodies = []

    def event(device, zone, visit, number, kind, **more):
        nonlocal sequence
        data = {"site": SITE, "gateway": GATEWAY, "epoch": "E1", "sequence": sequence, "zone": {"id": zone},
                "device": {"id": device}, "visit_id": f"visit-{visit}", "visit_sequence": number,
                "observed_at": common.instant(1_700_000_000_000 + 1000 * sequence),
                "decided_at": common.instant(1_700_000_000_500 + 1000 * sequence), **more}  # fmt: skip
        bodies.append({"specversion": "1.0", "id": f"id-{visit}-{number}", "source": f"/beaconfence/{SITE}",
                       "type": f"io.beaconfence.presence.{kind}", "subject": device, "data": data})  # fmt: skip
        sequence += 1

    event("d1", "a", 1, 0, "entered")
    event("d2", "a", 2, 0, "entered")
    event("d1", "b", 3, 0, "entered")
    event("d1", "a", 1, 1, "dwelled", threshold_s=1.0, duration_s=1.0)
    event("d2", "a", 2, 1, "exited", reason="left", duration_s=2.0)
    event("d1", "a", 1, 2, "dwelled", threshold_s=3.0, duration_s=3.0)
    event("d2", "a", 4, 0, "entered")
    event("d1", "a", 1, 3, "exited", reason="left", duration_s=4.0)
    event("d3", "b", 5, 0, "entered")
    event("d3", "b", 5, 1, "exited", reason="lost", duration_s=1.0)
    event("d2", "a", 4, 1, "exited", reason="left", duration_s=2.0)
    event("d1", "b", 3, 1, "exited", reason="left", duration_s=9.0)
    return bodies


def topic_of(body):
    return f"{PREFIX}/{SITE}/events/{body['data']['zone']['id']}/{body['type'].rsplit('.', 1)[-1]}"


def found(deliveries, reference, closed):
    """The kinds of problems that the checkers see. `deliveries`: (body, live)."""
    recording = check.Recording()
    for n, (body, live) in enumerate(deliveries):
        topic = topic_of(body) if isinstance(body, dict) and "data" in body else "none"
        recording.add(topic, json.dumps(body).encode() if not isinstance(body, bytes) else body, live, float(n))
    until = len(reference)
    problems = check.check_recording(recording) + check.check_complete(recording, until)
    problems += check.check_visits(recording, closed, whole=not recording.missing(until))
    problems += check.check_reference(recording, reference)
    return {kind for kind, _ in problems}


def change(bodies, at, **data):
    bodies[at]["data"].update(data)


def faulty():
    """(name, what is made of good deliveries, the kind of problem that must be found)."""

    def without(*places):
        return lambda b: [x for n, x in enumerate(b) if n not in places]

    def changed(at, **data):
        def make(bodies):
            change(bodies, at, **data)
            return bodies

        return make

    def again(at, **data):
        def make(bodies):
            extra = copy.deepcopy(bodies[at])
            extra["data"].update(data)
            return [*bodies, extra]

        return make

    def field(at, key, value):
        def make(bodies):
            bodies[at][key] = value
            return bodies

        return make

    def swapped(one, two):
        def make(bodies):
            bodies[one], bodies[two] = bodies[two], bodies[one]
            return bodies

        return make

    def invented(bodies):
        extra = copy.deepcopy(bodies[8])
        extra["id"] = "id-9-0"
        extra["data"].update(visit_id="visit-9", sequence=COUNT)
        return [*bodies, extra]

    return [
        ("the first event is lost", without(0), "lost"),
        ("one in the middle is lost", without(5), "lost"),
        ("the last one is lost", without(11), "lost"),
        ("a whole visit is lost", without(8, 9), "lost"),
        ("everything is lost", without(*range(COUNT)), "lost"),
        ("the same id with another position", again(3, position={"x": 1.0}), "duplicated"),
        ("the same id decided at another time", again(3, decided_at="2023-11-14T22:13:59.000Z"), "duplicated"),
        ("the same id with another sequence", again(10, sequence=COUNT), "duplicated"),
        ("an event that the reference lacks", invented, "wrong"),
        ("another reason", changed(4, reason="lost"), "wrong"),
        ("another duration", changed(4, duration_s=2.001), "wrong"),
        ("a float for an integer", changed(9, duration_s=1), "wrong"),
        ("a new field", changed(4, suspect=True), "wrong"),
        ("a lacking field", lambda b: [b[4]["data"].pop("reason"), b][1], "wrong"),
        ("a lacking decided_at", lambda b: [b[4]["data"].pop("decided_at"), b][1], "wrong"),
        ("another device", field(4, "subject", "d9"), "wrong"),
        ("another id", field(4, "id", "other"), "lost"),
        ("another epoch", changed(6, epoch="E2"), "wrong"),
        ("one sequence twice", changed(6, sequence=5), "wrong"),
        ("a device's events out of order", swapped(3, 5), "wrong"),
        ("a second entered within a visit", field(3, "type", "io.beaconfence.presence.entered"), "wrong"),
        ("an exited before the end", field(3, "type", "io.beaconfence.presence.exited"), "wrong"),
        ("no exited at the end", field(10, "type", "io.beaconfence.presence.dwelled"), "wrong"),
        ("a hole in visit_sequence", changed(7, visit_sequence=4), "wrong"),
        ("a threshold twice", changed(5, threshold_s=1.0), "wrong"),
        ("a visit within a visit", changed(2, zone={"id": "a"}), "wrong"),
        ("no JSON", lambda b: [*b, b"{"], "wrong"),
        ("no event", lambda b: [*b, {"id": "x"}], "wrong"),
    ]


def expect(run, what, holds):
    run.verdict.faults += 1
    if not holds:
        run.verdict.problem("wrong", f"not found out: {what}")


def checkers(run):
    reference = good_events()
    live = [(body, True) for body in good_events()]
    for what, deliveries in [
        ("as they were made", live),
        ("some by replay", [(body, n % 3 != 0) for n, (body, _) in enumerate(live)]),
        ("delivered twice", [*live, *live]),
        ("by replay, then live", [*[(body, False) for body, _ in live], *live]),
        ("of different devices out of order", [live[1], live[0], *live[2:]]),
        ("decided at another time than in the reference", [({**b, "data": {**b["data"], "decided_at": "x"}}, True) for b, _ in live]),
    ]:
        problems = found(deliveries, reference, True)
        if problems:
            run.verdict.problem("wrong", f"good events {what} are rejected as {problems}")
    for what, make, kind in faulty():
        problems = found([(body, True) for body in make(good_events())], reference, True)
        expect(run, f"{what} (found {problems or 'nothing'}, must be {kind})", kind in problems)
    # The visits' own rules, without a reference to betray what is wrong.
    for what, make, kind in faulty():
        if "visit" in what or "exited" in what or "threshold" in what and "twice" in what:
            recording = check.Recording()
            for n, body in enumerate(make(good_events())):
                recording.add(topic_of(body), json.dumps(body).encode(), True, float(n))
            whole = not recording.missing(COUNT)
            problems = check.check_visits(recording, True, whole) + check.check_complete(recording, COUNT)
            expect(run, f"{what}, without a reference", kind in {k for k, _ in problems})
    verdict = check.Verdict("x")
    verdict.problem("lost", "one")
    expect(run, "a verdict with a loss", not verdict.holds() and verdict.line().endswith("lost=1 duplicated=0"))


class FakeGateway:
    """Publishes events and answers replays as told; may be a bad one."""

    def __init__(self, run, port, dropped, keeps=lambda n: True, tamper=lambda body: body, deaf=0):
        self.bodies = good_events()
        self.keeps, self.tamper, self.deaf = keeps, tamper, deaf
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "fake", protocol=paho.MQTTv5)
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.on_message = self._asked
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.client.subscribe(f"{PREFIX}/{SITE}/gateways/{GATEWAY}/replay", 1)
        run.at_end(self.close)
        run.wait_for("the fake gateway is subscribed", ready.is_set)
        for n, body in enumerate(self.bodies):
            if n not in dropped:
                self.client.publish(topic_of(body), json.dumps(body), qos=1)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def _asked(self, _client, _userdata, message):
        if self.deaf:
            self.deaf -= 1
            return
        question = json.loads(message.payload)
        asked = range(question["from"], min(question["to"], len(self.bodies) - 1) + 1)
        kept = [n for n in asked if self.keeps(n)]
        topic = f"{PREFIX}/{question['reply_to']}"
        for n in kept:
            self.client.publish(topic, json.dumps(self.tamper(copy.deepcopy(self.bodies[n]))), qos=1)
        missing = check.ranges(n for n in asked if not self.keeps(n))
        done = {"answered": len(kept), "missing": missing, "complete": not missing, "next_sequence": len(self.bodies)}
        self.client.publish(f"{topic}/done", json.dumps(done), qos=1)


def whole_chain(run):
    """Subscriber, replay and verdict against a gateway that loses, tampers, or does not answer."""

    def later(body):
        body["data"]["decided_at"] = "2023-11-14T22:13:59.000Z"
        return body

    cases = [
        ("nothing lost", {"dropped": ()}, set()),
        ("lost on the way, replayed", {"dropped": (0, 4, 5, 10)}, set()),
        ("a question is lost", {"dropped": (4, 5), "deaf": 1}, set()),
        ("lost for ever", {"dropped": (4, 5), "keeps": lambda n: n != 5}, {"lost"}),
        ("the last lost for ever", {"dropped": (10,), "keeps": lambda n: n != 10}, {"lost"}),
        ("replayed with other bytes", {"dropped": (4,), "tamper": later, "keeps": lambda n: True}, set()),
    ]
    broker = Mosquitto(run)
    for n, (what, how, kinds) in enumerate(cases):
        subscriber = Subscriber(run, broker.port, SITE, GATEWAY, name=f"chain-{n}")
        subscriber.patience = 1.0
        fake = FakeGateway(run, broker.port, **how)
        dropped = len(how["dropped"])
        run.wait_for("what is not lost has come", lambda: len(subscriber.events()) >= COUNT - dropped)
        until = subscriber.fill()
        if what == "replayed with other bytes":
            # The gateway's answer to a question about what came live must be the same bytes.
            subscriber.ask(3, 3)
            kinds = {"duplicated"}
        problems = check.check_recording(subscriber.recording) + check.check_complete(subscriber.recording, until)
        problems += check.check_reference(subscriber.recording, good_events())
        got = {kind for kind, _ in problems}
        expect(run, f"{what}: found {got}, must be {kinds}", got == kinds)
        fake.close()
        subscriber.close()
    # Nobody answers at all.
    subscriber = Subscriber(run, broker.port, SITE, GATEWAY, name="chain-unanswered")
    try:
        subscriber.ask(0, 5, tries=2, patience=0.3)
        expect(run, "a gateway that never answers", False)
    except common.Failed:
        expect(run, "", True)
    # A broker that is killed forgets the session, and the subscriber notices.
    broker.kill()
    broker.start()
    run.wait_for("the subscriber is back", lambda: subscriber.sessions_lost == 1 and subscriber.subscribed())
    # A child that dies is noticed wherever something is waited for.
    broker.child.kill()
    try:
        run.wait_for("nothing", lambda: False, 5)
        expect(run, "a broker that died", False)
    except common.Failed as failure:
        expect(run, "that the broker died", "ended by itself" in str(failure))


def proxy_faults(run):
    """Each fault does what it is called."""
    server = socket.create_server(("127.0.0.1", 0))
    run.at_end(server.close)

    def echo(connection):
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass
        connection.close()

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    proxy = Proxy(run, server.getsockname()[1])

    def connect():
        connection = socket.create_connection(("127.0.0.1", proxy.port))
        connection.settimeout(0.6)
        return connection

    def echoes(connection):
        """What comes back: the bytes, "silence", "end" or "reset"."""
        try:
            connection.sendall(b"hello")
            return connection.recv(100) or "end"
        except socket.timeout:
            return "silence"
        except OSError:
            return "reset"

    for fault, during, after in [
        ("delay", b"hello", b"hello"),
        ("swallow", "silence", "reset"),
        ("swallow-up", "silence", "reset"),
        ("swallow-down", "silence", "reset"),
        ("half-close", "end", "end"),
        ("reset", "reset", "reset"),
        ("away", "reset", "reset"),
    ]:
        connection = connect()
        before = echoes(connection)
        proxy.begin(fault, 0.2)
        began = time.monotonic()
        got = echoes(connection)
        slow = time.monotonic() - began > 0.3
        proxy.end()
        time.sleep(0.1)
        then = echoes(connection)
        again = echoes(connect())
        run.verdict.faults += 1
        seen = (before, got, then, again)
        if seen != (b"hello", during, after, b"hello") or (fault == "delay") != (slow and got == b"hello"):
            run.verdict.problem("wrong", f"proxy, {fault}: {seen}, slow {slow}")
    connection = connect()
    echoes(connection)
    proxy.begin("torn")
    got = echoes(connection)
    run.verdict.faults += 1
    if got not in ("reset", "end", b"h", b"he"):
        run.verdict.problem("wrong", f"proxy, torn: {got!r}")


def walks(run):
    """The same seed walks the same way, and reports are in order."""
    one, two = (Walk(random.Random(1), 5) for _ in range(2))
    for _ in range(500):
        a, b = one.step(), two.step()
        if {**a, "time": 0} != {**b, "time": 0}:
            run.verdict.problem("wrong", "one seed, two walks")
            return
    times = [report["time"] for report in one.reports]
    expect(run, "reports out of order", times == sorted(set(times)))
    x, y = store.middle(2)
    latitude, longitude = store.place(x, y)
    expect(run, "places", abs((latitude - 50) * 111_229 - y) < 0.1 and abs((longitude - 8) * 71_696 - x) < 0.1)


def whole_tests(run):
    """The tests themselves, with a fake in the place of the gateway: the good one passes, the bad ones do not."""
    for test, fault in [
        ("kill_reports", ""),
        ("kill_reports", "acknowledges-first"),
        ("kill_reports", "repeats"),
        ("kill_reports", "renumbers"),
        ("broker", ""),
        ("broker", "forgets"),
    ]:
        environment = {**os.environ, "BEACONFENCE": str(common.HERE / "fake_gateway.py"), "FAKE": fault, "TMPDIR": str(run.dir)}
        command = ["/usr/bin/python3", "-B", str(common.HERE / f"test_{test}.py"), "--seed", str(run.seed)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        run.verdict.faults += 1
        run.say(f"{test} with a gateway that {fault or 'is good'}: {(done.stdout.splitlines() or ['nothing'])[-1]}")
        if (done.returncode == 0) != (fault == ""):
            run.verdict.problem("wrong", f"{test} with a gateway that {fault or 'is good'}: exit code {done.returncode}\n{done.stdout[-2000:]}")


def body(run):
    if run.long:
        whole_tests(run)
    checkers(run)
    walks(run)
    proxy_faults(run)
    test_clock.FakeClock(run).try_out()
    whole_chain(run)
    run.verdict.note(f"{run.verdict.faults} faults were put in, each must be found out")


if __name__ == "__main__":
    common.main("selftest", body)

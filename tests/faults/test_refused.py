"""The broker refuses the events of one zone (MQTT 5: not authorised). Only the devices that were in it wait; in the long
form for so long that their events are set aside."""

import time

import common
import judge
import store
from broker import Mosquitto
from gateway import ID, Gateway
from subscriber import PREFIX, Subscriber
from walk import Walk, announce

VAULT = "aisle-5"
# Between the tries lie longer and longer delays; the sum of ten is about four minutes.
PARKING = 420


def visit(walk, send, device, aisle):
    """Into an aisle that `wide` does not cover, or into the corridor."""
    x, y = store.CORRIDOR if aisle is None else store.middle(aisle)
    send(walk.report(device, x, y))


def body(run):
    rules = run.dir / "broker.acl"
    open_to_all = "topic readwrite #\n"
    rules.write_text(open_to_all + f"topic deny {PREFIX}/{store.REPORTS}/events/{VAULT}/#\n")
    broker = Mosquitto(run, f"acl_file {rules}\n")
    walk = Walk(run.rng, 8)
    barred, free = walk.devices[:3], walk.devices[3:]
    site = store.write_reports_site(run.dir / "site", walk.everybody, dwell=("1h",), vault=VAULT)
    subscriber = Subscriber(run, broker.port, store.REPORTS, ID)
    gateway = Gateway(run, site, store.REPORTS, broker.url, feed=True)
    gateway.start()
    send = lambda report: gateway.feed([report])
    announce(run, walk, send, subscriber)

    for device in barred:
        visit(walk, send, device, 5)
        run.verdict.faults += 1
        visit(walk, send, device, None)
        visit(walk, send, device, 0)
    began = time.monotonic()
    for round_ in range(20):
        for device in free:
            visit(walk, send, device, None if round_ % 2 else run.rng.randrange(5))
        run.pause(0.1)
    for device in free:
        visit(walk, send, device, 0)
        subscriber.wait_for(f"{device} flows on", lambda e: e.device == device and e.kind == "entered" and is_last(subscriber, e), 20)
    run.wait_for("three tries were refused for each", lambda: subscriber.counter("events_refused") >= 9)
    run.verdict.note(f"others flowed on; {subscriber.counter('events_refused')} refusals after {time.monotonic() - began:.0f} s")
    if not run.long:
        check_waiting(run, subscriber, gateway, barred)
        rules.write_text(open_to_all)
        broker.reload()
        limit = 60
    else:
        limit = 3 * PARKING
        run.wait_for("all that is refused was set aside", lambda: subscriber.counter("events_parked") >= 2 * len(barred), limit, 0.5)
        parked = gateway.outbox()["parked"]
        if parked != 2 * len(barred):
            run.verdict.problem("wrong", f"`beaconfence outbox` says {parked!r} parked, and not {2 * len(barred)}")
        run.verdict.note(f"set aside after {time.monotonic() - began:.0f} s")
    for device in barred:
        subscriber.wait_for(
            f"{device} flows again", lambda e: e.device == device and e.zone == "aisle-0" and e.at is not None, limit
        )
    if run.long:
        for device in barred:
            if subscriber.find(lambda e: e.device == device and e.zone == VAULT):
                run.verdict.problem("wrong", f"an event of {device} in {VAULT} came, though it is refused")
        next_sequence = subscriber.fill()
    else:
        next_sequence = judge.settle(run, gateway, subscriber)
        if subscriber.counter("events_parked"):
            run.verdict.problem("wrong", "events were set aside before ten tries")
        if subscriber.recording.replayed:
            run.verdict.problem("wrong", f"{subscriber.recording.replayed} events came by replay alone")
    judge.judge(run, subscriber, next_sequence, lines=walk.reports, site=site)


def is_last(subscriber, event):
    return event.zone == "aisle-0" and event is last_of(subscriber, event.device)


def last_of(subscriber, device):
    return max((e for e in subscriber.events() if e.device == device), key=lambda e: e.sequence)


def check_waiting(run, subscriber, gateway, barred):
    """What is refused, and what comes after it, waits and can be seen to wait."""
    for device in barred:
        early = subscriber.find(lambda e: e.device == device and e.zone != "site")
        if early:
            run.verdict.problem("wrong", f"{early} came before what is refused")
    waiting = gateway.outbox()
    # Three events each: into the vault, out of it, into the aisle.
    if waiting["depth"] < 3 * len(barred):
        run.verdict.problem("wrong", f"`beaconfence outbox` shows {waiting}, and not what is refused")
    if waiting["parked"]:
        run.verdict.problem("wrong", f"`beaconfence outbox` shows {waiting['parked']!r} parked before ten tries")


if __name__ == "__main__":
    common.main("refused", body)

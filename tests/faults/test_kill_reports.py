"""`kill -9` of the gateway under load, at any moment of its life; its input is position reports over MQTT, which the broker
keeps. The events must be exactly those that the reports give without any kill."""

import common
import judge
import store
from broker import Mosquitto
from gateway import ID, Gateway
from subscriber import Reporter, Subscriber
from walk import Walk, Walker, announce, finish

DEVICES = 16
RATE = 160


def life(rng):
    """Dies while it starts, or under way."""
    return rng.uniform(0.02, 0.2) if rng.random() < 0.5 else rng.uniform(0.2, 3.0)


def body(run):
    # What waits for the gateway shall not be dropped by the broker: it is not what is tested here.
    broker = Mosquitto(run, "max_queued_messages 0\n")
    walk = Walk(run.rng, DEVICES)
    site = store.write_reports_site(run.dir / "site", walk.everybody)
    subscriber = Subscriber(run, broker.port, store.REPORTS, ID)
    reporter = Reporter(run, broker.port, store.REPORTS)
    gateway = Gateway(run, site, store.REPORTS, broker.url)
    gateway.start()
    announce(run, walk, reporter.send_heard, subscriber)
    reporter.unheard = 0

    walker = Walker(walk, reporter.send, RATE).start()
    for _ in range(300 if run.long else 15):
        run.pause(life(run.rng))
        gateway.kill()
        run.verdict.faults += 1
        gateway.start()
    walker.stop()
    reporter.flush()
    finish(walk, reporter.send, subscriber, 240)
    reporter.flush()
    if reporter.unheard:
        run.verdict.problem("wrong", f"the broker had no session for the gateway {reporter.unheard} times")

    next_sequence = judge.settle(run, gateway, subscriber)
    judge.judge(run, subscriber, next_sequence, lines=walk.reports, site=site)
    run.verdict.note(f"{len(walk.reports)} reports of {DEVICES} devices")


if __name__ == "__main__":
    common.main("kill-reports", body)

"""The broker is killed, and the way to it breaks in every manner. The gateway's input (standard input) goes on."""

import common
import judge
import store
from broker import Mosquitto
from gateway import ID, Gateway
from proxy import Proxy
from subscriber import Subscriber
from walk import Walk, Walker, announce, finish

DEVICES = 12
RATE = 60


def body(run):
    broker = Mosquitto(run)
    proxy = Proxy(run, broker.port)
    walk = Walk(run.rng, DEVICES)
    site = store.write_reports_site(run.dir / "site", walk.everybody)
    subscriber = Subscriber(run, broker.port, store.REPORTS, ID)
    gateway = Gateway(run, site, store.REPORTS, proxy.url, feed=True)
    gateway.start()
    send = lambda report: gateway.feed([report])
    announce(run, walk, send, subscriber)

    kills, proxied = (50, 50) if run.long else (6, len(Proxy.FAULTS))
    faults = ["kill"] * kills + [Proxy.FAULTS[n % len(Proxy.FAULTS)] for n in range(proxied)]
    run.rng.shuffle(faults)
    walker = Walker(walk, send, RATE).start()
    for fault in faults:
        run.pause(run.rng.uniform(0.2, 1.2))
        if fault == "kill":
            # Mostly the subscriber is away at that time: what the broker keeps for it is lost with the broker.
            away = run.rng.random() < 0.7
            if away:
                subscriber.leave()
                taken = gateway.outbox()["acknowledged"]
                run.wait_for(
                    "the broker has taken events that nobody hears",
                    lambda: gateway.outbox()["acknowledged"] > taken + 5,
                    60,
                    0.1,
                )
            broker.kill()
            run.pause(run.rng.choice((0.0, run.rng.uniform(0.1, 1.5))))
            broker.start()
            if away:
                subscriber.come_back()
        else:
            proxy.begin(fault, run.rng.uniform(0.05, 0.5))
            run.pause(run.rng.uniform(0.3, 4.0))
            proxy.end()
        run.verdict.faults += 1
    walker.stop()
    run.wait_for("the subscriber is back", subscriber.subscribed)
    finish(walk, send, subscriber)

    next_sequence = judge.settle(run, gateway, subscriber)
    judge.judge(run, subscriber, next_sequence, lines=walk.reports, site=site)
    run.verdict.note(
        f"{kills} kills of the broker, {proxied} faults of the way to it; the subscriber lost its session "
        f"{subscriber.sessions_lost} times, the gateway connected {subscriber.counter('connects')} times"
    )
    if subscriber.sessions_lost == 0:
        run.verdict.problem("wrong", "the broker was killed, and the subscriber never noticed")
    if subscriber.recording.replayed == 0:
        run.verdict.problem("wrong", "no event was lost with a broker: nothing was tested")


if __name__ == "__main__":
    common.main("broker", body)

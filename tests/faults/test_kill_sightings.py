"""`kill -9` of the gateway while beacons are heard. What is heard while it is down is lost, so no reference is exact; but
every visit must be whole, go on across restarts, and be there at all where the gateway was up throughout."""

import time

import common
import judge
import store
from broker import Mosquitto
from common import seconds
from crowd import Crowd, pacing, standing
from gateway import ID, Gateway
from subscriber import Subscriber

HALL = {"enter_after": "300ms", "exit_after": "300ms", "lost_after": "1500ms", "dwell": ["500ms", "1s"]}
DESK = {"enter_after": "300ms", "exit_after": "500ms", "lost_after": "1500ms", "dwell": ["1s"]}
SITE = {"lost_after": "8s", "dwell": ["2s", "20s"]}
HALL_LOST, SITE_LOST = 1.5, 8.0
STANDERS, PACERS, VISITORS = 2, 2, 6
ON, OFF = 2.0, 3.5
# What a loaded machine may take to hand a sighting on.
MARGIN = 1.0


def lives(rng, count, long_ones):
    """How long the gateway lives each time: mostly not for long, but sometimes for long enough that whole visits fit."""
    found = [rng.uniform(8.5, 11.0) for _ in range(long_ones)]
    found += [rng.uniform(0.02, 0.2) if rng.random() < 0.4 else rng.uniform(0.2, 2.5) for _ in range(count - long_ones)]
    rng.shuffle(found)
    # Nobody may be away for so long that being lost is the truth: after two short lives comes one that hears something.
    short = 0
    for n, life in enumerate(found):
        short = short + 1 if life < 1.0 else 0
        if short > 2:
            found[n] = rng.uniform(1.5, 2.5)
            short = 0
    return found


def body(run):
    broker = Mosquitto(run, "max_queued_messages 0\n")
    standers = [f"stander-{n}" for n in range(STANDERS)]
    pacers = [f"pacer-{n}" for n in range(PACERS)]
    visitors = [f"visitor-{n}" for n in range(VISITORS)]
    devices = standers + pacers + visitors
    site = store.write_sightings_site(run.dir / "site", devices, HALL, SITE, DESK)
    subscriber = Subscriber(run, broker.port, store.SIGHTINGS, ID)
    gateway = Gateway(run, site, store.SIGHTINGS, broker.url, feed=True)
    gateway.start()
    run.wait_for("the gateway is online", lambda: subscriber.status().get("state") == "online")
    crowd = Crowd(run.rng, gateway, devices).start()
    for n, device in enumerate(standers):
        crowd.come(device, standing(4 + 8 * n, 8))
    for n, device in enumerate(pacers):
        crowd.come(device, pacing(5.0 + n))
    for device in standers + pacers:
        subscriber.wait_for(f"{device} is on the site", lambda e: e.device == device and e.zone == "site")

    changes = {device: time.monotonic() + run.rng.uniform(0, ON + OFF) for device in visitors}
    deaths = []
    count, long_ones = (300, 45) if run.long else (15, 2)
    for life in lives(run.rng, count, long_ones):
        let_pass(run, crowd, changes, life)
        deaths.append(time.monotonic())
        gateway.kill()
        run.verdict.faults += 1
        gateway.start()
    # A last life in which everything comes to its end.
    let_pass(run, crowd, changes, 3.0)
    crowd.stop()
    run.wait_for("everybody has left", lambda: subscriber.events() and not still_inside(subscriber), SITE_LOST + 60, 0.2)
    next_sequence = judge.settle(run, gateway, subscriber)
    events = judge.judge(run, subscriber, next_sequence, closed=True)
    deaths.append(time.monotonic())

    ups = uptimes(subscriber, gateway, deaths)
    check_standers(run, events, standers, ups)
    check_visitors(run, events, crowd, visitors, ups)


def let_pass(run, crowd, changes, duration):
    """Visitors come and go meanwhile."""
    until = time.monotonic() + duration
    while (now := time.monotonic()) < until:
        for device, due in changes.items():
            if now >= due:
                if crowd.is_there(device):
                    crowd.go(device)
                    changes[device] = now + OFF
                else:
                    crowd.come(device, standing(run.rng.uniform(2, 14), run.rng.uniform(2, 14)))
                    changes[device] = now + ON
        run.pause(min(0.02, max(0.0, until - time.monotonic())))


def still_inside(subscriber):
    inside = set()
    for event in subscriber.events():
        if event.kind == "exited":
            inside.discard(event.visit)
        else:
            inside.add(event.visit)
    return inside


def uptimes(subscriber, gateway, deaths):
    """When each life was surely hearing: from its first status on, to its death."""
    with subscriber.lock:
        online = [(at, seconds(status["since"])) for at, _, status in subscriber.statuses if status["state"] == "online"]
    found = []
    for (born, wall), died in zip(gateway.lives, deaths):
        ready = next((at for at, since in online if born < at < died and since >= wall - 0.1), None)
        if ready is not None:
            found.append((ready, died))
    return found


def check_standers(run, events, standers, ups):
    """Who stood there all the time has one visit of the site, through all restarts."""
    outage = max((ready - died for (_, died), (ready, _) in zip(ups, ups[1:])), default=0.0)
    if outage > SITE_LOST - 2 * MARGIN:
        run.verdict.problem("wrong", f"the gateway heard nothing for {outage:.1f} s: too long to tell a lost visit from a broken one")
        return
    for device in standers:
        visits = {e.visit for e in events if e.device == device and e.zone == "site"}
        if len(visits) != 1:
            run.verdict.problem("wrong", f"{device} stood there all the time, and has {len(visits)} visits of the site")
    run.verdict.note(f"longest deafness {outage:.1f} s; {len(ups)} of {run.verdict.faults + 1} lives got as far as a status")


def check_visitors(run, events, crowd, visitors, ups):
    """A stay that lies in one life of the gateway, with room for the hold times, is one visit to the hall."""
    offset = time.time() - time.monotonic()
    entered = {}
    for event in events:
        if event.zone == "hall":
            entered.setdefault(event.visit, {})[event.kind] = event
    judged = 0
    for stay in crowd.stays:
        if stay.device not in visitors or stay.worst_gap > HALL_LOST - MARGIN:
            continue
        # Before, whoever was inside when the gateway died must have had the time to be lost.
        first, last = stay.begins - HALL_LOST - MARGIN, stay.ends + HALL_LOST + MARGIN
        if not any(ready <= first and last <= died for ready, died in ups):
            continue
        judged += 1
        found = [
            visit
            for visit in entered.values()
            if "entered" in visit
            and visit["entered"].device == stay.device
            and abs(seconds(visit["entered"].data["observed_at"]) - offset - stay.begins) < MARGIN
            and "exited" in visit
            and abs(seconds(visit["exited"].data["observed_at"]) - offset - stay.ends) < MARGIN
            and visit["exited"].data["reason"] == "lost"
        ]
        if len(found) != 1:
            times = f"{common.instant(int((stay.begins + offset) * 1000))} to {common.instant(int((stay.ends + offset) * 1000))}"
            run.verdict.problem("lost", f"the stay of {stay.device} in the hall from {times} is {len(found)} visits")
    run.verdict.note(f"{judged} of {len(crowd.stays)} stays lie wholly in up-time")
    if judged < 3:
        run.verdict.problem("wrong", f"only {judged} stays could be judged")


if __name__ == "__main__":
    common.main("kill-sightings", body)

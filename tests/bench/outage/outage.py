"""A broker outage at a shortened scale, and the drain after it. The goal: eight hours without a broker at 20 events/s need
less than 500 MB of disk, drain in order per device, and the drain holds live events up by no more than a second.

1. Everybody reports; a calm phase of live events is measured; Mosquitto is stopped in good order (it keeps its sessions).
2. Visitors make N events, much faster than in reality. Then it waits, at the real rate, until what waits is
   no longer fresh to the gateway: in a real outage all but the last seconds of the backlog is old.
3. Mosquitto is back, and its subscribers' sessions with it. While the backlog drains, 20 live events/s are of devices that
   have nothing waiting, 5/s of devices that have.
4. A calm phase again. Then everything that came is compared with what must follow from the reports.

Latency is from the moment before a report is written to the gateway's standard input to the moment when a subscriber in a
process of its own has read the event. That subscriber has only the zone of these devices, so it is not behind the
backlog; another has everything, and is slower than the gateway. `sent_at` of each event tells the gateway's part from the broker's and the subscriber's."""

import argparse
import dataclasses
import math
import os
import random
import shutil
import signal
import statistics
import sys
import threading
import time
import traceback
import types

import common
import judge
import store
from broker import Mosquitto
from check import Recording
from common import Failed, Run, instant, seconds
from gateway import ID, Gateway
from subscriber import PREFIX
from walk import BEHIND

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "outage"

RATE = 20
REAL = 8 * 3600 * RATE
VISITORS = 2000
FRESH = 200  # devices that have nothing waiting
BEHIND_RATE = 5  # live events a second of visitors, who have something waiting
LIVE_AISLE = 5  # where only they are, so that one filter has them all
LEAST_LIVE = 40
CALM = 15.0
# The gateway lets pass first what is younger than 10 s. What waits shall be older, as nearly all of a real outage is.
AGEING = 15.0
MEGABYTE = 1e6


class Crowd:
    """Who is where. Reports are in the order of their times, and each device's are newer than its last."""

    def __init__(self, rng):
        self.rng = rng
        self.visitors = [f"visitor-{n}" for n in range(VISITORS)]
        self.fresh = [f"fresh-{n}" for n in range(FRESH)]
        self.reports = []
        self._aisle = {}
        self._times = {}
        self._last = 0
        self._turns = {"visitors": 0, "fresh": 0}
        self._lock = threading.Lock()

    def report(self, device, aisle):
        with self._lock:
            self._last = max(self._last, int(time.time() * 1000) - BEHIND, self._times.get(device, 0) + 1)
            x, y = store.CORRIDOR if aisle is None else store.middle(aisle)
            latitude, longitude = store.place(x + self.rng.gauss(0, 0.3), y + self.rng.gauss(0, 0.3))
            report = {"time": instant(self._last), "device": device, "latitude": latitude, "longitude": longitude,
                      "accuracy": 1.0, "level": 0}  # fmt: skip
            self._times[device], self._aisle[device] = self._last, aisle
            self.reports.append(report)
            return report

    def _next(self, kind):
        devices = getattr(self, kind)
        device = devices[self._turns[kind] % len(devices)]
        self._turns[kind] += 1
        return device

    def visitor_moves(self):
        """One, two or three events: out of a zone, into another, into the wide one over some of them."""
        device = self._next("visitors")
        places = [place for place in (None, 0, 1, 2, 3, 4) if place != self._aisle[device]]
        return self.report(device, self.rng.choice(places))

    def fresh_moves(self):
        """One event."""
        device = self._next("fresh")
        return self.report(device, LIVE_AISLE if self._aisle[device] is None else None)


@dataclasses.dataclass
class Live:
    """A report that was written while it was measured."""

    written: float
    report: dict
    fresh: bool

    @property
    def key(self):
        return self.report["device"], self.report["time"]


class Feeder:
    """Live reports at a rate, in a thread of its own."""

    def __init__(self, gateway, crowd):
        self.gateway, self.crowd = gateway, crowd
        self.live = []
        self.failure = None
        self._stopped = threading.Event()
        self._thread = None

    def start(self, fresh=RATE, behind=0):
        self._stopped.clear()
        self._thread = threading.Thread(target=self._feed, args=(fresh, behind), daemon=True)
        self._thread.start()

    def _feed(self, fresh, behind):
        # Both kinds evenly mixed.
        pattern = sorted([(n / fresh, True) for n in range(fresh)] + [(n / behind + 0.01, False) for n in range(behind)])
        due = time.monotonic()
        try:
            while not self._stopped.is_set():
                for _, is_fresh in pattern:
                    if self._stopped.wait(max(0.0, due - time.monotonic())):
                        return
                    # Not to the beat of anything else that ticks.
                    due += self.crowd.rng.uniform(0.5, 1.5) / len(pattern)
                    report = self.crowd.fresh_moves() if is_fresh else self.crowd.visitor_moves()
                    written = time.time()
                    if not self.gateway.feed([report]):
                        raise Failed("the gateway takes no reports")
                    self.live.append(Live(written, report, is_fresh))
        except Exception as failure:  # told to the main thread by stop()
            self.failure = failure

    def stop(self):
        """Returns what was written since the start."""
        self._stopped.set()
        self._thread.join(60)
        if self.failure:
            raise self.failure
        written, self.live = self.live, []
        return written


class Listener:
    """A subscriber in a process of its own; see listener.py."""

    def __init__(self, run, port, name, zones):
        self.run, self.name = run, name
        self.path = run.dir / f"{name}.events"
        self.path.touch()
        self.log = run.dir / f"{name}.log"
        filters = [f"{PREFIX}/{store.REPORTS}/events/{zone}" for zone in zones]
        program = ["/usr/bin/python3", "-B", os.path.join(HERE, "listener.py")]
        command = [*program, str(port), f"{NAME}-{name}", str(self.path), *filters]
        self.child = run.spawn(command, self.log.name, f"the subscriber {name}")
        run.wait_for(f"{name} is subscribed", lambda: "subscribed" in self.log.read_text())

    def size(self):
        return self.path.stat().st_size

    def resumed(self):
        """How often it found its session again."""
        return self.log.read_text().split().count("resumed")

    def cpu(self):
        """Seconds of processor time so far."""
        fields = open(f"/proc/{self.child.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self):
        """Until nothing has come for a while."""
        before = -1
        while (now := self.size()) != before:
            before = now
            self.run.pause(1.5)

    def lines(self):
        with open(self.path, "rb") as log:
            for line in log:
                at, sent, topic, payload = line.rstrip(b"\n").split(b"\t", 3)
                yield float(at), seconds(sent.decode()), topic.decode(), payload


def memory(pid, what):
    """Bytes, from /proc."""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(what + ":"):
            return int(line.split()[1]) * 1024
    raise Failed(f"no {what} in /proc/{pid}/status")


@dataclasses.dataclass
class Sample:
    depth: int
    payload_bytes: int
    disk: int
    rss: int


def percentile(values, share):
    """The nearest rank."""
    values = sorted(values)
    return values[max(0, math.ceil(share * len(values)) - 1)]


def figure(name, measured, unit, goal, met):
    print(f"{name} measured={measured}{unit} goal={goal} {'met' if met else 'missed'}", flush=True)


class Bench:
    def __init__(self, run, options):
        self.run, self.wanted, self.inflight, self.pace = run, options.events, options.inflight, options.pace
        self.crowd = Crowd(run.rng)
        site = store.write_reports_site(run.dir / "site", [*self.crowd.visitors, *self.crowd.fresh], dwell=("1h",))
        self.site = site
        # Unless told otherwise the broker loses nothing that it holds for a subscriber. It writes no log, which would be as
        # long as all events.
        self.broker = Mosquitto(
            run,
            f"max_queued_messages {options.queue}\nmax_queued_bytes 0\nmax_inflight_messages {self.inflight}\nlog_dest none\n"
            f"persistence true\npersistence_location {run.dir}/\nautosave_interval 0\n",
        )
        self.everything = Listener(run, self.broker.port, "all", ["#"])
        self.probe = Listener(run, self.broker.port, "live", [f"aisle-{LIVE_AISLE}/#"])
        # More than the default, so that nothing is dropped where the backlog is as large as a real one; see `outage-bytes`.
        self.gateway = Gateway(run, site, store.REPORTS, self.broker.url, feed=True, outbox={"max_megabytes": 4000})
        self.database = run.dir / "gateway-data" / "beaconfence.redb"
        self.feeder = Feeder(self.gateway, self.crowd)

    # --- the phases

    def announce(self):
        self.gateway.start()
        run, crowd = self.run, self.crowd
        began = time.monotonic()
        self.gateway.feed([crowd.report(device, None) for device in [*crowd.visitors, *crowd.fresh]])
        if time.monotonic() - began > 8:
            raise Failed("the first reports took so long that not all of them are `initial`")
        run.wait_for("everybody is on the site", lambda: self.gateway.outbox()["next_sequence"] == VISITORS + FRESH, step=0.2)
        self.gateway.wait_until_empty()

    def calm(self):
        self.feeder.start()
        self.run.pause(CALM)
        written = self.feeder.stop()
        self.gateway.wait_until_empty()
        return written

    def stop_broker(self):
        """In good order: it writes its subscribers' sessions down."""
        child = self.broker.child
        self.run.unwatch(child)
        child.terminate()
        if child.wait(30) != 0:
            raise Failed(f"Mosquitto ended with {child.returncode}")

    def sample(self):
        outbox = self.gateway.outbox()
        if outbox["dropped"] and any(outbox["dropped"].values()):
            raise Failed(f"events were dropped: {outbox['dropped']}")
        stat = self.database.stat()
        # A file may have holes, or more blocks than bytes.
        disk = max(stat.st_size, stat.st_blocks * 512)
        return Sample(outbox["depth"], outbox["bytes"], disk, memory(self.gateway.child.pid, "VmRSS"))

    def outage(self):
        """Until N events wait, and are old. Returns samples on the way."""
        samples = [self.sample()]
        if samples[0].depth:
            raise Failed(f"{samples[0].depth} events wait before the outage")
        began = time.monotonic()
        fed = 0
        while samples[-1].depth < self.wanted:
            # In small portions, so that commits are as small as the pace allows, as they are in a real outage.
            due = time.monotonic() + 0.5
            while time.monotonic() < due and samples[-1].depth < self.wanted:
                ahead = (time.monotonic() - began) * self.pace - fed
                if ahead < 1:
                    time.sleep(0.005)
                    continue
                portion = min(int(ahead), 200)
                self.gateway.feed([self.crowd.visitor_moves() for _ in range(portion)])
                fed += portion
            samples.append(self.sample())
            self.run.all_alive()
        taken = time.monotonic() - began
        self.run.say(f"{samples[-1].depth} events wait, made in {taken:.0f} s; now {AGEING:.0f} s at {RATE} reports/s")
        self.feeder.start(fresh=0, behind=RATE)
        self.run.pause(AGEING)
        self.feeder.stop()
        self.run.pause(0.5)
        samples.append(self.sample())
        return samples

    def drain(self):
        """Returns when it began and ended as seen from outside, what was written meanwhile, and samples."""
        run, size = self.run, self.everything.size()
        reopened = time.time()
        self.broker.start()
        for listener in (self.everything, self.probe):
            run.wait_for(f"the subscriber {listener.name} has its session again", lambda: listener.resumed() == 1)
        run.wait_for("the drain begins", lambda: self.everything.size() > size, step=0.005)
        busy = {listener.name: -listener.cpu() for listener in (self.everything, self.probe)}
        began = time.monotonic()
        self.feeder.start(fresh=RATE, behind=BEHIND_RATE)
        samples = [self.sample()]
        # At the end only what is live is under way.
        while samples[-1].depth > RATE + BEHIND_RATE:
            if time.monotonic() - began > 60 + self.wanted / 100:
                raise Failed(f"{samples[-1].depth} events still wait: less than 100 events/s were drained")
            run.pause(0.5)
            samples.append(self.sample())
        taken = time.monotonic() - began
        busy = {listener.name: (busy[listener.name] + listener.cpu()) / taken for listener in (self.everything, self.probe)}
        run.say("the subscribers were busy for " + ", ".join(f"{share:.0%} ({name})" for name, share in busy.items()))
        written = self.feeder.stop()
        self.gateway.wait_until_empty()
        return reopened, written, samples

    # --- the figures

    def disk_and_memory(self, samples, drained):
        before, last = samples[0], samples[-1]
        later = [sample for sample in samples if sample.depth >= last.depth / 2]
        peak = max(sample.disk for sample in [*samples, *drained])
        each = (peak - before.disk) / last.depth
        disk = (peak if last.depth >= REAL else before.disk + each * REAL) / MEGABYTE
        figure("outage-disk", f"{disk:.0f}", "MB", "500MB", disk < 500)
        # The file grows in steps: had the outage ended just after one, an event had taken so much.
        worst = max((sample.disk - before.disk) / sample.depth for sample in later)
        how = "the real scale, nothing is extrapolated" if last.depth >= REAL else f"times {REAL}"
        self.scale(
            f"{last.depth} waiting events, {each:.0f} bytes of disk each at the largest that the file was, {how}"
            f" ({before.disk / MEGABYTE:.1f} MB before, {peak / MEGABYTE:.1f} MB up to the drain's end); the file grows in steps, and just"
            f" after one it had {worst:.0f} bytes for each event of that moment"
        )
        size = last.payload_bytes / last.depth
        logical = size * REAL / MEGABYTE
        figure("outage-bytes", f"{logical:.0f}", "MB", "500MB", logical < 500)
        self.scale(
            f"topic and payload of an event have {size:.0f} bytes here, times {REAL}; the goal is the default of `max_megabytes`,"
            " beyond which the oldest events are dropped"
        )
        slope = max(0.0, (last.rss - later[0].rss) / (last.depth - later[0].depth))
        rss = (last.rss + slope * max(0, REAL - last.depth)) / MEGABYTE
        figure("outage-memory", f"{rss:.0f}", "MB", "200MB", rss < 200)
        highest = memory(self.gateway.child.pid, "VmHWM") / MEGABYTE
        self.scale(
            f"resident {before.rss / MEGABYTE:.1f} MB before, {last.rss / MEGABYTE:.1f} MB with {last.depth} events; in the second"
            f" half {slope:.0f} bytes more an event, up to {REAL}; the highest ever, the drain included, was {highest:.1f} MB here"
        )

    def scale(self, text):
        print(f"  {text}", flush=True)

    def received(self, listener):
        """(device, observed_at) -> the moments when its first event came, and was sent; and all of it as a recording."""
        recording, first = Recording(), {}
        for at, sent, topic, payload in listener.lines():
            event = recording.add(topic, payload, True, at)
            if event is not None:
                first.setdefault((event.device, event.data["observed_at"]), (at, sent))
                event.sent = sent
        return recording, first

    def live_delay(self, calm, during, ended):
        """`during`: what was written in the drain, of both kinds. `ended`: when the last of the backlog was sent."""
        _, first = self.received(self.probe)
        fresh = [live for live in during if live.fresh and live.written < ended]
        lacking = [live.key for live in [*calm, *fresh] if live.key not in first]
        if lacking:
            raise Failed(f"{len(lacking)} live reports had no event, such as {lacking[:3]}")
        if len(fresh) < LEAST_LIVE:
            raise Failed(f"only {len(fresh)} live events fell into the drain, {LEAST_LIVE} are needed: take more --events")
        quiet = [first[live.key][0] - live.written for live in calm]
        held = [first[live.key][0] - live.written for live in fresh]
        sent = [first[live.key][1] - live.written for live in fresh]
        delay = percentile(held, 0.99) - percentile(quiet, 0.99)
        figure("outage-live-delay", f"{delay:.3f}", "s", "1s", delay <= 1)
        self.scale(
            f"p99 of {len(held)} live events in the drain less p99 of {len(quiet)} in calm: {percentile(held, 0.99):.3f} s"
            f" less {percentile(quiet, 0.99):.3f} s; medians {statistics.median(held):.3f} s and {statistics.median(quiet):.3f} s"
        )
        most = max(held) - statistics.median(quiet)
        figure("outage-live-delay-max", f"{most:.3f}", "s", "1s", most <= 1)
        self.scale(
            f"the slowest in the drain took {max(held):.3f} s, the slowest in calm {max(quiet):.3f} s; until the gateway sent it"
            f" (`sent_at`), p99 {percentile(sent, 0.99):.3f} s, at most {max(sent):.3f} s: the rest is the broker and the subscriber"
        )

    def others(self, during, ended, first):
        """What has no goal."""
        fresh = [live for live in during if live.fresh and live.written < ended and live.key in first]
        delays = [first[live.key][0] - live.written for live in fresh]
        self.scale(
            f"a subscriber to everything has them after p99 {percentile(delays, 0.99):.3f} s, at most {max(delays):.3f} s: what it"
            " does not read as fast as the gateway sends waits in the broker, and live events behind it"
        )
        # A visitor who stays outside every zone makes no event, so not every report has one.
        behind = [live for live in during if not live.fresh and live.written < ended and live.key in first]
        if behind:
            delays = [first[live.key][0] - live.written for live in behind]
            self.scale(
                f"{len(behind)} of devices with something waiting came after it, as they must: median"
                f" {statistics.median(delays):.3f} s, at most {max(delays):.3f} s"
            )

    def body(self):
        run = self.run
        self.announce()
        calm = self.calm()
        self.everything.settle()
        before = self.gateway.outbox()["next_sequence"]
        self.stop_broker()
        outage = self.outage()
        reopened, during, drained = self.drain()
        calm += self.calm()
        self.everything.settle()
        self.probe.settle()
        run.all_alive()

        next_sequence = self.gateway.outbox()["next_sequence"]
        recording, first = self.received(self.everything)
        subscriber = types.SimpleNamespace(recording=recording, lock=threading.Lock())
        events = judge.judge(run, subscriber, next_sequence, lines=self.crowd.reports, site=self.site)
        backlog = [event for event in events if event.sequence >= before and seconds(event.data["observed_at"]) < reopened - 0.5]
        if len(backlog) < self.wanted:
            raise Failed(f"{len(backlog)} events of the backlog came, and not {self.wanted}")
        sent = [event.sent for event in backlog]
        began, ended = min(sent), max(sent)

        self.disk_and_memory(outage, [*outage, *drained])
        self.live_delay(calm, during, ended)
        self.others(during, ended, first)
        rate = len(backlog) / (ended - began)
        figure("outage-drain-rate", f"{rate:.0f}", "/s", f"{10 * RATE}/s", rate >= 10 * RATE)
        behind = max(0.0, max(event.at for event in backlog) - ended)
        self.scale(
            f"{len(backlog)} events of {VISITORS} devices sent in {ended - began:.1f} s, {REAL} would take {REAL / rate:.0f} s; the"
            f" broker lets {self.inflight} be under way; the subscriber to everything had the last one {behind:.1f} s after it was sent"
        )
        if run.verdict.holds():
            self.scale(f"all {next_sequence} events came, as the reports demand, each device's in order")


def arguments():
    parser = argparse.ArgumentParser(prog=NAME)
    parser.add_argument("--events", type=int, default=150_000, help=f"how many shall wait ({REAL} in eight hours)")
    parser.add_argument("--inflight", type=int, default=20, help="how many messages Mosquitto lets be under way (its default: 20)")
    parser.add_argument("--queue", type=int, default=0, help="how many Mosquitto holds for a subscriber (its default: 1000; 0: all)")
    parser.add_argument("--pace", type=int, default=10_000, help="most reports a second during the outage")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="keeps the directory with logs and recordings")
    options = parser.parse_args()
    options.long = False
    return options


def stopped(*_):
    raise KeyboardInterrupt


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, stopped)
    run = Run(NAME, options)
    run.say(f"seed {run.seed}, {options.events} events for the {REAL} of eight hours")
    try:
        Bench(run, options).body()
    except Failed as failure:
        run.verdict.problem("wrong", str(failure))
    except KeyboardInterrupt:
        run.verdict.problem("wrong", "interrupted")
    except Exception:
        run.verdict.problem("wrong", f"the benchmark itself failed:\n{traceback.format_exc()}")
    held = run.verdict.holds()
    if not held:
        run.tail()
    run.clean_up()
    held = run.verdict.holds()
    if not held:
        run.verdict.report()
    if held and not options.keep:
        shutil.rmtree(run.dir, ignore_errors=True)
    else:
        run.say(f"everything is in {run.dir}")
    sys.stdout.flush()
    os._exit(0 if held else 1)


if __name__ == "__main__":
    main()

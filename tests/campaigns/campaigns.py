#!/usr/bin/env python3
"""Runs the campaigns: see run."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import types

import jsonschema
import paho.mqtt.client as mqtt

import expected
import pages
import tell
import variant

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests/faults"))
import common  # noqa: E402
from broker import Mosquitto  # noqa: E402

PREFIX = "beaconfence/v1"
DISPATCHER = ROOT / "deploy/examples/dispatcher/python/dispatcher.py"
SCHEMA = ROOT / "docs/schemas/trigger.json"
# Far beyond what anything here takes.
LIMIT = 120


class Wrong(Exception):
    """Something did not hold."""


class Campaign:
    """One of them, and what comes of it."""

    def __init__(self, name, directory):
        self.name, self.dir, self.source = name, directory, HERE / name
        self.store = tell.Store(self.source)
        self.expected = expected.read(self.source / "expected.txt")
        self.rules = (self.source / "triggers.toml").read_text()
        # The site directory alone: what else is beside it is none of the gateway's business.
        self.site = self.copy("site")
        self.sightings = self.tell("sightings.jsonl")
        self.lines = []
        self.triggers = []

    def copy(self, name):
        site = self.dir / name
        site.mkdir()
        for file in ("site.toml", "zones.geojson", "devices.csv", "beacons.csv", "triggers.toml"):
            shutil.copy(self.source / file, site)
        return site

    def tell(self, name, *options):
        path = self.dir / name
        with open(path, "wb") as file:
            subprocess.run([sys.executable, "-B", HERE / "tell.py", self.source, *options], stdout=file, check=True)
        if path.stat().st_size == 0:
            raise Wrong("the story tells nothing")
        return path

    def beaconfence(self, *arguments):
        done = subprocess.run([os.environ["BEACONFENCE"], *arguments], capture_output=True, timeout=LIMIT)
        if done.returncode:
            raise Wrong(f"{arguments[0]} ends with {done.returncode}: {(done.stdout + done.stderr).decode()}")
        return done

    def replay(self, sightings, site):
        done = self.beaconfence("replay", sightings, "--site", site, "--triggers")
        if b"error" in done.stderr or b"note" in done.stderr:
            raise Wrong(f"replay says: {done.stderr.decode()}")
        return done.stdout.splitlines()

    def check(self):
        """Neither faults nor warnings."""
        said = json.loads(self.beaconfence("check", "--site", self.site, "--json").stdout)
        if not said["ok"] or said["faults"] or said["warnings"]:
            raise Wrong(f"check says: {json.dumps(said, indent=1)}")

    def compare(self):
        self.lines = self.replay(self.sightings, self.site)
        self.triggers = [json.loads(line) for line in self.lines]
        if not self.triggers or not self.expected.held:
            raise Wrong("a campaign has what fires and what does not")
        if found := expected.differences(self.expected.fires, self.triggers, self.store):
            raise Wrong("\n".join(found))
        if self.replay(self.sightings, self.site) != self.lines:
            raise Wrong("the same story does not give the same bytes")

    def hold(self):
        """What does not fire does not, and does so without what holds it back."""
        fired = {expected.moment(trigger, self.store.zone) for trigger in self.triggers}
        told = {}
        for held in self.expected.held:
            moment = held.time, held.rule, held.who
            if f'id = "{held.rule}"' not in self.rules:
                raise Wrong(f"line {held.line}: there is no rule {held.rule}")
            if moment in fired:
                raise Wrong(f"line {held.line}: {held.name()} fires")
            if held.reason == "never":
                continue
            variation = (None, held.reason) if held.reason in ("not_observed", "unattended") else (held.rule, held.reason)
            if variation not in told:
                told[variation] = self.variation(len(told), *variation)
            if moment not in told[variation]:
                others = sorted(one for one in told[variation] - fired if one[1:] == moment[1:])
                raise Wrong(f"line {held.line}: {held.name()} is not held back by {held.reason} (alone); without it fire {others}")
        return len(told)

    def variation(self, number, rule, reason):
        site, sightings = self.site, self.sightings
        if rule:
            site = self.copy(f"without-{number}")
            (site / "triggers.toml").write_text(variant.without(self.rules, rule, reason))
        else:
            sightings = self.tell(f"without-{number}.jsonl", "--without-outages")
        return {expected.moment(json.loads(line), self.store.zone) for line in self.replay(sightings, site)}

    def validate(self):
        validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker())
        for trigger in self.triggers:
            if error := jsonschema.exceptions.best_match(validator.iter_errors(trigger)):
                raise Wrong(f"{' '.join(expected.moment(trigger, self.store.zone))} does not fit the schema: {error.json_path}: {error.message}")

    def messages(self):
        """What the dispatcher is to say: (trigger, title, body)."""
        wanted, keys = [], set()
        for one, trigger in zip(self.expected.fires, self.triggers):
            key = trigger["data"]["deduplication_key"]
            if (key in keys) != (one.says == "nothing"):
                raise Wrong(f"line {one.line}: its key {key} is {'' if key in keys else 'not '}taken, and it says {one.says}")
            if key not in keys:
                wanted.append((trigger, *(part.strip() for part in one.says.split("|"))))
            keys.add(key)
        return wanted

    def publish(self):
        """Through a real broker to the dispatcher: each message once."""
        run = common.Run(f"campaigns-{self.name}", types.SimpleNamespace(long=False, seed=1))
        try:
            broker = Mosquitto(run)
            listener = Listener(broker.port)
            dispatcher = run.spawn(self.dispatcher(broker, run), "dispatcher.log", "the dispatcher")
            run.wait_for("the dispatcher is connected", lambda: b"connected" in (run.dir / "dispatcher.log").read_bytes())
            config = self.dir / "gateway.toml"
            config.write_text(f'id = "replay"\n\n[mqtt]\nbrokers = ["{broker.url}"]\n')
            self.beaconfence("replay", self.sightings, "--site", self.site, "--publish", config)
            wanted = self.messages()
            run.wait_for(
                f"{len(wanted)} messages and {len(self.triggers)} triggers",
                lambda: len(said(run)) >= len(wanted) and len(listener.triggers) >= len(self.triggers),
                limit=LIMIT,
            )
            # What comes once too often comes now.
            run.pause(1.0)
            self.judge(wanted, said(run), listener)
            if dispatcher.poll() is not None:
                raise Wrong("the dispatcher has ended")
            aside = run.dir / "aside.jsonl"
            if aside.exists():
                raise Wrong(f"the dispatcher put aside: {aside.read_text()}")
        except common.Failed as failed:
            run.tail()
            raise Wrong(str(failed)) from failed
        finally:
            run.clean_up()
            shutil.rmtree(run.dir)

    def dispatcher(self, broker, run):
        return [
            *(sys.executable, "-B", str(DISPATCHER), "--broker", broker.url, "--channel", "*=console", "--metrics-port", "-1"),
            *("--state", str(run.dir / "state.sqlite"), "--aside", str(run.dir / "aside.jsonl"), "--remember-days", "36500"),
            *("--templates", str(HERE / "templates.json"), "--schema", str(SCHEMA)),
            # The story is of days that are over: by the clock all of it has expired.
            "--replayed",
        ]

    def judge(self, wanted, messages, listener):
        # The order of each device is kept; several are under way at once.
        if by_subject(payload for _, payload in listener.triggers) != by_subject(self.lines):
            raise Wrong("what was published is not what replay prints")
        for topic, payload in listener.triggers:
            if topic != f"{PREFIX}/{self.store.id}/triggers/{json.loads(payload)['data']['trigger']}":
                raise Wrong(f"a trigger on {topic}")
        if [len(messages), len(listener.triggers)] != [len(wanted), len(self.lines)]:
            raise Wrong(f"{len(messages)} messages of {len(listener.triggers)} triggers, not {len(wanted)} of {len(self.lines)}")
        messages = sorted(messages, key=lambda message: message["id"])
        wanted = sorted(wanted, key=lambda one: one[0]["id"])
        for (trigger, title, body), message in zip(wanted, messages):
            data = trigger["data"]
            want = {
                "id": trigger["id"],
                "deduplication_key": data["deduplication_key"],
                "site": self.store.id,
                "trigger": data["trigger"],
                "campaign": data["campaign"],
                "priority": data["priority"],
                "channel": data["channels"][0],
                "subject": trigger["subject"],
                "title": title,
                "body": body,
                "data": data["data"],
                "observed_at": data["observed_at"],
                "expires_at": data["expires_at"],
            }
            if "device" in data:
                want["device"] = data["device"]["id"]
            if message != want:
                raise Wrong(f"the dispatcher says {json.dumps(message)}, not {json.dumps(want)}")
        self.judge_cards(listener)

    def judge_cards(self, listener):
        """Each card is shown, and taken away when the visit is over."""
        shown = sorted((topic, payload) for topic, payload in listener.cards if payload)
        wanted = sorted(
            (f"{PREFIX}/{self.store.id}/cards/{trigger['subject']}/{trigger['data']['trigger']}", line)
            for trigger, line in zip(self.triggers, self.lines)
            if trigger["data"].get("card")
        )
        if shown != wanted:
            raise Wrong(f"{len(shown)} cards, not {len(wanted)}: {[topic for topic, _ in shown]}")
        left = dict(listener.cards)
        if any(left.values()):
            raise Wrong(f"cards are still there: {[topic for topic, payload in left.items() if payload]}")


class Listener:
    """Sees all that is published of triggers and cards."""

    def __init__(self, port):
        self.triggers, self.cards = [], []
        subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="listener", protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"{PREFIX}/+/{kind}/#", 1) for kind in ("triggers", "cards")])
        self._client.loop_start()
        if not subscribed.wait(common.LIMIT):
            raise Wrong("the broker answers no subscription")

    def _on_message(self, _client, _userdata, message):
        kept = self.triggers if "/triggers/" in message.topic else self.cards
        kept.append((message.topic, message.payload))


def by_subject(payloads):
    """Triggers of each device or zone, in their order."""
    found = {}
    for payload in payloads:
        found.setdefault(json.loads(payload)["subject"], []).append(payload)
    return found


def said(run):
    """What the dispatcher has said; it says other things about itself there, too."""
    lines = (run.dir / "dispatcher.log").read_text().splitlines()
    return [json.loads(line) for line in lines if re.match(r'\{"id":', line)]


def main():
    names = sys.argv[1:]
    failed = []
    for name in names:
        began = time.monotonic()
        work = pathlib.Path(common.tempfile.mkdtemp(prefix=f"beaconfence-campaign-{name}."))
        try:
            campaign = Campaign(name, work)
            campaign.check()
            campaign.compare()
            variations = campaign.hold()
            campaign.validate()
            pages.check(ROOT, HERE, campaign)
            campaign.publish()
            counts = f"{len(campaign.triggers)} fire, {len(campaign.expected.held)} do not, {variations} variations"
            print(f"campaign {name}: {counts}, {len(campaign.messages())} messages ({time.monotonic() - began:.0f} s)", flush=True)
            shutil.rmtree(work)
        except (Wrong, pages.Wrong, subprocess.SubprocessError) as error:
            failed.append(name)
            print(f"campaign {name} FAILED: {error}\n  everything is in {work}", flush=True)
    print(f"{len(names) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not names else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)

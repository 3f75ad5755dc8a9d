#!/usr/bin/env python3
"""Takes triggers from the broker and sends messages: each once, none late. See README.md."""

import base64
import contextlib
import datetime
import json
import os
import pathlib
import queue
import signal
import socket
import threading
import time

import jsonschema

import channels as outward
import link
import seen
from metrics import Metrics
from templates import Templates

HERE = pathlib.Path(__file__).resolve().parent
METRICS = {
    "dispatcher_received_total": ("counter", "Messages from the broker, repetitions among them."),
    "dispatcher_delivered_total": ("counter", "Messages delivered.", "campaign", "channel"),
    "dispatcher_skipped_total": (
        "counter",
        "Triggers that were acknowledged and not delivered: duplicate, duplicate_key, expired, invalid, unroutable, rejected.",
        "reason",
    ),
    "dispatcher_failed_attempts_total": ("counter", "Attempts to deliver that did not work.", "channel"),
    "dispatcher_delay_seconds_total": ("counter", "Seconds from the gateway's decision to the delivery, over all that were delivered."),
    "dispatcher_waiting": ("gauge", "Messages in hand that are not acknowledged yet."),
    "dispatcher_cards": ("gauge", "Cards that are shown."),
    "dispatcher_connected": ("gauge", "Whether the broker is connected."),
}
# So large a file of what was put aside is enough; the one before is kept as FILE.1.
ASIDE_BYTES = 10_000_000
# Where nothing has come for so long, all has come that the broker held.
QUIET_S = 3.0


class Invalid(Exception):
    """No trigger of this contract."""


class Dispatcher:
    """What is done with each message; knows nothing of MQTT."""

    def __init__(self, schema, templates, channels, seen_file, aside, metrics, stop, clock=time.time, backoff=(0.5, 30.0),
                 replayed=False):
        jsonschema.Draft202012Validator.check_schema(schema)
        self._validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        self._templates, self._channels, self._seen, self._aside = templates, channels, seen_file, aside
        self._metrics, self._stop, self._clock, self._backoff = metrics, stop, clock, backoff
        self._replayed = replayed

    def _now(self, data):
        """What time it is for this trigger: one of a recording is as fresh as it was."""
        return _seconds(data["decided_at"]) if self._replayed else self._clock()

    def trigger(self, topic, payload):
        """Whether it is dealt with, and may be acknowledged."""
        if "/triggers/_" in topic:
            # No id begins like this: a gateway's trial of its rights.
            return self._skip("trial")
        try:
            trigger = self._parsed(payload)
        except Invalid as error:
            return self._skip("invalid", topic, payload, str(error))
        trigger_id, data = trigger["id"], trigger["data"]
        chosen = outward.choose(self._channels, data["channels"])
        if chosen is None:
            return self._skip("unroutable", topic, payload, f"none of its channels is here: {', '.join(data['channels'])}")
        name, channel = chosen
        title, body = self._templates.render(trigger)
        message = {
            "id": trigger_id,
            "deduplication_key": data["deduplication_key"],
            "site": data["site"],
            "trigger": data["trigger"],
            "campaign": data["campaign"],
            "priority": data["priority"],
            "channel": name,
            **({"device": data["device"]["id"]} if "device" in data else {}),
            "subject": trigger["subject"],
            "title": title,
            "body": body,
            "data": data["data"],
            "observed_at": data["observed_at"],
            "expires_at": data["expires_at"],
        }
        expires_at = _seconds(data["expires_at"])
        wait, most = self._backoff
        claimed = False
        while not self._stop.is_set():
            if self._now(data) >= expires_at:
                if claimed:
                    self._seen.release(trigger_id)
                return self._skip("expired")
            if not claimed:
                answer = self._seen.claim(trigger_id, data["deduplication_key"])
                if answer == seen.BUSY:
                    self._stop.wait(0.2)
                    continue
                if answer != seen.FREE:
                    return self._skip(answer)
                claimed = True
            try:
                channel.deliver(message)
            except outward.Later as error:
                self._metrics.add("dispatcher_failed_attempts_total", channel=name)
                link.say(f"{trigger_id}: {name}: {error}; again in {wait:.1f} s")
                self._seen.renew(trigger_id)
                self._stop.wait(max(0.0, min(wait, expires_at - self._now(data))))
                wait = min(2 * wait, most)
                continue
            except outward.Never as error:
                self._seen.release(trigger_id)
                return self._skip("rejected", topic, payload, f"{name}: {error}")
            # What is noted here is acknowledged afterwards. Killed in between, we get it again, and know it.
            self._seen.done(trigger_id, data["deduplication_key"])
            self._metrics.add("dispatcher_delivered_total", channel=name, campaign=data["campaign"])
            self._metrics.add("dispatcher_delay_seconds_total", round(max(0.0, self._now(data) - _seconds(data["decided_at"])), 3))
            return True
        return False

    def card(self, topic, payload):
        """A card that is to be shown from now on, or, empty, not any more."""
        device, trigger_name = topic.split("/")[-2:]
        shown = self._seen.card(topic)
        message = {"device": device, "trigger": trigger_name}
        if not payload:
            if shown is None:
                return True
            message |= {"id": shown, "card": "cleared", "channel": "cards"}
        else:
            try:
                trigger = self._parsed(payload)
            except Invalid as error:
                return self._skip("invalid", topic, payload, str(error))
            if shown == trigger["id"]:
                return True
            if self._now(trigger["data"]) >= _seconds(trigger["data"]["expires_at"]):
                return self._skip("expired")
            title, body = self._templates.render(trigger)
            data = trigger["data"]
            message |= {"id": trigger["id"], "card": "shown", "channel": "cards", "site": data["site"], "campaign": data["campaign"]}
            message |= {"title": title, "body": body, "data": data["data"], "expires_at": data["expires_at"]}
        chosen = outward.choose(self._channels, ["cards"])
        if chosen is None:
            return self._skip("unroutable", topic, payload, "there is no channel named cards")
        wait, most = self._backoff
        while not self._stop.is_set():
            try:
                chosen[1].deliver(message)
            except outward.Later as error:
                self._metrics.add("dispatcher_failed_attempts_total", channel="cards")
                link.say(f"{topic}: {error}; again in {wait:.1f} s")
                self._stop.wait(wait)
                wait = min(2 * wait, most)
                continue
            except outward.Never as error:
                return self._skip("rejected", topic, payload, str(error))
            self._seen.set_card(topic, message["id"] if payload else None)
            return True
        return False

    def _parsed(self, payload):
        def constant(text):
            raise ValueError(f"{text} is no JSON")

        try:
            trigger = json.loads(payload.decode(), parse_constant=constant)
            # What cannot be said again as JSON in UTF-8: 1e999, half of a pair of surrogates.
            json.dumps(trigger, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise Invalid(f"no JSON: {error}") from error
        error = jsonschema.exceptions.best_match(self._validator.iter_errors(trigger))
        if error:
            raise Invalid(f"{error.json_path}: {error.message[:300]}")
        try:
            for key in ("expires_at", "decided_at"):
                _seconds(trigger["data"][key])
        except ValueError as error:
            raise Invalid(str(error)) from error
        return trigger

    def _skip(self, reason, topic=None, payload=None, why=None):
        """Always True: it will not be looked at again."""
        self._metrics.add("dispatcher_skipped_total", reason=reason)
        if topic is not None:
            link.say(f"put aside from {topic}: {why}")
            try:
                text = {"payload": payload.decode()}
            except UnicodeDecodeError:
                text = {"payload_base64": base64.b64encode(payload).decode()}
            self._aside.write({"at": self._clock(), "reason": reason, "why": why, "topic": topic, **text})
        return True


class Aside:
    """A file with what nobody can act on, a line of JSON each."""

    def __init__(self, path):
        self._path = path

    def write(self, line):
        with contextlib.suppress(FileNotFoundError):
            if os.path.getsize(self._path) > ASIDE_BYTES:
                os.replace(self._path, f"{self._path}.1")
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _seconds(instant):
    return datetime.datetime.fromisoformat(instant).timestamp()


def main():
    parser = link.parser(__doc__)
    link.option(parser, "--client-id", f"dispatcher-{socket.gethostname()}", help="a name of its own for each dispatcher, the same after a restart")
    link.option(parser, "--group", "dispatchers", help="the shared subscription: those of one group share the triggers")
    parser.add_argument(
        "--channel",
        action="append",
        metavar="NAME=console|NAME=webhook:URL",
        help="where messages go that name this channel; may be repeated; NAME * takes all others [DISPATCHER_CHANNELS, separated by spaces; *=console]",
    )
    link.option(parser, "--state", "dispatcher.sqlite", help="file that remembers what was delivered; those on one machine may share it")
    link.option(parser, "--aside", "aside.jsonl", help="file for what nobody can act on")
    link.option(parser, "--remember-days", "14", type=float, help="days for which ids and keys are remembered")
    link.option(parser, "--templates", str(HERE / "templates.json"), help="the words, by campaign")
    link.option(parser, "--schema", str(HERE / "../../../../docs/schemas/trigger.json"), help="the schema of triggers")
    link.option(parser, "--metrics-port", "9464", type=int, help="loopback port for Prometheus; 0 takes a free one, -1 none")
    parser.add_argument("--cards", action="store_true", help="follow the cards, too; only one dispatcher should")
    parser.add_argument("--replayed", action="store_true", help="take each trigger for fresh: for triggers of recordings (beaconfence replay --publish)")
    parser.add_argument("--leave", action="store_true", help="take nothing new, deal with what was handed to this client id, end its session")
    options = parser.parse_args()

    channels = {}
    for text in options.channel or os.environ.get("DISPATCHER_CHANNELS", "*=console").split():
        name, separator, kind = text.partition("=")
        if not separator or not name:
            raise SystemExit(f"{text} is no channel; write NAME=console or NAME=webhook:http://…")
        channels[name] = outward.make(kind)

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    metrics = Metrics(METRICS)
    if options.metrics_port >= 0:
        link.say(f"metrics: http://127.0.0.1:{metrics.serve(options.metrics_port)}/metrics")
    with open(options.schema, encoding="utf-8") as file:
        schema = json.load(file)
    remembered = seen.Seen(options.state, options.client_id, options.remember_days * 86_400)
    dispatcher = Dispatcher(schema, Templates(options.templates), channels, remembered, Aside(options.aside), metrics, stop, replayed=options.replayed)

    stale = set()
    metrics.set("dispatcher_cards", len(remembered.cards()))
    topics = [f"$share/{options.group}/{options.prefix}/{options.site}/triggers/#"]
    cards = f"{options.prefix}/{options.site}/cards/#"
    if options.cards:
        topics.append(cards)
    broker = link.Link(options, options.client_id, topics, leave=options.leave)
    broker.start()
    depth = len(options.prefix.split("/")) + 1
    quiet_since = time.monotonic()
    while not stop.is_set() and not broker.failed.is_set():
        metrics.set("dispatcher_waiting", broker.inbox.qsize())
        metrics.set("dispatcher_connected", int(broker.connected.is_set()))
        if not broker.connected.is_set():
            quiet_since = time.monotonic()
        try:
            message = broker.inbox.get(timeout=0.2)
        except queue.Empty:
            message = None
        if options.cards and broker.new_session.is_set():
            # Every card that is still there comes; those that do not were cleared, and nobody kept that for us.
            broker.new_session.clear()
            stale, quiet_since = set(remembered.cards()), time.monotonic()
        if message is None:
            quiet = time.monotonic() - quiet_since
            if stale and quiet > QUIET_S:
                stale = {topic for topic in stale if not dispatcher.card(topic, b"")}
                metrics.set("dispatcher_cards", len(remembered.cards()))
            if options.leave and quiet > QUIET_S:
                break
            continue
        metrics.add("dispatcher_received_total")
        if not broker.is_current(message):
            continue
        stale.discard(message.topic)
        act = dispatcher.card if message.topic.split("/")[depth] == "cards" else dispatcher.trigger
        if act(message.topic, message.payload):
            broker.ack(message)
        if options.cards:
            metrics.set("dispatcher_cards", len(remembered.cards()))
        quiet_since = time.monotonic()
    broker.stop()
    remembered.close()
    return 1 if broker.failed.is_set() else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What consumes the gateway's events, as a back end would: a persistent session, gaps seen by `sequence`, filled by replay."""

import json
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from check import Recording
from common import LIMIT, Failed

PREFIX = "beaconfence/v1"
NO_SUBSCRIBERS = 0x10


def _client(client_id, port, on_connect):
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.reconnect_delay_set(1, 1)
    client.on_connect = on_connect
    client.connect_async("127.0.0.1", port, keepalive=10, clean_start=False, properties=_session())
    return client


def _session():
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 3600
    return properties


class Subscriber:
    """Records every event, and the gateway's status."""

    def __init__(self, run, port, site, gateway, name="back-end"):
        self.run, self.site, self.gateway, self._port = run, site, gateway, port
        self.recording = Recording()
        self.lock = threading.Condition()
        self.statuses = []
        self.connects = 0
        self.sessions_lost = 0
        self._subscribed = threading.Event()
        self._answers = {}
        self._asked = 0
        self._log = open(run.dir / f"{name}.jsonl", "wb")
        self.client = _client(f"faults-{name}", port, self._on_connect)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_disconnect = lambda *_: self._subscribed.clear()
        self.client.on_message = self._on_message
        self.client.loop_start()
        run.at_end(self.close)
        run.wait_for("the subscriber is subscribed", self._subscribed.is_set)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
        with self.lock:
            self._log.close()

    def _on_connect(self, client, _userdata, flags, reason_code, _properties):
        if reason_code.is_failure:
            return
        if self.connects and not flags.session_present:
            self.sessions_lost += 1
        self.connects += 1
        # Again each time: a broker that was killed knows nothing of the session.
        filters = [f"events/#", f"replays/#", f"gateways/{self.gateway}/status"]
        client.subscribe([(f"{PREFIX}/{self.site}/{part}", 1) for part in filters])

    def _on_message(self, _client, _userdata, message):
        at = time.monotonic()
        parts = message.topic.removeprefix(f"{PREFIX}/{self.site}/").split("/")
        with self.lock:
            if not self._log.closed:
                self._log.write(message.topic.encode() + b"\t" + message.payload + b"\n")
            if parts[0] == "events":
                self.recording.add(message.topic, message.payload, True, at)
            elif parts[0] == "replays" and parts[2:] == ["done"]:
                self._answer(parts[1])["done"] = json.loads(message.payload)
            elif parts[0] == "replays":
                self.recording.add(message.topic, message.payload, False, at)
                self._answer(parts[1])["sequences"].append(json.loads(message.payload)["data"]["sequence"])
            elif message.payload:
                self.statuses.append((at, message.retain, json.loads(message.payload)))
            self.lock.notify_all()

    def _answer(self, name):
        return self._answers.setdefault(name, {"sequences": [], "done": None})

    def leave(self):
        """Is away; the broker shall keep what comes."""
        self.client.disconnect()
        self.client.loop_stop()
        self._subscribed.clear()

    def come_back(self):
        self.client.connect_async("127.0.0.1", self._port, keepalive=10, clean_start=False, properties=_session())
        self.client.loop_start()

    def subscribed(self):
        return self._subscribed.is_set()

    def status(self):
        """The last one."""
        with self.lock:
            return self.statuses[-1][2] if self.statuses else {}

    def counter(self, name):
        return self.status().get("counters", {}).get(name, 0)

    def events(self):
        with self.lock:
            return self.recording.events()

    def find(self, wanted):
        """The first event that `wanted` holds for."""
        return next((event for event in self.events() if wanted(event)), None)

    def wait_for(self, what, wanted, limit=LIMIT):
        return self.run.wait_for(what, lambda: self.find(wanted), limit, 0.05)

    def ask(self, first, last, tries=12, patience=5.0):
        """A replay of the sequences from `first` to `last`. Returns what the gateway says at its end; asks again where
        the question or the answer was lost."""
        for _ in range(tries):
            self._asked += 1
            name = f"faults-{self._asked}"
            question = {"from": first, "to": last, "reply_to": f"{self.site}/replays/{name}"}
            if self.subscribed():
                topic = f"{PREFIX}/{self.site}/gateways/{self.gateway}/replay"
                self.client.publish(topic, json.dumps(question), qos=1)
            until = time.monotonic() + patience
            while time.monotonic() < until:
                self.run.all_alive()
                with self.lock:
                    answer = self._answers.get(name)
                    if answer and answer["done"]:
                        self._check_answer(first, last, answer)
                        return answer["done"]
                    self.lock.wait(0.1)
        raise Failed(f"no answer to a replay of {first} to {last}, asked {tries} times")

    def _check_answer(self, first, last, answer):
        came, done = answer["sequences"], answer["done"]
        # Delivered twice is allowed; out of order is not, and neither is what was not asked for.
        once = list(dict.fromkeys(came))
        if once != sorted(once) or any(not first <= n <= last for n in once):
            self.run.verdict.problem("wrong", f"the replay of {first} to {last} brought {came[:50]}")

    def fill(self):
        """Asks for what is missing until nothing is, or the gateway says that it has no more. Returns its next sequence."""
        before = None
        for _ in range(100):
            with self.lock:
                known = max(self.recording.sequences(), default=0)
            total = self.ask(known, known)["next_sequence"]
            with self.lock:
                missing = self.recording.missing(total)
            # What still lacks after it was asked for stays missing, and is counted as lost by the checker.
            if not missing or (missing, total) == before:
                return total
            before = (missing, total)
            for first, last in missing:
                for start in range(first, last + 1, 10_000):
                    self.ask(start, min(last, start + 9_999))
        raise Failed("the gateway makes events without end")


class Reporter:
    """Publishes position reports, as an app would; they are safe once the broker has them."""

    def __init__(self, run, port, site):
        self.run, self.site = run, site
        self.lock = threading.Lock()
        self._waiting = set()
        # Answered before it was known under which number they went.
        self._early = set()
        self._outcomes = {}
        self.unheard = 0
        self._connected = threading.Event()
        self.client = _client("faults-app", port, lambda *_: self._connected.set())
        self.client.on_publish = self._on_publish
        self.client.loop_start()
        run.at_end(self.close)
        run.wait_for("the reporter is connected", self._connected.is_set)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def _on_publish(self, _client, _userdata, mid, reason_code, _properties):
        with self.lock:
            if mid in self._waiting:
                self._waiting.discard(mid)
            else:
                self._early.add(mid)
            self._outcomes[mid] = reason_code.value
            if reason_code.value == NO_SUBSCRIBERS:
                self.unheard += 1

    def send(self, report):
        """Hands it over, without waiting."""
        payload = json.dumps({key: value for key, value in report.items() if key != "device"})
        # Not under our lock: the client holds one of its own while it calls back.
        sent = self.client.publish(f"{PREFIX}/{self.site}/positions/{report['device']}", payload, qos=1)
        with self.lock:
            if sent.mid in self._early:
                self._early.discard(sent.mid)
            else:
                self._waiting.add(sent.mid)
                self._outcomes.pop(sent.mid, None)
        return sent.mid

    def send_heard(self, report):
        """Sends it and says whether the broker knew somebody who listens."""
        mid = self.send(report)
        self.run.wait_for("the broker takes a position report", lambda: mid in self._outcomes)
        return self._outcomes[mid] != NO_SUBSCRIBERS

    def flush(self):
        """Waits until the broker has everything."""
        self.run.wait_for("the broker has every position report", lambda: not self._waiting)

#!/usr/bin/python3 -B
"""A small gateway that the self-test puts in the place of the real one, to see that the tests find out what is wrong with it.

It knows position reports and rectangles only, and publishes one event after the other. FAKE names its fault:
acknowledges-first, forgets, repeats, renumbers, or none."""

import hashlib
import json
import os
import queue
import sqlite3
import sys
import threading
import time
import tomllib

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PREFIX = "beaconfence/v1"
FAULT = os.environ.get("FAKE", "")


class Engine:
    """Reports in, events out. All of its state is `inside`, `last` and `sequence`."""

    def __init__(self, directory, gateway, epoch):
        self.gateway, self.epoch = gateway, epoch
        self.site = tomllib.load(open(f"{directory}/site.toml", "rb"))["id"]
        self.zones = {}
        for feature in json.load(open(f"{directory}/zones.geojson"))["features"]:
            if feature["geometry"]:
                ring = feature["geometry"]["coordinates"][0]
                self.zones[feature["properties"]["id"]] = (*ring[0], *ring[2])
        self.inside, self.last, self.sequence = {}, {}, 0

    def report(self, report, now):
        device = report["device"]
        if report["time"] <= self.last.get(device, ""):
            return []
        self.last[device] = report["time"]
        visits = self.inside.setdefault(device, {})
        x, y = report["longitude"], report["latitude"]
        there = ["site"] + [zone for zone, (x0, y0, x1, y1) in self.zones.items() if x0 <= x <= x1 and y0 <= y <= y1]
        events = []
        for zone in [*visits]:
            if zone not in there:
                events.append(self._event(device, zone, visits.pop(zone), 1, "exited", report, now))
        for zone in there:
            if zone not in visits:
                name = hashlib.sha256(f"{self.epoch} {device} {zone} {report['time']}".encode()).hexdigest()[:32]
                visits[zone] = name
                events.append(self._event(device, zone, name, 0, "entered", report, now))
        return events

    def _event(self, device, zone, visit, number, kind, report, now):
        data = {"site": self.site, "gateway": self.gateway, "epoch": self.epoch, "sequence": self.sequence,
                "zone": {"id": zone}, "visit_id": visit, "visit_sequence": number, "observed_at": report["time"],
                "decided_at": now}  # fmt: skip
        self.sequence += 1
        return {"id": f"{visit}-{number}", "type": f"io.beaconfence.presence.{kind}", "subject": device, "data": data}


def replay(arguments):
    option = lambda name: arguments[arguments.index(name) + 1]
    engine = Engine(option("--site"), option("--gateway"), option("--epoch"))
    for line in open(arguments[0]):
        report = json.loads(line)
        for event in engine.report(report, report["time"]):
            print(json.dumps(event))


def database(config):
    os.makedirs(config["data_dir"], exist_ok=True)
    db = sqlite3.connect(f"{config['data_dir']}/fake.db", timeout=30, check_same_thread=False, isolation_level=None)
    db.execute("pragma journal_mode = wal")
    db.execute("create table if not exists events (n integer primary key, topic, device, payload, sent default 0)")
    db.execute("create table if not exists state (only integer primary key, value)")
    return db


class Gateway:
    def __init__(self, config):
        self.config = config
        self.db = database(config)
        self.engine = Engine(config["site"], config["id"], "fake-epoch")
        kept = self.db.execute("select value from state").fetchone()
        if kept:
            self.engine.inside, self.engine.last, self.engine.sequence = json.loads(kept[0])
        if FAULT == "renumbers":
            self.engine.sequence += 1
        if FAULT == "repeats":
            self.db.execute("update events set sent = 0")
        self.inputs = queue.Queue()
        self.since = time.time()
        self.taken = set()
        self.lock = threading.Lock()
        name = f"beaconfence-{self.engine.site}-{config['id']}"
        self.out = self._client(name, manual_ack=False)
        self.out.on_publish = lambda _c, _u, mid, reason, _p: self.taken.add(mid)
        self.inbound = self._client(f"{name}-in", manual_ack=True)
        self.inbound.on_message = lambda _c, _u, message: self.inputs.put(message)
        self.inbound.on_connect = lambda client, *_: client.subscribe(
            [(f"{PREFIX}/{self.engine.site}/positions/+", 1), (f"{PREFIX}/{self.engine.site}/gateways/{config['id']}/replay", 1)]
        )
        for client in (self.out, self.inbound):
            client.loop_start()

    def _client(self, name, manual_ack):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, protocol=paho.MQTTv5, manual_ack=manual_ack)
        client.reconnect_delay_set(1, 1)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 600 if manual_ack else 0
        host, port = self.config["mqtt"]["brokers"][0].removeprefix("mqtt://").split(":")
        client.connect_async(host, int(port), 2, clean_start=not manual_ack, properties=session)
        return client

    def take(self, report, acknowledge):
        if FAULT == "acknowledges-first":
            acknowledge()
            time.sleep(0.004)
        events = self.engine.report(report, now())
        with self.lock:
            self.db.execute("begin immediate")
            for event in events:
                zone, kind = event["data"]["zone"]["id"], event["type"].rsplit(".", 1)[-1]
                topic = f"{PREFIX}/{self.engine.site}/events/{zone}/{kind}"
                row = (event["data"]["sequence"], topic, event["subject"], json.dumps(event))
                self.db.execute("insert into events (n, topic, device, payload) values (?, ?, ?, ?)", row)
            state = json.dumps([self.engine.inside, self.engine.last, self.engine.sequence])
            self.db.execute("insert or replace into state values (1, ?)", (state,))
            self.db.execute("commit")
        if FAULT != "acknowledges-first":
            acknowledge()

    def answer(self, question):
        with self.lock:
            rows = self.db.execute(
                "select n, payload from events where n between ? and ? order by n", (question["from"], question["to"])
            ).fetchall()
        topic = f"{PREFIX}/{question['reply_to']}"
        for _, payload in rows:
            self.out.publish(topic, payload, 1)
        done = {"answered": len(rows), "missing": [], "complete": True, "next_sequence": self.engine.sequence}
        self.out.publish(f"{topic}/done", json.dumps(done), 1)

    def publish(self):
        told = 0
        while True:
            with self.lock:
                row = self.db.execute("select n, topic, payload from events where sent = 0 order by n limit 1").fetchone()
            if row and self.out.is_connected():
                n, topic, payload = row
                if FAULT == "repeats":
                    payload = json.dumps({**json.loads(payload), "again": now()})
                sent = self.out.publish(topic, payload, 1)
                until = time.monotonic() + 3
                while sent.mid not in self.taken and time.monotonic() < until:
                    time.sleep(0.0005)
                if sent.mid in self.taken:
                    with self.lock:
                        if FAULT == "forgets" and n % 10 == 9:
                            self.db.execute("delete from events where n = ?", (n - 1,))
                        self.db.execute("update events set sent = 1 where n = ?", (n,))
            else:
                time.sleep(0.01)
            if time.monotonic() > told + 0.5 and self.out.is_connected():
                told = time.monotonic()
                status = {"state": "online", "since": instant(self.since), "counters": {}}
                self.out.publish(f"{PREFIX}/{self.engine.site}/gateways/{self.config['id']}/status", json.dumps(status), 1, True)

    def read(self):
        for line in sys.stdin:
            self.inputs.put(json.loads(line))

    def run(self):
        threading.Thread(target=self.publish, daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()
        while True:
            item = self.inputs.get()
            if isinstance(item, dict):
                self.take(item, lambda: None)
                continue
            acknowledge = lambda: self.inbound.ack(item.mid, item.qos)
            content = json.loads(item.payload)
            if item.topic.endswith("/replay"):
                self.answer(content)
                acknowledge()
            else:
                self.take({**content, "device": item.topic.rsplit("/", 1)[-1]}, acknowledge)


def instant(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def now():
    return instant(time.time())


def main():
    command, *arguments = sys.argv[1:]
    if command == "replay":
        return replay(arguments)
    config = tomllib.load(open(arguments[arguments.index("--config") + 1], "rb"))
    if command == "run":
        Gateway(config).run()
    elif command == "outbox":
        waiting = database(config).execute("select count(*) from events where sent = 0").fetchone()[0]
        print(json.dumps({"depth": waiting, "parked": 0}))


main()

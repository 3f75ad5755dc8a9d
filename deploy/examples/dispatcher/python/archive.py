#!/usr/bin/env python3
"""Keeps every event and trigger in an SQLite file, and asks the gateways for what is missing. See README.md."""

import json
import queue
import signal
import socket
import sqlite3
import threading
import time

import link

# Answers to one request; a gateway answers 10,000 at most anyway.
MOST_AT_ONCE = 10_000
ASK_AGAIN_S = 60.0


class Archive:
    """The file. `items` has what came, byte for byte; `lost` what no gateway has any more.

    Numbers are those of a site and an epoch: (site, epoch, sequence) names one event or trigger."""

    def __init__(self, path, clock=time.time):
        self._clock = clock
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.executescript(
            """
            CREATE TABLE IF NOT EXISTS items (site TEXT, epoch TEXT, sequence INTEGER, id TEXT NOT NULL, type TEXT NOT NULL, subject TEXT NOT NULL,
                time TEXT NOT NULL, gateway TEXT NOT NULL, received_at REAL NOT NULL, payload BLOB NOT NULL,
                PRIMARY KEY (site, epoch, sequence)) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS items_received_at ON items (received_at);
            CREATE TABLE IF NOT EXISTS lost (site TEXT, epoch TEXT, first INTEGER, last INTEGER, PRIMARY KEY (site, epoch, first)) WITHOUT ROWID;
            -- What is known of an epoch: the first number that is wanted, the first that was not made yet, and since when that is known.
            CREATE TABLE IF NOT EXISTS epochs (site TEXT, epoch TEXT, gateway TEXT NOT NULL, first INTEGER, next INTEGER NOT NULL,
                begun_at REAL NOT NULL, over INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (site, epoch)) WITHOUT ROWID;
            -- Visits that have not ended, but for those of epochs that are over: no exited will come for them.
            CREATE VIEW IF NOT EXISTS open_visits AS
                SELECT items.site, items.epoch, subject AS device, json_extract(CAST(payload AS TEXT), '$.data.zone.id') AS zone,
                    json_extract(CAST(payload AS TEXT), '$.data.visit_id') AS visit_id, time AS since
                FROM items JOIN epochs USING (site, epoch)
                WHERE NOT epochs.over AND type = 'io.beaconfence.presence.entered' AND NOT EXISTS (
                    SELECT 1 FROM items AS later WHERE later.site = items.site AND later.epoch = items.epoch
                        AND later.type = 'io.beaconfence.presence.exited'
                        AND json_extract(CAST(later.payload AS TEXT), '$.data.visit_id')
                            = json_extract(CAST(items.payload AS TEXT), '$.data.visit_id'));
            """
        )
        self._gaps_since = {}

    def add(self, payload):
        """Keeps an event or a trigger, within a transaction. Whether it is new; ValueError where it is none."""
        try:
            event = json.loads(payload.decode())
            data = event["data"]
            site, epoch, sequence, gateway = data["site"], data["epoch"], data["sequence"], data["gateway"]
            row = (site, epoch, sequence, event["id"], event["type"], event["subject"], event["time"], gateway, self._clock(), payload)
            if not all(isinstance(text, str) for text in (site, epoch, gateway, *row[3:7])) or type(sequence) is not int or not 0 <= sequence < 1 << 53:
                raise ValueError("its fields are of other types")
            "".join(text for text in row if isinstance(text, str)).encode()
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"no event: {error}") from error
        self._epoch(site, epoch, gateway, sequence, sequence + 1)
        added = self.database.execute("INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount == 1
        return added

    def status(self, payload):
        """A gateway says its epoch."""
        try:
            status = json.loads(payload.decode())
            site, epoch, gateway = status["site"], status["epoch"], status["gateway"]
            if status["state"] == "online" and all(isinstance(text, str) for text in (site, epoch, gateway)):
                self._epoch(site, epoch, gateway, None, 0)
                self.set_over(site, epoch)
                return site, epoch
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        return None

    def made(self, site, epoch, next_sequence):
        """What is below that number was made."""
        self.database.execute("UPDATE epochs SET next = max(next, ?) WHERE site = ? AND epoch = ?", (next_sequence, site, epoch))

    def first_missing(self, site, epoch):
        """The number to go on with after an absence; None where nothing has been wanted yet."""
        row = self.database.execute("SELECT first, next FROM epochs WHERE site = ? AND epoch = ?", (site, epoch)).fetchone()
        if row is None or row[0] is None:
            return None
        return next((start for start, _ in self._missing(site, epoch, *row)), row[1])

    def set_over(self, site, epoch=None):
        """All epochs of a site are over, but for that one."""
        before = self.database.execute("SELECT count(*) FROM epochs WHERE site = ? AND NOT over", (site,)).fetchone()[0]
        self.database.execute("UPDATE epochs SET over = epoch IS NOT ?2 WHERE site = ?1 AND over IS NOT (epoch IS NOT ?2)", (site, epoch))
        return before

    def set_lost(self, site, epoch, first, last):
        if first <= last:
            self.database.execute("INSERT OR REPLACE INTO lost VALUES (?, ?, ?, ?)", (site, epoch, first, last))

    def _epoch(self, site, epoch, gateway, first, next_sequence):
        known = self.database.execute("SELECT first, over FROM epochs WHERE site = ? AND epoch = ?", (site, epoch)).fetchone()
        if known is None:
            # Epochs are told apart by their names only. One that we see for the first time is newer than those that we knew, for its
            # gateway's database is; where it began before we did, we want what comes from now on, else all of it.
            older = self.set_over(site)
            wanted = 0 if older else first
            if older:
                link.say(f"{site}: a new epoch {epoch} of {gateway}; the visits of older ones are over")
            self.database.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, 0)", (site, epoch, gateway, wanted, next_sequence, self._clock())
            )
            return
        if known[0] is None and first is not None:
            self.database.execute("UPDATE epochs SET first = ? WHERE site = ? AND epoch = ?", (first, site, epoch))
        self.made(site, epoch, next_sequence)

    def gaps(self, older_than_s):
        """What has been missing for so long: (site, epoch, gateway, first, last). What is missing of epochs that are over is lost:
        no gateway has it."""
        now, found, since = self._clock(), [], {}
        for site, epoch, gateway, first, next_sequence, over in self.database.execute(
            "SELECT site, epoch, gateway, first, next, over FROM epochs WHERE first IS NOT NULL"
        ).fetchall():
            for start, end in list(self._missing(site, epoch, first, next_sequence)):
                # Its age is that of its last number: a gap that grows at its end is another.
                since[site, epoch, end] = self._gaps_since.get((site, epoch, end), now)
                if now - since[site, epoch, end] < older_than_s:
                    continue
                if over:
                    link.say(f"{site}: {start} to {end} of {epoch} are lost with it")
                    self.set_lost(site, epoch, start, end)
                else:
                    found.append((site, epoch, gateway, start, end))
        self._gaps_since = since
        return found

    def _missing(self, site, epoch, first, next_sequence):
        have = self.database.execute(
            """SELECT sequence, sequence FROM items WHERE site = ?1 AND epoch = ?2 AND sequence >= ?3
               UNION ALL SELECT first, last FROM lost WHERE site = ?1 AND epoch = ?2 ORDER BY 1""",
            (site, epoch, first),
        )
        at = first
        for start, end in have:
            if start > at:
                yield at, min(start, next_sequence) - 1
            at = max(at, end + 1)
        if at < next_sequence:
            yield at, next_sequence - 1

    def settle(self):
        """Where there is no gap below, nothing is looked at again: keeps the search for gaps short."""
        for site, epoch, first, next_sequence in self.database.execute("SELECT site, epoch, first, next FROM epochs WHERE first IS NOT NULL").fetchall():
            missing = next(self._missing(site, epoch, first, next_sequence), None)
            to = missing[0] if missing else next_sequence
            self.database.execute("UPDATE epochs SET first = ? WHERE site = ? AND epoch = ?", (to, site, epoch))

    def prune(self, keep_s):
        """Forgets what came longer ago."""
        self.database.execute("DELETE FROM items WHERE received_at < ?", (self._clock() - keep_s,))


class Requests:
    """One request at a time to each gateway; asked again where no answer comes."""

    def __init__(self, archive, publish, prefix, name, clock=time.monotonic):
        self._archive, self._publish, self._prefix, self._name, self._clock = archive, publish, prefix, name, clock
        self._open = {}

    def ask(self, site, epoch, gateway, first, last):
        asked = self._open.get((site, gateway))
        if asked and self._clock() - asked["at"] < ASK_AGAIN_S:
            return
        last = min(last, first + MOST_AT_ONCE - 1)
        self._open[site, gateway] = {"epoch": epoch, "first": first, "last": last, "at": self._clock()}
        link.say(f"{site}: asking {gateway} for {first} to {last}")
        request = {"from": first, "to": last, "reply_to": f"{site}/replays/{self._name}", "epoch": epoch}
        self._publish(f"{self._prefix}/{site}/gateways/{gateway}/replay", json.dumps(request))

    def answered(self, site):
        """An answer is a sign of life."""
        for (of, _), asked in self._open.items():
            if of == site:
                asked["at"] = self._clock()

    def done(self, payload):
        try:
            done = json.loads(payload.decode())
            site, gateway, epoch = done["site"], done["gateway"], done["epoch"]
            asked = self._open.get((site, gateway))
            if not asked or (done["from"], done["to"]) != (asked["first"], asked["last"]):
                return
            if done.get("error"):
                link.say(f"{site}: {gateway} answers {done['error']} to a request about {asked['epoch']}")
                self._archive.set_over(site, epoch)
            else:
                for first, last in done["missing"]:
                    self._archive.set_lost(site, epoch, first, last)
                    link.say(f"{site}: {first} to {last} are lost")
                self._archive.made(site, epoch, done["next_sequence"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            link.say(f"no end of a replay: {error}")
            return
        del self._open[site, gateway]


def main():
    parser = link.parser(__doc__)
    link.option(parser, "--client-id", f"archive-{socket.gethostname()}", help="a name of its own, the same after a restart")
    link.option(parser, "--file", "archive.sqlite", help="the archive")
    link.option(parser, "--name", "archive", help="where answers are to go: {site}/replays/NAME")
    link.option(parser, "--gap-after", "60", type=float, help="seconds after which a missing number is taken for a gap")
    link.option(parser, "--keep-days", "400", type=float, help="days for which events are kept")
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    archive = Archive(options.file)
    tree = f"{options.prefix}/{options.site}"
    # Not shared: who shares cannot see gaps.
    topics = [f"{tree}/{rest}" for rest in ("events/#", "triggers/#", f"replays/{options.name}/#", "gateways/+/status")]
    broker = link.Link(options, options.client_id, topics, receive_maximum=1000)
    requests = Requests(archive, broker.publish, options.prefix, options.name)
    broker.start()
    depth = len(options.prefix.split("/")) + 1
    looked = pruned = 0.0
    caught_up = set()
    while not stop.is_set() and not broker.failed.is_set():
        batch = []
        try:
            batch.append(broker.inbox.get(timeout=0.2))
            while len(batch) < 500:
                batch.append(broker.inbox.get_nowait())
        except queue.Empty:
            pass
        batch = [message for message in batch if broker.is_current(message)]
        archive.database.execute("BEGIN IMMEDIATE")
        tails = []
        for message in batch:
            levels = message.topic.split("/")
            site, kind = levels[depth - 1], levels[depth]
            if kind == "gateways":
                said = archive.status(message.payload)
                # After an absence there may be more than what the broker kept for us, and nothing in what comes tells it.
                if said and said not in caught_up:
                    caught_up.add(said)
                    tails.append((*said, levels[-2]))
            elif kind == "replays" and levels[-1] == "done" and len(levels) == depth + 3:
                requests.done(message.payload)
            else:
                if kind == "replays":
                    requests.answered(site)
                try:
                    archive.add(message.payload)
                except ValueError as error:
                    link.say(f"{message.topic}: {error}")
        archive.database.execute("COMMIT")
        for message in batch:
            broker.ack(message)
        for site, epoch, gateway in tails:
            first = archive.first_missing(site, epoch)
            if first is not None:
                requests.ask(site, epoch, gateway, first, first + MOST_AT_ONCE - 1)
        if time.monotonic() - looked >= 1.0 and broker.connected.is_set():
            looked = time.monotonic()
            archive.settle()
            for gap in archive.gaps(options.gap_after):
                requests.ask(*gap)
        if time.monotonic() - pruned >= 3600:
            pruned = time.monotonic()
            archive.prune(options.keep_days * 86_400)
    broker.stop()
    archive.database.close()
    return 1 if broker.failed.is_set() else 0


if __name__ == "__main__":
    raise SystemExit(main())

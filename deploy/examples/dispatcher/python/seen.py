"""What was acted on already: ids and deduplication keys, in an SQLite file that several dispatchers of one machine may share."""

import sqlite3
import time

# A claim of another dispatcher that is older than this, in seconds, belongs to one that is gone.
LEASE = 30.0

FREE, BUSY, DUPLICATE, DUPLICATE_KEY = "free", "busy", "duplicate", "duplicate_key"


class Seen:
    """A trigger is claimed before it is delivered, and done afterwards.

    A claim keeps two dispatchers from delivering the same at once. The owner is the client id, of which the broker lets only one live:
    so a claim of one's own is of an earlier life that was cut short, and is taken up again."""

    def __init__(self, path, owner, remember_s, clock=time.time):
        self._owner, self._remember_s, self._clock = owner, remember_s, clock
        self._database = sqlite3.connect(path, isolation_level=None, timeout=30.0)
        self._database.execute("PRAGMA journal_mode = WAL")
        # An acknowledgement says that it is on disk.
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(
            """
            CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, id TEXT NOT NULL, owner TEXT NOT NULL, done INTEGER NOT NULL,
                at REAL NOT NULL) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS seen_at ON seen (at);
            CREATE TABLE IF NOT EXISTS cards (topic TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
            """
        )
        self._pruned = 0.0
        self.prune()

    def claim(self, trigger_id, key):
        """FREE: it is ours to deliver. Else why not; BUSY: another has it in hand, ask again."""
        now = self._clock()
        keys = (f"id:{trigger_id}", f"key:{key}")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            found = self._database.execute("SELECT id, owner, done, at FROM seen WHERE key IN (?, ?)", keys).fetchall()
            if any(done for _, _, done, _ in found):
                return DUPLICATE if any(done and of == trigger_id for of, _, done, _ in found) else DUPLICATE_KEY
            if any(owner != self._owner and now - at < LEASE for _, owner, _, at in found):
                return BUSY
            self._database.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, 0, ?)", [(key, trigger_id, self._owner, now) for key in keys]
            )
            return FREE
        finally:
            self._database.execute("COMMIT")

    def renew(self, trigger_id):
        """Still at it."""
        self._database.execute("UPDATE seen SET at = ? WHERE id = ? AND owner = ?", (self._clock(), trigger_id, self._owner))

    def done(self, trigger_id, key):
        """Delivered: never again."""
        keys = [(f"{kind}", trigger_id, self._owner, self._clock()) for kind in (f"id:{trigger_id}", f"key:{key}")]
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, 1, ?)", keys)
        self._database.execute("COMMIT")
        self.prune()

    def release(self, trigger_id):
        """Not delivered, and not by us any more."""
        self._database.execute("DELETE FROM seen WHERE id = ? AND owner = ? AND done = 0", (trigger_id, self._owner))

    def prune(self):
        """Forgets what is too old to come again."""
        now = self._clock()
        if now - self._pruned >= 600:
            self._database.execute("DELETE FROM seen WHERE at < ?", (now - self._remember_s,))
            self._pruned = now

    def card(self, topic):
        """The id of the card that is shown there."""
        row = self._database.execute("SELECT id FROM cards WHERE topic = ?", (topic,)).fetchone()
        return row and row[0]

    def cards(self):
        """Where cards are shown."""
        return [topic for (topic,) in self._database.execute("SELECT topic FROM cards")]

    def set_card(self, topic, trigger_id):
        if trigger_id is None:
            self._database.execute("DELETE FROM cards WHERE topic = ?", (topic,))
        else:
            self._database.execute("INSERT OR REPLACE INTO cards VALUES (?, ?)", (topic, trigger_id))

    def close(self):
        self._database.close()

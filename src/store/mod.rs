//! The embedded database: presence and the outbox, in one transaction. The only folder that names the database.
//!
//! The gateway's loop hands over what a batch of inputs changed ([`Store::write`]) and goes on at once; a thread of this
//! module commits it, and only then hands the events on to be published and lets position reports be acknowledged. What
//! waits for a commit is bounded; so is what is kept.
//!
//! Times of the store are on the *steady* axis: the wall clock's, without the jumps that it has made since the database
//! was new. Ages are differences on it, so a clock that jumps makes nothing expire.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::{DeviceId, SiteId, Timestamp};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events that wait for longer than this are dropped.
    pub max_age: Duration,
    /// Most bytes of events that wait (topics and payloads as published); beyond, the oldest are dropped, events before triggers.
    pub max_bytes: u64,
    /// What was acknowledged is kept this long, to be asked for again.
    pub tail_age: Duration,
    /// And no more bytes of it than this (as published).
    pub tail_bytes: u64,
    /// Most bytes that wait for a commit while the disk takes none.
    pub memory_bytes: usize,
}

/// What kind of message an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An event: never expires by itself.
    Event,
    /// A trigger: useless after that time (steady axis).
    Trigger {
        /// When it expires.
        expires: Timestamp,
    },
}

/// An event or trigger as it is published, again and again the same bytes. Always a `CloudEvent`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `sequence` of the event: its key, ascending, without gaps as long as nothing is dropped.
    pub sequence: u64,
    /// The device, in whose order it is published.
    pub device: DeviceId,
    /// What it is.
    pub class: Class,
    /// When it was made (steady axis).
    pub made: Timestamp,
    /// The topic under the prefix.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
}

impl Entry {
    /// Bytes of topic and payload.
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// An entry that waits to be published, without its bytes: a long queue of them fits into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its key.
    pub sequence: u64,
    /// Its device.
    pub device: DeviceId,
    /// What it is.
    pub class: Class,
    /// When it was made (steady axis).
    pub made: Timestamp,
    /// [`Entry::size`].
    pub bytes: u32,
}

/// Why an entry is gone without having been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// There was no room.
    Full,
    /// It waited for longer than [`Limits::max_age`].
    TooOld,
    /// A trigger past its time.
    Expired,
    /// Its bytes in the database are damaged.
    Damaged,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// A broker has it.
    Acknowledged,
    /// A broker took it and said that nobody subscribes to it.
    Unheard,
    /// Brokers refused it again and again, for that reason.
    Parked(String),
    /// It is given up.
    Dropped(Dropped),
}

/// What outlives a restart beside the records of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The life of this database.
    pub epoch: String,
    /// When the database was new, as the clock said then.
    pub began: Timestamp,
    /// The `sequence` of the next event.
    pub sequence: u64,
    /// When the gateway was last known to run, by the engine's clock (not steady).
    pub alive_at: Timestamp,
    /// Sum of the jumps of the wall clock, in milliseconds: steady time is the clock's time less this.
    pub jumped_ms: i64,
    /// How many jumps there were.
    pub jumps: u32,
}

/// What one batch of inputs changed. Committed whole or not at all.
#[derive(Default)]
pub struct Batch {
    /// New events and triggers, in the order of their `sequence`.
    pub entries: Vec<Entry>,
    /// New records of devices; none where it is to be forgotten. The bytes are the caller's business.
    pub devices: Vec<(DeviceId, Option<Vec<u8>>)>,
    /// The new head, where something in it changed. With entries, always given.
    pub head: Option<Head>,
    /// Called when this batch, and every one before it, is committed (at once where nothing waits): acknowledgements.
    pub then: Vec<Box<dyn FnOnce() + Send>>,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory, made where it is missing.
    pub dir: PathBuf,
    /// Whose data it is: a directory of another site is refused.
    pub site: SiteId,
    /// Limits.
    pub limits: Limits,
    /// Text that payloads are like, for their compression. Only used when the database is new.
    pub dictionary: Vec<u8>,
    /// The wall clock.
    pub now: Timestamp,
}

/// A store that was opened, and what it held.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What it knew, or the beginning of a new epoch.
    pub head: Head,
    /// Records of devices, as written.
    pub devices: Vec<(DeviceId, Vec<u8>)>,
    /// What waits to be published, in the order of `sequence`.
    pub waiting: Vec<Waiting>,
    /// Whether the database is new.
    pub is_new: bool,
    /// Where a damaged database was set aside, and what was wrong with it.
    pub set_aside: Option<(PathBuf, String)>,
}

/// How the store fares. Counters count for the life of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoreStatus {
    /// Why nothing can be committed at present, in words; none where all is well.
    pub failing: Option<String>,
    /// Entries that wait for a commit.
    pub uncommitted: u64,
    /// Their bytes.
    pub uncommitted_bytes: u64,
    /// Entries in the acknowledged tail.
    pub tail: u64,
    /// Bytes of the database on disk.
    pub disk_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Entries that were acknowledged.
    pub acknowledged: u64,
    /// Of these, those that nobody subscribed to.
    pub unheard: u64,
    /// Entries parked.
    pub parked: u64,
    /// Entries dropped: no room in the outbox.
    pub dropped_full: u64,
    /// Entries dropped: too old.
    pub dropped_too_old: u64,
    /// Triggers dropped: expired.
    pub dropped_expired: u64,
    /// Entries dropped: their bytes were damaged.
    pub dropped_damaged: u64,
    /// Entries dropped before they could be committed, because the disk took nothing and memory was full.
    pub dropped_uncommitted: u64,
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {}

/// Stored entries, for whoever missed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries that are still there, in the order of `sequence`.
    pub entries: Vec<Entry>,
    /// Where to go on; none where this was the last page.
    pub next: Option<u64>,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<()>);

impl Store {
    /// Opens or makes the database in a directory.
    ///
    /// A damaged one is set aside, and a new epoch begins.
    ///
    /// # Errors
    /// [`StoreError`] says what to do.
    pub fn open(options: Options) -> Result<Opened, StoreError> {
        todo!()
    }

    /// Starts the thread that commits. `committed` is given the entries of each commit, in order, and must not block.
    pub fn start(&self, committed: impl FnMut(Vec<Entry>) + Send + 'static) {
        todo!()
    }

    /// Hands over a batch. Never waits for the disk. Where the disk takes nothing and memory is full, the oldest
    /// uncommitted entries are dropped, events before triggers, and counted.
    pub fn write(&self, batch: Batch) {
        todo!()
    }

    /// Says what became of an entry. Never waits for the disk; committed with the next batch, or within a second.
    pub fn settle(&self, sequence: u64, settled: Settled) {
        todo!()
    }

    /// Reads entries, from memory or disk; none where one is gone or damaged. Blocks for the time of a read.
    pub fn load(&self, sequences: &[u64]) -> Vec<Option<Entry>> {
        todo!()
    }

    /// The stored entries from `from` to `to`, both included, at most `most` of them: waiting, parked or acknowledged.
    /// Blocks for the time of a read.
    pub fn page(&self, from: u64, to: u64, most: usize) -> Page {
        todo!()
    }

    /// How it fares.
    pub fn status(&self) -> StoreStatus {
        todo!()
    }

    /// The current steady time: set by the gateway's loop with every batch and tick, for ages.
    pub fn tick(&self, steady_now: Timestamp) {
        todo!()
    }

    /// Commits what waits, for at most `within`, and closes the database. Entries that could not be committed, if any.
    pub fn close(&self, within: Duration) -> u64 {
        todo!()
    }
}

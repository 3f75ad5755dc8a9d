//! The embedded database: presence and the outbox, in one transaction. The only folder that names the database.
//!
//! The gateway's loop hands over what a batch of inputs changed ([`Store::write`]) and goes on at once; a thread of this
//! module commits it, and only then hands the events on to be published and lets position reports be acknowledged. What
//! waits for a commit is bounded; so is what is kept.
//!
//! Times of the store are on the *steady* axis: the wall clock's, without the jumps that it has made since the database
//! was new. Ages are differences on it, so a clock that jumps makes nothing expire.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::Database;

use crate::model::{DeviceId, SiteId, Timestamp};

#[doc(hidden)]
pub mod books;
pub mod copy;
mod error;
mod files;
mod open;
#[doc(hidden)]
pub mod queue;
mod record;
mod rows;
mod writer;

#[cfg(test)]
mod tests;

pub use error::StoreError;
use files::guarded;
use queue::Work;
use writer::{Recent, Tuning, Worker, with_database};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events that wait for longer than this are dropped.
    pub max_age: Duration,
    /// Most bytes of events that wait (topics and payloads as published); beyond, the oldest are dropped, events before
    /// triggers.
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// A change to one of the rows that the store keeps for others: the registry, its history, tokens. The bytes are their
/// business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key, such as `zone/tills`.
    pub key: String,
    /// Its bytes; none where it is to go.
    pub value: Option<Vec<u8>>,
    /// For rows that have a place in a list: the place, where the row is new. One that is there keeps its own.
    pub place: u64,
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
    /// Rows that change. Whoever writes them waits for the commit before writing more.
    pub rows: Vec<Row>,
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

/// Stored entries, for whoever missed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries that are still there, in the order of `sequence`.
    pub entries: Vec<Entry>,
    /// Where to go on; none where this was the last page.
    pub next: Option<u64>,
}

/// The database cannot be read at present: it is being opened again, or is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database cannot be read: {0}")]
pub struct Unreadable(String);

/// What is stored where no gateway runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// Counters and sizes.
    pub status: StoreStatus,
    /// Whose data it is.
    pub site: String,
    /// What outlives a restart.
    pub head: Head,
    /// What waits to be published.
    pub waiting: PeekWaiting,
    /// What brokers refused, and why.
    pub parked: Vec<Parked>,
}

/// An entry that brokers refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its key.
    pub sequence: u64,
    /// Its topic under the prefix; none where its bytes are damaged.
    pub topic: Option<String>,
    /// Why.
    pub reason: String,
}

/// What waits to be published, in sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeekWaiting {
    /// How many entries.
    pub count: u64,
    /// Their bytes, as published.
    pub bytes: u64,
    /// When the oldest was made (steady axis).
    pub oldest: Option<Timestamp>,
}

/// Whether there is a database in that directory, sound or not.
pub fn is_there(dir: &Path) -> bool {
    dir.join(files::DATABASE).exists()
}

/// Looks into the store of a gateway that does not run. Nothing is made or set aside; after a kill, the database is
/// repaired.
///
/// # Errors
/// [`StoreError`], also where there is no database or a gateway uses it.
pub fn peek(dir: &Path) -> Result<Peek, StoreError> {
    open::peek(dir)
}

/// See the module. Cheap to clone; the last clone that is dropped closes it, without waiting.
#[derive(Debug, Clone)]
pub struct Store(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.begin_closing(Duration::ZERO);
    }
}

/// What the gateway's loop, the readers and the thread share.
struct Inner {
    queue: Mutex<Queue>,
    /// Something waits.
    wake: Condvar,
    /// The thread is done.
    done: Condvar,
    /// None while it cannot be opened again.
    database: RwLock<Option<Database>>,
    recent: Mutex<Recent>,
    status: Mutex<StoreStatus>,
    steady: AtomicI64,
    /// A reader met what should not be there.
    is_suspect: AtomicBool,
    /// How many copies are being written.
    copies: AtomicUsize,
    dictionary: Vec<u8>,
    memory_bytes: usize,
    /// Until the thread starts.
    worker: Mutex<Option<Worker>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// What waits, and since when.
#[derive(Debug, Default)]
struct Queue {
    work: Work,
    /// Entries, their bytes and their memory that the thread is about to commit.
    in_flight: (u64, u64, usize),
    since: Option<Instant>,
    lazy_since: Option<Instant>,
    closing: Option<Instant>,
    is_closed: bool,
    is_done: bool,
}

impl Queue {
    fn take(&mut self) -> Work {
        let work = std::mem::take(&mut self.work);
        self.work.dropped_total = work.dropped_total;
        self.in_flight = (work.entry_count() as u64, work.entry_bytes() as u64, work.memory());
        (self.since, self.lazy_since) = (None, None);
        work
    }

    fn put_back(&mut self, work: Work) {
        self.work.put_back(work);
        let now = Instant::now();
        self.since = Some(now);
        self.lazy_since = Some(now);
    }

    fn bound(&mut self, most: usize) {
        let left = most.saturating_sub(self.in_flight.2);
        if self.work.shrink(left) > 0 {
            self.lazy_since = self.lazy_since.or_else(|| Some(Instant::now()));
        }
    }
}

impl Inner {
    fn begin_closing(&self, within: Duration) {
        let mut queue = locked(&self.queue);
        if queue.closing.is_none() {
            queue.closing = Some(Instant::now() + within);
        }
        drop(queue);
        self.wake.notify_all();
    }
}

/// A panic elsewhere leaves data that is as good as before: every change is made whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens or makes the database in a directory.
    ///
    /// A damaged one is set aside, and a new epoch begins.
    ///
    /// # Errors
    /// [`StoreError`] says what to do.
    pub fn open(options: Options) -> Result<Opened, StoreError> {
        open::open(&options)
    }

    fn of(worker: Worker, db: Database) -> Self {
        let mut status = StoreStatus::default();
        let books = worker.books();
        status.tail = books.tail;
        status.disk_bytes = worker.disk_bytes();
        books.counters.report(&mut status);
        let work = Work { dropped_total: books.counters.dropped_uncommitted, ..Work::default() };
        Self(Arc::new(Handle(Arc::new(Inner {
            queue: Mutex::new(Queue { work, ..Queue::default() }),
            wake: Condvar::new(),
            done: Condvar::new(),
            database: RwLock::new(Some(db)),
            recent: Mutex::default(),
            status: Mutex::new(status),
            steady: AtomicI64::new(0),
            is_suspect: AtomicBool::new(false),
            copies: AtomicUsize::new(0),
            dictionary: books.dictionary.clone(),
            memory_bytes: worker.memory_bytes(),
            worker: Mutex::new(Some(worker)),
        }))))
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.0.0
    }

    /// Starts the thread that commits. `committed` is given the entries of each commit, in order, and must not block.
    /// It must hold no clone of the store.
    pub fn start(&self, committed: impl FnMut(Vec<Entry>) + Send + 'static) {
        self.spawn(committed, |_| ());
    }

    /// As [`Store::start`], without a pause between commits: to measure them.
    #[doc(hidden)]
    pub fn start_unpaced(&self, committed: impl FnMut(Vec<Entry>) + Send + 'static) {
        self.spawn(committed, |tuning| tuning.pace = Duration::ZERO);
    }

    fn spawn(&self, committed: impl FnMut(Vec<Entry>) + Send + 'static, tune: impl FnOnce(&mut Tuning)) {
        let Some(mut worker) = locked(&self.inner().worker).take() else { return };
        tune(&mut worker.tuning);
        let inner = Arc::clone(self.inner());
        let shared = Arc::clone(&inner);
        let started =
            std::thread::Builder::new().name("store".to_owned()).spawn(move || worker.run(&shared, committed));
        if let Err(error) = started {
            let words = format!("cannot start the thread that writes the database: {error}; restart the gateway");
            tracing::error!("{words}");
            locked(&inner.status).failing = Some(words);
            locked(&inner.queue).is_done = true;
        }
    }

    /// Hands over a batch. Never waits for the disk. Where the disk takes nothing and memory is full, the oldest
    /// uncommitted entries are dropped, events before triggers, and counted.
    pub fn write(&self, batch: Batch) {
        let mut queue = locked(&self.inner().queue);
        if queue.is_closed {
            return;
        }
        queue.work.absorb(batch);
        if queue.work.is_durable() {
            queue.since = queue.since.or_else(|| Some(Instant::now()));
        }
        queue.bound(self.inner().memory_bytes);
        drop(queue);
        self.inner().wake.notify_one();
    }

    /// Says what became of an entry. Never waits for the disk; committed with the next batch, or within a second.
    pub fn settle(&self, sequence: u64, settled: Settled) {
        let mut queue = locked(&self.inner().queue);
        if queue.is_closed {
            return;
        }
        queue.work.settle(sequence, settled);
        let is_first = queue.lazy_since.is_none();
        queue.lazy_since = queue.lazy_since.or_else(|| Some(Instant::now()));
        let is_many = queue.work.settled.len() >= writer::MOST_LAZY;
        drop(queue);
        if is_first || is_many {
            self.inner().wake.notify_one();
        }
    }

    /// Reads entries, from memory or disk; none where one is gone or damaged, or cannot be read at present (see
    /// [`Store::try_load`]). Blocks for the time of a read.
    pub fn load(&self, sequences: &[u64]) -> Vec<Option<Entry>> {
        self.try_load(sequences).unwrap_or_else(|_| {
            let recent = locked(&self.inner().recent);
            sequences.iter().map(|sequence| recent.get(*sequence)).collect()
        })
    }

    /// Reads entries, from memory or disk; none where one is gone or damaged. Blocks for the time of a read.
    ///
    /// # Errors
    /// [`Unreadable`] while the disk is in trouble: what was asked for may still be there.
    pub fn try_load(&self, sequences: &[u64]) -> Result<Vec<Option<Entry>>, Unreadable> {
        let inner = self.inner();
        let mut found: Vec<Option<Entry>> = {
            let recent = locked(&inner.recent);
            sequences.iter().map(|sequence| recent.get(*sequence)).collect()
        };
        let missing: Vec<usize> = (0..found.len()).filter(|index| found[*index].is_none()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let keys: Vec<u64> = missing.iter().map(|index| sequences[*index]).collect();
        let read = self.read(|db| books::Books::load(db, &inner.dictionary, &keys))?;
        for (index, entry) in missing.into_iter().zip(read) {
            found[index] = entry;
        }
        Ok(found)
    }

    /// The stored entries from `from` to `to`, both included, at most `most` of them: waiting, parked or acknowledged.
    /// Blocks for the time of a read. Where the database cannot be read at present, an empty page that goes on at `from`.
    pub fn page(&self, from: u64, to: u64, most: usize) -> Page {
        if from > to || most == 0 {
            return Page { entries: Vec::new(), next: None };
        }
        match self.read(|db| books::Books::range(db, &self.inner().dictionary, (from, to), most)) {
            Ok((entries, next)) => Page { entries, next },
            Err(_) => Page { entries: Vec::new(), next: Some(from) },
        }
    }

    /// What brokers refused for good and is still kept, with the reasons, oldest first; nothing where it cannot be read at
    /// present. Blocks for the time of a read.
    pub fn parked(&self) -> Vec<Parked> {
        self.read(|db| books::parked(db, &self.inner().dictionary)).unwrap_or_default()
    }

    fn read<T>(&self, run: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Unreadable> {
        let inner = self.inner();
        with_database(inner, |db| guarded(|| run(db))).map_err(|trouble| {
            if matches!(trouble, files::Trouble::Damaged(_)) {
                inner.is_suspect.store(true, Ordering::Relaxed);
                inner.wake.notify_one();
            }
            Unreadable(trouble.to_string())
        })
    }

    /// The bytes of a row, as committed. Blocks for the time of a read.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn row(&self, key: &str) -> Result<Option<Vec<u8>>, Unreadable> {
        self.read(|db| rows::get(db, key))
    }

    /// The keys and bytes of rows whose keys begin with `prefix`, in the order of their keys, backwards from before `before`
    /// where that is given, at most `most`. Blocks for the time of a read.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn rows_before(
        &self,
        prefix: &str,
        before: Option<&str>,
        most: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
        self.read(|db| rows::before(db, prefix, before, most))
    }

    /// All rows whose keys begin with one of `prefixes`, each group in the order of its places. Blocks for the time of a read.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn rows(&self, prefixes: &[&str]) -> Result<Vec<(String, Vec<u8>)>, Unreadable> {
        self.read(|db| {
            prefixes.iter().try_fold(Vec::new(), |mut all, prefix| {
                all.extend(rows::all(db, prefix)?);
                Ok(all)
            })
        })
    }

    /// How it fares.
    pub fn status(&self) -> StoreStatus {
        let mut status = locked(&self.inner().status).clone();
        let queue = locked(&self.inner().queue);
        status.uncommitted = queue.work.entry_count() as u64 + queue.in_flight.0;
        status.uncommitted_bytes = queue.work.entry_bytes() as u64 + queue.in_flight.1;
        status.dropped_uncommitted = queue.work.dropped_total;
        status
    }

    /// The current steady time: set by the gateway's loop with every batch and tick, for ages.
    pub fn tick(&self, steady_now: Timestamp) {
        self.inner().steady.store(steady_now.as_millis(), Ordering::Relaxed);
    }

    /// Commits what waits, for at most `within`, and closes the database. Entries that could not be committed, if any.
    pub fn close(&self, within: Duration) -> u64 {
        let inner = self.inner();
        let until = Instant::now() + within;
        inner.begin_closing(within);
        if let Some(worker) = locked(&inner.worker).take() {
            worker.close(inner, until, &mut |_| ());
        }
        let mut queue = locked(&inner.queue);
        while !queue.is_done {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue = inner.done.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.work.entry_count() as u64 + queue.in_flight.0
    }
}

//! The thread that commits, and what it does when the disk takes nothing.
//!
//! 1. It waits until something is due: new entries, records or a head at once, but not within [`PACE`] of the commit before;
//!    what became of entries, lazily.
//! 2. It takes everything that waits and commits it in one transaction. Only then are the entries handed on and the
//!    closures called, in order.
//! 3. Where that fails, the database's handle is of no use any more: it is dropped, the ballast removed, the database opened
//!    again, and the same work tried once more. Failing that, the work goes back to the front of the queue, and is tried
//!    again with what came after it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redb::Database;

use super::books::Books;
use super::files::{Medium, Trouble, guarded};
use super::queue::Work;
use super::{Entry, Inner, Limits, Queue, locked};
use crate::model::Timestamp;

/// Under load there is at most one commit in this time: more would only wear the disk.
const PACE: Duration = Duration::from_millis(20);
/// What became of entries is committed within this time: lost, they would be published once more.
const LAZY: Duration = Duration::from_secs(1);
/// And as soon as there are so many.
pub(super) const MOST_LAZY: usize = 1_000;
/// How often the tail, the ballast and the size of the file are looked at while nothing happens.
const HOUSEKEEPING: Duration = Duration::from_secs(30);
/// Pauses between attempts while the disk takes nothing.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// A disk that takes nothing is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A file that is larger than this is compacted where less than a third of it is used,
const COMPACT_ABOVE: u64 = 64 << 20;
/// and not again within this time.
const COMPACT_EVERY: Duration = Duration::from_secs(3600);
/// Recently committed entries stay in memory: most are published within a second.
const RECENT_BYTES: usize = 4 << 20;

/// The latest committed entries.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: BTreeMap<u64, Entry>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, sequence: u64) -> Option<Entry> {
        self.entries.get(&sequence).cloned()
    }

    fn add(&mut self, entry: &Entry) {
        self.bytes += entry.size();
        if let Some(before) = self.entries.insert(entry.sequence, entry.clone()) {
            self.bytes -= before.size();
        }
        while self.bytes > RECENT_BYTES {
            let Some((_, oldest)) = self.entries.pop_first() else { break };
            self.bytes -= oldest.size();
        }
    }

    fn forget(&mut self, sequence: u64) {
        if let Some(entry) = self.entries.remove(&sequence) {
            self.bytes -= entry.size();
        }
    }
}

/// The thread's times and sizes, which tests shorten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) pace: Duration,
    pub(super) backoff: (Duration, Duration),
    pub(super) housekeeping: Duration,
    pub(super) compact_above: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { pace: PACE, backoff: BACKOFF, housekeeping: HOUSEKEEPING, compact_above: COMPACT_ABOVE }
    }
}

/// What the thread knows.
#[derive(Debug)]
pub(super) struct Worker {
    medium: Box<dyn Medium>,
    books: Books,
    limits: Limits,
    pub(super) tuning: Tuning,
    last_commit: Option<Instant>,
    /// The next attempt, while the disk takes nothing.
    retry_at: Option<Instant>,
    attempts: u32,
    logged: Option<Instant>,
    has_reserve: bool,
    compacted: Option<Instant>,
    /// The database is damaged: only a new start helps.
    is_broken: bool,
}

/// What there is to do.
enum Task {
    Commit(Work),
    Call(Work),
    Housekeeping,
    Verify,
    Close(Instant),
}

impl Worker {
    pub(super) fn new(medium: Box<dyn Medium>, books: Books, limits: Limits) -> Self {
        let has_reserve = medium.keep_reserve().is_ok();
        if !has_reserve {
            tracing::warn!("no room beside {} for the ballast against a full disk", medium.name());
        }
        Self {
            medium,
            books,
            limits,
            tuning: Tuning::default(),
            last_commit: None,
            retry_at: None,
            attempts: 0,
            logged: None,
            has_reserve,
            compacted: None,
            is_broken: false,
        }
    }

    pub(super) fn books(&self) -> &Books {
        &self.books
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.limits.memory_bytes
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.medium.disk_bytes()
    }

    /// Works until the store is closed.
    pub(super) fn run(mut self, inner: &Inner, mut committed: impl FnMut(Vec<Entry>)) {
        let mut housekeeping = Instant::now() + self.tuning.housekeeping;
        loop {
            match self.next(inner, housekeeping) {
                Task::Commit(work) => self.commit(inner, work, &mut committed),
                Task::Call(work) => work.into_parts().1.into_iter().for_each(|then| then()),
                Task::Housekeeping => {
                    self.keep_house(inner);
                    housekeeping = Instant::now() + self.tuning.housekeeping;
                }
                Task::Verify => self.verify(inner),
                Task::Close(until) => return self.close(inner, until, &mut committed),
            }
        }
    }

    /// The last commit, until that time; then the directory is given up.
    pub(super) fn close(mut self, inner: &Inner, until: Instant, committed: &mut impl FnMut(Vec<Entry>)) {
        loop {
            let work = {
                let mut queue = locked(&inner.queue);
                // Nothing that is handed over from here on is taken in.
                queue.is_closed = true;
                queue.take()
            };
            let has_work = work.is_durable() || !work.settled.is_empty() || work.dropped_total > self.lost();
            if !has_work {
                work.into_parts().1.into_iter().for_each(|then| then());
                break;
            }
            self.commit(inner, work, committed);
            let is_done = locked(&inner.queue).work.is_empty();
            let left = until.saturating_duration_since(Instant::now());
            if is_done || self.is_broken || left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
        self.drop_database(inner);
        drop(self);
        locked(&inner.queue).is_done = true;
        inner.done.notify_all();
    }

    fn next(&mut self, inner: &Inner, housekeeping: Instant) -> Task {
        let mut queue = locked(&inner.queue);
        loop {
            let now = Instant::now();
            if let Some(until) = queue.closing {
                return Task::Close(until);
            }
            if inner.is_suspect.swap(false, Ordering::Relaxed) && !self.is_broken {
                return Task::Verify;
            }
            if !queue.work.then.is_empty() && !queue.work.is_durable() {
                let then = std::mem::take(&mut queue.work.then);
                return Task::Call(Work { then, ..Work::default() });
            }
            let due = self.due(&queue);
            if due.is_some_and(|due| due <= now) {
                return Task::Commit(queue.take());
            }
            if housekeeping <= now {
                return Task::Housekeeping;
            }
            let wait = due.map_or(housekeeping, |due| due.min(housekeeping)).saturating_duration_since(now);
            queue = inner.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// When the next commit is due, if one is.
    fn due(&self, queue: &MutexGuard<'_, Queue>) -> Option<Instant> {
        if self.is_broken {
            return None;
        }
        let soonest = self.last_commit.map(|last| last + self.tuning.pace);
        let due = if queue.work.is_durable() {
            soonest.or(queue.since)
        } else if queue.work.settled.len() >= MOST_LAZY {
            soonest.or(queue.lazy_since)
        } else {
            queue.lazy_since.map(|since| soonest.map_or(since + LAZY, |soonest| soonest.max(since + LAZY)))
        };
        due.map(|due| self.retry_at.map_or(due, |retry| retry.max(due)))
    }

    fn commit(&mut self, inner: &Inner, work: Work, committed: &mut impl FnMut(Vec<Entry>)) {
        self.last_commit = Some(Instant::now());
        let result =
            if self.is_broken { Err(Trouble::Other("it is damaged".to_owned())) } else { self.attempt(inner, &work) };
        match result {
            Ok(()) => {
                self.note_success(inner);
                self.publish_status(inner);
                let mut recent = locked(&inner.recent);
                work.entries().for_each(|entry| recent.add(entry));
                work.settled.iter().for_each(|(sequence, _)| recent.forget(*sequence));
                drop(recent);
                locked(&inner.queue).in_flight = (0, 0, 0);
                let (entries, then) = work.into_parts();
                if !entries.is_empty() {
                    committed(entries);
                }
                then.into_iter().for_each(|then| then());
            }
            Err(trouble) => {
                let mut queue = locked(&inner.queue);
                queue.in_flight = (0, 0, 0);
                queue.put_back(work);
                queue.bound(self.limits.memory_bytes);
                drop(queue);
                self.note_failure(inner, &trouble);
            }
        }
    }

    /// Commits, if need be without the ballast.
    fn attempt(&mut self, inner: &Inner, work: &Work) -> Result<(), Trouble> {
        let steady = Timestamp::from_millis(inner.steady.load(Ordering::Relaxed));
        if !has_database(inner) {
            self.reopen(inner)?;
        }
        let Err(first) = self.transact(inner, work, steady) else { return Ok(()) };
        self.drop_database(inner);
        // Whatever went wrong, a ballast is of use only to a disk that takes nothing.
        let freed = self.has_reserve && self.medium.free_reserve();
        self.has_reserve &= !freed;
        self.reopen(inner)?;
        if !freed && self.attempts > 0 {
            return Err(first);
        }
        match self.transact(inner, work, steady) {
            Ok(()) => Ok(()),
            Err(trouble) => {
                // Opened once more, so that what is stored can be read while nothing can be written.
                self.drop_database(inner);
                self.reopen(inner)?;
                Err(trouble)
            }
        }
    }

    fn transact(&mut self, inner: &Inner, work: &Work, steady: Timestamp) -> Result<(), Trouble> {
        let (books, limits) = (&mut self.books, &self.limits);
        with_database(inner, |db| guarded(|| books.commit(db, work, limits, steady)))
    }

    fn keep_house(&mut self, inner: &Inner) {
        if self.is_broken || self.retry_at.is_some() {
            return;
        }
        if !self.has_reserve {
            self.has_reserve = self.medium.keep_reserve().is_ok();
        }
        let steady = Timestamp::from_millis(inner.steady.load(Ordering::Relaxed));
        if self.books.wants_pruning(&self.limits, steady) {
            let mut queue = locked(&inner.queue);
            queue.lazy_since = queue.lazy_since.or_else(|| Some(Instant::now()));
        }
        let size = self.medium.disk_bytes();
        let is_idle = self.books.waiting == 0 && locked(&inner.queue).work.is_empty();
        // As published: what is stored is less.
        let used = self.books.counters.tail_bytes;
        let is_early = self.compacted.is_some_and(|last| last.elapsed() < COMPACT_EVERY);
        if is_idle && size > self.tuning.compact_above && used < size / 3 && !is_early {
            let mut slot = inner.database.write().unwrap_or_else(PoisonError::into_inner);
            if inner.copies.load(Ordering::SeqCst) > 0 {
                // Who copies reads the pages that would be moved.
                drop(slot);
                self.publish_status(inner);
                return;
            }
            self.compacted = Some(Instant::now());
            let result = slot.as_mut().map(|db| guarded(|| db.compact().map_err(redb::Error::from)));
            drop(slot);
            match result {
                Some(Err(trouble)) => {
                    tracing::warn!("cannot compact {}: {trouble}", self.medium.name());
                    self.drop_database(inner);
                    let _ = self.reopen(inner);
                }
                _ => {
                    tracing::info!(
                        "compacted {} from {size} to {} bytes",
                        self.medium.name(),
                        self.medium.disk_bytes()
                    );
                }
            }
        }
        self.publish_status(inner);
    }

    /// Reads all of a database that seemed damaged.
    fn verify(&mut self, inner: &Inner) {
        self.drop_database(inner);
        match self.medium.open(true) {
            Ok(db) => put_database(inner, db),
            Err(trouble) => self.note_trouble(&trouble),
        }
        if self.is_broken {
            self.note_failure(inner, &Trouble::Other("it is damaged".to_owned()));
        }
    }

    /// Opens the database again. One that is damaged is left to the next start.
    fn reopen(&mut self, inner: &Inner) -> Result<(), Trouble> {
        match self.medium.open(false) {
            Ok(db) => {
                // What was committed may be more than was known: a commit can fail after it took effect.
                let read = guarded(|| super::books::read(&db));
                match read {
                    Ok(content) => {
                        let oldest = self.books.oldest;
                        self.books = Books { oldest, ..Books::of(&content) };
                        put_database(inner, db);
                        Ok(())
                    }
                    Err(trouble) => {
                        let _ = guarded(|| db.close());
                        self.note_trouble(&trouble);
                        Err(trouble)
                    }
                }
            }
            Err(trouble) => {
                self.note_trouble(&trouble);
                Err(trouble)
            }
        }
    }

    fn note_trouble(&mut self, trouble: &Trouble) {
        let Trouble::Damaged(what) = trouble else { return };
        // Asked once more, and thoroughly: what is set aside is lost to the gateway.
        if let Err(Trouble::Damaged(_)) = self.medium.open(true).map(drop) {
            self.medium.mark_damaged(what);
            self.is_broken = true;
        }
    }

    fn note_success(&mut self, inner: &Inner) {
        if self.retry_at.take().is_some() {
            tracing::info!("{} can be written again", self.medium.name());
        }
        self.attempts = 0;
        self.logged = None;
        let mut status = locked(&inner.status);
        status.failing = None;
        status.commits += 1;
    }

    fn note_failure(&mut self, inner: &Inner, trouble: &Trouble) {
        let name = self.medium.name();
        let words = if self.is_broken {
            format!("{name} is damaged; restart the gateway: it sets the file aside and begins a new epoch")
        } else {
            format!("cannot write {name}: {trouble}; events are kept in memory. {}", advice(trouble))
        };
        let delay = self.tuning.backoff.0.saturating_mul(1 << self.attempts.min(10)).min(self.tuning.backoff.1);
        self.attempts = self.attempts.saturating_add(1);
        self.retry_at = Some(Instant::now() + delay);
        if self.logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            tracing::warn!("{words}");
        }
        locked(&inner.status).failing = Some(words);
    }

    fn publish_status(&self, inner: &Inner) {
        let mut status = locked(&inner.status);
        status.tail = self.books.tail;
        status.disk_bytes = self.medium.disk_bytes();
        self.books.counters.report(&mut status);
    }

    /// How many entries are known to the database to be dropped before their commit.
    fn lost(&self) -> u64 {
        self.books.counters.dropped_uncommitted
    }

    fn drop_database(&self, inner: &Inner) {
        let db = inner.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(trouble)) = db.map(|db| guarded(|| db.close())) {
            tracing::debug!("closing {}: {trouble}", self.medium.name());
        }
    }
}

fn has_database(inner: &Inner) -> bool {
    inner.database.read().unwrap_or_else(PoisonError::into_inner).is_some()
}

fn put_database(inner: &Inner, db: Database) {
    *inner.database.write().unwrap_or_else(PoisonError::into_inner) = Some(db);
}

/// Runs with the open database, while others read it.
pub(super) fn with_database<T>(inner: &Inner, run: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, Trouble> {
    match &*inner.database.read().unwrap_or_else(PoisonError::into_inner) {
        Some(db) => run(db),
        None => Err(Trouble::Other("the database is closed".to_owned())),
    }
}

fn advice(trouble: &Trouble) -> &'static str {
    match trouble {
        trouble if trouble.is_full() => "Make room on that disk",
        Trouble::Io(error) if error.kind() == std::io::ErrorKind::ReadOnlyFilesystem => {
            "The disk is mounted read-only: check it (dmesg), and mount it writable"
        }
        _ => "Check the disk (dmesg)",
    }
}

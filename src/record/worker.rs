//! The thread that writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::shelf::{Hour, Shelf};
use super::{Entry, Shared, carriers};
use crate::clock::Clock;
use crate::model::Timestamp;
use crate::registry::Registry;
use crate::source::line::{device_sighting_line, report_line, sighting_line};

/// How long a line waits for the disk at most, while the disk takes any: what is lost where the process is killed.
const FLUSH: Duration = Duration::from_secs(30);
/// Old files are looked for this often.
const TIDY: Duration = Duration::from_secs(3_600);
/// Lines of one hour are written when they are so many bytes, ahead of their time.
const MEMBER: usize = 1 << 20;
/// Lines that wait while the disk takes none, in bytes. More are dropped.
const MOST_WAITING: usize = 8 << 20;
/// Hours that are gathered at a time: around a full hour, lines of two come mixed.
const MOST_HOURS: usize = 3;

#[derive(Debug)]
pub(super) struct Worker {
    shelf: Shelf,
    registry: Arc<Registry>,
    clock: Clock,
    shared: Arc<Shared>,
    waiting: BTreeMap<Hour, Lines>,
    /// The shelf is open, and holds nothing that it must not.
    ready: bool,
    /// The registry is another than what is on the shelf was looked through for.
    unsettled: bool,
    failing: bool,
    tidied: Option<Instant>,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    count: u64,
}

impl Worker {
    pub(super) fn new(shelf: Shelf, registry: Arc<Registry>, clock: Clock, shared: Arc<Shared>) -> Self {
        let waiting = BTreeMap::new();
        Self { shelf, registry, clock, shared, waiting, ready: false, unsettled: false, failing: false, tidied: None }
    }

    /// Until nobody gives it any more.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        self.flush();
        let mut due = Instant::now() + FLUSH;
        loop {
            match entries.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(entry) => self.add(&entry),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    let lost: u64 = self.waiting.values().map(|lines| lines.count).sum();
                    self.shared.dropped.fetch_add(lost, Ordering::Relaxed);
                    info!(
                        kept = self.shared.kept.load(Ordering::Relaxed),
                        dropped = self.shared.dropped.load(Ordering::Relaxed),
                        "recorded sightings"
                    );
                    return;
                }
            }
            // However much comes, time passes.
            if Instant::now() >= due {
                self.flush();
                due = Instant::now() + FLUSH;
            }
        }
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        let (time, line): (Timestamp, String) = match entry {
            Entry::Sighting(heard) => (heard.time, sighting_line(heard)),
            Entry::Heard(heard) => (heard.time, device_sighting_line(heard)),
            Entry::Report(report) => (report.time, report_line(report)),
        };
        let waiting: usize = self.waiting.values().map(|lines| lines.text.len()).sum();
        if waiting + line.len() >= MOST_WAITING {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let lines = self.waiting.entry(Hour::of(time)).or_default();
        lines.text.extend_from_slice(line.as_bytes());
        lines.text.push(b'\n');
        lines.count += 1;
        let is_full = lines.text.len() >= MEMBER || self.waiting.len() > MOST_HOURS;
        // A disk that takes nothing is tried again when it is time, not with every line.
        if is_full && !self.failing {
            self.flush();
        }
    }

    /// Writes down what waits, and what else is due. What fails is said once, and tried again the next time.
    pub(super) fn flush(&mut self) {
        match self.write() {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    info!("sightings are recorded again");
                    self.shared.fail(None);
                }
            }
            Err(cause) => {
                let text = format!("{} takes nothing: {cause}", self.shelf.dir().display());
                if !std::mem::replace(&mut self.failing, true) {
                    error!("sightings are not recorded: {text}; make room, or repair the disk");
                }
                self.shared.fail(Some(text));
            }
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        if let Some(registry) = self.shared.take_registry() {
            self.registry = registry;
            self.unsettled = true;
        }
        if self.ready && self.unsettled {
            // What waits is written first: it is looked through with the rest.
            self.append()?;
            carriers::settle(&mut self.shelf, &self.registry, &self.shared)?;
            self.unsettled = false;
        }
        if !self.ready {
            self.shelf.open()?;
            carriers::settle(&mut self.shelf, &self.registry, &self.shared)?;
            (self.ready, self.unsettled) = (true, false);
        }
        // While the wall clock may be wrong, nothing is too old.
        let is_due = self.tidied.is_none_or(|tidied| tidied.elapsed() >= TIDY);
        if is_due && !self.clock.is_suspect() {
            self.shelf.delete_old(self.clock.wall(self.clock.now()))?;
            self.tidied = Some(Instant::now());
        }
        self.append()?;
        self.shelf.delete_surplus()
    }

    fn append(&mut self) -> std::io::Result<()> {
        while let Some((hour, lines)) = self.waiting.first_key_value() {
            self.shelf.append(hour, &lines.text)?;
            self.shared.kept.fetch_add(lines.count, Ordering::Relaxed);
            self.waiting.pop_first();
        }
        Ok(())
    }
}

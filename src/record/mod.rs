//! Keeps the sightings of registered devices on disk for a few days, where `[record] days` says so, as files that
//! `replay` reads: one for each hour of the wall clock.
//!
//! Kept is what the engine took in, and no more of it than is needed to recognise the beacon again: time, receiver, RSSI
//! and one identity. Never strangers, never customers without consent for presence.
//!
//! Files are written by a thread of their own. The gateway's loop hands lines over through a bounded queue and never
//! waits: what finds no room is dropped and counted. Every half minute what has come is appended to its file as a whole
//! gzip member, so that a process that is killed loses less than a minute and leaves a file that can be read. A member
//! that was torn apart is cut off at the next start.

mod carriers;
pub mod play;
mod shelf;
mod worker;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::advert::{Address, Advertisement, AdvertisingData, DeviceSighting, frames};
use crate::clock::Clock;
use crate::config::RecordConfig;
use crate::engine::{Engine, Input};
use crate::model::Timestamp;
use crate::position::PositionReport;
use crate::registry::{BeaconIndex, Identity, Registry};
use shelf::Shelf;
use worker::Worker;

/// The directory of the recordings in the data directory.
pub const DIRECTORY: &str = "record";

/// Whether a file in it is one of ours: an hour of sightings, or what says whose they are.
pub(crate) fn is_file_name(name: &str) -> bool {
    name == carriers::FILE || shelf::is_hour(name)
}

/// Whether that file says whose the sightings in the others are.
pub(crate) fn is_about_others(name: &str) -> bool {
    name == carriers::FILE
}

/// Lines that may wait for the thread: at 1,000 a second that is 16 s.
const QUEUE: usize = 16_384;

/// What is kept of one input. Its time is by the wall clock.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    Sighting(Advertisement),
    Heard(DeviceSighting),
    Report(PositionReport),
}

/// How recording fares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordStatus {
    /// Sightings and reports written since the start.
    pub kept: u64,
    /// Those that were not, because the disk was slow or full.
    pub dropped: u64,
    /// Files deleted since the start, because they were too old or too many.
    pub deleted: u64,
    /// Lines removed since the start, because their device may not be tracked any more.
    pub erased: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Why nothing is written.
    pub failing: Option<String>,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct Shared {
    kept: AtomicU64,
    dropped: AtomicU64,
    deleted: AtomicU64,
    erased: AtomicU64,
    bytes: AtomicU64,
    failing: Mutex<Option<String>>,
    /// Another registry, until the thread has taken note of it.
    registry: Mutex<Option<Arc<Registry>>>,
}

impl Shared {
    fn take_registry(&self) -> Option<Arc<Registry>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, why: Option<String>) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// The gateway's end. Does nothing where nothing is to be recorded.
#[derive(Debug)]
pub struct Recorder {
    registry: Arc<Registry>,
    clock: Clock,
    on: Option<Thread>,
}

#[derive(Debug)]
struct Thread {
    queue: SyncSender<Entry>,
    shared: Arc<Shared>,
    handle: JoinHandle<()>,
}

impl Recorder {
    /// Begins to record into `record` in the data directory. Where nothing is to be recorded, what is left of earlier
    /// recordings is deleted.
    ///
    /// # Errors
    /// Where the system gives no thread. Whatever the disk refuses is tried again later, and said in the status.
    pub fn start(
        data_dir: &std::path::Path,
        config: RecordConfig,
        registry: &Arc<Registry>,
        clock: &Clock,
    ) -> io::Result<Self> {
        let dir: PathBuf = data_dir.join(DIRECTORY);
        let (registry, clock) = (Arc::clone(registry), clock.clone());
        if config.days == 0 {
            if let Err(error) = shelf::delete_all(&dir) {
                warn!("nothing is recorded any more, but {} cannot be deleted: {error}", dir.display());
            }
            return Ok(Self { registry, clock, on: None });
        }
        info!(days = config.days, "sightings of registered devices are recorded in {}", dir.display());
        let shared = Arc::<Shared>::default();
        let (queue, entries) = sync_channel(QUEUE);
        let shelf = Shelf::new(dir, config, Arc::clone(&shared));
        let worker = Worker::new(shelf, Arc::clone(&registry), clock.clone(), Arc::clone(&shared));
        let handle = std::thread::Builder::new().name("record".to_owned()).spawn(move || worker.run(&entries))?;
        Ok(Self { registry, clock, on: Some(Thread { queue, shared, handle }) })
    }

    /// Hands an input to the engine, as [`Engine::handle`] does, and keeps it where the engine took it in.
    pub fn handle(&self, engine: &mut Engine, input: Input, now: Timestamp) {
        let entry = self.on.as_ref().and_then(|_| entry(&self.registry, &self.clock, &input));
        let before = engine.counters().taken_in();
        engine.handle(input, now);
        if let (Some(thread), Some(entry)) = (&self.on, entry)
            && engine.counters().taken_in() > before
        {
            match thread.queue.try_send(entry) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    thread.shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// The registry is another. Who may not be recorded any more is erased within seconds.
    pub fn reconfigure(&mut self, registry: &Arc<Registry>) {
        self.registry = Arc::clone(registry);
        if let Some(thread) = &self.on {
            let next = Some(Arc::clone(registry));
            *thread.shared.registry.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
    }

    /// How it fares, for whoever asks; none where nothing is recorded.
    pub fn watch(&self) -> impl Fn() -> Option<RecordStatus> + Send + Sync + 'static {
        let shared = self.on.as_ref().map(|thread| Arc::clone(&thread.shared));
        move || {
            let shared = shared.as_ref()?;
            Some(RecordStatus {
                kept: shared.kept.load(Ordering::Relaxed),
                dropped: shared.dropped.load(Ordering::Relaxed),
                deleted: shared.deleted.load(Ordering::Relaxed),
                erased: shared.erased.load(Ordering::Relaxed),
                bytes: shared.bytes.load(Ordering::Relaxed),
                failing: shared.failing.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            })
        }
    }

    /// Writes down what has come, and ends. A disk that takes longer is not waited for.
    pub fn close(self, within: Duration) {
        let Some(Thread { queue, handle, .. }) = self.on else { return };
        drop(queue);
        let until = Instant::now() + within;
        while !handle.is_finished() {
            if Instant::now() > until {
                warn!("stopped before the last sightings were recorded: the disk is slow");
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if handle.join().is_err() {
            warn!("the thread that records has failed");
        }
    }
}

/// What is kept of an input; none where it is of nobody who may be kept.
fn entry(registry: &Registry, clock: &Clock, input: &Input) -> Option<Entry> {
    match input {
        Input::Advertisement(heard) => {
            let beacon = registry.resolve(heard)?;
            may_be_kept(registry, beacon)
                .then(|| Entry::Sighting(least(heard, &registry.beacons()[beacon.get()].identity, clock)))
        }
        Input::Heard(heard) => {
            let beacon = registry.sender(&heard.data, heard.address)?;
            let device = registry.device(&heard.device)?;
            if registry.device_of(beacon).is_some() || !registry.devices()[device.get()].may_be_tracked() {
                return None;
            }
            let identity = &registry.beacons()[beacon.get()].identity;
            let (address, data) = least_of(&heard.data, heard.address, identity);
            Some(Entry::Heard(DeviceSighting { time: clock.wall(heard.time), address, data, ..heard.clone() }))
        }
        Input::PositionReport(report) => {
            let device = registry.device(&report.device)?;
            registry.devices()[device.get()].may_be_tracked().then(|| Entry::Report(report.clone()))
        }
        // Facts about people are not for recordings.
        Input::Attributes(..) | Input::Receiver(..) => None,
    }
}

/// Fixed beacons, and those of devices that may be tracked.
fn may_be_kept(registry: &Registry, beacon: BeaconIndex) -> bool {
    registry.device_of(beacon).is_none_or(|device| registry.devices()[device.get()].may_be_tracked())
}

/// No more of a sighting than says which beacon it was.
fn least(heard: &Advertisement, identity: &Identity, clock: &Clock) -> Advertisement {
    let (address, data) = least_of(&heard.data, heard.address, identity);
    Advertisement { time: clock.wall(heard.time), receiver: heard.receiver.clone(), address, rssi: heard.rssi, data }
}

/// The frame that names a beacon, or else its address.
fn least_of(
    data: &AdvertisingData,
    address: Option<Address>,
    identity: &Identity,
) -> (Option<Address>, AdvertisingData) {
    let names = |part: &AdvertisingData| {
        frames(part).filter_map(|frame| Identity::of_frame(&frame.ok()?)).any(|found| found == *identity)
    };
    let manufacturer = data.manufacturer_data.iter();
    let service = data.service_data.iter();
    let mut parts = manufacturer
        .map(|part| AdvertisingData { manufacturer_data: vec![part.clone()], service_data: Vec::new() })
        .chain(service.map(|part| AdvertisingData { manufacturer_data: Vec::new(), service_data: vec![part.clone()] }));
    let data = parts.find(names);
    (if data.is_some() { None } else { address }, data.unwrap_or_default())
}

#[cfg(test)]
mod tests;

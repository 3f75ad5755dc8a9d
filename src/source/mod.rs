//! Where observations come from: radios, files, MQTT, simulation. The only folder that names btleplug.

pub mod ble;
mod btsnoop;
mod hci;
pub mod line;
pub mod lines;
pub mod live;
pub mod recordings;
pub mod replay;
mod sightings;
pub mod simulate;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::advert::{Advertisement, DeviceSighting};
use crate::clock::Clock;
use crate::engine::{Input, ReceiverState};
use crate::model::{ReceiverId, Timestamp};
use crate::position::PositionReport;

/// Counters of one receiver, shared between its source and the status.
#[derive(Debug, Default)]
pub struct ReceiverCounters {
    /// Advertisements heard with an RSSI, strangers included.
    pub advertisements: AtomicU64,
    /// When it last heard anything, in milliseconds of steady time; 0 before the first.
    pub last_heard_ms: AtomicI64,
    /// Advertisements dropped because the gateway was behind.
    pub shed: AtomicU64,
    /// How far the source was behind the air at the last look, in milliseconds.
    pub lag_ms: AtomicU64,
    /// How often the watchdog had to step in.
    pub recoveries: AtomicU64,
    /// Whether the system keeps the controller from filtering repeated advertisements. Where it does not, the scan is
    /// cycled, and a beacon is heard about once a second.
    pub unfiltered: AtomicBool,
}

/// What a source gives to the gateway's loop.
#[derive(Debug)]
pub enum Observation {
    /// An input for the engine, and when it was received, in steady time.
    Input(Timestamp, Input),
    /// A receiver's state changed, with words for people where something is wrong.
    Receiver {
        /// When.
        at: Timestamp,
        /// Which.
        receiver: ReceiverId,
        /// Its state now.
        state: ReceiverState,
        /// What is wrong, for status and log.
        detail: Option<String>,
    },
}

/// A source's way to the gateway's loop: bounded; sheds sightings, never states.
#[derive(Debug, Clone)]
pub struct Sink {
    queue: mpsc::Sender<Observation>,
    counters: Arc<BTreeMap<ReceiverId, ReceiverCounters>>,
    /// Sightings of all receivers, this gateway's own and others, that were dropped because it was behind.
    shed: Arc<AtomicU64>,
    clock: Clock,
}

impl Sink {
    /// A sink with room for `capacity` observations, for those receivers, and the loop's end of it.
    pub fn new(receivers: &[ReceiverId], capacity: usize, clock: Clock) -> (Self, mpsc::Receiver<Observation>) {
        let (queue, observations) = mpsc::channel(capacity);
        let counters = receivers.iter().map(|id| (id.clone(), ReceiverCounters::default())).collect();
        (Self { queue, counters: Arc::new(counters), shed: Arc::default(), clock }, observations)
    }

    /// The clock to stamp with.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Hands over a position report, waiting for room; false where the gateway stops. Not to be called from a task.
    pub fn report(&self, report: PositionReport) -> bool {
        let input = Observation::Input(self.clock.now(), Input::PositionReport(report));
        self.queue.blocking_send(input).is_ok()
    }

    /// Sightings dropped because the gateway was behind, from wherever they came.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// The counters of every receiver.
    pub fn counters(&self) -> &Arc<BTreeMap<ReceiverId, ReceiverCounters>> {
        &self.counters
    }

    /// Hands over what a radio heard; drops and counts it where the gateway is behind.
    pub fn advertisement(&self, heard: Advertisement) {
        let counters = self.counters.get(&heard.receiver);
        if let Some(counters) = counters {
            counters.advertisements.fetch_add(1, Ordering::Relaxed);
            counters.last_heard_ms.store(heard.time.as_millis(), Ordering::Relaxed);
        }
        let time = heard.time;
        if self.queue.try_send(Observation::Input(time, Input::Advertisement(heard))).is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
            if let Some(counters) = counters {
                counters.shed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Hands over what a device heard; drops and counts it where the gateway is behind.
    pub fn device_sighting(&self, heard: DeviceSighting) {
        if self.queue.try_send(Observation::Input(heard.time, Input::Heard(heard))).is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands over a change of a receiver's state, waiting for room.
    pub async fn receiver(&self, at: Timestamp, receiver: &ReceiverId, state: ReceiverState, detail: Option<String>) {
        let change = Observation::Receiver { at, receiver: receiver.clone(), state, detail };
        // The loop is gone only when the gateway stops: then nobody asks for the state any more.
        let _ = self.queue.send(change).await;
    }
}

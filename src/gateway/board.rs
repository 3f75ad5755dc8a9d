//! What metrics are made of: the loop puts up a reading every second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::live::Live;
use super::report::OutboxReport;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::metrics::{self, Outbox, Reading};
use crate::model::Timestamp;
use crate::mqtt::wire::Status;
use crate::source::Sink;

/// Where readings are put up.
#[derive(Debug, Clone)]
pub(super) struct Board(watch::Sender<Option<Arc<Reading>>>);

impl Board {
    /// Nothing has been read yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Puts up what is so now.
    pub(super) fn put(&self, status: Status, engine: &Engine, sink: &Sink, live: &Live, clock: &Clock) {
        let [entered, dwelled, exited] = engine.counters().events;
        let registry = engine.registry();
        let mut last_heard = BTreeMap::new();
        for (receiver, counters) in sink.counters().iter() {
            let heard = counters.last_heard_ms.load(Ordering::Relaxed);
            if heard > 0 {
                last_heard.insert(receiver.clone(), clock.wall(Timestamp::from_millis(heard)));
            }
        }
        let health = engine.beacon_health();
        let reading = Reading {
            status,
            present: live.present(),
            events: [("entered", entered), ("dwelled", dwelled), ("exited", exited)],
            last_heard,
            beacons: health.states,
            low: health.low,
            registered: [
                ("zones", registry.zones().len() as u64),
                ("beacons", registry.beacons().len() as u64),
                ("devices", registry.devices().len() as u64),
            ],
        };
        self.0.send_replace(Some(Arc::new(reading)));
    }

    /// The metrics of the last reading, and of what waits now.
    pub(super) fn text(&self, outbox: &OutboxReport) -> String {
        let reading = self.0.borrow().clone();
        let outbox = Outbox {
            messages: outbox.depth,
            bytes: outbox.bytes,
            oldest_s: outbox.oldest_s.unwrap_or(0.0),
            acknowledged: outbox.acknowledged,
            unheard: outbox.unheard,
            parked: outbox.parked,
            dropped: outbox.dropped.clone(),
            connected: outbox.broker.is_some(),
            failing: outbox.store_failing.is_some(),
            disk_bytes: outbox.disk_bytes,
        };
        metrics::text(reading.as_deref(), &outbox)
    }
}

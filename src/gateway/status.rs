//! What the gateway says of itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::warn;

use super::Outlet;
use crate::clock::Clock;
use crate::engine::{Engine, ReceiverState};
use crate::model::{ReceiverId, Timestamp};
use crate::mqtt::Inbound;
use crate::mqtt::wire::{DriftWords, ReceiverStatus, Status, StoreWords};
use crate::record::RecordStatus;
use crate::registry::ReceiverIndex;
use crate::source::Sink;
use crate::store::Store;
use crate::trigger::Outcome;

/// How often the log says of a receiver that it drifts.
const DRIFT_EVERY: Duration = Duration::from_secs(24 * 3_600);

/// What is known of a receiver.
pub(super) struct ReceiverNow {
    pub(super) state: ReceiverState,
    pub(super) detail: Option<String>,
}

/// When the log last said of each receiver that it drifts.
#[derive(Default)]
pub(super) struct DriftLog(BTreeMap<ReceiverIndex, Timestamp>);

impl DriftLog {
    /// Says what drifts, of each receiver at most once in [`DRIFT_EVERY`].
    pub(super) fn look(&mut self, engine: &Engine, now: Timestamp) {
        for drift in engine.drifts() {
            if self.0.get(&drift.receiver).is_none_or(|last| now.since(*last) >= DRIFT_EVERY) {
                self.0.insert(drift.receiver, now);
                let receiver = &engine.registry().receivers()[drift.receiver.get()].id;
                let (db, samples) = (format!("{:+.1}", drift.db), drift.samples);
                warn!(%receiver, db, samples, "the receiver reads otherwise than in the survey: look at it, or survey again");
            }
        }
    }
}

/// What the status says of recording.
pub(super) fn record_counters(record: &RecordStatus) -> [(String, u64); 4] {
    [
        ("recorded", record.kept),
        ("record_dropped", record.dropped),
        ("record_files_deleted", record.deleted),
        ("record_erased", record.erased),
    ]
    .map(|(name, count)| (name.to_owned(), count))
}

/// How everything is, as it is published.
#[allow(clippy::too_many_arguments)] // Everybody has something to say in it.
pub(super) fn status(
    since: Timestamp,
    clock: &Clock,
    engine: &Engine,
    sink: &Sink,
    receivers: &BTreeMap<ReceiverId, ReceiverNow>,
    outlet: &Outlet,
    inbound: &Inbound,
    store: &Store,
) -> Status {
    let stored = store.status();
    let mut status = Status { at: clock.wall(clock.now()), ..Status::online(since) };
    status.clock_suspect = clock.is_suspect();
    status.store = Some(StoreWords {
        failing: stored.failing.clone(),
        disk_bytes: stored.disk_bytes,
        uncommitted: stored.uncommitted,
        tail: stored.tail,
    });
    let taken = engine.counters();
    for (at, receiver) in engine.registry().receivers().iter().enumerate() {
        if let Some(since) = engine.silent_since(ReceiverIndex(at as u32)) {
            status.silent_receivers.insert(receiver.id.clone(), clock.wall(since));
        }
    }
    for (id, now) in receivers {
        let Some(counters) = sink.counters().get(id) else { continue };
        let sightings = engine.registry().receiver(id).map_or(0, |at| taken.sightings_by_receiver[at.get()]);
        let silent = status.silent_receivers.contains_key(id);
        status.receivers.insert(
            id.clone(),
            ReceiverStatus {
                state: match now.state {
                    ReceiverState::Up if !silent => "up",
                    _ => "down",
                },
                reason: match now.state {
                    ReceiverState::Up if silent => Some("hears nothing of what it should".to_owned()),
                    _ => now.detail.clone(),
                },
                advertisements: counters.advertisements.load(Ordering::Relaxed),
                sightings,
                shed: counters.shed.load(Ordering::Relaxed),
                lag_ms: counters.lag_ms.load(Ordering::Relaxed),
                recoveries: counters.recoveries.load(Ordering::Relaxed),
                unfiltered: counters.unfiltered.load(Ordering::Relaxed),
            },
        );
    }
    for drift in engine.drifts() {
        let db = (drift.db * 10.0).round() / 10.0;
        let receiver = engine.registry().receivers()[drift.receiver.get()].id.clone();
        status.drifts.insert(receiver, DriftWords { db, samples: drift.samples });
    }
    status.counters.extend(outlet.publisher().status().counters().map(|(name, value)| (name.to_owned(), value)));
    let mut count = |name: &str, value: u64| status.counters.insert(name.to_owned(), value);
    count("sightings", taken.sightings);
    count("sightings_shed", sink.shed());
    count("fixed_beacons", taken.fixed_beacons);
    count("device_sightings", taken.device_sightings);
    count("unplaced_beacons", taken.unplaced_beacons);
    count("position_reports", taken.reports);
    count("telemetry", taken.telemetry);
    count("strangers", taken.strangers);
    count("without_consent", taken.without_consent);
    count("refused_ahead", taken.ahead);
    count("refused_behind", taken.behind);
    count("reports_outside", taken.reports_outside);
    count("unknown_levels", taken.unknown_levels);
    count("stale_reports", taken.stale_reports);
    count("unknown_devices", taken.unknown_devices);
    count("unknown_receivers", taken.unknown_receivers);
    count("clock_jumps", u64::from(clock.jumps()));
    count("commits", stored.commits);
    count("events_dropped_uncommitted", stored.dropped_uncommitted);
    let inbound = inbound.status();
    count("reports_shed", inbound.shed);
    count("reports_refused", inbound.refused.values().sum());
    count("replays_refused", inbound.replays_refused);
    count("facts", inbound.facts);
    count("unsaid", outlet.unsaid());
    for outcome in Outcome::ALL {
        let times: u64 = engine.trigger_counts().values().filter_map(|counts| counts.get(&outcome)).sum();
        if times > 0 || outcome == Outcome::Fired {
            count(&format!("triggers_{}", outcome.as_str()), times);
        }
    }
    status
}

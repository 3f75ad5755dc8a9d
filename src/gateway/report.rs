//! How the outbox fares, for people and programs: the same report whether the gateway runs or not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;
use crate::mqtt::PublisherStatus;
use crate::record::RecordStatus;
use crate::store::{Parked, StoreStatus};

/// The state of the outbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxReport {
    /// Whether the gateway runs.
    pub running: bool,
    /// The life of its database.
    pub epoch: String,
    /// The `sequence` of the next event.
    pub next_sequence: u64,
    /// Events that wait for a broker.
    pub depth: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Age of the oldest of them, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_s: Option<f64>,
    /// Of these, under way to the broker.
    pub in_flight: u64,
    /// Events that wait for the disk.
    pub uncommitted: u64,
    /// Whether a broker has let the gateway in; none where the gateway does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// Why there is no connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The broker's last reason to refuse a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<String>,
    /// Why the disk takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_failing: Option<String>,
    /// Events that a broker has taken, in this epoch.
    pub acknowledged: u64,
    /// Of these, those that nobody subscribed to.
    pub unheard: u64,
    /// Events set aside because brokers refused them again and again, in this epoch.
    pub parked: u64,
    /// Events given up, in this epoch, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Events that can be asked for again, beside those that wait.
    pub tail: u64,
    /// Bytes of the database on disk.
    pub disk_bytes: u64,
    /// The parked events that are still kept, oldest first.
    pub parked_events: Vec<ParkedEvent>,
    /// How recording fares; none where nothing is recorded, or the gateway does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordReport>,
}

/// How recording fares, since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReport {
    /// Sightings and position reports written.
    pub kept: u64,
    /// Those that were not, because the disk was slow or full.
    pub dropped: u64,
    /// Files deleted, because they were too old or too large together.
    pub deleted_files: u64,
    /// Lines removed, because their device may not be tracked any more.
    pub erased: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Why nothing is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// One parked event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// Its `sequence`.
    pub sequence: u64,
    /// Its topic under the prefix; none where it can no longer be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Why brokers refused it.
    pub reason: String,
}

impl OutboxReport {
    /// Adds what is parked.
    #[must_use]
    pub fn with_parked(self, parked: Vec<Parked>) -> Self {
        let events =
            parked.into_iter().map(|Parked { sequence, topic, reason }| ParkedEvent { sequence, topic, reason });
        Self { parked_events: events.collect(), ..self }
    }

    /// What the store alone knows.
    pub fn of_store(epoch: String, next_sequence: u64, store: &StoreStatus) -> Self {
        let dropped = [
            ("full", store.dropped_full),
            ("too_old", store.dropped_too_old),
            ("expired", store.dropped_expired),
            ("damaged", store.dropped_damaged),
            ("uncommitted", store.dropped_uncommitted),
        ];
        Self {
            running: false,
            epoch,
            next_sequence,
            depth: 0,
            bytes: 0,
            oldest_s: None,
            in_flight: 0,
            uncommitted: store.uncommitted,
            broker: None,
            last_error: None,
            last_refusal: None,
            store_failing: store.failing.clone(),
            acknowledged: store.acknowledged,
            unheard: store.unheard,
            parked: store.parked,
            dropped: dropped.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
            tail: store.tail,
            disk_bytes: store.disk_bytes,
            parked_events: Vec::new(),
            record: None,
        }
    }

    /// Adds what a running publisher knows.
    #[must_use]
    pub fn with_publisher(self, publisher: &PublisherStatus) -> Self {
        Self {
            running: true,
            depth: publisher.queued,
            bytes: publisher.queued_bytes,
            oldest_s: (publisher.queued > 0).then_some(publisher.oldest_s as f64),
            in_flight: publisher.in_flight,
            broker: publisher.broker.clone(),
            last_error: publisher.last_error.clone(),
            last_refusal: publisher.last_refusal.clone(),
            ..self
        }
    }

    /// Adds how recording fares.
    #[must_use]
    pub fn with_record(self, record: Option<RecordStatus>) -> Self {
        let record = record.map(|status| RecordReport {
            kept: status.kept,
            dropped: status.dropped,
            deleted_files: status.deleted,
            erased: status.erased,
            bytes: status.bytes,
            failing: status.failing,
        });
        Self { record, ..self }
    }

    /// Adds what waits while the gateway does not run.
    #[must_use]
    pub fn with_waiting(self, depth: u64, bytes: u64, oldest: Option<Timestamp>, now: Timestamp) -> Self {
        let oldest_s = oldest.map(|made| now.since(made).as_secs_f64());
        Self { depth, bytes, oldest_s, ..self }
    }
}

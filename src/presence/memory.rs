//! What outlives a restart.
//!
//! A device's memory is what its open visits need to go on under their ids, and to be ended should the device, the zone
//! or the consent be gone by then. Holds are not remembered: they begin anew.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{DeviceId, LevelOrdinal, Position, ReceiverId, Timestamp, ZoneId};
use crate::registry::{Consent, Device, DeviceKind, Labels, PresenceSettings, Shape, Zone};

/// All that a machine is restored from.
#[derive(Debug, Clone)]
pub struct Memory {
    /// When the epoch began.
    pub began: Timestamp,
    /// The `sequence` of the next event.
    pub sequence: u64,
    /// When it was last known to work; what happened since is not known.
    pub alive_at: Timestamp,
    /// The devices.
    pub devices: Vec<DeviceMemory>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceMemory {
    /// Its id.
    pub id: DeviceId,
    /// What it is.
    pub kind: DeviceKind,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// When it was last seen, as far as that was written down.
    pub last_seen: Timestamp,
    /// No visit begins before.
    pub not_before: Timestamp,
    /// The time of its last position report, as the report says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report: Option<Timestamp>,
    /// Its last position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The receivers that heard it shortly before it was last seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<ReceiverId>,
    /// Its open visits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visits: Vec<VisitMemory>,
}

/// One open visit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisitMemory {
    /// Where.
    pub zone: ZoneMemory,
    /// Its id.
    pub id: Uuid,
    /// `observed_at` of its `entered`.
    pub entered_at: Timestamp,
    /// The `visit_sequence` of its next event.
    pub next_sequence: u32,
    /// How many dwell thresholds it has passed.
    #[serde(default)]
    pub dwelled: usize,
    /// Presence was held since its last event.
    #[serde(default)]
    pub held: bool,
}

/// What an event says of a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneMemory {
    /// Its id.
    pub id: ZoneId,
    /// Its name.
    pub name: String,
    /// Its level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelOrdinal>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Its metadata.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl ZoneMemory {
    pub(super) fn of(zone: &Zone) -> Self {
        Self {
            id: zone.id.clone(),
            name: zone.name.clone(),
            level: zone.level,
            labels: zone.labels.clone(),
            metadata: zone.metadata.clone(),
        }
    }

    /// The zone, for an event about it: it covers nothing.
    pub(super) fn zone(&self) -> Arc<Zone> {
        Arc::new(Zone {
            id: self.id.clone(),
            name: self.name.clone(),
            level: self.level,
            shape: Shape::Polygons(Vec::new()),
            labels: self.labels.clone(),
            metadata: self.metadata.clone(),
            presence: PresenceSettings::default(),
        })
    }
}

impl DeviceMemory {
    /// Nothing was seen of it.
    pub fn unseen(device: &Device) -> Self {
        Self {
            id: device.id.clone(),
            kind: device.kind,
            labels: device.labels.clone(),
            last_seen: Timestamp::from_millis(0),
            not_before: Timestamp::from_millis(0),
            last_report: None,
            position: None,
            heard: Vec::new(),
            visits: Vec::new(),
        }
    }

    /// The device, for an event about it: it agrees to nothing.
    pub(super) fn device(&self) -> Arc<Device> {
        Arc::new(Device {
            id: self.id.clone(),
            kind: self.kind,
            consent: Consent::default(),
            labels: self.labels.clone(),
        })
    }
}

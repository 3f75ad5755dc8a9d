//! What presence says: an event is a change of presence.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Position, Probability, Timestamp};
use crate::registry::{Device, Zone};

/// Which change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A visit begins.
    Entered,
    /// A visit has lasted for a threshold.
    Dwelled,
    /// A visit ends.
    Exited,
}

impl EventKind {
    /// The word in topics and types.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entered => "entered",
            Self::Dwelled => "dwelled",
            Self::Exited => "exited",
        }
    }
}

/// Why a visit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The device was seen elsewhere.
    Left,
    /// The device was silent for `lost_after`.
    Lost,
    /// Presence was held for longer than `max_hold`.
    ReceiverLost,
    /// The zone's shape or level was edited.
    ZoneChanged,
    /// The zone was removed.
    ZoneRemoved,
    /// The device was forgotten.
    DeviceRemoved,
    /// Consent for presence was withdrawn.
    ConsentWithdrawn,
    /// The device was found gone after the gateway was away.
    ShutdownGap,
    /// The demonstration ended.
    Stopped,
}

impl Reason {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Lost => "lost",
            Self::ReceiverLost => "receiver_lost",
            Self::ZoneChanged => "zone_changed",
            Self::ZoneRemoved => "zone_removed",
            Self::DeviceRemoved => "device_removed",
            Self::ConsentWithdrawn => "consent_withdrawn",
            Self::ShutdownGap => "shutdown_gap",
            Self::Stopped => "stopped",
        }
    }
}

/// A change of presence, complete but for what the gateway adds (site, gateway, epoch).
#[derive(Debug, Clone)]
pub struct Event {
    /// Deterministic: the same input gives the same id.
    pub id: uuid::Uuid,
    /// What changed.
    pub kind: EventKind,
    /// Counts all events of a site and epoch, from 0.
    pub sequence: u64,
    /// Where.
    pub zone: Arc<Zone>,
    /// Who.
    pub device: Arc<Device>,
    /// The visit, deterministic as well.
    pub visit_id: uuid::Uuid,
    /// Counts the visit's events; 0 is `entered`.
    pub visit_sequence: u32,
    /// When it happened.
    pub observed_at: Timestamp,
    /// When the engine decided it.
    pub decided_at: Timestamp,
    /// Where the device was last known to be.
    pub position: Option<Position>,
    /// Probability of being in the zone at that position.
    pub confidence: Option<Probability>,
    /// `entered` only: the device was inside already when the engine began.
    pub initial: bool,
    /// `dwelled` only: the threshold reached.
    pub threshold: Option<Duration>,
    /// `dwelled` and `exited`: time since the visit's `entered`, both as observed.
    pub duration: Option<Duration>,
    /// `exited` only.
    pub reason: Option<Reason>,
    /// Presence was held at some time since the visit's last event, because a receiver was down.
    pub held: bool,
    /// The clock was not known to be set when this was decided: its times may be wrong, its durations are not.
    pub suspect: bool,
}

//! What the machine knows of one device, for those who ask why.

use super::{Machine, Phase};
use crate::model::{Position, Probability, Timestamp};
use crate::registry::{DeviceIndex, ReceiverIndex, ZoneIndex};

/// What is known of a device that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceState {
    /// Its last sighting or position report.
    pub last_seen: Timestamp,
    /// Its last position.
    pub position: Option<Position>,
    /// When each receiver last heard it.
    pub heard: Vec<(ReceiverIndex, Timestamp)>,
    /// The zones where it is not simply outside, in the registry's order.
    pub zones: Vec<ZoneState>,
}

/// A device in a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneState {
    /// Which zone.
    pub zone: ZoneIndex,
    /// How far it is.
    pub phase: ZonePhase,
    /// Probability at the last position; none for the whole site, and where no position is known since a restart.
    pub probability: Option<Probability>,
    /// It is lost then, unless it is seen or held.
    pub lost_at: Timestamp,
    /// Whether presence is held because receivers are down.
    pub held: Option<Held>,
}

/// Which of the four states a device is in, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZonePhase {
    /// Not in the zone.
    Outside,
    /// Likely enough inside, but not yet for long enough.
    Entering {
        /// When that began.
        since: Timestamp,
        /// When it will have entered, if that lasts.
        due: Timestamp,
    },
    /// In the zone.
    Inside {
        /// When it entered.
        since: Timestamp,
        /// The visit.
        visit_id: uuid::Uuid,
    },
    /// Likely enough outside, but not yet for long enough.
    Leaving {
        /// When that began to count.
        since: Timestamp,
        /// When it will have left, if that lasts.
        due: Timestamp,
        /// When it entered.
        entered_at: Timestamp,
        /// The visit.
        visit_id: uuid::Uuid,
    },
}

/// Presence that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The receivers that are down.
    pub receivers: Vec<ReceiverIndex>,
    /// For no longer than until then.
    pub until: Timestamp,
}

impl Machine {
    /// What is known of a device; none where it was never seen.
    pub fn state_of(&self, device: DeviceIndex) -> Option<DeviceState> {
        let state = self.devices[device.get()].as_deref()?;
        let zones = state.zones.iter().map(|presence| {
            let settings = &self.registry.zones()[presence.zone.get()].presence;
            let hold = self.hold(state, presence.zone, settings);
            let phase = match &presence.phase {
                Phase::Entering { since, .. } => {
                    ZonePhase::Entering { since: *since, due: *since + settings.enter_after }
                }
                Phase::Inside { visit } => ZonePhase::Inside { since: visit.entered_at, visit_id: visit.id },
                Phase::Leaving { visit, since } => {
                    let since = hold.counted_from(*since);
                    ZonePhase::Leaving {
                        since,
                        due: since + settings.exit_after,
                        entered_at: visit.entered_at,
                        visit_id: visit.id,
                    }
                }
            };
            let receivers = self.coverage.down_of(&self.listeners(state, presence.zone));
            ZoneState {
                zone: presence.zone,
                phase,
                probability: presence.confidence,
                lost_at: hold.lost_at,
                held: hold.until.map(|until| Held { receivers, until }),
            }
        });
        Some(DeviceState {
            last_seen: state.last_seen,
            position: state.position,
            heard: state.heard.clone(),
            zones: zones.collect(),
        })
    }
}

//! What outlives a restart.

use serde::{Deserialize, Serialize};

use crate::model::{BeaconId, LevelOrdinal, Point, ReceiverId, Timestamp};
use crate::registry::{Beacon, Registry};

use super::attended::Attended;
use super::battery::Battery;
use super::interval::Interval;
use super::moved::{Elsewhere, Whereabouts};
use super::watch::{Ear, Watch, placed};

/// What is remembered of one beacon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeaconRecord {
    /// Which.
    pub id: BeaconId,
    /// Its identity: another one is another beacon.
    identity: String,
    last_heard: Timestamp,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_missing: bool,
    /// Who used to hear it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    receivers: Vec<ReceiverId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    battery: Option<Box<Battery>>,
    #[serde(default)]
    interval: Interval,
    /// Where a fixed one was registered when this was learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<(Point, LevelOrdinal)>,
    /// The usual level at receivers, in dBm, and of how many windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    usual: Vec<(ReceiverId, f32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    elsewhere: Option<Elsewhere>,
}

impl BeaconRecord {
    pub(super) fn of(registry: &Registry, beacon: &Beacon, watch: &Watch) -> Self {
        let id = |at: crate::registry::ReceiverIndex| registry.receivers().get(at.get()).map(|known| known.id.clone());
        let ears = watch.ears.iter().filter(|ear| ear.used_to_hear(watch.last_heard));
        let usual = watch.whereabouts.iter().flat_map(|known| &known.usual);
        Self {
            id: beacon.id.clone(),
            identity: beacon.identity.to_string(),
            last_heard: watch.last_heard,
            since: watch.since,
            is_missing: watch.is_missing,
            receivers: ears.filter_map(|ear| id(ear.receiver)).collect(),
            battery: watch.battery.clone(),
            interval: watch.interval.remembered(),
            place: placed(beacon),
            usual: usual.filter_map(|(at, level, count)| Some((id(*at)?, *level, *count))).collect(),
            elsewhere: watch.whereabouts.as_ref().and_then(|known| known.elsewhere),
        }
    }

    /// Goes on with it, as far as it is about the same beacon; none where it is not.
    pub(super) fn watch(
        self,
        registry: &Registry,
        beacon: &Beacon,
        attended: &Attended,
        now: Timestamp,
    ) -> Option<Watch> {
        if self.identity != beacon.identity.to_string() {
            return None;
        }
        let mut watch = Watch::new(beacon, self.last_heard.min(now));
        watch.since = self.since.min(now);
        watch.is_missing = self.is_missing && beacon.device.is_none();
        watch.battery = self.battery.filter(|battery| battery.is_sound());
        watch.interval = if self.interval.is_sound() { self.interval } else { Interval::default() };
        let receivers = self.receivers.iter().filter_map(|id| registry.receiver(id));
        watch.ears.extend(receivers.map(|at| Ear::remembered(at, watch.last_heard, attended.total(at, now))));
        watch.ears.truncate(super::watch::MOST_EARS);
        if placed(beacon).is_some() && self.place == placed(beacon) {
            let usual = self.usual.into_iter().filter(|(_, level, _)| level.is_finite());
            watch.whereabouts = Some(Box::new(Whereabouts {
                usual: usual.filter_map(|(id, level, count)| Some((registry.receiver(&id)?, level, count))).collect(),
                doubt: None,
                elsewhere: self.elsewhere,
            }));
        }
        let since = watch.since;
        watch.judge(now);
        // It was said before.
        watch.since = since;
        Some(watch)
    }
}

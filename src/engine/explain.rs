//! Why a device is, or is not, where it is said to be: what the engine knows of it now, with the settings that it is held
//! against. Only read when asked for; costs nothing otherwise.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::geofence::{Membership, gaussian_membership};
use crate::model::{BeaconId, Position, Probability, ReceiverId, Timestamp, format_duration};
use crate::presence::{ZonePhase, ZoneState};
use crate::registry::{Device, DeviceIndex, ReceiverIndex, Zone, ZoneIndex};

/// A zone that a device is outside of is worth a word from this probability on.
const WORTH_A_WORD: f64 = 0.01;

/// What is known of a device at an instant.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The instant: the engine's time.
    pub at: Timestamp,
    /// Who.
    pub device: Arc<Device>,
    /// The beacons that it carries.
    pub beacons: Vec<BeaconId>,
    /// Its last sighting or position report; none where it was never seen.
    pub last_seen: Option<Timestamp>,
    /// When each receiver last heard it.
    pub heard: Vec<(ReceiverId, Timestamp)>,
    /// Its last position.
    pub position: Option<Position>,
    /// The zones where it is not simply outside, and those with a probability above 1 %; in the registry's order.
    pub zones: Vec<ZoneExplanation>,
}

/// A device in one zone.
#[derive(Debug, Clone)]
pub struct ZoneExplanation {
    /// The zone, with its settings.
    pub zone: Arc<Zone>,
    /// How far it is.
    pub phase: ZonePhase,
    /// The probability at the last position; none for the whole site, and where none is known.
    pub probability: Option<Probability>,
    /// The probability from which on it may enter: the zone's, or more while receivers are down.
    pub threshold: Probability,
    /// It is lost then, unless it is seen again; none where it is outside.
    pub lost_at: Option<Timestamp>,
    /// Receivers that are down, and until when they hold presence at the latest.
    pub held: Option<(Vec<ReceiverId>, Timestamp)>,
}

impl Engine {
    /// What is known of a device.
    pub fn explain(&self, device: DeviceIndex) -> Explanation {
        let registry = &self.registry;
        let state = self.presence.state_of(device);
        let membership = self.probabilities(device);
        let known = |zone: ZoneIndex| state.as_ref()?.zones.iter().find(|state| state.zone == zone);
        let zones = (0..registry.zones().len()).map(|at| ZoneIndex(at as u32)).filter_map(|zone| {
            let found = membership.binary_search_by_key(&zone, |(zone, _)| *zone).ok().map(|at| membership[at].1);
            match known(zone) {
                Some(state) => Some(self.explain_zone(device, state)),
                None => found.filter(|found| found.get() > WORTH_A_WORD).map(|found| ZoneExplanation {
                    zone: Arc::clone(&registry.zones()[zone.get()]),
                    phase: ZonePhase::Outside,
                    probability: Some(found),
                    threshold: self.presence.threshold(device, zone, self.now),
                    lost_at: None,
                    held: None,
                }),
            }
        });
        let beacons = (0..registry.beacons().len() as u32).map(crate::registry::BeaconIndex);
        let carried = beacons.filter(|beacon| registry.device_of(*beacon) == Some(device));
        let heard = state.as_ref().map(|state| &state.heard[..]).unwrap_or_default();
        Explanation {
            at: self.now,
            device: Arc::clone(&registry.devices()[device.get()]),
            beacons: carried.map(|beacon| registry.beacons()[beacon.get()].id.clone()).collect(),
            last_seen: state.as_ref().map(|state| state.last_seen),
            heard: heard.iter().map(|(receiver, last)| (self.receiver_id(*receiver), *last)).collect(),
            position: state.as_ref().and_then(|state| state.position),
            zones: zones.collect(),
        }
    }

    /// The zones that a device is in with a probability above zero, at its last position.
    pub fn probabilities(&self, device: DeviceIndex) -> Membership {
        let Some(tracker) = self.trackers[device.get()].as_deref() else { return Membership::default() };
        if tracker.is_reported {
            let position = self.presence.state_of(device).and_then(|state| state.position);
            position.map_or_else(Membership::default, |at| {
                let margin = self.registry.site().margins.of(self.registry.devices()[device.get()].kind);
                gaussian_membership(&self.tree, at.level, at.point, at.accuracy, margin)
            })
        } else {
            let belief = tracker.filter.as_ref().map(|filter| {
                let kind = self.registry.devices()[device.get()].kind;
                self.shares.membership(kind, self.model.grid(), filter.belief())
            });
            belief.unwrap_or_default()
        }
    }

    fn explain_zone(&self, device: DeviceIndex, state: &ZoneState) -> ZoneExplanation {
        let held = state.held.as_ref();
        ZoneExplanation {
            zone: Arc::clone(&self.registry.zones()[state.zone.get()]),
            phase: state.phase,
            probability: state.probability,
            threshold: self.presence.threshold(device, state.zone, self.now),
            lost_at: Some(state.lost_at),
            held: held.map(|held| (held.receivers.iter().map(|at| self.receiver_id(*at)).collect(), held.until)),
        }
    }

    fn receiver_id(&self, receiver: ReceiverIndex) -> ReceiverId {
        self.registry.receivers()[receiver.get()].id.clone()
    }
}

impl ZoneExplanation {
    /// Which of the four states it is in, in one word.
    pub const fn phase_word(&self) -> &'static str {
        match self.phase {
            ZonePhase::Outside => "outside",
            ZonePhase::Entering { .. } => "entering",
            ZonePhase::Inside { .. } => "inside",
            ZonePhase::Leaving { .. } => "leaving",
        }
    }

    /// In words, as of an instant: how far it is, and what the next step waits for.
    pub fn words(&self, at: Timestamp) -> String {
        let settings = &self.zone.presence;
        let now = self.probability.map_or_else(|| "not known".to_owned(), |p| format!("{:.3}", p.get()));
        let threshold = if self.threshold > settings.enter_probability {
            format!("{}, which it takes while a receiver is down", self.threshold)
        } else {
            format!("enter_probability {}", settings.enter_probability)
        };
        let mut words = match self.phase {
            ZonePhase::Outside => format!("outside: {now} is below {threshold}"),
            ZonePhase::Entering { since, .. } => format!(
                "entering since {} of {}: {now} is at least {threshold}",
                seconds(at.since(since)),
                setting(settings.enter_after),
            ),
            ZonePhase::Inside { since, .. } if self.zone.id.is_site() => {
                format!("inside for {}: left only by silence", seconds(at.since(since)))
            }
            ZonePhase::Inside { since, .. } => format!(
                "inside for {}: exit needs a probability below {}, it is {now}",
                seconds(at.since(since)),
                settings.exit_probability
            ),
            ZonePhase::Leaving { since, .. } => format!(
                "leaving since {} of {}: {now} is below exit_probability {}",
                seconds(at.since(since)),
                setting(settings.exit_after),
                settings.exit_probability
            ),
        };
        if let Some((receivers, until)) = &self.held {
            let ids: Vec<&str> = receivers.iter().map(ReceiverId::as_str).collect();
            let _ = write!(words, "; held until {until} at the latest, for {} is down", ids.join(", "));
        }
        words
    }
}

impl Explanation {
    /// What keeps the device from being anywhere at all, in words; empty where nothing does.
    pub fn obstacles(&self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.device.may_be_tracked() {
            words.push("its person has not given consent for presence: whatever is heard of it is dropped".to_owned());
        }
        if self.beacons.is_empty() {
            words.push("it carries no registered beacon: only its own position reports can place it".to_owned());
        }
        match self.last_seen {
            None => words.push("nothing was taken in of it so far: no sighting and no position report".to_owned()),
            Some(last) => {
                let silence = self.at.since(last);
                let site = self.zones.iter().find(|zone| zone.zone.id.is_site());
                match site.and_then(|site| site.lost_at.map(|lost_at| (lost_at, site.zone.presence.lost_after))) {
                    // A word from one second on: beacons are heard several times a second.
                    Some((_, lost_after)) if silence >= Duration::from_secs(1) => {
                        let of = setting(lost_after);
                        words.push(format!("silent for {} of lost_after {of}", seconds(silence)));
                    }
                    Some(_) => {}
                    None => words.push(format!("it was lost: silent for {} since {last}", seconds(silence))),
                }
            }
        }
        words
    }
}

/// `1.2 s` below a minute, `2m5s` from there on.
pub fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format_duration(Duration::from_secs(duration.as_secs()))
    }
}

/// `3 s`, `60 s`, `2m`.
fn setting(duration: Duration) -> String {
    match duration.as_secs() {
        secs @ 0..120 if duration.subsec_millis() == 0 => format!("{secs} s"),
        _ => format_duration(duration),
    }
}

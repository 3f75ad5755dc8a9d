//! What is known of one beacon.

use std::time::Duration;

use crate::advert::Telemetry;
use crate::model::{LevelOrdinal, Point, Timestamp};
use crate::registry::{Beacon, ReceiverIndex};

use super::attended::Attended;
use super::battery::Battery;
use super::interval::Interval;
use super::moved::{FEWEST_SIGHTINGS, Ground, Verdict, WINDOW, Whereabouts};
use super::state::{BeaconHealth, BeaconState, Problems};

/// A fixed beacon that is not heard for so long by a receiver that listens and used to hear it is missing.
pub(super) const MISSING_AFTER: Duration = Duration::from_secs(3_600);
/// As above, where every receiver has only heard it now and then.
const FAINT_MISSING_AFTER: Duration = Duration::from_secs(4 * 3_600);
/// Receivers that are remembered of one beacon.
pub(super) const MOST_EARS: usize = 12;
/// A receiver used to hear it that heard it within so long before it was last heard, …
const USED_TO_WITHIN: Duration = Duration::from_secs(600);
/// … and so often in about as long.
const USED_TO_FROM: f32 = 3.0;
/// Who has not heard it for so long gives its place to another.
const STALE: Duration = Duration::from_secs(3_600);
/// The level at a receiver of which it is only known that it heard the beacon, in dBm: less than any.
const UNKNOWN_LEVEL: f32 = -120.0;
/// Weight of a reading in the mean level.
const LEVEL_WEIGHT: f32 = 0.1;
/// Receivers that have heard it lately are compared for which hears it best.
const LATELY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) last_heard: Timestamp,
    pub(super) battery: Option<Box<Battery>>,
    pub(super) interval: Interval,
    pub(super) ears: Vec<Ear>,
    /// Only of fixed beacons with a place.
    pub(super) whereabouts: Option<Box<Whereabouts>>,
    window_began: Timestamp,
    pub(super) is_missing: bool,
    pub(super) problems: Problems,
    /// Since when there are these problems.
    pub(super) since: Timestamp,
    /// When it was last said, and where it is to be written down.
    pub(super) said: Option<Timestamp>,
    pub(super) write_due: Option<Timestamp>,
    /// When it is looked at whether it is missing.
    pub(super) look_due: Option<Timestamp>,
    /// The address that it was last heard from, where that is not its identity.
    pub(super) address: Option<[u8; 6]>,
}

/// A receiver that hears it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ear {
    pub(super) receiver: ReceiverIndex,
    pub(super) last: Timestamp,
    /// For how long the receiver had listened by then.
    pub(super) attended: Duration,
    /// Mean level, in dBm, newer readings counting for more.
    level: f32,
    /// Sightings, older ones counting for less.
    pub(super) recent: f32,
    /// The window that goes on.
    sum: f32,
    count: u32,
}

/// One sighting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) receiver: ReceiverIndex,
    pub(super) time: Timestamp,
    /// Less the receiver's offset.
    pub(super) rssi: f64,
    /// Whether the receiver hears every packet.
    pub(super) is_unfiltered: bool,
}

impl Watch {
    pub(super) fn new(beacon: &Beacon, at: Timestamp) -> Self {
        Self {
            last_heard: at,
            battery: None,
            interval: Interval::default(),
            ears: Vec::new(),
            whereabouts: placed(beacon).is_some().then(Box::default),
            window_began: at,
            is_missing: false,
            problems: Problems::default(),
            since: at,
            said: None,
            write_due: None,
            look_due: None,
            address: None,
        }
    }

    /// A receiver has heard it.
    pub(super) fn heard(&mut self, sighting: &Sighting, attended: &Attended, now: Timestamp) {
        self.alive(sighting.time);
        let (level, time) = (sighting.rssi as f32, sighting.time);
        let listened = attended.total(sighting.receiver, now);
        let best = self.ears.iter().filter(|ear| ear.receiver != sighting.receiver && time.since(ear.last) < LATELY);
        let best = best.map(|ear| ear.level).fold(f32::NEG_INFINITY, f32::max);
        let known = self.ears.iter().position(|ear| ear.receiver == sighting.receiver);
        let at = if let Some(at) = known {
            at
        } else {
            if !self.make_room(level, time) {
                return;
            }
            self.ears.push(Ear::new(sighting.receiver, time, level));
            self.ears.len() - 1
        };
        let ear = &mut self.ears[at];
        ear.recent = ear.recent * decay(time.since(ear.last)) + 1.0;
        ear.level += LEVEL_WEIGHT * (level - ear.level);
        (ear.last, ear.attended) = (ear.last.max(time), listened);
        (ear.sum, ear.count) = (ear.sum + level, ear.count.saturating_add(1));
        let is_best = ear.level >= best;
        if sighting.is_unfiltered {
            self.interval.heard(sighting.receiver.0, is_best, time);
        }
    }

    /// It was heard, by whomever.
    pub(super) fn alive(&mut self, at: Timestamp) {
        self.last_heard = self.last_heard.max(at);
        self.is_missing = false;
    }

    /// It said something of itself.
    pub(super) fn said(&mut self, telemetry: &Telemetry, at: Timestamp) {
        if let Some(level) = telemetry.battery {
            match &mut self.battery {
                Some(battery) => battery.hear(level, at),
                None => self.battery = Some(Box::new(Battery::new(level, at))),
            }
        }
        if let Some(tlm) = &telemetry.tlm {
            self.interval.counted(tlm, at);
        }
    }

    /// Makes room for another receiver, which takes the place of one that is silent or hears it less well; false where
    /// all are better.
    fn make_room(&mut self, level: f32, time: Timestamp) -> bool {
        if self.ears.len() < MOST_EARS {
            return true;
        }
        let stale = self.ears.iter().position(|ear| time.since(ear.last) > STALE);
        let weakest = || {
            let weakest = self.ears.iter().enumerate().min_by(|(_, a), (_, b)| a.level.total_cmp(&b.level))?;
            (weakest.1.level < level).then_some(weakest.0)
        };
        let gives_way = stale.or_else(weakest);
        gives_way.map(|at| self.ears.remove(at)).is_some()
    }

    /// Looks at where it is heard from, where a window is over.
    pub(super) fn look_around(
        &mut self,
        place: (Point, LevelOrdinal),
        ground: &Ground,
        hears: impl Fn(ReceiverIndex) -> bool,
        now: Timestamp,
    ) {
        let Some(whereabouts) = self.whereabouts.as_deref_mut() else { return };
        let age = now.since(self.window_began);
        if age < WINDOW {
            return;
        }
        let began = std::mem::replace(&mut self.window_began, now);
        let mut readings: Vec<(ReceiverIndex, f64)> = Vec::with_capacity(self.ears.len());
        for ear in &mut self.ears {
            let (sum, count) = (std::mem::take(&mut ear.sum), std::mem::take(&mut ear.count));
            if count >= FEWEST_SIGHTINGS {
                readings.push((ear.receiver, f64::from(sum) / f64::from(count)));
            }
        }
        // What was averaged over a silence is of no time.
        if age < 2 * WINDOW {
            let verdict = ground.judge(place, &readings, whereabouts, hears);
            whereabouts.take(verdict, &readings, began, now);
        } else if whereabouts.doubt.is_some_and(|(_, verdict)| verdict != Verdict::Here) {
            whereabouts.doubt = None;
        }
    }

    /// For how long nobody has heard it of those who listen and used to hear it, and for how long they may; none where
    /// nobody who used to hear it is known.
    pub(super) fn unheard(&self, attended: &Attended, now: Timestamp) -> Option<Unheard> {
        let listened = |ear: &Ear| {
            let by_it = attended.total(ear.receiver, now).saturating_sub(ear.attended);
            by_it.min(now.since(self.last_heard))
        };
        let of = |is_one: &dyn Fn(&&Ear) -> bool, limit| {
            let ears = || self.ears.iter().filter(is_one);
            let time = ears().map(listened).max()?;
            Some(Unheard { is_heeded: ears().any(|ear| attended.hears(ear.receiver)), time, limit })
        };
        of(&|ear| ear.used_to_hear(self.last_heard), MISSING_AFTER).or_else(|| of(&|_| true, FAINT_MISSING_AFTER))
    }

    /// Works out what is wrong; whether that is something else than before.
    pub(super) fn judge(&mut self, now: Timestamp) -> bool {
        let problems = Problems::default()
            .with(BeaconState::Missing, self.is_missing)
            .with(BeaconState::Moved, self.whereabouts.as_ref().is_some_and(|known| known.elsewhere.is_some()))
            .with(BeaconState::LowBattery, self.battery.as_ref().is_some_and(|battery| battery.is_low()))
            .with(BeaconState::IntervalDrift, self.interval.has_drifted());
        if problems == self.problems {
            return false;
        }
        (self.problems, self.since) = (problems, now);
        true
    }

    pub(super) fn health(&self, beacon: &Beacon) -> BeaconHealth {
        BeaconHealth {
            beacon: beacon.id.clone(),
            device: beacon.device.clone(),
            problems: self.problems,
            since: self.since,
            last_heard: self.last_heard,
            battery: self.battery.as_ref().and_then(|battery| battery.health()),
            interval: self.interval.health(),
            elsewhere: self.whereabouts.as_ref().and_then(|known| known.elsewhere),
        }
    }
}

/// For how long a beacon was not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unheard {
    /// Whether any receiver listens now that used to hear it.
    pub(super) is_heeded: bool,
    /// For how long those who used to hear it have listened in vain.
    pub(super) time: Duration,
    /// From when on it is missing.
    pub(super) limit: Duration,
}

impl Ear {
    const fn new(receiver: ReceiverIndex, last: Timestamp, level: f32) -> Self {
        Self { receiver, last, attended: Duration::ZERO, level, recent: 0.0, sum: 0.0, count: 0 }
    }

    /// A receiver that heard it before a restart.
    pub(super) const fn remembered(receiver: ReceiverIndex, last: Timestamp, attended: Duration) -> Self {
        Self { receiver, last, attended, level: UNKNOWN_LEVEL, recent: USED_TO_FROM, sum: 0.0, count: 0 }
    }

    /// Whether it is one of those who hear it.
    pub(super) fn used_to_hear(&self, last_heard: Timestamp) -> bool {
        self.recent >= USED_TO_FROM && last_heard.since(self.last) <= USED_TO_WITHIN
    }
}

/// Where a beacon is that is neither carried nor lies about.
pub(super) fn placed(beacon: &Beacon) -> Option<(Point, LevelOrdinal)> {
    beacon.fixed.filter(|_| beacon.device.is_none())
}

fn decay(since: Duration) -> f32 {
    (-since.as_secs_f32() / USED_TO_WITHIN.as_secs_f32()).exp()
}

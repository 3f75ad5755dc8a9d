//! What is said of a beacon.

use std::fmt;

use crate::model::{BeaconId, DeviceId, Timestamp};

use super::battery::BatteryHealth;
use super::interval::IntervalHealth;
use super::moved::Elsewhere;

/// How a beacon fares; the worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BeaconState {
    /// A fixed beacon that is not heard, though receivers listen that used to hear it.
    Missing,
    /// A fixed beacon that is heard from another place.
    Moved,
    /// Its battery is nearly empty.
    LowBattery,
    /// It does not advertise as often as it used to.
    IntervalDrift,
    /// All is well, as far as can be told.
    Ok,
    /// A fixed beacon that was never heard since it was registered.
    NeverHeard,
    /// A carried beacon that was never heard since it was registered, which means nothing.
    NotHeard,
}

impl BeaconState {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Missing, Self::Moved, Self::LowBattery, Self::IntervalDrift, Self::Ok, Self::NeverHeard, Self::NotHeard];
    /// Those that call for somebody.
    pub const PROBLEMS: [Self; 4] = [Self::Missing, Self::Moved, Self::LowBattery, Self::IntervalDrift];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Moved => "moved",
            Self::LowBattery => "low_battery",
            Self::IntervalDrift => "interval_drift",
            Self::Ok => "ok",
            Self::NeverHeard => "never_heard",
            Self::NotHeard => "not_heard",
        }
    }
}

impl fmt::Display for BeaconState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that is wrong with a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Problems(u8);

impl Problems {
    /// The same with that one, where it is so.
    #[must_use]
    pub(super) fn with(self, problem: BeaconState, is_so: bool) -> Self {
        let at = BeaconState::PROBLEMS.iter().position(|known| *known == problem);
        Self(self.0 | at.filter(|_| is_so).map_or(0, |at| 1 << at))
    }

    /// They, the worst first.
    pub fn iter(self) -> impl Iterator<Item = BeaconState> {
        let all = BeaconState::PROBLEMS.into_iter().enumerate();
        all.filter(move |(at, _)| self.0 & (1 << at) != 0).map(|(_, problem)| problem)
    }

    /// The worst, or that all is well.
    pub fn state(self) -> BeaconState {
        self.iter().next().unwrap_or(BeaconState::Ok)
    }
}

/// How a beacon fares that was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct BeaconHealth {
    /// Which.
    pub beacon: BeaconId,
    /// The device that carries it; none for a fixed one.
    pub device: Option<DeviceId>,
    /// What is wrong with it.
    pub problems: Problems,
    /// Since when that has been so.
    pub since: Timestamp,
    /// When it was last heard.
    pub last_heard: Timestamp,
    /// Its battery, where it says something of it.
    pub battery: Option<BatteryHealth>,
    /// How often it advertises, where that is known.
    pub interval: Option<IntervalHealth>,
    /// Where it seems to be, where it was moved.
    pub elsewhere: Option<Elsewhere>,
}

impl BeaconHealth {
    /// The worst that is wrong with it.
    pub fn state(&self) -> BeaconState {
        self.problems.state()
    }

    /// The same with every instant put through `to`.
    #[must_use]
    pub fn with_times(mut self, to: impl Fn(Timestamp) -> Timestamp) -> Self {
        self.since = to(self.since);
        self.last_heard = to(self.last_heard);
        if let Some(battery) = &mut self.battery {
            battery.at = to(battery.at);
        }
        if let Some(elsewhere) = &mut self.elsewhere {
            elsewhere.since = to(elsewhere.since);
        }
        self
    }
}

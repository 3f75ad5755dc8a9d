//! Whether a trigger may fire now.

use std::time::Duration;

use super::{Calendar, Ledger};
use crate::model::Timestamp;
use crate::registry::{Cap, Hours};

/// What a rule is held back by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Only within these hours.
    pub open: Option<Hours>,
    /// Not within these.
    pub quiet: Option<Hours>,
    /// Not so soon after the last one.
    pub cool_down: Option<Duration>,
    /// Not more often than each of these says.
    pub caps: Vec<Cap>,
}

/// Why a trigger was held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBack {
    /// The store is closed.
    StoreHours,
    /// The hours are quiet ones.
    QuietHours,
    /// The last one was too short a while ago.
    CoolDown,
    /// A cap is reached.
    Cap,
}

impl HeldBack {
    /// The word in files and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StoreHours => "store_hours",
            Self::QuietHours => "quiet_hours",
            Self::CoolDown => "cool_down",
            Self::Cap => "cap",
        }
    }
}

impl Gate {
    /// Whether it may fire at that time, given when it fired before and when the visit to the site began.
    ///
    /// # Errors
    /// What holds it back: hours before pauses before caps.
    pub fn judge(&self, at: Timestamp, visit: Timestamp, fired: &Ledger, calendar: &Calendar) -> Result<(), HeldBack> {
        if self.open.as_ref().is_some_and(|open| !open.hold(at, calendar)) {
            return Err(HeldBack::StoreHours);
        }
        if self.quiet.as_ref().is_some_and(|quiet| quiet.hold(at, calendar)) {
            return Err(HeldBack::QuietHours);
        }
        if let (Some(pause), Some(last)) = (self.cool_down, fired.last())
            && at.since(last) < pause
        {
            return Err(HeldBack::CoolDown);
        }
        let has_room = |cap: &Cap| fired.has_room(cap.most, cap.per.begin(at, visit, calendar));
        if self.caps.iter().all(has_room) { Ok(()) } else { Err(HeldBack::Cap) }
    }

    /// Of how many times a ledger must keep for it.
    pub fn keep(&self) -> usize {
        self.caps.iter().map(|cap| usize::from(cap.most)).max().unwrap_or(0).max(1)
    }
}

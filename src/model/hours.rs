//! Spans of the day, as the clock on the wall shows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Minutes of a day.
pub(crate) const DAY: u16 = 24 * 60;

/// Why a text is no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a span of hours such as 09:00-20:00 (22:00-08:00 goes past midnight)")]
pub struct HoursError(String);

/// A span of the day, to the minute, from its first minute up to, and without, its last. Where it ends before it begins, it ends on the next
/// day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first minute, since midnight.
    pub(crate) from: u16,
    /// Its end, since midnight.
    pub(crate) to: u16,
}

impl FromStr for Span {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let error = || HoursError(text.chars().take(32).collect());
        let (from, to) = text.split_once('-').ok_or_else(error)?;
        let from = time_of_day(from.trim()).ok_or_else(error)?;
        let to = time_of_day(to.trim()).ok_or_else(error)?;
        // A day that begins when it ends says nothing.
        if from == to || from == DAY { Err(error()) } else { Ok(Self { from, to }) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// `HH:MM` up to 24:00, in minutes since midnight.
fn time_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

//! Hours, and how often something may happen.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::as_text::text;
use crate::model::{Span, format_duration, parse_duration};

/// Hours of each day of the week, and days on which they do not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours {
    /// Monday first.
    pub days: [Vec<Span>; 7],
    /// Days on which nothing begins.
    pub closed: BTreeSet<Date>,
}

/// The days of the week, Monday first, as files name them.
pub const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Hours {
    /// The same hours every day.
    pub fn daily(spans: &[Span]) -> Self {
        Self { days: std::array::from_fn(|_| spans.to_vec()), closed: BTreeSet::new() }
    }

    /// The same, but that nothing begins on that day.
    #[must_use]
    pub fn without(mut self, day: Date) -> Self {
        self.closed.insert(day);
        self
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursForm {
    #[serde(default)]
    monday: Vec<Span>,
    #[serde(default)]
    tuesday: Vec<Span>,
    #[serde(default)]
    wednesday: Vec<Span>,
    #[serde(default)]
    thursday: Vec<Span>,
    #[serde(default)]
    friday: Vec<Span>,
    #[serde(default)]
    saturday: Vec<Span>,
    #[serde(default)]
    sunday: Vec<Span>,
    #[serde(default)]
    closed: BTreeSet<Date>,
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [monday, tuesday, wednesday, thursday, friday, saturday, sunday] = self.days.clone();
        let closed = self.closed.clone();
        HoursForm { monday, tuesday, wednesday, thursday, friday, saturday, sunday, closed }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HoursForm { monday, tuesday, wednesday, thursday, friday, saturday, sunday, closed } =
            HoursForm::deserialize(deserializer)?;
        Ok(Self { days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], closed })
    }
}

/// The time over which a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// The time before: exactly so long ago counts no more.
    Last(Duration),
    /// The day, by the site's calendar.
    Day,
    /// The week, from Monday on.
    Week,
    /// The month.
    Month,
    /// The visit to the site.
    Visit,
    /// All that is remembered.
    Ever,
}

/// At most so many in a period: `2 per day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// How many: each is remembered, so there is no larger cap.
    pub most: u16,
    /// In what time.
    pub per: Period,
}

/// Why a text is no cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no cap; write such as \"1 per visit\", \"2 per day\", \"3 per week\", \"5 per month\", \"4 per 36h\" or \"1 ever\""
)]
pub struct CapError(String);

/// The largest cap: each time that counts is remembered.
pub const MOST_CAPPED: u16 = 10_000;

impl FromStr for Cap {
    type Err = CapError;

    fn from_str(text: &str) -> Result<Self, CapError> {
        let error = || CapError(text.chars().take(40).collect());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (most, per) = match words.as_slice() {
            [most, "ever"] => (most, Period::Ever),
            [most, "per", "day"] => (most, Period::Day),
            [most, "per", "week"] => (most, Period::Week),
            [most, "per", "month"] => (most, Period::Month),
            [most, "per", "visit"] => (most, Period::Visit),
            [most, "per", duration] => {
                let duration = parse_duration(duration).ok().filter(|duration| !duration.is_zero());
                (most, Period::Last(duration.ok_or_else(error)?))
            }
            _ => return Err(error()),
        };
        let most = most.parse().ok().filter(|most| (1..=MOST_CAPPED).contains(most)).ok_or_else(error)?;
        Ok(Self { most, per })
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most;
        match self.per {
            Period::Ever => write!(f, "{most} ever"),
            Period::Day => write!(f, "{most} per day"),
            Period::Week => write!(f, "{most} per week"),
            Period::Month => write!(f, "{most} per month"),
            Period::Visit => write!(f, "{most} per visit"),
            Period::Last(duration) => write!(f, "{most} per {}", format_duration(duration)),
        }
    }
}

/// A cap of a device over the rules of a campaign, or over all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCap {
    /// The cap.
    #[serde(with = "text")]
    pub cap: Cap,
    /// The campaign; none for all rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

//! Hours of the day and of the week, as the clock on the wall shows them.
//!
//! A span such as 22:00-08:00 goes past midnight and belongs to the day on which it begins. Where the clock is set forwards
//! the hours that it skips are nobody's; where it is set back, both times that it shows are in a span that holds them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};

use super::Calendar;
use crate::model::Timestamp;

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// How far ahead a change of the hours is looked for: longer than a store is closed for.
const MOST_DAYS: usize = 400;

/// Why a text is no hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a span of hours such as 09:00-20:00 (22:00-08:00 goes past midnight)")]
pub struct HoursError(String);

/// A span of the day, to the minute, from its first minute up to, and without, its last. Where it ends before it begins, it ends on the next
/// day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// In minutes since midnight.
    from: u16,
    to: u16,
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

/// Hours of each day of the week, and days on which they do not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours {
    /// Monday first.
    days: [Vec<Span>; 7],
    closed: BTreeSet<Date>,
}

impl Hours {
    /// The same hours every day.
    pub fn daily(spans: &[Span]) -> Self {
        Self { days: std::array::from_fn(|_| spans.to_vec()), closed: BTreeSet::new() }
    }

    /// Hours of each day, Monday first.
    pub const fn weekly(days: [Vec<Span>; 7]) -> Self {
        Self { days, closed: BTreeSet::new() }
    }

    /// The same, but that nothing begins on that day.
    #[must_use]
    pub fn without(mut self, day: Date) -> Self {
        self.closed.insert(day);
        self
    }

    /// Whether that time is within them.
    pub fn hold(&self, at: Timestamp, calendar: &Calendar) -> bool {
        self.hold_local(calendar.local(at))
    }

    fn hold_local(&self, local: DateTime) -> bool {
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        let today = self.of(local.date());
        let yesterday = local.date().yesterday().ok().map(|day| self.of(day)).unwrap_or_default();
        today.iter().any(
            |span| {
                if span.from < span.to { (span.from..span.to).contains(&minute) } else { minute >= span.from }
            },
        ) || yesterday.iter().any(|span| span.to < span.from && minute < span.to)
    }

    /// The first time from `at` on that is within them (`inside`), or without; none where there is none in more than a year.
    pub fn next(&self, at: Timestamp, inside: bool, calendar: &Calendar) -> Option<Timestamp> {
        if self.hold(at, calendar) == inside {
            return Some(at);
        }
        let mut day = calendar.local(at).date();
        let mut changes = calendar.next_change(at);
        for _ in 0..MOST_DAYS {
            // What began yesterday may end today.
            let days = [day.yesterday().unwrap_or(day), day];
            let edges = days.into_iter().flat_map(|day| self.edges(day)).filter(|edge| edge.date() <= day);
            let mut edges: Vec<Timestamp> = edges.flat_map(|edge| calendar.instants(edge)).collect();
            // A clock that is set skips edges: the hours may begin or end at that very moment.
            while let Some(change) = changes.filter(|change| calendar.local(*change).date() <= day) {
                edges.push(change);
                changes = calendar.next_change(change);
            }
            edges.sort_unstable();
            let found = edges.into_iter().find(|edge| *edge > at && self.hold(*edge, calendar) == inside);
            if found.is_some() {
                return found;
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// When spans of that day begin and end.
    fn edges(&self, day: Date) -> impl Iterator<Item = DateTime> {
        let next = day.tomorrow().unwrap_or(day);
        let time = move |day: Date, minutes: u16| {
            let (day, minutes) = if minutes >= DAY { (next, 0) } else { (day, minutes) };
            day.at((minutes / 60) as i8, (minutes % 60) as i8, 0, 0)
        };
        let spans: Vec<Span> = self.of(day).to_vec();
        spans.into_iter().flat_map(move |span| {
            let end = if span.from < span.to { day } else { next };
            [time(day, span.from), time(end, span.to)]
        })
    }

    fn of(&self, day: Date) -> &[Span] {
        if self.closed.contains(&day) {
            return &[];
        }
        &self.days[day.weekday().to_monday_zero_offset() as usize]
    }
}

//! How often something may happen.

use std::collections::VecDeque;

use super::Calendar;
use crate::model::Timestamp;
use crate::registry::Period;

impl Period {
    /// When the period began that `at` is in. `visit` is when the visit to the site began.
    pub fn begin(self, at: Timestamp, visit: Timestamp, calendar: &Calendar) -> Timestamp {
        let start_of = |back: i64| {
            let day = calendar.local(at).date().checked_sub(jiff::Span::new().days(back)).ok();
            let start = day.and_then(|day| calendar.zone().to_zoned_datetime(day.at(0, 0, 0, 0)).ok());
            // Where midnight is skipped, the day begins when the clock is set.
            let start = start.and_then(|start| start.start_of_day().ok());
            start.map_or(at, |start| calendar.steady(start.timestamp()))
        };
        match self {
            Self::Last(duration) => (at - duration).shifted(1),
            Self::Day => start_of(0),
            Self::Week => start_of(calendar.local(at).weekday().to_monday_zero_offset().into()),
            Self::Month => start_of(i64::from(calendar.local(at).day()) - 1),
            Self::Visit => visit,
            Self::Ever => Timestamp::from_millis(0),
        }
    }
}

/// When something happened, as far as caps and pauses need it. Times do not run backwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Ledger(VecDeque<Timestamp>);

impl Ledger {
    /// It happened. Of all times only the last `keep` are kept, and at least one.
    pub fn add(&mut self, at: Timestamp, keep: usize) {
        self.0.push_back(at);
        while self.0.len() > keep.max(1) {
            self.0.pop_front();
        }
    }

    /// When it last happened.
    pub fn last(&self) -> Option<Timestamp> {
        self.0.back().copied()
    }

    /// Whether it may happen once more since `begin`.
    pub fn has_room(&self, most: u16, begin: Timestamp) -> bool {
        let Some(nth) = usize::from(most).checked_sub(1) else { return false };
        self.0.iter().rev().nth(nth).is_none_or(|at| *at < begin)
    }

    /// Forgets what happened before that; whether nothing is left.
    pub fn forget_before(&mut self, at: Timestamp) -> bool {
        while self.0.front().is_some_and(|first| *first < at) {
            self.0.pop_front();
        }
        self.0.is_empty()
    }
}

//! Hours of the day and of the week, as the clock on the wall shows them.
//!
//! A span such as 22:00-08:00 goes past midnight and belongs to the day on which it begins. Where the clock is set forwards
//! the hours that it skips are nobody's; where it is set back, both times that it shows are in a span that holds them.

use jiff::civil::{Date, DateTime};

use super::Calendar;
use crate::model::{DAY, Span, Timestamp};
use crate::registry::Hours;

/// How far ahead a change of the hours is looked for: longer than a store is closed for.
const MOST_DAYS: usize = 400;

impl Hours {
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

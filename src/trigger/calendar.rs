//! The site's wall clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::Timestamp;

/// Puts steady time on the wall clock of a time zone, and back.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    /// Wall less steady, in milliseconds.
    offset_ms: i64,
}

impl Calendar {
    /// The calendar of a time zone, where steady time is the wall clock's.
    pub const fn new(zone: TimeZone) -> Self {
        Self { zone, offset_ms: 0 }
    }

    /// The wall clock is ahead of steady time by so many milliseconds; behind where negative.
    pub const fn set_offset(&mut self, ms: i64) {
        self.offset_ms = ms;
    }

    /// By how many milliseconds the wall clock is ahead.
    pub const fn offset(&self) -> i64 {
        self.offset_ms
    }

    /// What the clock on the wall shows.
    pub fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(self.instant(at))
    }

    pub(super) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn instant(&self, at: Timestamp) -> jiff::Timestamp {
        let wall = at.shifted(self.offset_ms);
        jiff::Timestamp::from_millisecond(wall.as_millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    pub(super) fn steady(&self, instant: jiff::Timestamp) -> Timestamp {
        Timestamp::from_millis(instant.as_millisecond().saturating_sub(self.offset_ms))
    }

    /// The instants at which the clock shows that time: none where it skips it, two where it goes back over it.
    pub(super) fn instants(&self, local: DateTime) -> impl Iterator<Item = Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let both = [ambiguous.earlier().ok(), ambiguous.later().ok()];
        let shown: Vec<Timestamp> = both
            .into_iter()
            .flatten()
            .filter(|instant| self.zone.to_datetime(*instant) == local)
            .map(|instant| self.steady(instant))
            .collect();
        shown.into_iter()
    }

    /// When the clock is next set forwards or back.
    pub(super) fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.zone.following(self.instant(at)).next()?;
        Some(self.steady(next.timestamp()))
    }
}

//! The battery of one beacon: how full it is, how that goes down, and how long it may last.
//!
//! A voltage says little of what is left. A lithium cell (CR2032, CR2477) stays near 3.0 V for most of its life and
//! then falls within weeks; cold and load move it by a tenth of a volt in a day. So a battery is *low* by its level
//! alone, and the days that are left are only said where a line through the days falls: too many of them while the cell
//! is full, and about right once it goes down.
//!
//! The line is that of Theil and Sen: the median of the slopes between all pairs of days, which a cold night or two do
//! not turn (P. K. Sen, Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 63, 1968).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::advert::BatteryLevel;
use crate::model::Timestamp;

/// At this voltage, in mV, a lithium coin cell is as good as empty: under the load of the radio it falls to the 2.0 V
/// below which most radio chips reset.
const END_MV: f64 = 2_400.0;
/// A battery that was ever above this voltage is a rechargeable lithium cell, …
const RECHARGEABLE_MV: u16 = 3_700;
/// … which is as good as empty here.
const RECHARGEABLE_END_MV: f64 = 3_200.0;
/// As above, where the beacon says percent.
const END_PERCENT: f64 = 10.0;
/// A battery is no longer low where it is so much above its end: it was changed, or it was cold.
const CLEARLY_ABOVE_MV: f64 = 100.0;
const CLEARLY_ABOVE_PERCENT: f64 = 5.0;
/// A reading is taken so often; the level is the median of the last [`RECENT`], and known from [`KNOWN_FROM`] on.
const EVERY: Duration = Duration::from_secs(60);
const RECENT: usize = 5;
const KNOWN_FROM: usize = 3;
/// Days that are kept.
const MOST_DAYS: usize = 60;
/// A trend needs so many days, and so many from the first to the last.
const FEWEST_DAYS: usize = 7;
/// A battery whose daily mean rises by so much above the median of the last [`LATELY`] days was changed: what was
/// before says nothing.
const CHANGED_MV: i32 = 150;
const CHANGED_PERCENT: i32 = 15;
const LATELY: usize = 5;
/// Less than this from the first day to the last is no fall.
const LEAST_FALL_MV: f64 = 10.0;
const LEAST_FALL_PERCENT: f64 = 1.0;
/// More days than these are not said: no line is good for so far.
const MOST_LEFT: f64 = 730.0;
/// A beacon that says its battery in two ways is taken at its first word, until that was not heard for so long.
const STALE: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

/// What is said of a battery.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatteryHealth {
    /// How full it is.
    pub level: BatteryLevel,
    /// When it last said so.
    pub at: Timestamp,
    /// Whether it is to be changed.
    pub is_low: bool,
    /// Days behind the trend.
    pub days: u32,
    /// By how many mV or percent it goes down a day; negative. None where it does not, or where too few days are known.
    pub per_day: Option<f64>,
    /// Days until it is as good as empty, if it goes on so.
    pub days_left: Option<u32>,
}

/// Whether it says mV or percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    Millivolts,
    Percent,
}

/// What is remembered of a battery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Battery {
    unit: Unit,
    /// The last readings, newest last.
    recent: Vec<u16>,
    at: Timestamp,
    /// The sum and number of readings of the day that goes on, in days since 1970.
    day: i64,
    sum: u64,
    count: u32,
    /// Days that are over, and their mean.
    days: Vec<(i64, u16)>,
    highest: u16,
    is_low: bool,
}

impl Battery {
    pub(super) fn new(level: BatteryLevel, at: Timestamp) -> Self {
        let (unit, value) = split(level);
        let day = at.as_millis().div_euclid(DAY_MS);
        Self {
            unit,
            recent: vec![value],
            at,
            day,
            sum: u64::from(value),
            count: 1,
            days: Vec::new(),
            highest: value,
            is_low: false,
        }
    }

    /// What was remembered, where it can be gone on with.
    pub(super) fn is_sound(&self) -> bool {
        let ascending = self.days.windows(2).all(|pair| pair[0].0 < pair[1].0);
        !self.recent.is_empty() && self.recent.len() <= RECENT && self.days.len() <= MOST_DAYS && ascending
    }

    /// Takes in what the beacon says.
    pub(super) fn hear(&mut self, level: BatteryLevel, at: Timestamp) {
        let (unit, value) = split(level);
        if unit != self.unit {
            if at.since(self.at) >= STALE {
                *self = Self::new(level, at);
            }
            return;
        }
        if at.since(self.at) < EVERY {
            return;
        }
        self.at = at;
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(value);
        let day = at.as_millis().div_euclid(DAY_MS);
        if day != self.day {
            self.end_day();
            (self.day, self.sum, self.count) = (day, 0, 0);
        }
        self.sum += u64::from(value);
        self.count += 1;
        self.highest = self.highest.max(value);
        if self.recent.len() >= KNOWN_FROM {
            let above = f64::from(self.level()) - self.end();
            let clearly = self.of_unit(CLEARLY_ABOVE_MV, CLEARLY_ABOVE_PERCENT);
            self.is_low = above <= 0.0 || (self.is_low && above < clearly);
        }
    }

    fn end_day(&mut self) {
        let Some(mean) = self.sum.checked_div(u64::from(self.count)) else { return };
        let mean = mean as u16;
        let changed = self.of_unit(CHANGED_MV, CHANGED_PERCENT);
        if self.lately().is_some_and(|before| i32::from(mean) - i32::from(before) >= changed) {
            self.days.clear();
            self.highest = self.recent.iter().copied().max().unwrap_or(mean);
        }
        if self.days.last().is_some_and(|(day, _)| *day >= self.day) {
            return;
        }
        if self.days.len() == MOST_DAYS {
            self.days.remove(0);
        }
        self.days.push((self.day, mean));
    }

    /// The median of the last days, which a cold one does not lower.
    fn lately(&self) -> Option<u16> {
        let mut lately: Vec<u16> = self.days.iter().rev().take(LATELY).map(|(_, value)| *value).collect();
        lately.sort_unstable();
        lately.get(lately.len() / 2).copied()
    }

    pub(super) const fn is_low(&self) -> bool {
        self.is_low
    }

    /// What is to be said of it; none while it is not known.
    pub(super) fn health(&self) -> Option<BatteryHealth> {
        if self.recent.len() < KNOWN_FROM {
            return None;
        }
        let level = match self.unit {
            Unit::Millivolts => BatteryLevel::Millivolts(self.level()),
            // Never more than 100: it was read so.
            Unit::Percent => BatteryLevel::Percent(self.level().min(100) as u8),
        };
        let per_day = self.per_day();
        let days_left = per_day.map(|per_day| ((f64::from(self.level()) - self.end()).max(0.0) / -per_day).floor());
        Some(BatteryHealth {
            level,
            at: self.at,
            is_low: self.is_low,
            days: self.days.len() as u32,
            per_day,
            days_left: days_left.filter(|left| *left <= MOST_LEFT).map(|left| left as u32),
        })
    }

    fn level(&self) -> u16 {
        let mut recent = self.recent.clone();
        recent.sort_unstable();
        recent.get(recent.len() / 2).copied().unwrap_or(0)
    }

    fn end(&self) -> f64 {
        match self.unit {
            Unit::Millivolts if self.highest > RECHARGEABLE_MV => RECHARGEABLE_END_MV,
            Unit::Millivolts => END_MV,
            Unit::Percent => END_PERCENT,
        }
    }

    const fn of_unit<T: Copy>(&self, millivolts: T, percent: T) -> T {
        match self.unit {
            Unit::Millivolts => millivolts,
            Unit::Percent => percent,
        }
    }

    /// The slope of the line of Theil and Sen, where it falls.
    fn per_day(&self) -> Option<f64> {
        let ((first, _), (last, _)) = (self.days.first()?, self.days.last()?);
        if self.days.len() < FEWEST_DAYS || last - first < FEWEST_DAYS as i64 {
            return None;
        }
        let mut slopes = Vec::with_capacity(self.days.len() * (self.days.len() - 1) / 2);
        for (at, (day, value)) in self.days.iter().enumerate() {
            let later = self.days[at + 1..].iter();
            slopes.extend(later.map(|(to, end)| (f64::from(*end) - f64::from(*value)) / (to - day) as f64));
        }
        slopes.sort_by(f64::total_cmp);
        let middle = slopes.len() / 2;
        let slope = f64::midpoint(slopes[middle], slopes[(slopes.len() - 1) / 2]);
        let fall = -slope * (last - first) as f64;
        (fall >= self.of_unit(LEAST_FALL_MV, LEAST_FALL_PERCENT)).then_some(slope)
    }
}

const fn split(level: BatteryLevel) -> (Unit, u16) {
    match level {
        BatteryLevel::Millivolts(mv) => (Unit::Millivolts, mv),
        BatteryLevel::Percent(percent) => (Unit::Percent, percent as u16),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64, minute: i64) -> Timestamp {
        Timestamp::from_millis((20_000 + day) * DAY_MS + minute * 60_000)
    }

    /// Three readings a day, as `of` says.
    fn days(days: i64, of: impl Fn(i64) -> BatteryLevel) -> Battery {
        let mut battery = Battery::new(of(0), at(0, 0));
        for day in 0..days {
            (1..4).for_each(|minute| battery.hear(of(day), at(day, minute)));
        }
        battery
    }

    #[test]
    fn a_battery_that_falls_by_ten_millivolts_a_day_lasts_so_long() {
        // Day 10 is not over: ten days, 3000 to 2910 mV, now 2900 mV, 500 mV above the end.
        let health = days(11, |day| BatteryLevel::Millivolts(3_000 - 10 * day as u16)).health().unwrap();
        assert_eq!((health.level, health.days, health.is_low), (BatteryLevel::Millivolts(2_900), 10, false));
        assert!((health.per_day.unwrap() + 10.0).abs() < 1e-9, "{health:?}");
        assert_eq!(health.days_left, Some(50));
    }

    #[test]
    fn cold_nights_do_not_turn_the_line() {
        let cold = |day| if day % 5 == 3 { 200 } else { 0 };
        let health = days(21, |day| BatteryLevel::Millivolts(3_000 - 5 * day as u16 - cold(day))).health().unwrap();
        assert!((health.per_day.unwrap() + 5.0).abs() < 1.5, "{health:?}");
    }

    #[test]
    fn no_days_are_said_with_few_days_or_a_flat_curve() {
        // Seven days that are over span six.
        assert_eq!(days(8, |day| BatteryLevel::Millivolts(3_000 - 10 * day as u16)).health().unwrap().per_day, None);
        assert!(days(9, |day| BatteryLevel::Millivolts(3_000 - 10 * day as u16)).health().unwrap().per_day.is_some());
        let flat = days(30, |day| BatteryLevel::Millivolts(3_000 - (day % 2) as u16)).health().unwrap();
        assert_eq!((flat.per_day, flat.days_left, flat.days), (None, None, 29));
        // 1 mV in three days: 1,770 days.
        let slow = days(60, |day| BatteryLevel::Millivolts(3_000 - (day / 3) as u16)).health().unwrap();
        assert!(slow.per_day.is_some() && slow.days_left.is_none(), "{slow:?}");
    }

    #[test]
    fn low_is_by_the_level_of_several_readings_and_ends_clearly_above() {
        let mut battery = Battery::new(BatteryLevel::Millivolts(2_800), at(0, 0));
        let mut hear = |minute, mv| {
            battery.hear(BatteryLevel::Millivolts(mv), at(0, minute));
            battery.is_low()
        };
        let lows: Vec<bool> =
            [(1, 2_390), (2, 2_800), (3, 2_390), (4, 2_390), (5, 2_390)].map(|(m, v)| hear(m, v)).into();
        assert_eq!(lows, [false, false, false, true, true]);
        // A little above is still low; a new cell is not.
        (6..11).for_each(|minute| assert!(hear(minute, 2_450)));
        let lows: Vec<bool> = (11..14).map(|minute| hear(minute, 3_000)).collect();
        assert_eq!(lows, [true, true, false]);
    }

    #[test]
    fn percent_and_rechargeable_cells_have_ends_of_their_own() {
        assert!(days(1, |_| BatteryLevel::Percent(10)).is_low());
        assert!(!days(1, |_| BatteryLevel::Percent(11)).is_low());
        assert!(!days(1, |_| BatteryLevel::Millivolts(3_100)).is_low());
        let mut full = days(1, |_| BatteryLevel::Millivolts(4_100));
        (10..15).for_each(|minute| full.hear(BatteryLevel::Millivolts(3_100), at(0, minute)));
        assert!(full.is_low());
    }

    #[test]
    fn a_changed_battery_begins_anew() {
        let health = days(20, |day| BatteryLevel::Millivolts(if day < 10 { 2_600 - 10 * day as u16 } else { 3_000 }));
        assert_eq!(health.health().unwrap().days, 9, "of the new one");
    }

    #[test]
    fn the_second_way_of_saying_it_is_not_mixed_with_the_first() {
        let mut battery = days(1, |_| BatteryLevel::Millivolts(3_000));
        (10..20).for_each(|minute| battery.hear(BatteryLevel::Percent(5), at(0, minute)));
        assert_eq!(battery.health().unwrap().level, BatteryLevel::Millivolts(3_000));
        (0..3).for_each(|minute| battery.hear(BatteryLevel::Percent(5), at(2, minute)));
        assert_eq!(battery.health().unwrap().level, BatteryLevel::Percent(5));
    }

    #[test]
    fn at_most_sixty_days_are_kept() {
        let battery = days(300, |day| BatteryLevel::Millivolts(3_000 - day as u16));
        assert_eq!(battery.days.len(), MOST_DAYS);
        assert!(battery.is_sound());
    }
}

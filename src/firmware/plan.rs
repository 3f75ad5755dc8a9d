//! Interval and power, with what they cost and what they bring.

use super::air::Air;
use super::{FirmwareError, Interval, Settings, Target};
use crate::registry::PresenceSettings;

/// How sure the times are that are told.
pub const CERTAINTY: f64 = 0.95;
/// So many sightings make a position that can be trusted; one tells only that somebody is there.
pub const SIGHTINGS: usize = 3;
/// Sightings are gathered for so long before the position is brought up to date, in ms (docs/presence.md).
const GATHER_MS: f64 = 200.0;
/// Intervals that are compared, in ms.
const USUAL_MS: [u32; 7] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000];
/// Intervals that are tried for a limit are this far apart, in ms.
const STEP_MS: u32 = 10;
/// Silence by chance is worth a warning from this probability on: once in a hundred days, if each minute is a chance.
const NOTABLE_SILENCE: f64 = 1e-5;

/// What an interval costs and brings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The interval.
    pub interval: Interval,
    /// The current on average in µA; none where it is not known.
    pub average_ua: Option<f64>,
    /// How long the battery lasts, in days; none for a power supply.
    pub days: Option<f64>,
    /// Within how many ms the beacon is heard, and with it the whole store entered.
    pub heard_ms: f64,
    /// Within how many ms a zone is entered by the presence settings.
    pub entered_ms: f64,
    /// The probability that the device is lost by chance, in any one span of `lost_after`.
    pub lost: f64,
}

impl Row {
    /// Works it out.
    pub fn new(settings: &Settings, bytes: usize, air: &Air, presence: &PresenceSettings) -> Self {
        let ms = f64::from(settings.interval.ms());
        let average_ua = settings.radio.average_ua(settings.tx_power, bytes, ms);
        let hold = presence.enter_after.as_secs_f64() * 1_000.0;
        Self {
            interval: settings.interval,
            average_ua,
            days: average_ua.and_then(|average| settings.battery.days(average)),
            heard_ms: air.within_ms(ms, 1, CERTAINTY),
            entered_ms: air.within_ms(ms, SIGHTINGS, CERTAINTY) + GATHER_MS + hold,
            lost: air.silent(ms, presence.lost_after.as_secs_f64() * 1_000.0),
        }
    }

    /// In one line, for people and comments.
    pub fn summary(&self, settings: &Settings) -> String {
        let lasts = self.days.map_or(String::new(), |days| {
            format!("a {} lasts {}, ", settings.battery.as_str(), super::power::days_text(days))
        });
        format!(
            "every {} ms at {} dBm: {lasts}heard within {}, in a zone within {} (95 %)",
            self.interval.ms(),
            settings.tx_power,
            seconds(self.heard_ms),
            seconds(self.entered_ms),
        )
    }

    /// Whether chance alone may end visits.
    pub fn is_too_rare(&self) -> bool {
        self.lost > NOTABLE_SILENCE
    }
}

/// A step of power.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// In dBm.
    pub dbm: i8,
    /// The current while sending in mA; none where it is not known.
    pub sending_ma: Option<f64>,
    /// How long the battery lasts, in days; none for a power supply.
    pub days: Option<f64>,
    /// How far it reaches, as a multiple of the reach at the chosen power.
    pub reach: f64,
}

/// The usual intervals and the chosen one among them, ascending.
///
/// # Errors
/// None in practice: the usual intervals are valid.
pub fn intervals(
    settings: &Settings,
    bytes: usize,
    air: &Air,
    presence: &PresenceSettings,
) -> Result<Vec<Row>, FirmwareError> {
    let mut all: Vec<u32> = USUAL_MS.into_iter().chain([settings.interval.ms()]).collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(|ms| Ok(Row::new(&Settings { interval: Interval::new(ms)?, ..*settings }, bytes, air, presence)))
        .collect()
}

/// The steps of the radio that the battery can feed, ascending. `exponent` is that of the log-distance law.
pub fn steps(target: Target, settings: &Settings, bytes: usize, exponent: f64) -> Vec<Step> {
    let ms = f64::from(settings.interval.ms());
    let step = |&(dbm, ma): &(i8, f64)| {
        Settings::new(target, settings.interval, dbm, Some(settings.battery)).ok()?;
        let average = settings.radio.average_ua(dbm, bytes, ms);
        Some(Step {
            dbm,
            sending_ma: settings.radio.figures.as_ref().map(|_| ma),
            days: average.and_then(|average| settings.battery.days(average)),
            reach: 10_f64.powf((f64::from(dbm) - f64::from(settings.tx_power)) / (10.0 * exponent)),
        })
    };
    settings.radio.steps.iter().filter_map(step).collect()
}

/// The longest interval with which a zone is entered within so many ms; none where there is none.
pub fn longest(settings: &Settings, air: &Air, presence: &PresenceSettings, within_ms: f64) -> Option<Interval> {
    let last = Interval::MOST / STEP_MS;
    let first = Interval::LEAST / STEP_MS;
    let is_enough = |interval: &Interval| {
        Row::new(&Settings { interval: *interval, ..*settings }, 0, air, presence).entered_ms <= within_ms
    };
    // Of longer intervals none is quicker.
    (first..=last).rev().filter_map(|at| Interval::new(at * STEP_MS).ok()).find(is_enough)
}

/// Milliseconds as seconds, for people.
pub fn seconds(ms: f64) -> String {
    if ms < 10_000.0 { format!("{:.1} s", ms / 1_000.0) } else { format!("{:.0} s", ms / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firmware::power::Battery;

    fn settings(ms: u32) -> Settings {
        Settings::new(Target::Zephyr, Interval::new(ms).unwrap(), 0, None).unwrap()
    }

    #[test]
    fn a_row_by_hand() {
        // Heard 0.5: see the tests of `air`; 200 ms are gathered, and the hold is 1 s.
        let air = Air::new(10.0, 10.0, 0.5).unwrap();
        let row = Row::new(&settings(1_000), 31, &air, &PresenceSettings::default());
        assert!((row.heard_ms - 4_422.0).abs() < 1.0, "{row:?}");
        assert!((row.entered_ms - (10_264.4 + 1_200.0)).abs() < 1.0, "{row:?}");
        assert_eq!(
            row.summary(&settings(1_000)),
            "every 1000 ms at 0 dBm: a cr2032 lasts 20 months, heard within 4.4 s, in a zone within 11 s (95 %)"
        );
        assert!(!row.is_too_rare());
        assert!(Row::new(&settings(10_000), 31, &air, &PresenceSettings::default()).is_too_rare());
    }

    #[test]
    fn the_chosen_interval_stands_among_the_usual_ones() {
        let rows = intervals(&settings(700), 31, &Air::default(), &PresenceSettings::default()).unwrap();
        let ms: Vec<u32> = rows.iter().map(|row| row.interval.ms()).collect();
        assert_eq!(ms, [100, 200, 500, 700, 1_000, 2_000, 5_000, 10_000]);
        assert!(rows.windows(2).all(|pair| pair[0].days < pair[1].days && pair[0].entered_ms < pair[1].entered_ms));
        let rows = intervals(&settings(500), 31, &Air::default(), &PresenceSettings::default()).unwrap();
        assert_eq!(rows.len(), 7);
    }

    #[test]
    fn the_longest_interval_that_is_quick_enough_is_found() {
        // Always heard: two periods and 95 % of a third, and 1,200 ms. (5,000 - 1,200) / 2.95 = 1,288.1 ms, less 5.
        let air = Air::new(10.0, 10.0, 0.0).unwrap();
        let presence = PresenceSettings::default();
        assert_eq!(longest(&settings(500), &air, &presence, 5_000.0), Interval::new(1_280).ok());
        assert_eq!(longest(&settings(500), &air, &presence, 1_000.0), None);
        assert_eq!(longest(&settings(500), &air, &presence, 1e9), Interval::new(10_240).ok());
    }

    #[test]
    fn steps_of_power_tell_reach_and_life() {
        let steps = steps(Target::Zephyr, &settings(500), 31, 2.5);
        let at = |dbm| *steps.iter().find(|step| step.dbm == dbm).unwrap();
        assert!((at(0).reach - 1.0).abs() < 1e-12);
        // 20 dB are a factor of 10^(20/25).
        assert!((at(-20).reach - 0.158_5).abs() < 1e-4);
        assert!(at(4).days < at(0).days && at(0).days < at(-20).days);
        let usb = Settings::new(Target::Esphome, Interval::USUAL, 3, Some(Battery::Usb)).unwrap();
        assert!(super::steps(Target::Esphome, &usb, 30, 2.5).iter().all(|step| step.days.is_none()));
    }
}

//! How long a battery lasts.
//!
//! A beacon sleeps, and wakes for each advertising event: the processor gets ready, the crystal starts, and the same
//! packet is sent on three channels. The charge of an event is
//!
//! ```text
//! 3 · (ramp-up + packet) · current while sending + overhead
//! ```
//!
//! and the current on average is that charge over the period, and what the sleeping chip takes. A packet of n bytes of
//! advertising data has 16 + n bytes (preamble 1, access address 4, header 2, address 6, CRC 3) of 8 µs each at 1
//! Mbit/s (Core specification, Vol 6, Part B, 2.1); the period is the interval and 0 to 10 ms at random, 5 ms on
//! average (4.4.2.2).
//!
//! Figures are the typical ones of data sheets. A cold store, a worn cell, a voltage regulator or a light-emitting
//! diode make less of it: take the result for what can be hoped for, within a third or so.

/// The period is longer than the interval by so many ms on average: 0 to 10 at random (Core specification, Vol 6, Part
/// B, 4.4.2.2).
pub const MEAN_DELAY_MS: f64 = 5.0;

const CHANNELS: f64 = 3.0;
/// Bytes of a packet that are not advertising data.
const FRAMING: usize = 16;
const US_PER_BYTE: f64 = 8.0;
const HOURS_PER_YEAR: f64 = 8_766.0;
const DAYS_PER_YEAR: f64 = 365.25;

/// What a chip takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// While nothing happens, in µA.
    pub idle_ua: f64,
    /// From the start of the transmitter to the first bit, in µs.
    pub ramp_us: f64,
    /// For waking up, once an event, in µC.
    pub overhead_uc: f64,
}

/// A radio: the steps of its power, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Radio {
    /// Its name, for people.
    pub name: &'static str,
    /// Power in dBm and the current while sending in mA, ascending.
    pub steps: &'static [(i8, f64)],
    /// What it takes; none where that depends on the rest of the computer.
    pub figures: Option<Figures>,
}

/// Nordic nRF52832 at 3 V with its DC/DC regulator, from its Product Specification v1.8: current while sending from
/// 5.5.4 *Radio current consumption (transmitter)*; asleep with RAM and real-time counter 1.9 µA, 5.3.5 *Current
/// consumption: sleep*; fast ramp-up of 40 µs, which Zephyr chooses, 6.20.15.8. Waking up: 1 ms of the processor at 3.7
/// mA, and 0.3 µC for the crystal; how long the processor takes is our estimate.
pub const NRF52: Radio = Radio {
    name: "an nRF52832",
    steps: &[(-40, 2.7), (-20, 3.2), (-16, 3.3), (-12, 3.5), (-8, 3.8), (-4, 4.2), (0, 5.3), (4, 7.5)],
    figures: Some(Figures { idle_ua: 1.9, ramp_us: 40.0, overhead_uc: 4.0 }),
};

/// Espressif ESP32, from its data sheet v4.7, *Current consumption depending on RF modes* (130 mA while sending
/// Bluetooth at 0 dBm; other steps are not given, and taken to be the same) and *… on work modes* (30 to 68 mA at 240
/// MHz while the radio is off). ESPHome keeps it awake, so it is no chip for coin cells. The steps are those that
/// ESPHome's `esp32_ble` knows.
pub const ESP32: Radio = Radio {
    name: "an ESP32",
    steps: &[(-12, 130.0), (-9, 130.0), (-6, 130.0), (-3, 130.0), (0, 130.0), (3, 130.0), (6, 130.0), (9, 130.0)],
    figures: Some(Figures { idle_ua: 50_000.0, ramp_us: 0.0, overhead_uc: 0.0 }),
};

/// A computer with Linux. Its controller takes the step that is nearest; these are those that are asked for.
pub const LINUX: Radio = Radio {
    name: "a Linux computer",
    steps: &[
        (-20, 0.0),
        (-16, 0.0),
        (-12, 0.0),
        (-8, 0.0),
        (-4, 0.0),
        (0, 0.0),
        (4, 0.0),
        (8, 0.0),
        (10, 0.0),
        (20, 0.0),
    ],
    figures: None,
};

impl Radio {
    /// The current while sending at that power, in mA; none where there is no such step.
    pub fn current(&self, dbm: i8) -> Option<f64> {
        self.steps.iter().find(|(step, _)| *step == dbm).map(|&(_, ma)| ma)
    }

    /// The steps, for people.
    pub fn steps_text(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|(dbm, _)| dbm.to_string()).collect();
        steps.join(", ")
    }

    /// The charge of one advertising event with so many bytes of data, in µC; none where nothing is known of it.
    pub fn event_uc(&self, dbm: i8, bytes: usize) -> Option<f64> {
        let (figures, ma) = (self.figures.as_ref()?, self.current(dbm)?);
        let packet_us = (FRAMING + bytes) as f64 * US_PER_BYTE;
        // mA · µs are nC.
        Some(CHANNELS * (figures.ramp_us + packet_us) * ma / 1_000.0 + figures.overhead_uc)
    }

    /// The current on average, in µA; none where nothing is known of it.
    pub fn average_ua(&self, dbm: i8, bytes: usize, interval_ms: f64) -> Option<f64> {
        let (figures, event) = (self.figures.as_ref()?, self.event_uc(dbm, bytes)?);
        Some(event * 1_000.0 / (interval_ms + MEAN_DELAY_MS) + figures.idle_ua)
    }
}

/// What feeds a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Battery {
    /// A coin cell of 20 mm.
    Cr2032,
    /// A coin cell of 24.5 mm.
    Cr2450,
    /// A thick coin cell of 24.5 mm.
    Cr2477,
    /// Two alkaline AA cells in series.
    Aa,
    /// A power supply.
    Usb,
}

/// What a battery has in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// As its data sheet says, in mAh.
    pub nominal_mah: f64,
    /// The share of it that a beacon gets out, in pulses and down to about 2 V.
    pub usable: f64,
    /// What is lost of the nominal capacity in a year by itself.
    pub self_discharge: f64,
    /// It is not made to last longer, in years.
    pub shelf_years: f64,
    /// What it gives in short pulses, in mA.
    pub most_ma: f64,
}

impl Battery {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cr2032, Self::Cr2450, Self::Cr2477, Self::Aa, Self::Usb];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cr2032 => "cr2032",
            Self::Cr2450 => "cr2450",
            Self::Cr2477 => "cr2477",
            Self::Aa => "aa",
            Self::Usb => "usb",
        }
    }

    /// What is in it; none for a power supply.
    ///
    /// Nominal capacities: Energizer's data sheets of CR2032 (235 mAh) and CR2450 (620 mAh), Panasonic's of CR2477
    /// (1,000 mAh), Energizer's of E91 (LR6) at 25 mA (2,500 mAh). Self-discharge: about 1 % a year for lithium coin
    /// cells (Energizer, *Lithium Coin Handbook*), 3 % for alkaline ones (Energizer, *Alkaline Manganese Dioxide
    /// Handbook*). What pulses of some mA leave of a coin cell's capacity: Texas Instruments SWRA349, *Coin cells and
    /// peak current draw*; 80 % is our round figure of it.
    pub const fn cell(self) -> Option<Cell> {
        let coin = Cell { nominal_mah: 235.0, usable: 0.8, self_discharge: 0.01, shelf_years: 10.0, most_ma: 15.0 };
        match self {
            Self::Cr2032 => Some(coin),
            Self::Cr2450 => Some(Cell { nominal_mah: 620.0, ..coin }),
            Self::Cr2477 => Some(Cell { nominal_mah: 1_000.0, ..coin }),
            Self::Aa => Some(Cell { nominal_mah: 2_500.0, self_discharge: 0.03, most_ma: 1_000.0, ..coin }),
            Self::Usb => None,
        }
    }

    /// How long it lasts at that current, in days; none for a power supply.
    pub fn days(self, average_ua: f64) -> Option<f64> {
        let cell = self.cell()?;
        let own_ua = cell.nominal_mah * cell.self_discharge / HOURS_PER_YEAR * 1_000.0;
        let hours = cell.nominal_mah * cell.usable * 1_000.0 / (average_ua + own_ua);
        Some((hours / 24.0).min(cell.shelf_years * DAYS_PER_YEAR))
    }
}

/// A time in days, for people: `9 days`, `14 months`, `3.1 years`.
pub fn days_text(days: f64) -> String {
    const DAYS_PER_MONTH: f64 = DAYS_PER_YEAR / 12.0;
    if days < 60.0 {
        format!("{days:.0} days")
    } else if days < 2.0 * DAYS_PER_YEAR {
        format!("{:.0} months", days / DAYS_PER_MONTH)
    } else {
        format!("{:.1} years", days / DAYS_PER_YEAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= wanted.abs() * 1e-3, "{found} is not {wanted}");
    }

    #[test]
    fn an_event_by_hand() {
        // 31 bytes: 47 · 8 = 376 µs and 40 of ramp-up, three times 416 · 5.3 mA = 6,614 nC, and 4 µC.
        near(NRF52.event_uc(0, 31).unwrap(), 10.614_4);
        // 30 bytes at +4 dBm: 3 · 408 · 7.5 = 9,180 nC.
        near(NRF52.event_uc(4, 30).unwrap(), 13.18);
        assert_eq!(NRF52.event_uc(1, 31), None);
        assert_eq!(LINUX.event_uc(0, 31), None);
    }

    #[test]
    fn a_second_between_events_by_hand() {
        // 10.6144 µC in 1.005 s are 10.562 µA, and 1.9.
        let average = NRF52.average_ua(0, 31, 1_000.0).unwrap();
        near(average, 12.462);
        // 188 mAh; 2.35 mAh a year are 0.268 µA; 188,000 / 12.730 = 14,768 h.
        near(Battery::Cr2032.days(average).unwrap(), 615.4);
        // 800,000 / (12.462 + 1.141) = 58,812 h.
        near(Battery::Cr2477.days(average).unwrap(), 2_450.5);
        assert_eq!(Battery::Usb.days(average), None);
    }

    #[test]
    fn a_tenth_of_a_second_between_events_by_hand() {
        // 10.6144 / 0.105 = 101.09 µA, and 1.9; 188,000 / 103.26 = 1,820.7 h.
        let average = NRF52.average_ua(0, 31, 100.0).unwrap();
        near(average, 102.99);
        near(Battery::Cr2032.days(average).unwrap(), 75.86);
    }

    #[test]
    fn a_chip_that_never_sleeps_empties_cells_in_days() {
        // 3 · 368 · 130 = 143.5 µC in 0.505 s are 284 µA, and 50 mA: 2,000 mAh last 39.8 h.
        let average = ESP32.average_ua(0, 30, 500.0).unwrap();
        near(average, 50_284.2);
        near(Battery::Aa.days(average).unwrap(), 1.656_9);
    }

    #[test]
    fn nothing_lasts_longer_than_its_shelf_life() {
        near(Battery::Aa.days(2.0).unwrap(), 3_652.5);
    }

    #[test]
    fn steps_ascend_and_more_power_never_costs_less() {
        for radio in [&NRF52, &ESP32, &LINUX] {
            assert!(radio.steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{radio:?}");
            assert!(radio.current(super::super::Settings::USUAL_POWER).is_some());
        }
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        assert_eq!(days_text(9.4), "9 days");
        assert_eq!(days_text(426.0), "14 months");
        assert_eq!(days_text(1_132.0), "3.1 years");
    }
}

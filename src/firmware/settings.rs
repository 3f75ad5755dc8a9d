//! What is chosen for all beacons of a rendering.

use super::air::Air;
use super::plan::Row;
use super::power::{Battery, Radio};
use super::{FirmwareError, Subject, Target, payload};
use crate::registry::PresenceSettings;

/// Advertising interval, from 20 ms to 10.24 s (Core specification, Vol 6, Part B, 4.4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(u32);

impl Interval {
    /// Least interval in ms.
    pub const LEAST: u32 = 20;
    /// Greatest interval in ms.
    pub const MOST: u32 = 10_240;
    /// Before Bluetooth 5.0 what is not connectable had to leave so many ms (Core specification 4.2, Vol 6, Part B,
    /// 4.4.2.2).
    pub const LEAST_BEFORE_5: u32 = 100;
    /// Where nothing is chosen: a coin cell lasts about a year, and a shopper is heard twice a second.
    pub const USUAL: Self = Self(500);

    /// Checks a number of milliseconds.
    ///
    /// # Errors
    /// [`FirmwareError::Interval`] where Bluetooth does not allow it.
    pub fn new(ms: u32) -> Result<Self, FirmwareError> {
        if (Self::LEAST..=Self::MOST).contains(&ms) { Ok(Self(ms)) } else { Err(FirmwareError::Interval(ms)) }
    }

    /// In milliseconds.
    pub const fn ms(self) -> u32 {
        self.0
    }

    /// In units of 0.625 ms, as controllers have it, rounded.
    pub const fn units(self) -> u32 {
        (self.0 * 16 + 5) / 10
    }
}

/// Interval, power and battery, checked against a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How often a beacon sends.
    pub interval: Interval,
    /// How strongly, in dBm.
    pub tx_power: i8,
    /// What feeds it.
    pub battery: Battery,
    /// Whose figures are taken.
    pub radio: &'static Radio,
}

impl Settings {
    /// Power where nothing is chosen, in dBm: every radio has it.
    pub const USUAL_POWER: i8 = 0;

    /// Checks what is chosen for a target.
    ///
    /// # Errors
    /// [`FirmwareError::Power`], [`FirmwareError::Battery`] or [`FirmwareError::NoFigures`].
    pub fn new(
        target: Target,
        interval: Interval,
        tx_power: i8,
        battery: Option<Battery>,
    ) -> Result<Self, FirmwareError> {
        let (radio, battery) = (target.radio(), battery.unwrap_or(target.battery()));
        let sends_ma = radio.current(tx_power).ok_or_else(|| FirmwareError::Power {
            radio: radio.name,
            dbm: tx_power,
            steps: radio.steps_text(),
        })?;
        if radio.figures.is_none() && battery != Battery::Usb {
            return Err(FirmwareError::NoFigures(radio.name));
        }
        if let Some(cell) = battery.cell()
            && cell.most_ma < sends_ma
        {
            let able = Battery::ALL.iter().filter(|other| other.cell().is_none_or(|cell| cell.most_ma >= sends_ma));
            let able: Vec<&str> = able.map(|battery| battery.as_str()).collect();
            return Err(FirmwareError::Battery {
                radio: radio.name,
                needed: sends_ma,
                battery: battery.as_str(),
                most: cell.most_ma,
                help: able.join(" or "),
            });
        }
        Ok(Self { interval, tx_power, battery, radio })
    }

    /// How many bytes of advertising data that beacon sends.
    pub fn bytes(&self, subject: &Subject<'_>) -> usize {
        payload::bytes(&payload::parts(&subject.beacon.identity, subject.measured_power())).len()
    }

    /// What these settings make of that beacon, in one line: numbers and words of ours alone.
    pub fn summary(&self, subject: &Subject<'_>) -> String {
        Row::new(self, self.bytes(subject), &Air::default(), &self.presence()).summary(self)
    }

    /// When a zone is entered: by the settings that a zone has where it says nothing else.
    pub fn presence(&self) -> PresenceSettings {
        PresenceSettings::default()
    }
}

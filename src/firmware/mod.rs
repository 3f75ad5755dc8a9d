//! What beacons and radios run: files of `firmware-config/`, filled in from the registry.
//!
//! A [`Target`] says for what; [`render`] makes the files of it as texts, and touches no file itself. The templates are
//! plain files, which people can read where they are, and are part of the program. What is filled in is escaped for the
//! language of the template ([`escape`]): names are free text. Whatever sends a beacon sends the bytes of one place
//! ([`payload`]).
//!
//! Interval and power are chosen with what they cost and what they bring: [`power`] works out how long the battery
//! lasts, [`air`] how soon the beacon is heard, and [`plan`] puts both side by side.

pub mod air;
pub mod escape;
mod esphome;
mod labels;
mod linux;
pub mod payload;
pub mod plan;
pub mod power;
mod settings;
mod sheet;
mod subject;
mod template;
#[cfg(test)]
mod tests;
mod zephyr;

pub use settings::{Interval, Settings};
pub use subject::Subject;

use power::{Battery, Radio};

/// What files are rendered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An ESP32 that runs ESPHome.
    Esphome,
    /// A chip of the nRF52 series, or another one that Zephyr knows.
    Zephyr,
    /// A computer that runs Linux and BlueZ.
    Linux,
    /// The list for whoever puts the beacons up.
    Sheet,
    /// Labels to be stuck on beacons.
    Labels,
    /// The gateway's own radio.
    Bluez,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Esphome, Self::Zephyr, Self::Linux, Self::Sheet, Self::Labels, Self::Bluez];

    /// Those that send a beacon.
    pub const SENDERS: [Self; 3] = [Self::Esphome, Self::Zephyr, Self::Linux];

    /// The word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Esphome => "esphome",
            Self::Zephyr => "zephyr",
            Self::Linux => "linux",
            Self::Sheet => "sheet",
            Self::Labels => "labels",
            Self::Bluez => "bluez",
        }
    }

    /// What it is, for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Esphome => "the configuration of an ESP32 with ESPHome (sends iBeacons)",
            Self::Zephyr => "an application for an nRF52 chip with Zephyr",
            Self::Linux => "a script and its service for a computer with Linux and BlueZ",
            Self::Sheet => "the list for whoever puts the beacons up, CSV",
            Self::Labels => "labels with QR codes, SVG, 21 on a sheet of A4",
            Self::Bluez => "main.conf of the gateway's own bluetoothd",
        }
    }

    /// The radio whose figures are taken. Lists are made for the beacons that one buys, which have a chip as Zephyr's.
    pub const fn radio(self) -> &'static Radio {
        match self {
            Self::Esphome => &power::ESP32,
            Self::Linux => &power::LINUX,
            _ => &power::NRF52,
        }
    }

    /// What it is fed by where nothing is said.
    pub const fn battery(self) -> Battery {
        match self {
            Self::Esphome | Self::Linux => Battery::Usb,
            _ => Battery::Cr2032,
        }
    }

    /// Whether it can send that identity.
    pub const fn sends(self, identity: &crate::registry::Identity) -> bool {
        use crate::registry::Identity;
        match (self, identity) {
            (_, Identity::Mac(_)) => false,
            (Self::Esphome, Identity::IBeacon { .. }) => true,
            (Self::Zephyr | Self::Linux, _) => true,
            _ => false,
        }
    }
}

/// A file that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its path below the directory that is chosen, with slashes.
    pub path: String,
    /// What is in it.
    pub text: String,
    /// Whether it can be run.
    pub is_program: bool,
}

impl Rendered {
    fn new(path: impl Into<String>, text: String) -> Self {
        Self { path: path.into(), text, is_program: false }
    }
}

/// Why nothing is rendered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FirmwareError {
    /// There is no such beacon.
    #[error("there is no beacon \"{id}\"; {help}")]
    UnknownBeacon {
        /// The id that was asked for.
        id: String,
        /// The nearest one, or where to look.
        help: String,
    },
    /// The target cannot send what the beacon is recognised by.
    #[error("beacon \"{beacon}\": {target} cannot send {identity}; {help}")]
    CannotSend {
        /// The beacon.
        beacon: String,
        /// The target.
        target: &'static str,
        /// What it would have to send.
        identity: String,
        /// What can be done.
        help: &'static str,
    },
    /// An interval that no beacon may have.
    #[error(
        "an interval of {0} ms cannot be set; Bluetooth has 20 to 10240 ms \
         (100 ms or more before Bluetooth 5.0, where nothing connects)"
    )]
    Interval(u32),
    /// A power that the radio has no step for.
    #[error("{radio} has no step of {dbm} dBm; it has {steps}")]
    Power {
        /// The radio.
        radio: &'static str,
        /// What was asked for, in dBm.
        dbm: i8,
        /// What there is.
        steps: String,
    },
    /// A battery that the radio would break down.
    #[error("{radio} takes {needed:.0} mA while it sends, and a {battery} gives {most:.0} mA; choose {help}")]
    Battery {
        /// The radio.
        radio: &'static str,
        /// What it takes at most, in mA.
        needed: f64,
        /// The battery.
        battery: &'static str,
        /// What the battery gives, in mA.
        most: f64,
        /// What would do.
        help: String,
    },
    /// A radio whose figures nobody can know.
    #[error("what {0} takes is not known, so it is worked out for --battery usb only")]
    NoFigures(&'static str),
    /// A power at 1 m that the target cannot say.
    #[error(
        "beacon \"{beacon}\": {target} sends a measured power of at most 0 dBm, not {measured}; \
         correct it in the registry"
    )]
    MeasuredPower {
        /// The beacon.
        beacon: String,
        /// The target.
        target: &'static str,
        /// What is registered, in dBm at 1 m.
        measured: i8,
    },
    /// Two beacons of one rendering would have the same file.
    #[error("the files of \"{0}\" would be written twice; on this disk ids that differ in case alone are one")]
    Twice(String),
    /// A text is longer than a QR code can hold.
    #[error("\"{0}\" is too long for a QR code")]
    Code(String),
    /// A template and what fills it do not fit: a mistake in this program.
    #[error("the template {file} has a mistake: {reason}; please report this")]
    Template {
        /// The template.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// The files of a target for these beacons; for [`Target::Bluez`] the beacons do not matter.
///
/// # Errors
/// Any [`FirmwareError`]; then there is no file at all.
pub fn render(target: Target, subjects: &[Subject<'_>], settings: &Settings) -> Result<Vec<Rendered>, FirmwareError> {
    let mut files = Vec::new();
    match target {
        Target::Bluez => {
            files.push(Rendered::new("main.conf", include_str!("../../firmware-config/bluez/main.conf").to_owned()));
        }
        Target::Sheet => files.push(sheet::render(subjects, settings)),
        Target::Labels => files.extend(labels::render(subjects, settings)?),
        Target::Esphome | Target::Zephyr | Target::Linux => {
            for subject in subjects {
                subject.check(target)?;
                files.extend(match target {
                    Target::Esphome => vec![esphome::render(subject, settings)?],
                    Target::Zephyr => zephyr::render(subject, settings)?,
                    _ => linux::render(subject, settings)?,
                });
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    match files.iter().find(|file| !seen.insert(file.path.to_lowercase())) {
        Some(file) => Err(FirmwareError::Twice(file.path.clone())),
        None => Ok(files),
    }
}

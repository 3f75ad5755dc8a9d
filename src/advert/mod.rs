//! Bytes from the air -> AD structures -> frames of known formats.
//!
//! [`structures`] splits advertising data; [`frames`] and [`frames_in`] find the frames of the formats that beacons use,
//! one file a format. Everything borrows from the bytes and nothing is allocated. What is of an unknown format is passed
//! over; what claims to be of a known one and is not whole is an error.

mod ad;
mod address;
mod altbeacon;
mod device_sighting;
mod eddystone;
mod ibeacon;
pub mod line;
mod telemetry;
pub mod text;

use uuid::Uuid;

pub use ad::{AdContent, AdError, AdStructure, MAX_LENGTH, Structures, full_uuid, structures};
pub use address::{Address, AddressError, AddressKind};
pub use altbeacon::AltBeacon;
pub use device_sighting::DeviceSighting;
pub use eddystone::{EddystoneEid, EddystoneTlm, EddystoneUid, EddystoneUrl};
pub use ibeacon::IBeacon;
pub use telemetry::{BatteryLevel, Telemetry, telemetry};

use crate::model::{ReceiverId, Rssi, Timestamp};

/// One advertising packet as a receiver heard it.
#[derive(Debug, Clone, PartialEq)]
pub struct Advertisement {
    /// When it was heard.
    pub time: Timestamp,
    /// Which radio heard it.
    pub receiver: ReceiverId,
    /// Who sent it, where known.
    pub address: Option<Address>,
    /// How strong it was.
    pub rssi: Rssi,
    /// What it said.
    pub data: AdvertisingData,
}

/// The parts of advertising data that identify a beacon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvertisingData {
    /// Company identifier and what follows it.
    pub manufacturer_data: Vec<(u16, Vec<u8>)>,
    /// Service UUID (16- and 32-bit ones on the Bluetooth base UUID) and what follows it.
    pub service_data: Vec<(Uuid, Vec<u8>)>,
}

impl AdvertisingData {
    /// Takes the parts out of AD structures. Several structures of one company or service are kept apart, in order: each
    /// is a whole of its own (Core Specification Supplement, Part A, 1.4 and 1.11). What is faulty is left out and told
    /// to `fault`; there can be as many faults as structures.
    pub fn from_ad(bytes: &[u8], mut fault: impl FnMut(AdError)) -> Self {
        let mut parts = Self::default();
        for structure in structures(bytes) {
            match structure.and_then(|structure| structure.content()) {
                Ok(AdContent::Manufacturer { company, data }) => parts.manufacturer_data.push((company, data.to_vec())),
                Ok(AdContent::Service { uuid, data }) => parts.service_data.push((uuid, data.to_vec())),
                Ok(AdContent::Other) => {}
                Err(error) => fault(error),
            }
        }
        parts
    }
}

/// A frame of a known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An iBeacon.
    IBeacon(IBeacon<'a>),
    /// An AltBeacon.
    AltBeacon(AltBeacon<'a>),
    /// An Eddystone-UID frame.
    EddystoneUid(EddystoneUid<'a>),
    /// An Eddystone-URL frame.
    EddystoneUrl(EddystoneUrl<'a>),
    /// An Eddystone-TLM frame.
    EddystoneTlm(EddystoneTlm),
    /// An Eddystone-EID frame.
    EddystoneEid(EddystoneEid),
}

impl Frame<'_> {
    /// Its format.
    pub const fn format(&self) -> Format {
        match self {
            Self::IBeacon(_) => Format::IBeacon,
            Self::AltBeacon(_) => Format::AltBeacon,
            Self::EddystoneUid(_) => Format::EddystoneUid,
            Self::EddystoneUrl(_) => Format::EddystoneUrl,
            Self::EddystoneTlm(_) => Format::EddystoneTlm,
            Self::EddystoneEid(_) => Format::EddystoneEid,
        }
    }

    /// RSSI at 1 m in dBm, as the frame claims it: anything from -169 to 127. None for telemetry.
    pub fn measured_power(&self) -> Option<i16> {
        match self {
            Self::IBeacon(frame) => Some(i16::from(frame.measured_power)),
            Self::AltBeacon(frame) => Some(i16::from(frame.measured_power)),
            Self::EddystoneUid(frame) => Some(frame.measured_power()),
            Self::EddystoneUrl(frame) => Some(frame.measured_power()),
            Self::EddystoneTlm(_) => None,
            Self::EddystoneEid(frame) => Some(frame.measured_power()),
        }
    }
}

/// A known format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// iBeacon.
    IBeacon,
    /// AltBeacon.
    AltBeacon,
    /// Eddystone-UID.
    EddystoneUid,
    /// Eddystone-URL.
    EddystoneUrl,
    /// Eddystone-TLM.
    EddystoneTlm,
    /// Eddystone-EID.
    EddystoneEid,
}

impl Format {
    /// The word for it in files and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IBeacon => "ibeacon",
            Self::AltBeacon => "altbeacon",
            Self::EddystoneUid => "eddystone-uid",
            Self::EddystoneUrl => "eddystone-url",
            Self::EddystoneTlm => "eddystone-tlm",
            Self::EddystoneEid => "eddystone-eid",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why data that claims a known format is no frame of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It ends too early.
    #[error("the {format} frame holds {found} bytes, but needs {needed}")]
    Truncated {
        /// The format it claims.
        format: Format,
        /// The bytes of the shortest whole frame.
        needed: usize,
        /// The bytes there are.
        found: usize,
    },
    /// An iBeacon says that it has a length that no iBeacon has.
    #[error("the ibeacon frame gives its length as {length}, but it must be 21")]
    IBeaconLength {
        /// The length it gives.
        length: u8,
    },
    /// Service data of Eddystone without a type of frame.
    #[error("the Eddystone service data is empty")]
    EddystoneEmpty,
    /// An Eddystone-URL whose scheme is reserved.
    #[error("the eddystone-url frame has the reserved scheme 0x{code:02x}")]
    UrlScheme {
        /// The scheme it gives.
        code: u8,
    },
    /// An Eddystone-URL with a reserved character.
    #[error("the eddystone-url frame has the reserved code 0x{code:02x} at place {at} of its URL")]
    UrlCharacter {
        /// Its place behind the scheme, from 0.
        at: usize,
        /// What is there.
        code: u8,
    },
    /// Encrypted telemetry (version 1): needs the beacon's key.
    #[error("the eddystone-tlm frame is encrypted, which is not supported")]
    TlmEncrypted,
    /// Telemetry of a version that is not known.
    #[error("the eddystone-tlm frame has the unknown version {version}")]
    TlmVersion {
        /// The version it gives.
        version: u8,
    },
}

impl FrameError {
    /// The stable name of this cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "frame-truncated",
            Self::IBeaconLength { .. } => "ibeacon-length",
            Self::EddystoneEmpty => "eddystone-empty",
            Self::UrlScheme { .. } => "eddystone-url-scheme",
            Self::UrlCharacter { .. } => "eddystone-url-character",
            Self::TlmEncrypted => "eddystone-tlm-encrypted",
            Self::TlmVersion { .. } => "eddystone-tlm-version",
        }
    }
}

/// Why raw advertising data is not all frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An AD structure is faulty.
    #[error(transparent)]
    Ad(#[from] AdError),
    /// A frame is faulty.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl DecodeError {
    /// The stable name of this cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ad(error) => error.code(),
            Self::Frame(error) => error.code(),
        }
    }
}

/// The frames in advertising data: those in manufacturer data first, each kind in order.
pub fn frames(data: &AdvertisingData) -> impl Iterator<Item = Result<Frame<'_>, FrameError>> {
    let manufacturer = data.manufacturer_data.iter().filter_map(|(company, data)| manufacturer_frame(*company, data));
    let service = data.service_data.iter().filter_map(|(uuid, data)| service_frame(*uuid, data));
    manufacturer.chain(service)
}

/// The frames in raw advertising data (AD structures), in order.
pub fn frames_in(bytes: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, DecodeError>> {
    structures(bytes).filter_map(|structure| match structure.and_then(|structure| structure.content()) {
        Ok(AdContent::Manufacturer { company, data }) => {
            manufacturer_frame(company, data).map(|frame| frame.map_err(DecodeError::Frame))
        }
        Ok(AdContent::Service { uuid, data }) => {
            service_frame(uuid, data).map(|frame| frame.map_err(DecodeError::Frame))
        }
        Ok(AdContent::Other) => None,
        Err(error) => Some(Err(DecodeError::Ad(error))),
    })
}

/// The frame in one company's data; none where it is of no known format.
pub fn manufacturer_frame(company: u16, data: &[u8]) -> Option<Result<Frame<'_>, FrameError>> {
    if company == ibeacon::APPLE
        && let Some(frame) = ibeacon::parse(data)
    {
        return Some(frame.map(Frame::IBeacon));
    }
    altbeacon::parse(company, data).map(|frame| frame.map(Frame::AltBeacon))
}

/// The frame in one service's data; none where it is of no known format.
pub fn service_frame(uuid: Uuid, data: &[u8]) -> Option<Result<Frame<'_>, FrameError>> {
    if uuid == eddystone::SERVICE { eddystone::parse(data) } else { None }
}

#[cfg(test)]
mod tests;

//! Bytes from the air -> AD structures -> frames of known formats.

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

/// A Bluetooth device address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// Most significant byte first, as it is printed.
    pub bytes: [u8; 6],
    /// Whether it is a random address; none where the source does not say.
    pub random: Option<bool>,
}

/// The parts of advertising data that identify a beacon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvertisingData {
    /// Company identifier and what follows it.
    pub manufacturer_data: Vec<(u16, Vec<u8>)>,
    /// Service UUID (16- and 32-bit ones on the Bluetooth base UUID) and what follows it.
    pub service_data: Vec<(uuid::Uuid, Vec<u8>)>,
}

//! The other direction: a device that hears a beacon.

use crate::model::{DeviceId, Rssi, Timestamp};

use super::{Address, AdvertisingData};

/// A registered device, such as a phone with the store's app, heard a beacon.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSighting {
    /// When.
    pub time: Timestamp,
    /// Which device heard it.
    pub device: DeviceId,
    /// Who sent it, where known.
    pub address: Option<Address>,
    /// How strong it was.
    pub rssi: Rssi,
    /// What it said.
    pub data: AdvertisingData,
}

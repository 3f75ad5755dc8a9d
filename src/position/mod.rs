//! Sightings -> position with accuracy.

use crate::model::{DeviceId, LatLon, LevelOrdinal, Metres, Timestamp};

/// A device says where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionReport {
    /// When it was there.
    pub time: Timestamp,
    /// Who.
    pub device: DeviceId,
    /// Where; valid.
    pub at: LatLon,
    /// Standard deviation along each axis, in metres; positive and finite.
    pub accuracy: Metres,
    /// The level, where the device knows it.
    pub level: Option<LevelOrdinal>,
}

//! Sightings -> position with accuracy.
//!
//! A sighting links a device to an anchor: a receiver that heard it, or a fixed beacon that it heard. Each device has a [`Filter`]: a probability for each cell of the site's [`Grid`]. Sightings are batched for
//! [`BATCH`], so that one advertisement heard by several receivers is one update.

mod anchors;
mod fading;
mod filter;
mod grid;

use std::time::Duration;

use crate::model::{DeviceId, LatLon, LevelOrdinal, Metres, Timestamp};

pub use anchors::AnchorIndex;
pub use filter::{Filter, Model, PowerPrior, Sample};
pub use grid::Grid;

/// Sightings of one device that are so close together are one update.
pub const BATCH: Duration = Duration::from_millis(200);

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

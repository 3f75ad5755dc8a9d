//! Sightings -> position with accuracy.
//!
//! Each device has a [`Filter`]: a probability for each cell of the site's [`Grid`]. Sightings are batched for
//! [`BATCH`], so that one advertisement heard by several receivers is one update.

mod drift;
mod fading;
mod filter;
mod grid;
mod linear;
mod map;
pub mod survey;

use std::time::Duration;

use crate::model::{DeviceId, LatLon, LevelOrdinal, Metres, Timestamp};

pub use drift::{Drift, Drifts};
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

//! Sightings -> position with accuracy.
//!
//! A sighting links a device to an anchor: a receiver that heard it, or a fixed beacon that it heard. Each device has a
//! [`Filter`]: a probability for each cell of the site's [`Grid`], or of the part of it around the device. Sightings are
//! batched for [`BATCH`], so that one advertisement heard by several receivers is one update.

mod anchors;
mod drift;
mod fading;
mod filter;
mod grid;
mod kernel;
mod linear;
mod map;
pub mod survey;
mod window;

use std::time::Duration;

use crate::model::{DeviceId, LatLon, LevelOrdinal, Metres, Position, Timestamp};

pub use anchors::AnchorIndex;
pub use drift::{Drift, Drifts};
pub use filter::{Filter, Model, PowerPrior, Sample};
pub use grid::Grid;
pub use window::Belief;

/// Sightings of one device that are so close together are one update.
pub const BATCH: Duration = Duration::from_millis(200);

/// A device that is not heard is where it was, more vaguely by so many square metres a second …
const WANDERING: f64 = 0.09;
/// … and is said to be there so often.
pub const SILENT_INTERVAL: Duration = Duration::from_secs(1);

/// Where a device is that was not heard since `last`.
pub fn in_silence(last: &Position, now: Timestamp) -> Position {
    let silent = now.since(last.time).as_secs_f64();
    Position { accuracy: (last.accuracy * last.accuracy + WANDERING * silent).sqrt(), time: now, ..*last }
}

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

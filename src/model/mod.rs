//! The words of the field: ids, units, time, geometry frames. Imports nothing of ours.

mod frame;
mod id;
mod time;
mod units;

pub use frame::{Frame, LatLon, OriginError, Point};
pub use id::{BeaconId, DeviceId, GatewayId, IdError, ReceiverId, SiteId, ZoneId};
pub use time::{DurationError, Timestamp, TimestampError, format_duration, parse_duration};
pub use units::{LevelOrdinal, MeasuredPower, Metres, Position, Probability, Rssi, UnitError};

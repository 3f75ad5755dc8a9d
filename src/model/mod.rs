//! The words of the field: ids, units, time, geometry frames. Imports nothing of ours.

mod frame;
mod hours;
mod id;
mod time;
mod units;

pub use frame::{Frame, LatLon, OriginError, Point};
pub(crate) use hours::DAY;
pub use hours::{HoursError, Span};
pub use id::{BeaconId, DeviceId, GatewayId, IdError, ReceiverId, SiteId, TriggerId, ZoneId};
pub use time::{DurationError, Timestamp, TimestampError, format_duration, parse_duration};
pub use units::{LevelOrdinal, MeasuredPower, Metres, Position, Probability, Rssi, UnitError};

//! The state machine of one (device, zone).

mod event;

pub use event::{Event, EventKind, Reason};

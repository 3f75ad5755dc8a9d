//! The presence of each device in each zone.
//!
//! A device is outside, entering, inside or leaving. Entering becomes inside when the probability of the zone has been at
//! least `enter_probability` for `enter_after`; leaving becomes outside when it has been below `exit_probability` for
//! `exit_after`; a device that is silent for `lost_after` is lost. Every `entered` gets exactly one `exited`.
//!
//! Silence of a receiver is not absence of a device: while a receiver that covers the zone is known to be down, nobody is
//! lost from it or leaves it, for at most `max_hold`; when it is back, silence and holds are counted from then. A receiver
//! that falls silent while others hear what it should hear is noticed ([`Health`]).

mod coverage;
mod event;
mod health;
mod machine;
mod memory;
mod visit;

pub use event::{Event, EventKind, Reason};
pub use health::{Health, ReceiverHealth, Witness};
pub use machine::{DeviceState, Held, Machine, Moves, ZonePhase, ZoneState, Zones};
pub use memory::{DeviceMemory, Memory, VisitMemory, ZoneMemory};

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod restore_tests;
#[cfg(test)]
mod tests;

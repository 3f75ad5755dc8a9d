//! What holds a trigger back, and what makes a sequence: the parts of rules that remember.
//!
//! A rule says when a trigger may fire; [`Gate`] says whether it may now: opening hours, quiet hours, a pause after the last
//! one, and caps. [`Progress`] follows a device through the steps of a sequence. All of it works on the site's own time:
//! a [`Calendar`] puts the engine's steady time on the wall clock of the site's time zone, whose days have 23 or 25 hours
//! twice a year.
//!
//! Nothing here grows with the number of events: of what was fired only as many times are kept as the largest cap counts.

mod calendar;
mod caps;
mod condition;
mod facts;
mod gate;
mod history;
mod hours;
mod moment;
mod rules;
mod sequence;
mod stage;
mod template;

pub use calendar::Calendar;
pub use caps::Ledger;
pub use condition::{Condition, ConditionError, Declared, MOST_ELEMENTS, Missing, Seen};
pub use facts::Facts;
pub use gate::{Gate, HeldBack};
pub use history::{Decision, DeviceHistory, Outcome, SiteHistory};
pub use rules::Compiled;
pub use sequence::{Progress, Steps};
pub use stage::{Fired, Looking, Made, Stage};
pub use template::{Data, Template};

#[cfg(test)]
mod model_tests;

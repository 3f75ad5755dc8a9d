//! The two times that the outbox goes by.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::wall_clock;
use crate::model::Timestamp;

/// Tells the steady time: the wall clock's, without its jumps. Ages and expiry of what waits are measured on it, and it goes
/// on over restarts.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

/// An instant, as both clocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// For waits within this process.
    pub instant: Instant,
    /// For ages.
    pub steady: Timestamp,
}

impl Clock {
    /// A clock that asks `steady_now`, which must not block.
    pub fn new(steady_now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(steady_now))
    }

    /// A clock that begins with the wall clock's time and knows nothing of its jumps: for what does not outlive the process.
    pub fn of_this_process() -> Self {
        let (began, wall) = (Instant::now(), wall_clock());
        Self::new(move || wall + began.elapsed())
    }

    /// The steady time.
    pub fn steady(&self) -> Timestamp {
        (self.0)()
    }

    /// Now, by both.
    pub fn now(&self) -> Moment {
        Moment { instant: Instant::now(), steady: self.steady() }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.steady()).finish()
    }
}

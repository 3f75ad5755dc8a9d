//! How often to say the same.

use std::time::{Duration, Instant};

/// Lets one message through in a while, and counts what it held back.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// At most one log line of a kind in this time.
    const EVERY: Duration = Duration::from_secs(10);

    /// How many were held back since the last one, if this one may pass.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < Self::EVERY) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_a_while_and_tells_how_many_did_not() {
        let (start, mut throttle) = (Instant::now(), Throttle::default());
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(11)), Some(2));
    }
}

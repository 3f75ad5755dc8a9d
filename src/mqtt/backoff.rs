//! When to try again, and how often to say so.

use std::time::{Duration, Instant};

use rand::RngExt as _;

/// Exponential back-off with jitter, so that the gateways of a chain do not fall upon a restarted broker all at once.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    pub(super) const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, attempt: 0 }
    }

    /// The next delay: half to all of `first` doubled with every attempt, at most `most`.
    pub(super) fn next(&mut self) -> Duration {
        let whole = doubled(self.first, self.most, self.attempt);
        self.attempt = self.attempt.saturating_add(1);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// `first` doubled `times` times, at most `most`.
pub(super) fn doubled(first: Duration, most: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}

/// Lets one message through in a while, and counts what it held back.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    last: Option<Instant>,
    held_back: u64,
}

impl Throttle {
    /// At most one log line of a kind in this time.
    const EVERY: Duration = Duration::from_secs(10);

    /// How many were held back since the last one, if this one may pass.
    pub(super) fn pass(&mut self, now: Instant) -> Option<u64> {
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
    fn delays_double_up_to_a_limit_and_differ() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for whole in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let delay = backoff.next().as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&delay), "{delay} of {whole}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
        assert_eq!(doubled(Duration::from_secs(1), Duration::from_secs(60), 4_000), Duration::from_secs(60));
    }

    #[test]
    fn one_line_passes_in_a_while_and_tells_how_many_did_not() {
        let (start, mut throttle) = (Instant::now(), Throttle::default());
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(1)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(11)), Some(2));
    }
}

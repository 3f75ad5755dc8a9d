//! When to try again.

use std::time::Duration;

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
}

//! How soon a beacon is heard.
//!
//! A beacon sends on three channels one after the other; a receiver listens on one of them at a time, for a window in
//! each scan interval (Core specification, Vol 6, Part B, 4.4.2.2 and 4.4.3). So of each event one packet can be heard:
//! with probability p = window / interval · (1 − loss). Events come once a period, and the first within one period from
//! the moment that the beacon comes near, at a moment that is evenly distributed. With N the events so far, that k of
//! them are heard has the binomial distribution; within (m + u) periods, 0 ≤ u < 1, N is m or, with probability u, m +
//! 1.

use super::power::MEAN_DELAY_MS;

/// How a receiver listens, and what gets lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Air {
    window_ms: f64,
    interval_ms: f64,
    loss: f64,
}

/// Why a receiver cannot listen so.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum AirError {
    /// The window is not within the interval.
    #[error(
        "a scan window of {window_ms} ms in an interval of {interval_ms} ms is none; \
         the window is from 2.5 ms to the interval, which is at most 10240 ms"
    )]
    Window {
        /// The window, in ms.
        window_ms: f64,
        /// The interval, in ms.
        interval_ms: f64,
    },
    /// Everything is lost, or more.
    #[error("a loss of {0} is none; it is a share from 0 to 0.95")]
    Loss(f64),
}

impl Default for Air {
    /// As Linux listens while it discovers (`DISCOV_LE_SCAN_INT` and `_WIN` of its `hci_core.h`: all the time), and
    /// with three of ten packets lost: bodies, shelves and other radios are between.
    fn default() -> Self {
        Self { window_ms: 11.25, interval_ms: 11.25, loss: 0.3 }
    }
}

impl Air {
    /// The least that Bluetooth allows, in ms (Core specification, Vol 4, Part E, 7.8.10).
    const LEAST_MS: f64 = 2.5;
    const MOST_MS: f64 = 10_240.0;
    const MOST_LOSS: f64 = 0.95;
    /// How many events are looked at most; more than the rarest that [`Air::new`] lets through needs.
    const MOST_EVENTS: u32 = 1_000_000;

    /// Checks how a receiver listens.
    ///
    /// # Errors
    /// [`AirError`].
    pub fn new(window_ms: f64, interval_ms: f64, loss: f64) -> Result<Self, AirError> {
        if !(Self::LEAST_MS..=Self::MOST_MS).contains(&window_ms) || !(window_ms..=Self::MOST_MS).contains(&interval_ms)
        {
            return Err(AirError::Window { window_ms, interval_ms });
        }
        if !(0.0..=Self::MOST_LOSS).contains(&loss) {
            return Err(AirError::Loss(loss));
        }
        Ok(Self { window_ms, interval_ms, loss })
    }

    /// The scan window in ms.
    pub const fn window_ms(&self) -> f64 {
        self.window_ms
    }

    /// The scan interval in ms.
    pub const fn interval_ms(&self) -> f64 {
        self.interval_ms
    }

    /// The share of packets that get lost.
    pub const fn loss(&self) -> f64 {
        self.loss
    }

    /// The probability that an event is heard.
    pub fn heard(&self) -> f64 {
        self.window_ms / self.interval_ms * (1.0 - self.loss)
    }

    /// Within which time, in ms, `times` events are heard with that certainty, of a beacon with that advertising
    /// interval.
    pub fn within_ms(&self, advertising_ms: f64, times: usize, certainty: f64) -> f64 {
        let p = self.heard();
        // exactly[j]: that j events have been heard so far; the last one gathers all from `times` on.
        let mut exactly = vec![0.0; times + 1];
        exactly[0] = 1.0;
        for events in 0..Self::MOST_EVENTS {
            let before = exactly[times];
            for j in (1..=times).rev() {
                let stays = if j == times { 1.0 } else { 1.0 - p };
                exactly[j] = exactly[j] * stays + exactly[j - 1] * p;
            }
            exactly[0] *= 1.0 - p;
            if exactly[times] >= certainty {
                let part = (certainty - before) / (exactly[times] - before);
                return (f64::from(events) + part) * (advertising_ms + MEAN_DELAY_MS);
            }
        }
        f64::INFINITY
    }

    /// The probability that nothing is heard for so many ms of a beacon that is there.
    pub fn silent(&self, advertising_ms: f64, for_ms: f64) -> f64 {
        let periods = for_ms / (advertising_ms + MEAN_DELAY_MS);
        let p = self.heard();
        (1.0 - p).powf(periods.floor()) * (1.0 - p * periods.fract())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= wanted.abs() * 1e-3 + 1e-12, "{found} is not {wanted}");
    }

    fn air(window: f64, interval: f64, loss: f64) -> Air {
        Air::new(window, interval, loss).unwrap()
    }

    #[test]
    fn one_that_is_always_heard_is_heard_within_a_period() {
        // Evenly distributed over 1,005 ms: 95 % of it.
        near(air(10.0, 10.0, 0.0).within_ms(1_000.0, 1, 0.95), 954.75);
    }

    #[test]
    fn one_that_is_heard_half_the_time_by_hand() {
        // 0.5^4 = 0.0625 is left after four periods, 0.03125 after five: 0.05 at 0.4 of the fifth. 4.4 · 1,005 ms.
        near(air(30.0, 60.0, 0.0).within_ms(1_000.0, 1, 0.95), 4_422.0);
        near(air(10.0, 10.0, 0.5).within_ms(1_000.0, 1, 0.95), 4_422.0);
    }

    #[test]
    fn three_times_by_hand() {
        // Heard 0.5: of 10 events fewer than 3 with (1 + 10 + 45) / 1024 = 0.0547, of 11 with (1 + 11 + 55) / 2048 =
        // 0.0327: 0.05 at (0.0547 - 0.05) / (0.0547 - 0.0327) = 0.2133 of the eleventh. 10.2133 · 1,005 ms.
        near(air(30.0, 60.0, 0.0).within_ms(1_000.0, 3, 0.95), 10_264.4);
        near(air(10.0, 10.0, 0.0).within_ms(100.0, 3, 0.95), 309.75);
    }

    #[test]
    fn silence_by_hand() {
        // 10.5 periods, heard 0.5: 0.5^10 · 0.75.
        near(air(10.0, 10.0, 0.5).silent(995.0, 10_500.0), 0.75 / 1024.0);
        near(air(10.0, 10.0, 0.0).silent(995.0, 500.0), 0.5);
    }

    #[test]
    fn within_agrees_with_trying_it() {
        use rand::{RngExt, SeedableRng};
        let (air, mut rng) = (air(30.0, 60.0, 0.3), rand_chacha::ChaCha8Rng::seed_from_u64(7));
        let tries = 20_000;
        let limit = air.within_ms(500.0, 3, 0.95);
        let soon = (0..tries)
            .filter(|_| {
                let (mut time, mut heard) = (rng.random::<f64>() * 505.0, 0);
                while time <= limit {
                    heard += u32::from(rng.random::<f64>() < air.heard());
                    time += 505.0;
                }
                heard >= 3
            })
            .count();
        let share = soon as f64 / f64::from(tries);
        assert!((share - 0.95).abs() < 0.006, "{share}");
    }

    #[test]
    fn the_rarest_that_is_let_through_has_an_end() {
        assert!(air(2.5, 10_240.0, 0.95).within_ms(20.0, 3, 0.95).is_finite());
        for (window, interval, loss) in [(0.0, 10.0, 0.0), (20.0, 10.0, 0.0), (10.0, 10.0, 1.0), (f64::NAN, 10.0, 0.0)]
        {
            assert!(Air::new(window, interval, loss).is_err());
        }
    }
}

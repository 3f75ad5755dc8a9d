//! How fast simulated time passes.

use std::time::Duration;

/// What may be waited for less is not waited for: sleeping costs more than it gains.
const LEAST_WAIT: Duration = Duration::from_millis(2);

/// Simulated seconds to the second; positive and finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed(f64);

/// Why a text is no speed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write a number from 0.01 to 100000, such as 1 for real time or 60 for a minute a second")]
pub struct SpeedError;

impl std::str::FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        let speed: f64 = text.parse().map_err(|_| SpeedError)?;
        if (0.01..=100_000.0).contains(&speed) { Ok(Self(speed)) } else { Err(SpeedError) }
    }
}

impl Speed {
    /// How long to wait for what is due `simulated` after the start, when `passed` has passed by the clock; none where it is
    /// due already.
    pub fn wait(self, simulated: Duration, passed: Duration) -> Option<Duration> {
        let due = Duration::try_from_secs_f64(simulated.as_secs_f64() / self.0).unwrap_or(Duration::MAX);
        due.checked_sub(passed).filter(|wait| *wait >= LEAST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_at_sixty_times_the_speed_takes_a_second() {
        let speed: Speed = "60".parse().unwrap();
        let seconds = Duration::from_secs;
        assert_eq!(speed.wait(seconds(60), Duration::ZERO), Some(seconds(1)));
        assert_eq!(speed.wait(seconds(60), Duration::from_millis(400)), Some(Duration::from_millis(600)));
        assert_eq!(speed.wait(seconds(60), seconds(2)), None);
    }

    #[test]
    fn a_speed_that_is_none_is_refused() {
        for bad in ["", "0", "-1", "inf", "NaN", "fast"] {
            assert!(bad.parse::<Speed>().is_err(), "{bad}");
        }
    }
}

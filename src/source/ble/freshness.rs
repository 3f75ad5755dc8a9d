//! How far behind the air the gateway is.
//!
//! The system says of no advertisement when it was heard; it is stamped on receipt. So the age of what is received must
//! be bounded some other way: a question is sent along now and then, and its answer comes through the same queues,
//! behind everything that was sent before it. What is received after an answer is younger than its question.

use std::time::{Duration, Instant};

/// How often the question is asked. More often bounds the age tighter; this costs one small message each way.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// What may be older than this, beyond the interval, is not handled any more: a position of 2 s ago with the time of
/// now is a wrong position, and the only way to catch up is to let go.
const BOUND: Duration = Duration::from_secs(2);

/// A question that is not answered for so long finds nobody at home.
const DEAF: Duration = Duration::from_secs(5);

/// Bounds the age of what is received now.
#[derive(Debug)]
pub struct Freshness {
    /// When the question was sent that was answered last.
    confirmed: Instant,
    /// When the question was sent that is not answered yet.
    asked: Option<Instant>,
    /// How long the last answer took.
    took: Duration,
}

impl Freshness {
    /// Begins `now`, with empty queues.
    pub fn new(now: Instant) -> Self {
        Self { confirmed: now, asked: None, took: Duration::ZERO }
    }

    /// Whether the question is to be asked.
    pub fn due(&self, now: Instant) -> bool {
        self.asked.is_none() && now.duration_since(self.confirmed) >= INTERVAL
    }

    /// The question was sent.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Its answer was received.
    pub fn answered(&mut self, now: Instant) {
        if let Some(asked) = self.asked.take() {
            self.confirmed = asked;
            self.took = now.duration_since(asked);
        }
    }

    /// How long what is received now has been on its way, as far as is known.
    pub fn lag(&self, now: Instant) -> Duration {
        self.asked.map_or(self.took, |asked| self.took.max(now.duration_since(asked)))
    }

    /// Whether what is received now may be too old to be handled.
    pub fn is_stale(&self, now: Instant) -> bool {
        now.duration_since(self.confirmed) > INTERVAL + BOUND
    }

    /// Whether nobody seems to answer any more.
    pub fn is_deaf(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.duration_since(asked) > DEAF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_comes_after_an_answer_is_younger_than_its_question() {
        let start = Instant::now();
        let mut freshness = Freshness::new(start);
        assert!(!freshness.due(start + ms(900)) && freshness.due(start + ms(1000)));
        freshness.asked(start + ms(1000));
        assert!(!freshness.due(start + ms(5000)), "one question at a time");
        freshness.answered(start + ms(1004));
        assert_eq!(freshness.lag(start + ms(1500)), ms(4));
        assert!(!freshness.is_stale(start + ms(4000)));
        assert!(freshness.is_stale(start + ms(4001)), "the question of 1.0 s is all that is known");
    }

    #[test]
    fn a_gateway_that_was_stopped_does_not_take_the_old_for_new() {
        let start = Instant::now();
        let mut freshness = Freshness::new(start);
        freshness.asked(start + ms(1000));
        // Stopped here for a minute. The answer lies in the queue, among the advertisements of that minute.
        assert!(freshness.is_stale(start + ms(61_000)));
        freshness.answered(start + ms(61_001));
        assert!(freshness.is_stale(start + ms(61_002)), "the rest of the queue is still of that minute");
        freshness.asked(start + ms(61_003));
        assert!(freshness.is_stale(start + ms(61_010)));
        freshness.answered(start + ms(61_020));
        assert!(!freshness.is_stale(start + ms(61_021)));
    }

    #[test]
    fn the_lag_grows_while_an_answer_is_awaited() {
        let start = Instant::now();
        let mut freshness = Freshness::new(start);
        freshness.asked(start + ms(1000));
        assert_eq!(freshness.lag(start + ms(3500)), ms(2500));
        assert!(!freshness.is_deaf(start + ms(6000)) && freshness.is_deaf(start + ms(6001)));
    }
}

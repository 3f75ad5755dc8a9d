//! For how long each receiver has listened: what is not heard while nobody listens is not missing.

use std::time::Duration;

use crate::model::Timestamp;
use crate::registry::ReceiverIndex;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Attended {
    ears: Vec<Listening>,
}

#[derive(Debug, Clone, Copy)]
struct Listening {
    /// In the times of listening that are over.
    past: Duration,
    /// Since when it listens; none where it does not.
    since: Option<Timestamp>,
}

impl Attended {
    /// They all listen from `now` on.
    pub(super) fn new(receivers: usize, now: Timestamp) -> Self {
        Self { ears: vec![Listening { past: Duration::ZERO, since: Some(now) }; receivers] }
    }

    /// The same in another order, with new receivers that listen from `now` on.
    pub(super) fn carried(&self, to: &[Option<ReceiverIndex>], receivers: usize, now: Timestamp) -> Self {
        let mut carried = Self::new(receivers, now);
        for (ear, to) in self.ears.iter().zip(to) {
            if let Some(place) = to.and_then(|to| carried.ears.get_mut(to.get())) {
                *place = *ear;
            }
        }
        carried
    }

    /// A receiver listens from now on, or does not.
    pub(super) fn set(&mut self, receiver: ReceiverIndex, hears: bool, now: Timestamp) {
        let Some(ear) = self.ears.get_mut(receiver.get()) else { return };
        match (ear.since, hears) {
            (Some(since), false) => *ear = Listening { past: ear.past + now.since(since), since: None },
            (None, true) => ear.since = Some(now),
            _ => {}
        }
    }

    /// Whether a receiver listens.
    pub(super) fn hears(&self, receiver: ReceiverIndex) -> bool {
        self.ears.get(receiver.get()).is_some_and(|ear| ear.since.is_some())
    }

    /// For how long it has listened, all in all.
    pub(super) fn total(&self, receiver: ReceiverIndex, now: Timestamp) -> Duration {
        let ear = self.ears.get(receiver.get());
        ear.map_or(Duration::ZERO, |ear| ear.past + ear.since.map_or(Duration::ZERO, |since| now.since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_in_which_it_listens_counts() {
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        let (one, other) = (ReceiverIndex(0), ReceiverIndex(1));
        let mut attended = Attended::new(2, at(0));
        attended.set(one, false, at(10));
        attended.set(one, false, at(15));
        attended.set(one, true, at(20));
        attended.set(one, true, at(25));
        assert_eq!(attended.total(one, at(30)), Duration::from_secs(20));
        assert_eq!(attended.total(other, at(30)), Duration::from_secs(30));
        assert!(attended.hears(one) && !attended.hears(ReceiverIndex(7)));
        assert_eq!(attended.total(ReceiverIndex(7), at(30)), Duration::ZERO);
    }
}

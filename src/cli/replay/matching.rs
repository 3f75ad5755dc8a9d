//! Which events of two runs are the same one.
//!
//! Events of one device, zone and kind are matched in their order, each with the nearest of the other run within
//! [`WINDOW`]. What is older than the caller says is settled and forgotten, so that memory is bounded by a window of events.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::model::{DeviceId, Timestamp, ZoneId};
use crate::presence::{Event, EventKind, Reason};

/// Events that are further apart are not the same.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// Which of the two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// `--site`.
    A,
    /// `--against`.
    B,
}

/// What is to be matched: device, zone, and `entered`, `dwelled` or `exited`.
pub(super) type Key = (DeviceId, ZoneId, &'static str);

/// One event of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// Its `observed_at`.
    pub(super) at: Timestamp,
    /// Why, where it is an exit.
    pub(super) reason: Option<Reason>,
}

/// An event of both runs, or of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: Key,
    pub(super) a: Option<Occurrence>,
    pub(super) b: Option<Occurrence>,
}

/// Events that are not settled yet.
#[derive(Debug, Default)]
pub(super) struct Matcher(BTreeMap<Key, [VecDeque<Occurrence>; 2]>);

impl Matcher {
    pub(super) fn put(&mut self, side: Side, event: &Event) {
        let key = (event.device.id.clone(), event.zone.id.clone(), event.kind.as_str());
        debug_assert!(matches!(event.kind, EventKind::Entered | EventKind::Dwelled | EventKind::Exited));
        self.insert(side, key, Occurrence { at: event.observed_at, reason: event.reason });
    }

    fn insert(&mut self, side: Side, key: Key, occurrence: Occurrence) {
        let queue = &mut self.0.entry(key).or_default()[side as usize];
        let place = queue.partition_point(|earlier| earlier.at <= occurrence.at);
        queue.insert(place, occurrence);
    }

    /// Settles every event observed by then, in the order of their times. All that happened within two windows after that
    /// must be known by now.
    pub(super) fn settle(&mut self, by: Timestamp) -> Vec<Pair> {
        let mut settled = Vec::new();
        self.0.retain(|key, queues| {
            while let Some((a, b)) = next(queues, by) {
                settled.push(Pair { key: key.clone(), a, b });
            }
            queues.iter().any(|queue| !queue.is_empty())
        });
        settled.sort_by_key(Pair::at);
        settled
    }

    /// Settles the rest.
    pub(super) fn finish(&mut self) -> Vec<Pair> {
        self.settle(Timestamp::from_millis(i64::MAX))
    }
}

impl Pair {
    /// When it happened, by the first run that has it.
    pub(super) fn at(&self) -> Timestamp {
        self.a.or(self.b).map_or(Timestamp::from_millis(0), |occurrence| occurrence.at)
    }
}

/// The oldest event, with its like where it has one; none where the oldest is later than `by`.
fn next(queues: &mut [VecDeque<Occurrence>; 2], by: Timestamp) -> Option<(Option<Occurrence>, Option<Occurrence>)> {
    let [a, b] = queues;
    let a_is_first = match (a.front(), b.front()) {
        (Some(a), Some(b)) => a.at <= b.at,
        (a, _) => a.is_some(),
    };
    let (mine, others) = if a_is_first { (&*a, &*b) } else { (&*b, &*a) };
    let first = mine.front().filter(|first| first.at <= by)?;
    let matches = others.front().is_some_and(|other| {
        let apart = other.at.since(first.at);
        // Where the next one is nearer, and has no other to go with, this one is left over.
        let is_robbed = mine.get(1).is_some_and(|next| {
            let has_own = others.get(1).is_some_and(|own| gap(own.at, next.at) <= WINDOW);
            gap(other.at, next.at) < apart && !has_own
        });
        apart <= WINDOW && !is_robbed
    });
    Some(match (matches, a_is_first) {
        (true, _) => (a.pop_front(), b.pop_front()),
        (false, true) => (a.pop_front(), None),
        (false, false) => (None, b.pop_front()),
    })
}

fn gap(one: Timestamp, other: Timestamp) -> Duration {
    one.max(other).since(one.min(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (DeviceId::new("d").unwrap(), ZoneId::new("z").unwrap(), "entered")
    }

    fn matched(a: &[i64], b: &[i64]) -> Vec<(i64, i64)> {
        let mut matcher = Matcher::default();
        for (side, times) in [(Side::A, a), (Side::B, b)] {
            for at in times {
                let at = Timestamp::from_millis(at * 1_000);
                matcher.insert(side, key(), Occurrence { at, reason: None });
            }
        }
        let seconds = |o: Option<Occurrence>| o.map_or(-1, |o| o.at.as_millis() / 1_000);
        matcher.finish().into_iter().map(|pair| (seconds(pair.a), seconds(pair.b))).collect()
    }

    #[test]
    fn an_event_goes_with_the_nearest_of_the_other_run_within_a_minute() {
        assert_eq!(matched(&[100], &[100]), [(100, 100)]);
        assert_eq!(matched(&[100], &[160]), [(100, 160)]);
        assert_eq!(matched(&[100], &[161]), [(100, -1), (-1, 161)]);
        assert_eq!(matched(&[161], &[100]), [(-1, 100), (161, -1)]);
        assert_eq!(matched(&[10, 50], &[45]), [(10, -1), (50, 45)]);
        assert_eq!(matched(&[45], &[10, 50]), [(-1, 10), (45, 50)]);
    }

    #[test]
    fn the_order_is_kept_and_as_many_as_can_be_are_matched() {
        assert_eq!(matched(&[10, 50], &[45, 70]), [(10, 45), (50, 70)]);
        assert_eq!(matched(&[10, 20, 300], &[12, 310]), [(10, 12), (20, -1), (300, 310)]);
        assert_eq!(matched(&[], &[5]), [(-1, 5)]);
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let mut matcher = Matcher::default();
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        for s in [10, 200] {
            matcher.insert(Side::A, key(), Occurrence { at: at(s), reason: None });
        }
        assert_eq!(matcher.settle(at(100)).len(), 1);
        assert_eq!(matcher.0.len(), 1);
        assert_eq!(matcher.settle(at(200)).len(), 1);
        assert!(matcher.0.is_empty());
    }
}

//! The machine against a naive model, which looks at the whole history in every second anew; and the rules that hold
//! whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{EventKind, Machine, Reason};
use crate::model::{LevelOrdinal, Point, Position, Probability, Timestamp};
use crate::registry::{DeviceIndex, PresenceSettings, ReceiverIndex, ZoneIndex, fixture};

const ZONE_A: ZoneIndex = ZoneIndex(1);
const ZONE_B: ZoneIndex = ZoneIndex(2);
const D1: DeviceIndex = DeviceIndex(0);

fn at(second: u64) -> Timestamp {
    Timestamp::from_millis(1_767_261_600_000 + second as i64 * 1_000)
}

fn settings(enter: u64, exit: u64, lost: u64) -> PresenceSettings {
    PresenceSettings {
        enter_after: Duration::from_secs(enter),
        exit_after: Duration::from_secs(exit),
        lost_after: Duration::from_secs(lost),
        dwell: vec![Duration::from_secs(7), Duration::from_secs(20)],
        ..fixture::settings()
    }
}

/// (second, word, observed second) for zone a.
type Story = Vec<(u64, &'static str, u64)>;

/// The naive model: no state but the visit, everything else is read off the history again and again.
struct Naive<'a> {
    settings: &'a PresenceSettings,
    /// Second and probability of each position so far.
    history: Vec<(u64, f64)>,
    /// Positions before this belong to what is over.
    fresh: u64,
    /// When the visit was entered, as observed, and how many thresholds it has passed.
    visit: Option<(u64, usize)>,
    story: Story,
}

impl Naive<'_> {
    /// The first second of the positions at the end of the history that all satisfy a condition.
    fn run(&self, from: u64, holds: impl Fn(f64) -> bool) -> Option<u64> {
        self.history.iter().rev().take_while(|(t, p)| *t >= from && holds(*p)).last().map(|(t, _)| *t)
    }

    fn judge(&mut self, now: u64) {
        let Some(last) = self.history.last().map(|(t, _)| *t) else { return };
        let silent = now >= last + self.settings.lost_after.as_secs();
        let end = match self.visit {
            None if silent => {
                self.fresh = now;
                return;
            }
            None => {
                let since = self.run(self.fresh, |p| p >= 0.6);
                if let Some(since) = since.filter(|since| now >= since + self.settings.enter_after.as_secs()) {
                    self.story.push((now, "entered", since));
                    self.visit = Some((since, 0));
                }
                return;
            }
            Some((since, _)) if silent => Some(("lost", last.max(since))),
            Some((since, _)) => self
                .run(since, |p| p < 0.3)
                .filter(|from| now >= from + self.settings.exit_after.as_secs())
                .map(|from| ("left", from)),
        };
        if let Some((word, observed)) = end {
            self.story.push((now, word, observed));
            self.visit = None;
            self.fresh = now;
        }
    }

    fn sighting(&mut self, now: u64, probability: f64) {
        if let Some((since, mut dwelled)) = self.visit {
            let leaving = self.run(since, |p| p < 0.3).is_some();
            while !leaving && self.settings.dwell.get(dwelled).is_some_and(|d| now - since >= d.as_secs()) {
                self.story.push((now, "dwelled", now));
                dwelled += 1;
            }
            self.visit = Some((since, dwelled));
        }
        self.history.push((now, probability));
        self.judge(now);
    }
}

fn naive(positions: &BTreeMap<u64, f64>, until: u64, settings: &PresenceSettings) -> Story {
    let mut naive = Naive { settings, history: Vec::new(), fresh: 0, visit: None, story: Story::new() };
    for now in 0..=until {
        naive.judge(now);
        if let Some(probability) = positions.get(&now) {
            naive.sighting(now, *probability);
        }
    }
    naive.story
}

fn position(second: u64) -> Position {
    Position { point: Point::default(), level: LevelOrdinal(0), accuracy: 1.0, time: at(second) }
}

fn machine(settings: &PresenceSettings) -> Machine {
    Machine::new(Arc::new(fixture::registry(settings)), "e")
}

/// Where the device is believed to be: few values, so that runs are common.
fn probability() -> impl Strategy<Value = f64> {
    prop_oneof![3 => Just(0.9), 1 => Just(0.6), 1 => Just(0.45), 1 => Just(0.3), 3 => Just(0.0)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_machine_agrees_with_the_naive_model(
        steps in prop::collection::vec((prop_oneof![4 => 1_u64..3, 1 => 3_u64..30], probability()), 1..60),
        (enter, exit, lost) in (0_u64..5, 0_u64..6, 1_u64..20),
    ) {
        let settings = settings(enter, exit, lost);
        let mut positions = BTreeMap::new();
        let mut second = 0;
        for (wait, probability) in steps {
            second += wait;
            positions.insert(second, probability);
        }
        let until = second + 40;
        let mut machine = machine(&settings);
        for (second, probability) in &positions {
            machine.advance(at(*second));
            machine.seen(D1, Some(ReceiverIndex(0)), at(*second), at(*second));
            machine.observe(D1, position(*second), &[(ZONE_A, Probability::saturating(*probability))], at(*second));
        }
        machine.advance(at(until));
        let seconds = |t: Timestamp| t.since(at(0)).as_secs();
        let story: Story = machine
            .take_events()
            .iter()
            .filter(|event| event.zone.id.as_str() == "a")
            .map(|e| (seconds(e.decided_at), e.reason.map_or(e.kind.as_str(), Reason::as_str), seconds(e.observed_at)))
            .collect();
        prop_assert_eq!(story, naive(&positions, until, &settings));
    }

    #[test]
    fn entered_and_exited_always_pair(
        steps in prop::collection::vec(
            (0_u64..40, 0_u32..2, prop::option::of((probability(), probability())), prop::option::of((0_u32..2, any::<bool>()))),
            1..80,
        ),
    ) {
        let mut machine = machine(&settings(2, 3, 15));
        let mut second = 0;
        for (wait, device, heard, receiver) in steps {
            second += wait;
            machine.advance(at(second));
            if let Some((receiver, up)) = receiver {
                machine.receiver(ReceiverIndex(receiver), up, at(second));
            }
            if let Some((a, b)) = heard {
                let membership = [(ZONE_A, Probability::saturating(a)), (ZONE_B, Probability::saturating(b))];
                machine.seen(DeviceIndex(device), Some(ReceiverIndex(device)), at(second), at(second));
                machine.observe(DeviceIndex(device), position(second), &membership, at(second));
            }
        }
        // Long enough for every hold to end: nobody is inside for ever.
        machine.advance(at(second + 4_000));
        prop_assert_eq!(machine.next_deadline(), None);
        let events = machine.take_events();
        let mut visits: BTreeMap<uuid::Uuid, Vec<&super::Event>> = BTreeMap::new();
        for (number, event) in events.iter().enumerate() {
            prop_assert_eq!(event.sequence, number as u64);
            prop_assert!(event.observed_at <= event.decided_at);
            visits.entry(event.visit_id).or_default().push(event);
        }
        for visit in visits.values() {
            prop_assert_eq!(visit[0].kind, EventKind::Entered);
            prop_assert_eq!(visit[visit.len() - 1].kind, EventKind::Exited);
            prop_assert!(visit[1..visit.len() - 1].iter().all(|event| event.kind == EventKind::Dwelled));
            prop_assert!(visit.iter().enumerate().all(|(n, event)| event.visit_sequence == n as u32));
            prop_assert!(visit.windows(2).all(|pair| pair[0].observed_at <= pair[1].observed_at));
        }
        let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), events.len());
        for zone in [ZoneIndex(0), ZONE_A, ZONE_B] {
            prop_assert_eq!(machine.occupancy(zone), 0);
        }
    }
}

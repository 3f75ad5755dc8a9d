//! The remembering parts against a naive model that keeps everything and works with nothing but the clock's face.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use super::*;
use crate::model::{Span, Timestamp};
use crate::registry::{Cap, Hours, Period};

/// Zones, and an instant shortly before their clocks are set: forwards, back, by half an hour, at midnight, by a whole day.
const CHANGES: [(&str, &str); 10] = [
    ("Europe/Paris", "2026-03-28T20:00:00Z"),
    ("Europe/Paris", "2026-10-24T20:00:00Z"),
    ("America/New_York", "2026-03-08T01:00:00Z"),
    ("America/New_York", "2026-10-31T22:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T06:00:00Z"),
    ("America/Santiago", "2025-09-06T20:00:00Z"),
    ("America/Santiago", "2026-04-04T20:00:00Z"),
    ("America/Havana", "2026-10-31T22:00:00Z"),
    ("Pacific/Apia", "2011-12-29T12:00:00Z"),
    ("UTC", "2026-12-30T12:00:00Z"),
];

fn span() -> impl Strategy<Value = Span> {
    (0_u16..1_440, 0_u16..=1_440).prop_filter_map("empty", |(from, to)| {
        let text = format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
        text.parse().ok()
    })
}

fn period() -> impl Strategy<Value = Period> {
    prop_oneof![
        (1_u64..200_000).prop_map(|s| Period::Last(Duration::from_secs(s))),
        Just(Period::Day),
        Just(Period::Week),
        Just(Period::Month),
        Just(Period::Visit),
        Just(Period::Ever),
    ]
}

#[derive(Debug, Clone)]
struct Rule {
    open: Option<Vec<Span>>,
    quiet: Option<Vec<Span>>,
    cool_down: Option<u64>,
    caps: Vec<(u16, Period)>,
    steps: Vec<Vec<u8>>,
    within: u64,
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        prop::option::weighted(0.3, prop::collection::vec(span(), 1..3)),
        prop::option::weighted(0.5, prop::collection::vec(span(), 1..3)),
        prop::option::weighted(0.3, 1_u64..200_000),
        prop::collection::vec((0_u16..5, period()), 0..3),
        prop::collection::vec(prop::collection::vec(0_u8..3, 1..4), 2..4),
        3_600_u64..400_000,
    )
        .prop_map(|(open, quiet, cool_down, caps, steps, within)| Rule {
            open,
            quiet,
            cool_down,
            caps,
            steps,
            within,
        })
}

/// What a naive reader of the rule would do.
struct Naive<'r> {
    rule: &'r Rule,
    zone: TimeZone,
    /// Events since the sequence was last completed.
    events: Vec<(i64, u8)>,
    fired: Vec<(i64, i64)>,
}

impl Naive<'_> {
    /// Whether some choice of earlier events completes the steps with this one.
    fn completes(&self, at: i64, zone: u8) -> bool {
        fn search(steps: &[Vec<u8>], events: &[(i64, u8)], not_before: i64) -> bool {
            let Some((last, rest)) = steps.split_last() else { return true };
            (0..events.len()).rev().any(|i| {
                events[i].0 >= not_before && last.contains(&events[i].1) && search(rest, &events[..i], not_before)
            })
        }
        let (last, rest) = self.rule.steps.split_last().unwrap();
        last.contains(&zone) && search(rest, &self.events, at - self.rule.within as i64 * 1_000)
    }

    fn face(&self, at: i64) -> (Date, u16) {
        let shown = self.zone.to_datetime(jiff::Timestamp::from_millisecond(at).unwrap());
        (shown.date(), shown.hour() as u16 * 60 + shown.minute() as u16)
    }

    fn within(&self, spans: &[Span], at: i64) -> bool {
        let (_, minute) = self.face(at);
        let number = |text: &str| text[..2].parse::<u16>().unwrap() * 60 + text[3..].parse::<u16>().unwrap();
        spans.iter().any(|span| {
            let text = span.to_string();
            let (from, to) = text.split_once('-').map(|(from, to)| (number(from), number(to))).unwrap();
            // Walk through the day minute by minute, as a watchman would.
            let mut hour = from;
            while hour != to {
                if hour % 1_440 == minute {
                    return true;
                }
                hour = if hour >= to && to != 1_440 { (hour + 1) % 1_440 } else { hour + 1 };
            }
            false
        })
    }

    fn counts(&self, period: Period, at: i64, visit: i64) -> usize {
        let (day, _) = self.face(at);
        let is_in = |(then, then_visit): &&(i64, i64)| {
            let (then_day, _) = self.face(*then);
            match period {
                Period::Last(duration) => at - then < duration.as_millis() as i64,
                Period::Day => day == then_day,
                Period::Week => {
                    let (one, other) = (day.iso_week_date(), then_day.iso_week_date());
                    (one.year(), one.week()) == (other.year(), other.week())
                }
                Period::Month => (day.year(), day.month()) == (then_day.year(), then_day.month()),
                Period::Visit => *then_visit == visit,
                Period::Ever => true,
            }
        };
        self.fired.iter().filter(is_in).count()
    }

    fn event(&mut self, at: i64, zone: u8, visit: i64) -> Option<Result<(), HeldBack>> {
        if !self.completes(at, zone) {
            self.events.push((at, zone));
            return None;
        }
        self.events.clear();
        if self.rule.open.as_ref().is_some_and(|open| !self.within(open, at)) {
            return Some(Err(HeldBack::StoreHours));
        }
        if self.rule.quiet.as_ref().is_some_and(|quiet| self.within(quiet, at)) {
            return Some(Err(HeldBack::QuietHours));
        }
        if self.rule.cool_down.is_some_and(|s| self.fired.last().is_some_and(|(then, _)| at - then < s as i64 * 1_000))
        {
            return Some(Err(HeldBack::CoolDown));
        }
        if self.rule.caps.iter().any(|(most, per)| self.counts(*per, at, visit) >= usize::from(*most)) {
            return Some(Err(HeldBack::Cap));
        }
        self.fired.push((at, visit));
        Some(Ok(()))
    }
}

type Happening = (i64, u8, bool);

/// Plays one history through both; counts what came out.
fn play(
    (change, rule, events): (usize, Rule, Vec<Happening>),
    seen: &RefCell<BTreeMap<&'static str, u32>>,
) -> Result<(), TestCaseError> {
    let (name, start) = CHANGES[change];
    let zone = TimeZone::get(name).unwrap();
    let calendar = Calendar::new(zone.clone());
    let gate = Gate {
        open: rule.open.as_deref().map(Hours::daily),
        quiet: rule.quiet.as_deref().map(Hours::daily),
        cool_down: rule.cool_down.map(Duration::from_secs),
        caps: rule.caps.iter().map(|(most, per)| Cap { most: *most, per: *per }).collect(),
    };
    let steps = Steps { count: rule.steps.len(), within: Duration::from_secs(rule.within) };
    let mut naive = Naive { rule: &rule, zone, events: Vec::new(), fired: Vec::new() };
    let (mut progress, mut fired) = (Progress::default(), Ledger::default());
    let mut at: i64 = start.parse::<Timestamp>().unwrap().as_millis();
    let mut visit = at;
    for (number, (wait, place, begins)) in events.into_iter().enumerate() {
        at += wait;
        if begins {
            visit = at;
        }
        let now = Timestamp::from_millis(at);
        let is_step = |step: usize| rule.steps[step].contains(&place);
        let complete = progress.step(steps, Uuid::from_u128(number as u128), now, is_step);
        let judged = complete.map(|cause| {
            assert_eq!(cause.len(), steps.count);
            assert!(cause.is_sorted_by(|a, b| a < b));
            let judged = gate.judge(now, Timestamp::from_millis(visit), &fired, &calendar);
            if judged.is_ok() {
                fired.add(now, gate.keep());
            }
            judged
        });
        prop_assert_eq!(judged, naive.event(at, place, visit), "event {} at {} in {}", number, now, name);
        let outcome = judged.map_or("waits", |judged| judged.map_or_else(HeldBack::as_str, |()| "fires"));
        *seen.borrow_mut().entry(outcome).or_default() += 1;
    }
    Ok(())
}

#[test]
fn hours_caps_pauses_and_sequences_agree_with_a_naive_model_across_clock_changes() {
    let seen = RefCell::default();
    let events = prop::collection::vec((1_i64..14_400_000, 0_u8..3, prop::bool::weighted(0.1)), 1..40);
    let mut runner = TestRunner::new(ProptestConfig { cases: 10_000, ..ProptestConfig::default() });
    runner.run(&(0_usize..CHANGES.len(), rule(), events), |history| play(history, &seen)).unwrap();
    // A model that is never asked agrees with everything.
    for outcome in ["waits", "fires", "store_hours", "quiet_hours", "cool_down", "cap"] {
        let times = seen.borrow().get(outcome).copied().unwrap_or_default();
        assert!(times > 1_000, "{outcome}: {times} of {seen:?}");
    }
}

proptest! {
    #[test]
    fn the_next_change_of_hours_is_the_first_minute_at_which_they_differ(
        change in 0_usize..CHANGES.len(),
        spans in prop::collection::vec(span(), 1..3),
        wait in 0_i64..2_880,
        inside in any::<bool>(),
    ) {
        let (name, start) = CHANGES[change];
        let calendar = Calendar::new(TimeZone::get(name).unwrap());
        let hours = Hours::daily(&spans);
        let at = start.parse::<Timestamp>().unwrap().shifted(wait * 60_000);
        let walked = (0..4_320).map(|m| at.shifted(m * 60_000)).find(|then| hours.hold(*then, &calendar) == inside);
        match hours.next(at, inside, &calendar) {
            Some(next) if next.since(at) < Duration::from_secs(4_320 * 60) => prop_assert_eq!(Some(next), walked),
            _ => prop_assert_eq!(walked, None),
        }
    }
}

#[test]
fn a_shop_that_is_closed_on_a_day_opens_on_the_next() {
    let span: Span = "09:00-18:00".parse().unwrap();
    let calendar = Calendar::new(TimeZone::get("Europe/Paris").unwrap());
    let hours = Hours::daily(&[span]).without(jiff::civil::date(2026, 12, 25));
    let at: Timestamp = "2026-12-24T18:00:00Z".parse().unwrap();
    assert_eq!(hours.next(at, true, &calendar).unwrap().to_string(), "2026-12-26T08:00:00.000Z");
    assert_eq!(Hours::default().next(at, true, &calendar), None);
}

#[test]
fn hours_that_are_none_are_refused() {
    for bad in ["", "9:00-20:00", "09:00", "09:00-09:00", "24:00-08:00", "09:60-20:00", "09:00-24:01", "+9:00-20:00"] {
        assert!(bad.parse::<Span>().is_err(), "{bad:?}");
    }
    for good in ["09:00-20:00", "22:00-08:00", "00:00-24:00"] {
        assert_eq!(good.parse::<Span>().unwrap().to_string(), good);
    }
}

#[test]
fn a_wall_clock_that_jumps_moves_the_calendar_and_no_pause() {
    let mut calendar = Calendar::new(TimeZone::UTC);
    let quiet = Hours::daily(&["22:00-08:00".parse().unwrap()]);
    let at: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let gate = Gate { quiet: Some(quiet), cool_down: Some(Duration::from_secs(3_600)), ..Gate::default() };
    let mut fired = Ledger::default();
    fired.add(at.shifted(-600_000), gate.keep());
    assert_eq!(gate.judge(at, at, &fired, &calendar), Err(HeldBack::CoolDown));
    calendar.set_offset(11 * 3_600_000);
    assert_eq!(gate.judge(at, at, &fired, &calendar), Err(HeldBack::QuietHours));
    assert!(fired.forget_before(at));
    calendar.set_offset(0);
    assert_eq!(gate.judge(at, at, &fired, &calendar), Ok(()));
}

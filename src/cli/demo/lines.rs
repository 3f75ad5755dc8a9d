//! What the demo prints: a line an event, a table at the end. The same events give the same bytes; no clock is read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::engine::Counters;
use crate::model::{Timestamp, ZoneId};
use crate::presence::{Event, EventKind, Reason};
use crate::registry::Registry;
use crate::trigger::Fired;

/// How wide the columns are, and whether there is colour.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    start: Timestamp,
    zone: usize,
    device: usize,
    colour: bool,
}

impl Layout {
    /// A layout for that site; times are counted from `start`.
    pub fn new(registry: &Registry, start: Timestamp, colour: bool) -> Self {
        let widest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
        Self {
            start,
            zone: widest(&mut registry.zones().iter().map(|zone| zone.name.chars().count())),
            device: widest(&mut registry.devices().iter().map(|device| device.id.as_str().len())),
            colour,
        }
    }

    /// One event, when it was decided, without a line feed.
    pub fn event(&self, event: &Event) -> String {
        let (on, off) = match (self.colour, event.kind) {
            (false, _) => ("", ""),
            (true, EventKind::Entered) => ("\x1b[32m", "\x1b[0m"),
            (true, EventKind::Dwelled) => ("\x1b[36m", "\x1b[0m"),
            (true, EventKind::Exited) => ("\x1b[2m", "\x1b[0m"),
        };
        format!(
            "{}  {on}{:<7}{off}  {:<zone$}  {:<device$}  {}",
            clock(event.decided_at.since(self.start)),
            event.kind.as_str(),
            event.zone.name,
            event.device.id.as_str(),
            detail(event),
            zone = self.zone,
            device = self.device,
        )
    }

    /// One trigger, when it was decided, without a line feed.
    pub fn trigger(&self, fired: &Fired) -> String {
        let (on, off) = if self.colour { ("\x1b[1;35m", "\x1b[0m") } else { ("", "") };
        format!(
            "{}  {on}{:<7}{off}  {:<zone$}  {:<device$}  {}",
            clock(fired.decided_at.since(self.start)),
            "trigger",
            fired.zone.as_ref().map_or("", |zone| &zone.name),
            fired.device.as_ref().map_or("", |device| device.id.as_str()),
            fired.rule.id,
            zone = self.zone,
            device = self.device,
        )
    }
}

/// What is said of an event beside who and where.
fn detail(event: &Event) -> String {
    let held = if event.held { ", held" } else { "" };
    match event.kind {
        EventKind::Entered => {
            let probability = event.confidence.map_or_else(|| "heard".to_owned(), |p| format!("p={:.2}", p.get()));
            let initial = if event.initial { ", at the start" } else { "" };
            format!("{probability}{initial}{held}")
        }
        EventKind::Dwelled => format!("{}{held}", span(event.threshold.unwrap_or_default())),
        EventKind::Exited => {
            let reason = event.reason.map_or("", Reason::as_str);
            format!("after {} ({reason}{held})", span(event.duration.unwrap_or_default()))
        }
    }
}

/// Time since the start: `00:00:07.4`.
fn clock(since: Duration) -> String {
    let (seconds, tenths) = (since.as_secs(), since.subsec_millis() / 100);
    format!("{:02}:{:02}:{:02}.{tenths}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// A length of time for people, in whole seconds: `41 s`, `2 min 5 s`, `1 h 3 min`.
fn span(length: Duration) -> String {
    let seconds = (length.as_secs_f64() + 0.5) as u64;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Counts of one zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    entered: u64,
    dwelled: u64,
    exited: u64,
    /// Visits that the end of the demo cut off.
    inside: u64,
}

/// What has happened, zone by zone.
#[derive(Debug, Clone, Default)]
pub struct Tally(BTreeMap<ZoneId, Count>);

impl Tally {
    /// Counts an event.
    pub fn add(&mut self, event: &Event) {
        let count = self.0.entry(event.zone.id.clone()).or_default();
        match event.kind {
            EventKind::Entered => count.entered += 1,
            EventKind::Dwelled => count.dwelled += 1,
            EventKind::Exited => count.exited += 1,
        }
        count.inside += u64::from(event.reason == Some(Reason::Stopped));
    }

    /// The table: zones in the registry's order, then the sum and what was dropped.
    pub fn table(&self, registry: &Registry, elapsed: Duration, counters: &Counters) -> String {
        let names = registry.zones().iter().map(|zone| zone.name.chars().count());
        let width = names.max().unwrap_or(0).max("all zones".len());
        let mut out = format!("{:<width$}  entered  dwelled   exited  inside at the end\n", "zone");
        let mut row = |name: &str, count: Count| {
            let _ = writeln!(
                out,
                "{name:<width$}  {:>7}  {:>7}  {:>7}  {:>17}",
                count.entered, count.dwelled, count.exited, count.inside
            );
        };
        let mut all = Count::default();
        for zone in registry.zones() {
            let count = self.0.get(&zone.id).copied().unwrap_or_default();
            row(&zone.name, count);
            all.entered += count.entered;
            all.dwelled += count.dwelled;
            all.exited += count.exited;
            all.inside += count.inside;
        }
        row("all zones", all);
        let _ = write!(
            out,
            "\n{} in the store; {} sightings taken in\ndropped: {} of strangers, {} of devices without consent\n",
            span(elapsed),
            grouped(counters.sightings),
            grouped(counters.strangers),
            grouped(counters.without_consent),
        );
        out
    }
}

/// A count with its thousands set apart: `12 345`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Probability;

    const START: Timestamp = Timestamp::from_millis(1_767_261_600_000);

    fn event(registry: &Registry, kind: EventKind, ms: u64) -> Event {
        let zone = &registry.zones()[registry.zone(&"bakery".parse().unwrap()).unwrap().get()];
        Event {
            id: uuid::Uuid::nil(),
            kind,
            sequence: 0,
            zone: Arc::clone(zone),
            device: Arc::clone(&registry.devices()[16]),
            visit_id: uuid::Uuid::nil(),
            visit_sequence: 0,
            observed_at: START,
            decided_at: START + Duration::from_millis(ms),
            position: None,
            confidence: None,
            initial: false,
            threshold: None,
            duration: None,
            reason: None,
            held: false,
            suspect: false,
        }
    }

    #[test]
    fn an_event_is_one_aligned_line() {
        let registry = crate::cli::demo::demo_registry().unwrap();
        let layout = Layout::new(&registry, START, false);
        let entered =
            Event { confidence: Some(Probability::new(0.831).unwrap()), ..event(&registry, EventKind::Entered, 7_450) };
        let dwelled =
            Event { threshold: Some(Duration::from_secs(10)), ..event(&registry, EventKind::Dwelled, 17_450) };
        let exited = Event {
            duration: Some(Duration::from_millis(125_400)),
            reason: Some(Reason::Left),
            held: true,
            ..event(&registry, EventKind::Exited, 3_725_999)
        };
        let lines = [entered, dwelled, exited].map(|event| layout.event(&event));
        assert_eq!(lines[0], "00:00:07.4  entered  Bakery                shopper-17  p=0.83");
        assert_eq!(lines[1], "00:00:17.4  dwelled  Bakery                shopper-17  10 s");
        assert_eq!(lines[2], "01:02:05.9  exited   Bakery                shopper-17  after 2 min 5 s (left, held)");
    }

    #[test]
    fn colour_changes_nothing_but_colour() {
        let registry = crate::cli::demo::demo_registry().unwrap();
        let event = event(&registry, EventKind::Exited, 1_000);
        let coloured = Layout::new(&registry, START, true).event(&event);
        assert!(coloured.contains("\x1b[2m"));
        let plain = coloured.replace("\x1b[2m", "").replace("\x1b[0m", "");
        assert_eq!(plain, Layout::new(&registry, START, false).event(&event));
    }

    #[test]
    fn the_table_sums_up_and_shows_who_was_still_there() {
        let registry = crate::cli::demo::demo_registry().unwrap();
        let mut tally = Tally::default();
        tally.add(&event(&registry, EventKind::Entered, 1));
        tally.add(&event(&registry, EventKind::Entered, 2));
        tally.add(&Event { reason: Some(Reason::Left), ..event(&registry, EventKind::Exited, 3) });
        tally.add(&Event { reason: Some(Reason::Stopped), ..event(&registry, EventKind::Exited, 4) });
        let counters = Counters { strangers: 1_234_567, without_consent: 12, ..Counters::default() };
        let table = tally.table(&registry, Duration::from_secs(90), &counters);
        let row = |name: &str| -> Vec<String> {
            let line = table.lines().find(|line| line.starts_with(name)).unwrap();
            line[name.len()..].split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(row("Bakery"), ["2", "0", "2", "1"]);
        assert_eq!(row("all zones"), ["2", "0", "2", "1"]);
        assert!(table.contains("1 234 567 of strangers, 12 of devices without consent"), "{table}");
    }
}

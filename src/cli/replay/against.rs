//! `replay --against`: what another site directory would have made of the same recording.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};

use super::matching::{Matcher, Occurrence, Pair, Side, WINDOW};
use super::words::{count, table};
use super::{Tape, quiet_when_nobody_reads, receivers, tell_what_was_passed_over};
use crate::engine::{Engine, Input, Output};
use crate::model::{ReceiverId, Timestamp, ZoneId, format_duration};
use crate::presence::{Event, EventKind, Reason};
use crate::registry::Registry;

/// An event that is moved by less is the same.
const SAME: Duration = Duration::from_secs(1);
/// Changes that are shown where nobody says how many.
const SHOWN: usize = 50;
/// How often what is old enough is settled, in event time.
const SETTLE: Duration = Duration::from_secs(30);

pub(super) struct Options {
    pub(super) epoch: String,
    pub(super) json: bool,
    pub(super) limit: Option<usize>,
}

pub(super) fn run(tape: &mut Tape, a: Registry, b: Registry, options: &Options) -> anyhow::Result<()> {
    let (mut runs, mut matcher) = ([Run::new(a, &options.epoch), Run::new(b, &options.epoch)], Matcher::default());
    let horizon = runs.iter().map(Run::latest_decision).max().unwrap_or_default() + 2 * WINDOW;
    let mut report = Report::new(&runs);
    let limit = options.limit.unwrap_or(if options.json { usize::MAX } else { SHOWN });
    let mut out = BufWriter::new(io::stdout().lock());
    let mut settled_at = Timestamp::from_millis(0);
    let mut write = || -> anyhow::Result<()> {
        while let Some((now, input)) = tape.next() {
            for (side, run) in [Side::A, Side::B].into_iter().zip(&mut runs) {
                run.handle(input.clone(), now, |event| {
                    report.count(side, event);
                    matcher.put(side, event);
                });
            }
            if now.since(settled_at) >= SETTLE {
                settled_at = now;
                for pair in matcher.settle(now - horizon) {
                    report.settle(pair, limit, options.json, &mut out)?;
                }
            }
        }
        for pair in matcher.finish() {
            report.settle(pair, limit, options.json, &mut out)?;
        }
        for (side, run) in [Side::A, Side::B].into_iter().zip(&runs) {
            run.check(side)?;
            report.end(side, run, tape.now);
        }
        if options.json {
            report.json(&mut out)?;
        } else {
            report.show(&mut out, tape)?;
        }
        Ok(out.flush()?)
    };
    quiet_when_nobody_reads(write())?;
    for (side, run) in [Side::A, Side::B].into_iter().zip(&runs) {
        tell_what_was_passed_over(&format!("{side:?}: "), &run.engine);
    }
    Ok(())
}

/// One site over the recording.
struct Run {
    engine: Engine,
    sightings: u64,
    /// Some of the receivers of the recording that the site does not have.
    unknown: BTreeSet<ReceiverId>,
    /// Visits that are open: when they began, by zone.
    open: BTreeMap<uuid::Uuid, (ZoneId, Timestamp)>,
}

impl Run {
    fn new(registry: Registry, epoch: &str) -> Self {
        let engine = Engine::new(Arc::new(registry), epoch);
        Self { engine, sightings: 0, unknown: BTreeSet::new(), open: BTreeMap::new() }
    }

    /// How long after it happened an event can be decided, where no receiver is known to be down.
    fn latest_decision(&self) -> Duration {
        let zones = self.engine.registry().zones().iter().map(|zone| &zone.presence);
        zones.map(|p| p.enter_after.max(p.exit_after).max(p.lost_after)).max().unwrap_or_default()
    }

    fn handle(&mut self, input: Input, now: Timestamp, mut each: impl FnMut(&Event)) {
        /// Enough to see what is wrong.
        const FEW: usize = 5;
        if let Input::Advertisement(heard) = &input {
            self.sightings += 1;
            if self.unknown.len() < FEW && self.engine.registry().receiver(&heard.receiver).is_none() {
                self.unknown.insert(heard.receiver.clone());
            }
        }
        self.engine.handle(input, now);
        while let Some(output) = self.engine.poll_output() {
            if let Output::Event(event) = output {
                match event.kind {
                    EventKind::Entered => {
                        self.open.insert(event.visit_id, (event.zone.id.clone(), event.observed_at));
                    }
                    EventKind::Exited => {
                        self.open.remove(&event.visit_id);
                    }
                    EventKind::Dwelled => {}
                }
                each(&event);
            }
        }
    }

    /// Whether the site can make anything of the recording.
    fn check(&self, side: Side) -> anyhow::Result<()> {
        if self.sightings > 0 && self.engine.counters().unknown_receivers == self.sightings {
            let heard: Vec<&str> = self.unknown.iter().map(ReceiverId::as_str).collect();
            bail!(
                "site {side:?} ({}) has none of the receivers of the recording, such as {}; its receivers are {}",
                if side == Side::A { "--site" } else { "--against" },
                heard.join(", "),
                receivers(self.engine.registry())
            );
        }
        Ok(())
    }
}

/// What came of one zone.
#[derive(Debug, Default)]
struct Tally {
    /// Events of each run.
    events: [u64; 2],
    same: u64,
    lost: u64,
    gained: u64,
    shifts: Shifts,
    /// Time that devices were in it, of each run, in milliseconds.
    stays_ms: [u64; 2],
}

/// Shifts of moved events, B less A. Takes a fixed amount of memory: they are no greater than the matching window.
#[derive(Debug, Default)]
struct Shifts {
    /// How many, by tenths of a second.
    tenths: BTreeMap<i64, u64>,
    count: u64,
    greatest_ms: i64,
}

impl Shifts {
    fn add(&mut self, ms: i64) {
        *self.tenths.entry((ms as f64 / 100.0).round() as i64).or_default() += 1;
        self.count += 1;
        if ms.abs() > self.greatest_ms.abs() {
            self.greatest_ms = ms;
        }
    }

    /// In seconds, to a tenth.
    fn median(&self) -> Option<f64> {
        let mut before = 0;
        let middle = self.tenths.iter().find(|(_, count)| {
            before += **count;
            2 * before >= self.count
        });
        middle.map(|(tenths, _)| *tenths as f64 / 10.0)
    }

    fn greatest(&self) -> Option<f64> {
        (self.count > 0).then_some(self.greatest_ms as f64 / 1_000.0)
    }
}

struct Report {
    /// Zones of A, then those of B alone.
    zones: Vec<ZoneId>,
    only_in: [Vec<ZoneId>; 2],
    tallies: BTreeMap<ZoneId, Tally>,
    shown: Vec<Pair>,
    changes: u64,
}

impl Report {
    fn new(runs: &[Run; 2]) -> Self {
        let [a, b] = runs
            .each_ref()
            .map(|run| run.engine.registry().zones().iter().map(|zone| zone.id.clone()).collect::<Vec<ZoneId>>());
        let without = |all: &[ZoneId], others: &[ZoneId]| -> Vec<ZoneId> {
            all.iter().filter(|zone| !others.contains(zone)).cloned().collect()
        };
        let only_in = [without(&a, &b), without(&b, &a)];
        let zones: Vec<ZoneId> = a.into_iter().chain(only_in[1].iter().cloned()).collect();
        let tallies = zones.iter().map(|zone| (zone.clone(), Tally::default())).collect();
        Self { zones, only_in, tallies, shown: Vec::new(), changes: 0 }
    }

    fn count(&mut self, side: Side, event: &Event) {
        let tally = self.tallies.entry(event.zone.id.clone()).or_default();
        tally.events[side as usize] += 1;
        if event.kind == EventKind::Exited {
            tally.stays_ms[side as usize] += event.duration.unwrap_or_default().as_millis() as u64;
        }
    }

    fn settle(&mut self, pair: Pair, limit: usize, json: bool, out: &mut dyn Write) -> io::Result<()> {
        let tally = self.tallies.entry(pair.key.1.clone()).or_default();
        match change(&pair) {
            Change::Same => {
                tally.same += 1;
                return Ok(());
            }
            Change::Moved(ms) => tally.shifts.add(ms),
            Change::Lost => tally.lost += 1,
            Change::Gained => tally.gained += 1,
        }
        self.changes += 1;
        if self.changes > limit as u64 {
            Ok(())
        } else if json {
            writeln!(out, "{}", change_json(&pair))
        } else {
            self.shown.push(pair);
            Ok(())
        }
    }

    /// Visits that are open at the end count up to then.
    fn end(&mut self, side: Side, run: &Run, now: Timestamp) {
        for (zone, since) in run.open.values() {
            let tally = self.tallies.entry(zone.clone()).or_default();
            tally.stays_ms[side as usize] += now.since(*since).as_millis() as u64;
        }
    }

    fn show(&mut self, out: &mut dyn Write, tape: &Tape) -> io::Result<()> {
        let Some(begins) = tape.begins else { return writeln!(out, "the recording holds nothing") };
        writeln!(out, "from {begins} to {} ({})", tape.now, stay(tape.now.since(begins)))?;
        writeln!(out, "A is --site, B is --against; moved: by 1 s to 60 s, + is later in B")?;
        writeln!(out)?;
        let titles =
            ["zone", "in A", "in B", "same", "moved", "median", "greatest", "lost", "gained", "stay in A", "stay in B"];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for zone in &self.zones {
            let Some(tally) = self.tallies.get(zone) else { continue };
            let mut row = vec![zone.to_string()];
            row.extend([tally.events[0], tally.events[1], tally.same, tally.shifts.count].map(|n| n.to_string()));
            row.extend([tally.shifts.median(), tally.shifts.greatest()].map(|s| s.map_or_else(String::new, signed)));
            row.extend([tally.lost, tally.gained].map(|n| n.to_string()));
            row.extend(tally.stays_ms.map(|ms| stay(Duration::from_millis(ms))));
            rows.push(row);
        }
        table(out, "", &rows, &[])?;
        for (side, only) in ["A", "B"].into_iter().zip(&self.only_in) {
            if !only.is_empty() {
                let ids: Vec<&str> = only.iter().map(ZoneId::as_str).collect();
                writeln!(out, "only in {side}: {}", ids.join(", "))?;
            }
        }
        writeln!(out)?;
        if self.changes == 0 {
            return writeln!(out, "no event is lost, gained or moved");
        }
        self.shown.sort_by_key(Pair::at);
        let lines: Vec<Vec<String>> = self.shown.iter().map(line).collect();
        table(out, "", &lines, &[1, 2, 3, 4, 5])?;
        let more = self.changes - self.shown.len() as u64;
        if more > 0 {
            writeln!(out, "and {}; --limit shows more of them", count(more, "more change"))?;
        }
        Ok(())
    }

    fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        for zone in &self.zones {
            let Some(tally) = self.tallies.get(zone) else { continue };
            let only_in = ["A", "B"].into_iter().zip(&self.only_in).find(|(_, only)| only.contains(zone));
            let line = json!({
                "zone": zone,
                "only_in": only_in.map(|(side, _)| side),
                "in_a": tally.events[0],
                "in_b": tally.events[1],
                "same": tally.same,
                "moved": tally.shifts.count,
                "median_shift_s": tally.shifts.median(),
                "greatest_shift_s": tally.shifts.greatest(),
                "lost": tally.lost,
                "gained": tally.gained,
                "stay_in_a_s": tally.stays_ms[0] as f64 / 1_000.0,
                "stay_in_b_s": tally.stays_ms[1] as f64 / 1_000.0,
            });
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Same,
    /// By so many milliseconds, later in B where positive.
    Moved(i64),
    Lost,
    Gained,
}

fn change(pair: &Pair) -> Change {
    match (pair.a, pair.b) {
        (Some(a), Some(b)) => {
            let ms = b.at.as_millis() - a.at.as_millis();
            if u128::from(ms.unsigned_abs()) < SAME.as_millis() { Change::Same } else { Change::Moved(ms) }
        }
        (None, _) => Change::Gained,
        (_, None) => Change::Lost,
    }
}

/// Time, change, kind, zone, device, and what more there is to say.
fn line(pair: &Pair) -> Vec<String> {
    let (device, zone, kind) = &pair.key;
    let reason = |side: Option<Occurrence>| side.and_then(|o| o.reason).map(Reason::as_str);
    let (word, detail) = match change(pair) {
        Change::Same => ("same", String::new()),
        Change::Lost => ("lost", reason(pair.a).map_or_else(String::new, |reason| format!("({reason})"))),
        Change::Gained => ("gained", reason(pair.b).map_or_else(String::new, |reason| format!("({reason})"))),
        Change::Moved(ms) => {
            let reasons = match (reason(pair.a), reason(pair.b)) {
                (Some(a), Some(b)) if a == b => format!(" ({a})"),
                (Some(a), Some(b)) => format!(" ({a}, in B {b})"),
                _ => String::new(),
            };
            ("moved", format!("{}{reasons}", signed(ms as f64 / 1_000.0)))
        }
    };
    vec![pair.at().to_string(), word.to_owned(), (*kind).to_owned(), zone.to_string(), device.to_string(), detail]
}

fn change_json(pair: &Pair) -> Value {
    let (device, zone, kind) = &pair.key;
    let (word, shift) = match change(pair) {
        Change::Same => ("same", None),
        Change::Moved(ms) => ("moved", Some(ms as f64 / 1_000.0)),
        Change::Lost => ("lost", None),
        Change::Gained => ("gained", None),
    };
    json!({
        "change": word,
        "device": device,
        "zone": zone,
        "kind": kind,
        "observed_at_a": pair.a.map(|a| a.at),
        "observed_at_b": pair.b.map(|b| b.at),
        "shift_s": shift,
        "reason_a": pair.a.and_then(|a| a.reason).map(Reason::as_str),
        "reason_b": pair.b.and_then(|b| b.reason).map(Reason::as_str),
    })
}

/// `+1.2 s`.
fn signed(seconds: f64) -> String {
    format!("{seconds:+.1} s")
}

fn stay(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs_f64().round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_greatest_shift_keep_their_sign() {
        let mut shifts = Shifts::default();
        assert_eq!((shifts.median(), shifts.greatest()), (None, None));
        for ms in [-5_000, 1_040, 1_200, 3_000] {
            shifts.add(ms);
        }
        assert_eq!((shifts.median(), shifts.greatest()), (Some(1.0), Some(-5.0)));
    }
}

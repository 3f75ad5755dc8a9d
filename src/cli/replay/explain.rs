//! `replay --explain`: what led to each event of one device; with `--at`, where it is at an instant and why.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::words::{count, named, table};
use super::{Tape, quiet_when_nobody_reads};
use crate::config::nearest;
use crate::engine::Engine;
use crate::engine::explain::{Explanation, ZoneExplanation, seconds};
use crate::engine::history::{EventExplanation, HeardBy, History};
use crate::model::{DeviceId, Position, Timestamp, format_duration};
use crate::presence::{EventKind, Reason, ZonePhase};
use crate::registry::{PresenceSettings, Registry};

/// Receivers that people are shown, the loudest first; `--json` has all of them.
const MOST_RECEIVERS: usize = 8;

pub(super) fn run(
    tape: &mut Tape,
    registry: Registry,
    device: &DeviceId,
    at: Option<Timestamp>,
    epoch: &str,
    json: bool,
) -> anyhow::Result<()> {
    let Some(index) = registry.device(device) else { bail!(unknown(&registry, device)) };
    let registry = Arc::new(registry);
    let mut engine = Engine::new(Arc::clone(&registry), epoch);
    let mut history = History::new(&registry, index);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut write = || -> anyhow::Result<()> {
        match at {
            None => events(tape, &mut engine, &mut history, json, &mut out)?,
            Some(at) => {
                until(tape, &mut engine, &mut history, at)?;
                let explanation = engine.explain(index);
                if json {
                    writeln!(out, "{}", instant_json(&explanation, &history))?;
                } else {
                    show_instant(&mut out, &explanation, &history)?;
                }
            }
        }
        out.flush().context("standard output cannot be written")
    };
    quiet_when_nobody_reads(write())?;
    if at.is_none() && history.events() == 0 {
        tell!("note: {device} has no event in this recording");
        let reasons = engine.explain(index).obstacles().into_iter().chain(history.refused().words());
        reasons.for_each(|reason| tell!("note: {reason}"));
    }
    Ok(())
}

/// Explains each event of the recording.
fn events(
    tape: &mut Tape,
    engine: &mut Engine,
    history: &mut History,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut is_first = true;
    while let Some((now, input)) = tape.next() {
        for event in history.handle(engine, input, now) {
            if json {
                writeln!(out, "{}", event_json(&event))?;
                continue;
            }
            if !std::mem::take(&mut is_first) {
                writeln!(out)?;
            }
            show_event(out, &event)?;
        }
    }
    Ok(())
}

/// Brings the engine to that instant of the recording.
fn until(tape: &mut Tape, engine: &mut Engine, history: &mut History, at: Timestamp) -> anyhow::Result<()> {
    while let Some((now, input)) = tape.next() {
        if now > at {
            if let Some(begins) = tape.begins.filter(|begins| at < *begins) {
                bail!("--at {at} is before the recording, which begins at {begins}");
            }
            history.advance(engine, at);
            return Ok(());
        }
        history.handle(engine, input, now);
    }
    match tape.begins {
        // The last input of all is part of the recording.
        Some(_) if at == tape.now => Ok(()),
        Some(begins) => bail!("--at {at} is after the recording, which goes from {begins} to {}", tape.now),
        None => bail!("the recording holds nothing"),
    }
}

fn unknown(registry: &Registry, device: &DeviceId) -> String {
    let known: Vec<&str> = registry.devices().iter().map(|device| device.id.as_str()).collect();
    if known.is_empty() {
        return format!("the site has no device \"{device}\"; it has none at all");
    }
    let near = nearest(device.as_str(), &known);
    let help = if near.starts_with("did") {
        near
    } else {
        let some = known[..known.len().min(10)].join(", ");
        format!("it has {}: {some}{}", count(known.len() as u64, "device"), if known.len() > 10 { ", …" } else { "" })
    };
    format!("the site has no device \"{device}\"; {help}")
}

fn show_event(out: &mut dyn Write, explained: &EventExplanation) -> io::Result<()> {
    let event = &explained.event;
    let reason = event.reason.map_or_else(String::new, |reason| format!(" ({})", reason.as_str()));
    let zone = format!("{} \"{}\"", event.zone.id, event.zone.name.escape_debug());
    writeln!(out, "{}  {} {zone}{reason}", event.observed_at, event.kind.as_str())?;
    named(out, "why", &explained.words())?;
    let later = event.decided_at.since(event.observed_at);
    let later = if later.is_zero() { "at once".to_owned() } else { format!("{} later", seconds(later)) };
    named(out, "decided", &format!("{}, {later}", event.decided_at))?;
    if let Some(duration) = event.duration.filter(|_| event.kind == EventKind::Exited) {
        named(out, "stay", &seconds(duration))?;
    }
    if let Some(position) = &event.position {
        named(out, "position", &position_words(position, event.decided_at))?;
    }
    if let Some(course) = explained.course {
        let text = if course.positions == 1 {
            format!("{:.3}, at one position", course.last)
        } else {
            format!(
                "{:.3} at first, {:.3} at the decision; from {:.3} to {:.3} over {} positions",
                course.first, course.last, course.least, course.greatest, course.positions
            )
        };
        named(out, "probability", &text)?;
    }
    show_heard(out, &explained.heard, explained.from, event.decided_at)?;
    if explained.is_cut {
        named(out, "", "(the earliest are not counted: there were too many)")?;
    }
    for outage in &explained.outages {
        let until = outage.until.map_or_else(|| "still then".to_owned(), |until| format!("until {until}"));
        named(out, "down", &format!("{} since {}, {until}", outage.receiver, outage.since))?;
    }
    if event.held {
        named(out, "held", "presence was held meanwhile, because a receiver was down")?;
    }
    Ok(())
}

fn position_words(at: &Position, now: Timestamp) -> String {
    let age = now.since(at.time);
    let age = if age < Duration::from_millis(500) { String::new() } else { format!(", {} before", seconds(age)) };
    format!("x {:.1}, y {:.1}, level {}, good to {:.1} m{age}", at.point.x, at.point.y, at.level, at.accuracy)
}

/// The sightings by receiver, as a table.
fn show_heard(out: &mut dyn Write, heard: &[HeardBy], from: Timestamp, now: Timestamp) -> io::Result<()> {
    if heard.is_empty() {
        return named(out, "heard", &format!("nothing in the {} before", seconds(now.since(from))));
    }
    let total: u64 = heard.iter().map(|by| by.count).sum();
    named(out, "heard", &format!("{} in the {} before", count(total, "time"), seconds(now.since(from))))?;
    let mut rows: Vec<Vec<String>> =
        vec![["receiver", "count", "mean dBm", "last dBm", "last before"].map(str::to_owned).to_vec()];
    rows.extend(heard.iter().take(MOST_RECEIVERS).map(|by| {
        let age = seconds(now.since(by.last));
        let radio = by.receiver.as_ref().map(ToString::to_string);
        match radio.or_else(|| by.beacon.as_ref().map(|beacon| format!("{beacon} (a beacon)"))) {
            Some(radio) => {
                vec![radio, by.count.to_string(), format!("{:.1}", by.mean), format!("{:.1}", by.last_rssi), age]
            }
            None => vec!["(its own report)".to_owned(), by.count.to_string(), String::new(), String::new(), age],
        }
    }));
    table(out, "                 ", &rows, &[])?;
    match heard.len().saturating_sub(MOST_RECEIVERS) {
        0 => Ok(()),
        more => named(out, "", &format!("and {more} more that heard it fainter")),
    }
}

fn show_instant(out: &mut dyn Write, explained: &Explanation, history: &History) -> io::Result<()> {
    let device = &explained.device;
    writeln!(out, "{}  {} ({})", explained.at, device.id, device.kind.as_str())?;
    for obstacle in explained.obstacles() {
        named(out, "note", &obstacle)?;
    }
    for refused in history.refused().words() {
        named(out, "refused", &refused)?;
    }
    let Some(last) = explained.last_seen else { return Ok(()) };
    if let Some(position) = &explained.position {
        named(out, "position", &position_words(position, explained.at))?;
    } else {
        named(out, "position", "none yet")?;
    }
    let from = last - Duration::from_secs(10);
    show_heard(out, &history.lately(), from, explained.at)?;
    if explained.zones.iter().all(|zone| zone.zone.id.is_site()) {
        named(out, "zones", "none with a probability above 0.01")?;
    }
    for zone in &explained.zones {
        let name = if zone.zone.id.is_site() { "the whole store".to_owned() } else { zone.zone.id.to_string() };
        writeln!(out, "  {name}")?;
        named(out, zone.phase_word(), strip(&zone.words(explained.at), zone.phase_word()))?;
    }
    Ok(())
}

/// The words without the phase that they begin with.
fn strip<'w>(words: &'w str, phase: &str) -> &'w str {
    words.strip_prefix(phase).map_or(words, |rest| rest.trim_start_matches([':', ' ']))
}

fn event_json(explained: &EventExplanation) -> Value {
    let event = &explained.event;
    json!({
        "id": event.id,
        "device": event.device.id,
        "zone": event.zone.id,
        "kind": event.kind.as_str(),
        "observed_at": event.observed_at,
        "decided_at": event.decided_at,
        "reason": event.reason.map(Reason::as_str),
        "initial": event.initial,
        "held": event.held,
        "duration_s": event.duration.map(|duration| duration.as_secs_f64()),
        "threshold_s": event.threshold.map(|threshold| threshold.as_secs_f64()),
        "why": explained.words(),
        "settings": settings_json(&event.zone.presence),
        "position": event.position.as_ref().map(position_json),
        "probability": explained.course.map(|course| json!({
            "first": rounded(course.first, 4),
            "at_decision": rounded(course.last, 4),
            "min": rounded(course.least, 4),
            "max": rounded(course.greatest, 4),
            "positions": course.positions,
        })),
        "from": explained.from,
        "complete": !explained.is_cut,
        "heard": heard_json(&explained.heard, event.decided_at),
        "down": explained.outages.iter().map(|outage| json!({
            "receiver": outage.receiver,
            "since": outage.since,
            "until": outage.until,
        })).collect::<Vec<_>>(),
    })
}

fn instant_json(explained: &Explanation, history: &History) -> Value {
    let mut notes = explained.obstacles();
    notes.extend(history.refused().words());
    json!({
        "at": explained.at,
        "device": explained.device.id,
        "kind": explained.device.kind.as_str(),
        "tracked": explained.device.may_be_tracked(),
        "beacons": explained.beacons,
        "notes": notes,
        "last_seen": explained.last_seen,
        "position": explained.position.as_ref().map(position_json),
        "heard": heard_json(&history.lately(), explained.at),
        "zones": explained.zones.iter().map(|zone| zone_json(zone, explained.at)).collect::<Vec<_>>(),
    })
}

fn zone_json(zone: &ZoneExplanation, at: Timestamp) -> Value {
    let (since, due, entered_at) = match zone.phase {
        ZonePhase::Outside => (None, None, None),
        ZonePhase::Entering { since, due } => (Some(since), Some(due), None),
        ZonePhase::Inside { since, .. } => (Some(since), None, Some(since)),
        ZonePhase::Leaving { since, due, entered_at, .. } => (Some(since), Some(due), Some(entered_at)),
    };
    json!({
        "zone": zone.zone.id,
        "phase": zone.phase_word(),
        "since": since,
        "due": due,
        "entered_at": entered_at,
        "probability": zone.probability.map(|p| rounded(p.get(), 4)),
        "lost_at": zone.lost_at,
        "held_until": zone.held.as_ref().map(|(_, until)| until),
        "held_by": zone.held.as_ref().map(|(receivers, _)| receivers),
        "why": zone.words(at),
        "settings": settings_json(&zone.zone.presence),
    })
}

fn settings_json(settings: &PresenceSettings) -> Value {
    json!({
        "enter_probability": settings.enter_probability,
        "enter_after": format_duration(settings.enter_after),
        "exit_probability": settings.exit_probability,
        "exit_after": format_duration(settings.exit_after),
        "lost_after": format_duration(settings.lost_after),
        "max_hold": format_duration(settings.max_hold),
    })
}

fn position_json(at: &Position) -> Value {
    json!({
        "x": rounded(at.point.x, 3),
        "y": rounded(at.point.y, 3),
        "level": at.level,
        "accuracy": rounded(at.accuracy, 3),
        "time": at.time,
    })
}

fn heard_json(heard: &[HeardBy], now: Timestamp) -> Vec<Value> {
    let one = |by: &HeardBy| {
        let of_radio = by.receiver.is_some() || by.beacon.is_some();
        json!({
            "receiver": by.receiver,
            "beacon": by.beacon,
            "count": by.count,
            "mean_rssi": of_radio.then(|| rounded(by.mean, 2)),
            "last_rssi": of_radio.then_some(by.last_rssi),
            "age_s": now.since(by.last).as_secs_f64(),
        })
    };
    heard.iter().map(one).collect()
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale + 0.0
}

//! What a calibration has learned and what it is worth: a table for people, an object for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::gather::Gathered;
use super::{Comparison, Outcome};
use crate::position::survey::holdout::{FOLDS, Pair};
use crate::registry::{Calibration, ReceiverCalibration, Registry};

/// The table.
pub(super) fn table(registry: &Registry, gathered: &Gathered, outcome: &Outcome, file: &Path) -> String {
    let mut out = String::new();
    let Some((calibration, comparison)) = &outcome.learned else { return out };
    // Writing into a string cannot fail.
    let _ = heading(&mut out, registry, gathered, calibration);
    let _ = receivers(&mut out, registry, calibration, comparison);
    let _ = worth(&mut out, comparison);
    let _ = match outcome.written {
        Some(bytes) => writeln!(out, "\nwrote {} ({} KB)", file.display(), bytes.div_ceil(1_000)),
        None if outcome.refusal.is_none() => writeln!(out, "\n{} is not written (--dry-run)", file.display()),
        None => Ok(()),
    };
    out
}

fn heading(out: &mut String, registry: &Registry, gathered: &Gathered, of: &Calibration) -> std::fmt::Result {
    let recording = &of.recording;
    writeln!(
        out,
        "Site \"{}\": {} sightings at {} known places ({} points, {} fixed beacons)",
        registry.site().id,
        thousands(recording.sightings),
        thousands(recording.points),
        gathered.points - gathered.silent.len(),
        gathered.fixed
    )?;
    writeln!(out, "from {} to {}", recording.from, recording.to)?;
    let beacons: Vec<String> = of
        .beacons
        .iter()
        .take(5)
        .map(|beacon| format!("\"{}\" gives {:.1} dBm at 1 m", beacon.id, beacon.measured_power.get()))
        .collect();
    let more = of.beacons.len().saturating_sub(beacons.len());
    let more = if more > 0 { format!(", and {more} more beacons") } else { String::new() };
    writeln!(out, "Signals fade with the exponent {:.2}; {}{more}", of.path_loss_exponent, beacons.join(", "))
}

fn receivers(out: &mut String, registry: &Registry, of: &Calibration, comparison: &Comparison) -> std::fmt::Result {
    let width = registry.receivers().iter().map(|receiver| receiver.id.as_str().len()).max().unwrap_or(0).max(8);
    writeln!(out, "\n{:width$}                    law fitted                        error of the level, dB", "")?;
    writeln!(out, "{:width$}  points  at 1 m dBm  exponent  offset dB  spread dB   before    after", "receiver")?;
    for receiver in registry.receivers() {
        let Some(found) = of.receivers.iter().find(|found| found.id == receiver.id) else {
            writeln!(out, "{:width$}  heard from too few places: it goes on without a survey", receiver.id.as_str())?;
            continue;
        };
        let error = error_of(registry, comparison, found);
        let (before, after) = error.map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |pair| (format!("{:.1}", pair.before), format!("{:.1}", pair.after)),
        );
        writeln!(
            out,
            "{:width$}  {:6}  {:10.1}  {:8.2}  {:+9.1}  {:9.1}  {before:>7}  {after:>7}",
            found.id.as_str(),
            found.points.len(),
            found.power,
            found.exponent,
            found.rssi_offset,
            found.sd,
        )?;
    }
    Ok(())
}

fn worth(out: &mut String, comparison: &Comparison) -> std::fmt::Result {
    let Comparison { places, block, level, position, .. } = comparison;
    writeln!(out, "\nOn points that were held out ({places} places, blocks of {block:.1} m in {FOLDS} parts):")?;
    writeln!(out, "{:32}   before    after", "")?;
    writeln!(
        out,
        "{:32}  {:7.2}  {:7.2}  {}",
        "error of the level, dB (rms)",
        level.before,
        level.after,
        change(level)
    )?;
    writeln!(
        out,
        "{:32}  {:7.2}  {:7.2}  {}",
        "error of the position, m (mean)",
        position.before,
        position.after,
        change(position)
    )
}

fn change(pair: &Pair) -> String {
    if pair.before > 0.0 { format!("{:+.0} %", 100.0 * (pair.after / pair.before - 1.0)) } else { String::new() }
}

fn error_of(registry: &Registry, comparison: &Comparison, of: &ReceiverCalibration) -> Option<Pair> {
    let at = registry.receiver(&of.id)?;
    comparison.receivers.iter().find(|(receiver, _)| *receiver == at).map(|(_, pair)| *pair)
}

/// `12,345`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The object, on one line.
pub(super) fn json(registry: &Registry, gathered: &Gathered, outcome: &Outcome, file: &Path) -> String {
    let learned = outcome.learned.as_ref();
    let value = json!({
        "ok": outcome.refusal.is_none(),
        "site": registry.site().id,
        "file": file.to_string_lossy(),
        "written": outcome.written.is_some(),
        "refusal": outcome.refusal,
        "recording": {
            "sightings": gathered.recording.sightings,
            "points": gathered.points,
            "points_without_sighting": gathered.silent.len(),
            "fixed_beacons": gathered.fixed,
            "sightings_at_no_point": gathered.outside,
            "strangers": gathered.strangers,
            "unknown_receivers": gathered.unknown_receivers,
            "faulty_lines": gathered.faulty,
        },
        "path_loss_exponent": learned.map(|(of, _)| of.path_loss_exponent),
        "measured_power": learned.map(|(of, _)| of.measured_power),
        "beacons": learned.map(|(of, _)| of.beacons.iter().map(|beacon| json!({
            "id": beacon.id,
            "measured_power": beacon.measured_power,
            "sightings": beacon.sightings,
        })).collect::<Vec<_>>()),
        "receivers": learned.map(|(of, comparison)| of.receivers.iter().map(|found| json!({
            "id": found.id,
            "points": found.points.len(),
            "power": found.power,
            "exponent": found.exponent,
            "rssi_offset": found.rssi_offset,
            "sd": found.sd,
            "held_out_level_db": error_of(registry, comparison, found).as_ref().map(pair),
        })).collect::<Vec<_>>()),
        "held_out": learned.map(|(_, comparison)| json!({
            "places": comparison.places,
            "parts": FOLDS,
            "block_m": comparison.block,
            "level_db": pair(&comparison.level),
            "position_m": pair(&comparison.position),
        })),
    });
    format!("{value}\n")
}

fn pair(pair: &Pair) -> Value {
    let short = |number: f64| (number * 1_000.0).round() / 1_000.0;
    json!({ "before": short(pair.before), "after": short(pair.after), "count": pair.count })
}

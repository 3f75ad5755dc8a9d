//! One record out of JSON, judged by the readers of the files.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::rows::{AsToml, Holds, read_row};
use super::unnamed;
use crate::config::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use crate::config::site::beacons::{self, KnownDevices};
use crate::config::site::json::Source;
use crate::config::site::site_file::{self, Plan};
use crate::config::site::triggers::{self, Known};
use crate::config::site::{devices, floor_plan, zones};
use crate::config::toml_file::{Document, Keys};
use crate::model::LevelOrdinal;
use crate::registry::{FloorPlan, Kind, Level, Record, Registry};

/// The most that is read of a record: the outline of a level or of a zone, with its metadata.
const MAX_BYTES: usize = 4 << 20;

const BEACON: [(&str, Holds); 7] = [
    ("id", Holds::Text),
    ("identity", Holds::Text),
    ("device", Holds::Text),
    ("x", Holds::Number),
    ("y", Holds::Number),
    ("level", Holds::Number),
    ("measured_power", Holds::Number),
];
const DEVICE: [(&str, Holds); 4] =
    [("id", Holds::Text), ("kind", Holds::Text), ("consent", Holds::Texts), ("labels", Holds::Labels)];

/// Reads a record of that kind: its levels and devices are those of `within`. The diagnostics beside it are warnings, all
/// with the lines of `text`, and of no file.
///
/// The floor plan of a level may leave out what is known of its picture. Whether another thing has the same identity is
/// for the registry to say.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn from_json(kind: Kind, text: &str, within: &Registry) -> Result<(Record, Vec<Diagnostic>), Faults> {
    let report = FileReport::new("".into());
    if text.len() > MAX_BYTES {
        let message = format!("the {kind} takes {} bytes, more than {MAX_BYTES}", text.len());
        report.error(message).help("keep what is large in the back end");
        return conclude(None, report.finish());
    }
    let source = Source::new(text.trim_end());
    let Some(root) = source.root_or_fault(&report) else { return conclude(None, report.finish()) };
    let plan = Plan::of(within);
    match kind {
        Kind::Zone => {
            let zone = zones::read_one(&report, &source, root, &plan);
            conclude(zone.map(|zone| Record::Zone(Arc::new(zone))), report.finish())
        }
        Kind::Beacon => {
            let beacon = read_row(&report, &source, root, unnamed(kind), &BEACON, |row| {
                beacons::beacon(row, &plan, KnownDevices::Registry(within), &mut beacons::Seen::default())
            });
            conclude(beacon.map(|beacon| Record::Beacon(Arc::new(beacon))), report.finish())
        }
        Kind::Device => {
            let device = read_row(&report, &source, root, unnamed(kind), &DEVICE, |row| {
                devices::device(row, &mut HashMap::new())
            });
            conclude(device.map(|device| Record::Device(Arc::new(device))), report.finish())
        }
        Kind::Site => as_toml(report, &source, root, kind, site_file::SITE_KEYS, |keys| {
            let site = site_file::head(keys).with(within.site().levels.clone())?;
            Some(Record::Site(Box::new(site)))
        }),
        Kind::Level => as_toml(report, &source, root, kind, site_file::LEVEL_KEYS, |keys| {
            let ordinal = site_file::level_ordinal(keys)?;
            let known = within.site().levels.iter().find(|level| level.ordinal == ordinal);
            let plan = floor_plan_of(keys, ordinal, known.and_then(|level| level.plan.as_ref()));
            if let Ok(Some(plan)) = &plan {
                let others = within.site().levels.iter().filter(|level| level.ordinal != ordinal);
                let of =
                    others.into_iter().find(|level| level.plan.as_ref().is_some_and(|other| other.file == plan.file));
                if let Some(of) = of {
                    let message = format!("the file \"{}\" is the plan of level {}", plan.file, of.ordinal);
                    keys.fault_at("plan", message, Some("give each plan a file of its own"));
                }
            }
            let level = site_file::level(keys, ordinal);
            Some(Record::Level(Level { plan: plan.ok()?, ..level }))
        }),
        Kind::TriggerSettings => as_toml(report, &source, root, kind, triggers::SETTINGS_KEYS, |keys| {
            Some(Record::TriggerSettings(Arc::new(triggers::settings(keys))))
        }),
        Kind::Trigger => as_toml(report, &source, root, kind, triggers::TRIGGER_KEYS, |keys| {
            let rule = triggers::trigger(keys, &Known::of(within), &within.rules().settings)?;
            Some(Record::Trigger(Arc::new(rule)))
        }),
        Kind::Receiver => as_toml(report, &source, root, kind, site_file::RECEIVER_KEYS, |keys| {
            let id = site_file::receiver_id(keys);
            site_file::receiver(keys, id, &plan).map(|receiver| Record::Receiver(Arc::new(receiver)))
        }),
    }
}

/// Reads the object as a table of TOML.
fn as_toml(
    report: FileReport,
    source: &Source<'_>,
    root: &RawValue,
    kind: Kind,
    known: &'static [&'static str],
    read: impl FnOnce(&mut Keys<'_, '_>) -> Option<Record>,
) -> Result<(Record, Vec<Diagnostic>), Faults> {
    let Some(toml) = AsToml::new(&report, source, root, unnamed(kind)) else { return conclude(None, report.finish()) };
    if report.has_errors() {
        return conclude(None, report.finish());
    }
    let record = {
        let document = Document::parse(&toml.text, &report);
        let mut keys = document.root(&report, known);
        read(&mut keys)
    };
    let name = record.as_ref().map_or_else(|| unnamed(kind).to_owned(), |record| record.key().to_string());
    let said = report.finish().into_iter().map(|diagnostic| toml.said_of_json(diagnostic, &name)).collect();
    conclude(record, said)
}

/// The fault is already reported.
struct Reported;

fn floor_plan_of(
    keys: &Keys<'_, '_>,
    ordinal: LevelOrdinal,
    known: Option<&FloorPlan>,
) -> Result<Option<FloorPlan>, Reported> {
    if !keys.has("plan") {
        return Ok(None);
    }
    let entry = floor_plan::entry(keys, floor_plan::KEYS_WITH_FACTS).ok_or(Reported)?;
    let known_facts = known.map(|plan| (plan.media_type, plan.width, plan.height));
    let Some(facts) = entry.facts.or(known_facts) else {
        keys.fault_at("plan", "the level has no picture yet", Some("upload the picture first, then say where it lies"));
        return Err(Reported);
    };
    // A picture of another format cannot keep its name.
    let known_file = known.filter(|plan| plan.media_type == facts.0).map(|plan| plan.file.clone());
    let file = entry.file.clone().or(known_file);
    Ok(Some(entry.with(file.unwrap_or_else(|| format!("floor-{ordinal}.{}", facts.0.extension())), facts)))
}

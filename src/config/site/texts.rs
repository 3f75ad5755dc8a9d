//! The files of a site as texts in memory: for an import of one of them, and for all at once.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::beacons::{self, KnownDevices};
use super::site_file::Plan;
use super::{BEACONS, CALIBRATION, DEVICES, Files, Plans, SITE, TRIGGERS, ZONES, devices, load_from, triggers, zones};
use crate::config::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use crate::config::text::{ReadError, nearest, short};
use crate::model::BeaconId;
use crate::registry::{Record, Registry};

/// Reads a `zones.geojson`: its zones are on levels of `within`. `name` is what messages call the file.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn read_zones_text(name: &str, text: String, within: &Registry) -> Result<(Vec<Record>, Vec<Diagnostic>), Faults> {
    let report = FileReport::of_text(name, text);
    let zones = zones::load(&report, &Plan::of(within));
    conclude(Some(zones.into_iter().map(|zone| Record::Zone(Arc::new(zone))).collect()), report.finish())
}

/// Reads a `devices.csv`.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn read_devices_text(name: &str, text: String) -> Result<(Vec<Record>, Vec<Diagnostic>), Faults> {
    let report = FileReport::of_text(name, text);
    let devices = devices::load(&report).devices;
    conclude(Some(devices.into_iter().map(|device| Record::Device(Arc::new(device))).collect()), report.finish())
}

/// Reads a `beacons.csv`: its beacons are carried by devices of `within`, and add to its beacons. Where they are to take the
/// place of all of them, `within` must have none.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn read_beacons_text(
    name: &str,
    text: String,
    within: &Registry,
) -> Result<(Vec<Record>, Vec<Diagnostic>), Faults> {
    let report = FileReport::of_text(name, text);
    let (beacons, lines) = beacons::load_with_lines(&report, &Plan::of(within), KnownDevices::Registry(within));
    let named: HashSet<&BeaconId> = beacons.iter().map(|beacon| &beacon.id).collect();
    for (beacon, line) in beacons.iter().zip(lines) {
        let Some(owner) = within.beacon_of(&beacon.identity).map(|at| &within.beacons()[at.get()].id) else { continue };
        if *owner != beacon.id && !named.contains(owner) {
            report
                .error(format!("the identity {} is that of the registered beacon \"{owner}\"", beacon.identity))
                .at(line)
                .of(format!("beacon \"{}\"", beacon.id))
                .help("give each beacon its own, or remove the registered one first");
        }
    }
    conclude(Some(beacons.into_iter().map(|beacon| Record::Beacon(Arc::new(beacon))).collect()), report.finish())
}

/// Reads a `triggers.toml`: its rules name zones and beacons of `within`. Where it has no settings, those of `within` stay, unless
/// it is to take the place of all there is.
///
/// # Errors
/// All faults at once, warnings among them.
pub fn read_triggers_text(
    name: &str,
    text: String,
    within: &Registry,
    replaces: bool,
) -> Result<(Vec<Record>, Vec<Diagnostic>), Faults> {
    let report = FileReport::of_text(name, text);
    let kept = (!replaces).then_some(&*within.rules().settings);
    let (rules, has_settings) = triggers::load_within(&report, &triggers::Known::of(within), kept);
    let settings = (has_settings || replaces).then_some(Record::TriggerSettings(rules.settings));
    let records = settings.into_iter().chain(rules.triggers.into_iter().map(Record::Trigger)).collect();
    conclude(Some(records), report.finish())
}

/// Reads a whole site from texts by the names of their files, and pictures by theirs; as [`super::load_site`], but a file
/// of zones, beacons or devices that is missing holds none.
///
/// # Errors
/// All faults of all files at once, warnings among them.
pub fn read_site_texts(
    files: BTreeMap<String, String>,
    pictures: BTreeMap<String, Vec<u8>>,
) -> Result<(Registry, Plans, Vec<Diagnostic>), Faults> {
    let known = [SITE, ZONES, BEACONS, DEVICES, TRIGGERS, CALIBRATION];
    let mut said = Vec::new();
    for name in files.keys().filter(|name| !known.contains(&name.as_str())) {
        let message = format!("\"{}\" is no file of a site", short(name));
        said.push(Diagnostic::error(Path::new(name), message).help(nearest(name, &known)));
    }
    let texts = Texts { files, pictures };
    let mut loaded = load_from(&texts, true);
    let named: HashSet<&str> = loaded
        .registry
        .iter()
        .flat_map(|registry| &registry.site().levels)
        .filter_map(|level| level.plan.as_ref())
        .map(|plan| plan.file.as_str())
        .collect();
    if loaded.registry.is_some() {
        for name in texts.pictures.keys().filter(|name| !named.contains(name.as_str())) {
            let message = "no level of site.toml names the picture; it is ignored";
            said.push(Diagnostic::warning(Path::new(name), message));
        }
    }
    loaded.diagnostics.extend(said);
    loaded.with_plans()
}

struct Texts {
    files: BTreeMap<String, String>,
    pictures: BTreeMap<String, Vec<u8>>,
}

impl Files for Texts {
    fn name(&self) -> &Path {
        Path::new("")
    }

    fn report(&self, name: &str) -> Option<FileReport> {
        match self.files.get(name) {
            Some(text) => Some(FileReport::of_text(name, text.clone())),
            // What must be there is there, and empty.
            None => (name == SITE).then(|| FileReport::of_text(name, "")),
        }
    }

    fn picture(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        self.pictures.get(name).cloned().ok_or(ReadError::Missing)
    }
}

#[cfg(test)]
mod tests;

//! The site directory: `site.toml`, `zones.geojson`, `beacons.csv`, `devices.csv`, `triggers.toml` and `calibration.json` where there are such, and
//! the floor plans that `site.toml` names.
//!
//! Each file is read to its end whatever is wrong with it, every fault with its line; what one file says about another
//! is checked with what could be read. A record that failed still lends its id to those that name it, so that one
//! slip is one fault.

mod beacons;
mod calibration;
mod csv;
mod devices;
#[cfg(test)]
mod fixture;
mod floor_plan;
mod forms;
pub(super) mod geometry;
mod imdf;
mod json;
mod labels;
mod points;
mod presence;
mod shape;
mod site_file;
mod texts;
mod triggers;
mod write;
mod write_dir;
mod zones;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use calibration::calibration_text;
pub use forms::{etag, from_json, from_stored, record_from_stored, to_json, zone_json_with_shape};
pub use imdf::{Account, Accounting, Imdf, Skipped, read_imdf};
pub use points::{WalkPoint, load_points};
pub use texts::{read_beacons_text, read_devices_text, read_site_texts, read_triggers_text, read_zones_text};
pub use triggers::unusable;
pub use write::site_texts;
pub use write_dir::{WriteSiteError, write_site};

use beacons::KnownDevices;
use devices::DevicesFile;

use super::diagnostic::{Diagnostic, Faults, FileReport, Severity, conclude};
use super::plan_image::{MAX_PLAN_BYTES, PlanImage};
use super::text::{self, ReadError};
use crate::model::{LevelOrdinal, ReceiverId};
use crate::registry::Registry;

/// The files, in the order in which their faults are reported.
pub(super) const FILES: [&str; 6] = [SITE, ZONES, BEACONS, DEVICES, TRIGGERS, CALIBRATION];

/// What `calibrate` has learned, in a site directory; it need not be there.
pub const CALIBRATION: &str = "calibration.json";

const SITE: &str = "site.toml";
const ZONES: &str = "zones.geojson";
const BEACONS: &str = "beacons.csv";
const DEVICES: &str = "devices.csv";
/// The rules, in a site directory; it need not be there.
pub const TRIGGERS: &str = "triggers.toml";

/// The pictures of a site's levels.
pub type Plans = BTreeMap<LevelOrdinal, PlanImage>;

/// What could be read of a site directory.
#[derive(Debug)]
pub(super) struct Loaded {
    /// None where anything is faulty.
    pub(super) registry: Option<Registry>,
    pub(super) plans: Plans,
    /// The ids of all receivers, faulty ones too; none where they are not all known.
    pub(super) receivers: Option<Vec<ReceiverId>>,
    /// In the order of files and lines.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    fn with_plans(self) -> Result<(Registry, Plans, Vec<Diagnostic>), Faults> {
        let plans = self.plans;
        conclude(self.registry, self.diagnostics).map(|(registry, diagnostics)| (registry, plans, diagnostics))
    }
}

/// Reads a site directory into a registry; the diagnostics beside it are warnings.
///
/// # Errors
/// All faults of all files at once, warnings among them.
pub fn load_site(dir: &Path) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    let loaded = load(dir);
    conclude(loaded.registry, loaded.diagnostics)
}

/// As [`load_site`], with the pictures of its levels.
///
/// # Errors
/// As [`load_site`].
pub fn load_site_with_plans(dir: &Path) -> Result<(Registry, Plans, Vec<Diagnostic>), Faults> {
    load(dir).with_plans()
}

/// Why there is no such site directory; none where there is one.
pub(super) fn missing(dir: &Path) -> Option<String> {
    match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => None,
        Ok(_) => Some("this is not a directory".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("there is no such directory".to_owned()),
        Err(error) => Some(format!("the directory cannot be read: {error}")),
    }
}

/// As [`load_site`], as if there was no `calibration.json`: one that is faulty must not stand in the way of a better one.
///
/// # Errors
/// As [`load_site`].
pub fn load_site_uncalibrated(dir: &Path) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    let loaded = load_with(dir, false);
    conclude(loaded.registry, loaded.diagnostics)
}

pub(super) fn load(dir: &Path) -> Loaded {
    load_with(dir, true)
}

fn load_with(dir: &Path, calibration: bool) -> Loaded {
    if let Some(reason) = missing(dir) {
        let fault = Diagnostic::error(dir, reason).help("name the directory that holds site.toml");
        return Loaded { registry: None, plans: Plans::new(), receivers: None, diagnostics: vec![fault] };
    }
    load_from(&Directory(dir), calibration)
}

/// The files of a site directory that is part of the program.
#[derive(Debug, Clone, Copy)]
pub struct BundledSite {
    /// `site.toml`.
    pub site: &'static str,
    /// `zones.geojson`.
    pub zones: &'static str,
    /// `beacons.csv`.
    pub beacons: &'static str,
    /// `devices.csv`.
    pub devices: &'static str,
    /// `triggers.toml`; empty where there is none.
    pub triggers: &'static str,
    /// The pictures, by the names of their files.
    pub plans: &'static [(&'static str, &'static [u8])],
}

/// Reads a bundled site as [`load_site`] reads a directory.
///
/// # Errors
/// As [`load_site`].
pub fn load_bundled_site(files: &BundledSite) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    load_bundled_site_with_plans(files).map(|(registry, _, diagnostics)| (registry, diagnostics))
}

/// As [`load_bundled_site`], with the pictures of its levels.
///
/// # Errors
/// As [`load_site`].
pub fn load_bundled_site_with_plans(files: &BundledSite) -> Result<(Registry, Plans, Vec<Diagnostic>), Faults> {
    load_from(files, false).with_plans()
}

/// Where the files of a site are.
trait Files {
    /// What stands for the whole in messages.
    fn name(&self) -> &Path;

    /// The report of that file, which tells where it is read; none where there is none and none is needed.
    fn report(&self, name: &str) -> Option<FileReport>;

    /// The bytes of that picture; why there are none.
    fn picture(&self, name: &str) -> Result<Vec<u8>, ReadError>;
}

struct Directory<'a>(&'a Path);

impl Files for Directory<'_> {
    fn name(&self) -> &Path {
        self.0
    }

    fn report(&self, name: &str) -> Option<FileReport> {
        let file = self.0.join(name);
        // One that cannot be followed or read is a fault, not none.
        let is_there = ![CALIBRATION, TRIGGERS].contains(&name) || file.symlink_metadata().is_ok();
        is_there.then(|| FileReport::new(file))
    }

    fn picture(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        text::read_bytes(&self.0.join(name), MAX_PLAN_BYTES as u64)
    }
}

impl Files for BundledSite {
    fn name(&self) -> &Path {
        Path::new("bundled site")
    }

    fn report(&self, name: &str) -> Option<FileReport> {
        let text = match name {
            SITE => self.site,
            ZONES => self.zones,
            BEACONS => self.beacons,
            DEVICES => self.devices,
            TRIGGERS if !self.triggers.is_empty() => self.triggers,
            _ => return None,
        };
        Some(FileReport::of_text(name, text))
    }

    fn picture(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let found = self.plans.iter().find(|(known, _)| *known == name);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or(ReadError::Missing)
    }
}

fn load_from(files: &dyn Files, calibration: bool) -> Loaded {
    let site_report = files.report(SITE).unwrap_or_else(|| FileReport::new(SITE.into()));
    let mut site = site_file::load(&site_report);
    let plans = floor_plan::read_pictures(&site_report, &mut site, |name| files.picture(name));
    let zones_report = files.report(ZONES);
    let zones = zones_report.as_ref().map(|report| zones::load(report, &site.plan)).unwrap_or_default();
    let devices_report = files.report(DEVICES);
    let devices = devices_report.as_ref().map_or_else(DevicesFile::none, devices::load);
    let beacons_report = files.report(BEACONS);
    let known = devices.ids.as_ref().map_or(KnownDevices::Any, KnownDevices::File);
    let beacons = beacons_report.as_ref().map(|report| beacons::load(report, &site.plan, known)).unwrap_or_default();
    let calibration_report = calibration.then(|| files.report(CALIBRATION)).flatten();
    let calibration = calibration_report.as_ref().and_then(|report| {
        let is_sound = !beacons_report.as_ref().is_some_and(FileReport::has_errors);
        let known = calibration::Known { site: &site, beacons: is_sound.then_some(&beacons) };
        calibration::load(report, &known)
    });

    let triggers_report = files.report(TRIGGERS);
    let rules = triggers_report.as_ref().map(|report| {
        let is_sound = |of: &Option<FileReport>| !of.as_ref().is_some_and(FileReport::has_errors);
        let zones = is_sound(&zones_report).then_some(zones.as_slice());
        let beacons = is_sound(&beacons_report).then_some(beacons.as_slice());
        triggers::load(report, &triggers::Known::of_files(zones, beacons))
    });

    let mut diagnostics = Vec::new();
    let reports =
        [Some(site_report), zones_report, beacons_report, devices_report, triggers_report, calibration_report];
    for report in reports.into_iter().flatten() {
        diagnostics.extend(report.finish());
    }
    let is_sound = diagnostics.iter().all(|d| d.severity == Severity::Warning);
    let registry = site.site.filter(|_| is_sound).and_then(|itself| {
        Registry::new(itself, site.receivers, zones, beacons, devices.devices)
            .map(|registry| registry.with_calibration(calibration))
            .and_then(|registry| registry.with_rules(Arc::new(rules.unwrap_or_default())))
            // The readers check all of this with lines; what still comes through is not to be lost.
            .map_err(|errors| diagnostics.extend(errors.iter().map(|e| Diagnostic::error(files.name(), e.to_string()))))
            .ok()
    });
    Loaded { registry, plans, receivers: site.receiver_ids, diagnostics }
}

//! The site directory: `site.toml`, `zones.geojson`, `beacons.csv`, `devices.csv`, and `calibration.json` where there is one.
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
mod json;
mod labels;
mod points;
mod presence;
mod shape;
mod site_file;
mod zones;

use std::io;
use std::path::Path;

pub use calibration::calibration_text;
pub use forms::{etag, from_json, from_stored, record_from_stored, to_json, zone_json_with_shape};
pub use points::{WalkPoint, load_points};

use beacons::KnownDevices;

use super::diagnostic::{Diagnostic, Faults, FileReport, Severity, conclude};
use crate::model::ReceiverId;
use crate::registry::Registry;

/// The files, in the order in which their faults are reported.
pub(super) const FILES: [&str; 6] =
    ["site.toml", "zones.geojson", "beacons.csv", "devices.csv", NOT_YET[0], CALIBRATION];

/// Files that a later version reads; ignored, with a warning.
const NOT_YET: [&str; 1] = ["triggers.toml"];

/// What `calibrate` has learned, in a site directory; it need not be there.
pub const CALIBRATION: &str = "calibration.json";

const SITE: &str = "site.toml";
const ZONES: &str = "zones.geojson";
const BEACONS: &str = "beacons.csv";
const DEVICES: &str = "devices.csv";

/// What could be read of a site directory.
#[derive(Debug)]
pub(super) struct Loaded {
    /// None where anything is faulty.
    pub(super) registry: Option<Registry>,
    /// The ids of all receivers, faulty ones too; none where they are not all known.
    pub(super) receivers: Option<Vec<ReceiverId>>,
    /// In the order of files and lines.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Reads a site directory into a registry; the diagnostics beside it are warnings.
///
/// # Errors
/// All faults of all files at once, warnings among them.
pub fn load_site(dir: &Path) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    let loaded = load(dir);
    conclude(loaded.registry, loaded.diagnostics)
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
    // One that cannot be followed or read is a fault, not none.
    load_with(dir, dir.join(CALIBRATION).symlink_metadata().is_ok())
}

fn load_with(dir: &Path, calibration: bool) -> Loaded {
    if let Some(reason) = missing(dir) {
        let fault = Diagnostic::error(dir, reason).help("name the directory that holds site.toml");
        return Loaded { registry: None, receivers: None, diagnostics: vec![fault] };
    }
    load_from(dir, calibration, |name| FileReport::new(dir.join(name)))
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
}

/// Reads a bundled site as [`load_site`] reads a directory.
///
/// # Errors
/// As [`load_site`].
pub fn load_bundled_site(files: &BundledSite) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    let loaded = load_from(Path::new("bundled site"), false, |name| {
        let text = match name {
            SITE => files.site,
            ZONES => files.zones,
            BEACONS => files.beacons,
            _ => files.devices,
        };
        FileReport::of_text(name, text)
    });
    conclude(loaded.registry, loaded.diagnostics)
}

fn load_from(dir: &Path, calibration: bool, report: impl Fn(&str) -> FileReport) -> Loaded {
    let site_report = report(SITE);
    let site = site_file::load(&site_report);
    let zones_report = report(ZONES);
    let zones = zones::load(&zones_report, &site.plan);
    let devices_report = report(DEVICES);
    let devices = devices::load(&devices_report);
    let beacons_report = report(BEACONS);
    let known = devices.ids.as_ref().map_or(KnownDevices::Any, KnownDevices::File);
    let beacons = beacons::load(&beacons_report, &site.plan, known);
    let calibration_report = calibration.then(|| report(CALIBRATION));
    let calibration = calibration_report.as_ref().and_then(|report| {
        let known = calibration::Known { site: &site, beacons: (!beacons_report.has_errors()).then_some(&beacons) };
        calibration::load(report, &known)
    });

    let mut diagnostics = Vec::new();
    for report in [site_report, zones_report, beacons_report, devices_report].into_iter().chain(calibration_report) {
        diagnostics.extend(report.finish());
    }
    for name in NOT_YET {
        let file = dir.join(name);
        if file.exists() {
            diagnostics.push(Diagnostic::warning(&file, "this version does not read the file; it is ignored"));
        }
    }
    let is_sound = diagnostics.iter().all(|d| d.severity == Severity::Warning);
    let registry = site.site.filter(|_| is_sound).and_then(|itself| {
        Registry::new(itself, site.receivers, zones, beacons, devices.devices)
            .map(|registry| registry.with_calibration(calibration))
            // The readers check all of this with lines; what still comes through is not to be lost.
            .map_err(|errors| diagnostics.extend(errors.iter().map(|e| Diagnostic::error(dir, e.to_string()))))
            .ok()
    });
    Loaded { registry, receivers: site.receiver_ids, diagnostics }
}

//! The site directory: `site.toml`, `zones.geojson`, `beacons.csv`, `devices.csv`.
//!
//! Each file is read to its end whatever is wrong with it, every fault with its line; what one file says about another
//! is checked with what could be read. A record that failed still lends its id to those that name it, so that one
//! slip is one fault.

mod beacons;
mod csv;
mod devices;
mod geometry;
mod json;
mod labels;
mod presence;
mod shape;
mod site_file;
mod zones;

use std::path::Path;

use super::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use crate::registry::Registry;

/// Files that a later version reads; ignored, with a warning.
const NOT_YET: [&str; 2] = ["triggers.toml", "calibration.json"];

/// Reads a site directory into a registry; the diagnostics beside it are warnings.
///
/// # Errors
/// All faults of all files at once, warnings among them.
pub fn load_site(dir: &Path) -> Result<(Registry, Vec<Diagnostic>), Faults> {
    match std::fs::metadata(dir) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(Diagnostic::error(dir, "this is not a directory")
                .help("name the directory that holds site.toml")
                .into());
        }
        Err(error) => {
            let fault = Diagnostic::error(dir, format!("the site directory cannot be read: {error}"));
            return Err(fault.help("name the directory that holds site.toml").into());
        }
    }
    let report = |name: &str| FileReport::new(dir.join(name));

    let site_report = report("site.toml");
    let site = site_file::load(&site_report);
    let zones_report = report("zones.geojson");
    let zones = zones::load(&zones_report, &site.plan);
    let devices_report = report("devices.csv");
    let devices = devices::load(&devices_report);
    let beacons_report = report("beacons.csv");
    let beacons = beacons::load(&beacons_report, &site.plan, &devices.ids);

    let mut diagnostics = Vec::new();
    for report in [site_report, zones_report, beacons_report, devices_report] {
        diagnostics.extend(report.finish());
    }
    for name in NOT_YET {
        let file = dir.join(name);
        if file.exists() {
            diagnostics.push(Diagnostic::warning(&file, "this version does not read the file; it is ignored"));
        }
    }
    let complete = diagnostics.iter().all(|d| d.severity == super::Severity::Warning);
    let registry = match (complete, site.site) {
        (true, Some(site_itself)) => {
            match Registry::new(site_itself, site.receivers, zones, beacons, devices.devices) {
                Ok(registry) => Some(registry),
                Err(errors) => {
                    // The readers check all of this with lines; what still comes through is not to be lost.
                    diagnostics.extend(errors.iter().map(|error| Diagnostic::error(dir, error.to_string())));
                    None
                }
            }
        }
        _ => None,
    };
    conclude(registry, diagnostics)
}

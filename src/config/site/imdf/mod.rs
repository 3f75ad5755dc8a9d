//! Indoor maps in the Indoor Mapping Data Format 1.0.0 (OGC 20-094): levels and zones out of an archive.
//!
//! | feature | becomes |
//! | --- | --- |
//! | level | a level; those of one ordinal, of several buildings, are one |
//! | unit, section, kiosk, fixture | a zone on its level; not the walls, columns and voids among the units |
//! | geofence | a zone on each of its levels |
//! | opening | a zone of [`OPENING_WIDTH`] along its line |
//! | occupant, by its anchor | the name of a unit's zone, and its metadata |
//! | amenity, address, building | metadata of zones |
//! | venue | the origin of a site that is still empty |
//! | detail, footprint, relationship | nothing |
//!
//! A zone keeps the IMDF id of its feature in its metadata, as `imdf_id`; by that it is found again when the map is imported
//! anew, and keeps its id, its presence settings, and what else was said of it.

mod archive;
mod features;
mod levels;
mod names;
mod said;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::BTreeMap;

use serde::Serialize;

use self::features::{Collection, TYPES};
use self::names::Language;
use super::geometry;
use crate::config::diagnostic::{Diagnostic, Faults, FileReport, conclude};
use crate::model::{Frame, LatLon, Metres};
use crate::registry::{Edit, Record, Registry, Site};

/// How wide the zone of an opening is, across its line: who goes through is in it for a moment.
const OPENING_WIDTH: Metres = 1.5;
/// An empty site whose origin is farther from the venue than this gets the venue's.
const FAR: Metres = 1_000.0;

/// What an archive holds for a registry.
#[derive(Debug)]
pub struct Imdf {
    /// Levels and zones to be put; where the site was still empty and elsewhere, the site with the venue's origin.
    pub edit: Edit,
    /// What became of every feature.
    pub accounting: Accounting,
    /// What was guessed or left out.
    pub warnings: Vec<Diagnostic>,
}

/// What became of every feature, by its type; all types of IMDF are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accounting {
    /// By type, such as `unit`.
    pub features: BTreeMap<&'static str, Account>,
}

/// What became of the features of one type: each was used or skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// How many there are.
    pub read: usize,
    /// How many of them gave a zone, a level, a name or metadata.
    pub used: usize,
    /// The zones that were made of them; a geofence makes one on each of its levels.
    pub zones: usize,
    /// The others.
    pub skipped: Vec<Skipped>,
}

/// A feature that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its IMDF id; empty where it has none.
    pub id: String,
    /// Why it was skipped.
    pub why: String,
}

/// Reads an archive for that registry.
///
/// # Errors
/// All faults at once: an archive that is none, or a map of another place.
pub fn read_imdf(bytes: &[u8], within: &Registry) -> Result<Imdf, Faults> {
    let archive = archive::unpack(bytes)?;
    let mut reader = Reader::new(&archive, within)?;
    let mut edit = Edit::default();
    let frame = reader.frame();
    if frame != *within.frame() {
        let site = Site { frame, ..within.site().clone() };
        edit.put.push(Record::Site(Box::new(site)));
    }
    let levels = levels::read(&mut reader, &frame);
    edit.put.extend(levels.records.iter().cloned().map(Record::Level));
    let zones = zones::read(&mut reader, &frame, &levels);
    edit.put.extend(zones);
    reader.finish(edit)
}

/// What is read of an archive.
struct Reader<'a> {
    within: &'a Registry,
    language: Language,
    collections: BTreeMap<&'static str, Collection<'a>>,
    reports: BTreeMap<&'static str, FileReport>,
    accounts: BTreeMap<&'static str, Account>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn new(archive: &'a archive::Archive, within: &'a Registry) -> Result<Self, Faults> {
        let mut reader = Self {
            within,
            language: Language::default(),
            collections: BTreeMap::new(),
            reports: BTreeMap::new(),
            accounts: TYPES.iter().map(|name| (*name, Account::default())).collect(),
            warnings: archive.warnings.clone(),
        };
        let mut diagnostics = Vec::new();
        reader.language = features::manifest(&archive.manifest, &mut diagnostics);
        for name in TYPES {
            let report = FileReport::new(format!("{name}.geojson").into());
            if let Some(text) = archive.texts.get(name) {
                let collection = Collection::read(&report, text);
                let account = reader.accounts.entry(name).or_default();
                account.read = collection.as_ref().map_or(0, |collection| collection.features.len());
                reader.collections.extend(collection.map(|collection| (name, collection)));
            }
            if report.has_errors() {
                diagnostics.extend(report.finish());
            } else {
                reader.reports.insert(name, report);
            }
        }
        if reader.accounts.values().all(|account| account.read == 0) && diagnostics.is_empty() {
            let message = "the archive has no features in it";
            diagnostics
                .push(Diagnostic::error("manifest.json".as_ref(), message).help("export the map again, as IMDF"));
        }
        conclude(Some(reader), diagnostics).map(|(mut reader, warnings)| {
            reader.warnings.extend(warnings);
            reader
        })
    }

    fn account(&mut self, name: &'static str) -> &mut Account {
        self.accounts.entry(name).or_default()
    }

    fn skip(&mut self, name: &'static str, id: &str, why: impl Into<String>) {
        self.account(name).skipped.push(Skipped { id: id.to_owned(), why: why.into() });
    }

    fn warn(&mut self, file: &str, message: String, help: &str) {
        self.warnings.push(Diagnostic::warning(file.as_ref(), message).help(help));
    }

    /// The frame of the site; that of the venue where the site is empty and elsewhere.
    fn frame(&mut self) -> Frame {
        let within = *self.within.frame();
        let venues = self.collections.get("venue").map(|venues| venues.features.as_slice()).unwrap_or_default();
        let Some((id, at)) = venues.iter().find_map(|venue| Some((venue.id.clone(), venue.point("display_point")?)))
        else {
            let ids: Vec<String> = venues.iter().map(|venue| venue.id.clone()).collect();
            for id in ids {
                self.skip("venue", &id, "it has no display point; the whole store is the zone \"site\"");
            }
            return within;
        };
        let is_near = geometry::project(&within, at).is_some_and(|point| point.x.hypot(point.y) <= FAR);
        let others: Vec<String> = venues.iter().map(|venue| venue.id.clone()).filter(|other| *other != id).collect();
        for other in others {
            self.skip("venue", &other, "an archive has one venue");
        }
        let moved = (!is_near && is_empty(self.within)).then(|| origin(at, within.bearing())).flatten();
        let Some(frame) = moved else {
            self.skip("venue", &id, "the whole store is the zone \"site\", and the site's origin stays as it is");
            return within;
        };
        self.account("venue").used += 1;
        let origin = frame.origin();
        self.warn(
            "venue.geojson",
            format!(
                "the site is empty and its origin elsewhere: the origin becomes the venue's display point, latitude {}, longitude {}",
                origin.latitude, origin.longitude
            ),
            "correct it in the site if x and y are to be counted from elsewhere",
        );
        frame
    }

    fn finish(self, edit: Edit) -> Result<Imdf, Faults> {
        let Self { accounts, mut warnings, reports, .. } = self;
        for report in reports.into_values() {
            warnings.extend(report.finish());
        }
        let accounting = Accounting { features: accounts };
        conclude(Some((edit, accounting)), warnings).map(|((edit, accounting), warnings)| Imdf {
            edit,
            accounting,
            warnings,
        })
    }
}

fn origin(at: LatLon, bearing: f64) -> Option<Frame> {
    Frame::new(geometry::rounded(at), bearing).ok()
}

/// Whether nothing in it has a place.
fn is_empty(registry: &Registry) -> bool {
    registry.zones().len() == 1
        && registry.receivers().is_empty()
        && registry.beacons().iter().all(|beacon| beacon.fixed.is_none())
        && registry.site().levels.iter().all(|level| level.outline.is_none() && level.plan.is_none())
}

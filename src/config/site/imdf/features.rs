//! Feature collections of an archive, and its manifest.

use std::collections::HashMap;
use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::names::Language;
use crate::config::diagnostic::{Diagnostic, FileReport};
use crate::config::site::json::{self, Source};
use crate::config::text::short;
use crate::model::LatLon;

/// The feature types of IMDF 1.0.0.
pub(super) const TYPES: [&str; 16] = [
    "address",
    "amenity",
    "anchor",
    "building",
    "detail",
    "fixture",
    "footprint",
    "geofence",
    "kiosk",
    "level",
    "occupant",
    "opening",
    "relationship",
    "section",
    "unit",
    "venue",
];

/// Features of one type.
const MAX_FEATURES: usize = 200_000;
/// Members of an object.
const MAX_MEMBERS: usize = 200;

/// The language of the map.
pub(super) fn manifest(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Language {
    let file = Path::new("manifest.json");
    let manifest: Map<String, Value> = match serde_json::from_str(text) {
        Ok(manifest) => manifest,
        Err(error) => {
            let message = format!("column {}: broken JSON: {}", error.column(), json::words(&error));
            diagnostics.push(Diagnostic::error(file, message).at(error.line()).help("export the map again"));
            return Language::default();
        }
    };
    match manifest.get("version").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => {}
        Some(version) => {
            let message = format!("the map is of IMDF version {}, not 1.0.0", short(version));
            diagnostics.push(Diagnostic::error(file, message).help("export the map as IMDF 1.0.0"));
        }
        None => {
            let message = "it does not say which version of IMDF the map is of; 1.0.0 is assumed";
            diagnostics.push(Diagnostic::warning(file, message));
        }
    }
    Language(manifest.get("language").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// The features of one file.
#[derive(Debug)]
pub(super) struct Collection<'t> {
    pub(super) source: Source<'t>,
    pub(super) features: Vec<Feature<'t>>,
    places: HashMap<String, usize>,
}

/// A feature.
#[derive(Debug)]
pub(super) struct Feature<'t> {
    /// Its id; empty where it has none.
    pub(super) id: String,
    pub(super) properties: Map<String, Value>,
    pub(super) geometry: Option<&'t RawValue>,
}

impl<'t> Collection<'t> {
    /// Reads a file; what is no feature collection is reported.
    pub(super) fn read(report: &FileReport, text: &'t str) -> Option<Self> {
        let source = Source::new(text);
        let root = source.root_or_fault(report)?;
        let help = "the file must be a GeoJSON FeatureCollection (RFC 7946)";
        let fault = |message: String| drop(report.error(message).at(source.line(root)).help(help));
        let members = json::members(root, MAX_MEMBERS).map_err(|error| fault(format!("the file {error}"))).ok()?;
        let Some((_, list)) = members.iter().find(|(name, _)| name == "features") else {
            fault("\"features\" is missing".to_owned());
            return None;
        };
        let list = json::elements(list, MAX_FEATURES).map_err(|error| fault(format!("\"features\" {error}"))).ok()?;
        let mut features = Vec::with_capacity(list.len());
        for raw in list {
            match Feature::read(raw) {
                Ok(feature) => features.push(feature),
                Err(error) => {
                    report.error(format!("a feature {error}")).at(source.line(raw)).help("export the map again");
                }
            }
        }
        let places = features.iter().enumerate().map(|(at, feature)| (feature.id.clone(), at)).collect();
        Some(Self { source, features, places })
    }

    pub(super) fn get(&self, id: &str) -> Option<&Feature<'t>> {
        self.places.get(id).map(|&at| &self.features[at])
    }
}

impl<'t> Feature<'t> {
    fn read(raw: &'t RawValue) -> Result<Self, String> {
        let members = json::members(raw, MAX_MEMBERS)?;
        let get = |key: &str| {
            members.iter().find(|(name, value)| name == key && !json::is_null(value)).map(|&(_, value)| value)
        };
        let id = get("id").and_then(|id| json::text(id).ok()).unwrap_or_default();
        let properties = match get("properties") {
            Some(value) => serde_json::from_str(value.get())
                .map_err(|error| format!("has properties that cannot be read: {}", json::words(&error)))?,
            None => Map::new(),
        };
        Ok(Self { id, properties, geometry: get("geometry") })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.properties.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// The texts of a list.
    pub(super) fn texts(&self, key: &str) -> Vec<&str> {
        let list = self.properties.get(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A geometry of a single point among the properties.
    pub(super) fn point(&self, key: &str) -> Option<LatLon> {
        let coordinates = self.properties.get(key)?.get("coordinates")?.as_array()?;
        let at = LatLon { longitude: coordinates.first()?.as_f64()?, latitude: coordinates.get(1)?.as_f64()? };
        at.is_valid().then_some(at)
    }
}

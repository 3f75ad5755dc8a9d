//! `zones.geojson`: RFC 7946, in WGS84.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::json::{self, Source};
use super::labels;
use super::presence;
use super::shape::{self, ShapeReader};
use super::site_file::Plan;
use crate::config::diagnostic::FileReport;
use crate::config::text::{self, nearest, short};
use crate::model::{LevelOrdinal, ZoneId};
use crate::registry::{Labels, Shape, Zone};

/// A hundred thousand zones, prettily printed, take about 100 MiB.
const MAX_BYTES: u64 = 256 << 20;
/// Zones of one site.
const MAX_ZONES: usize = 250_000;
/// Bytes of a zone's metadata: it travels in every event, of at most 64 KiB.
const MAX_METADATA: usize = 16 << 10;
/// Members of an object: a wrong file is not to be listed key by key.
const MAX_MEMBERS: usize = 200;

/// Members of a feature; a file may have others (RFC 7946, 6.1), which are ignored.
const FEATURE_KEYS: &[&str] = &["type", "id", "properties", "geometry", "shape_m", "bbox"];

const KEYS: &[&str] = &[
    "id",
    "name",
    "level",
    "radius_m",
    "labels",
    "metadata",
    presence::KEYS[0],
    presence::KEYS[1],
    presence::KEYS[2],
    presence::KEYS[3],
    presence::KEYS[4],
    presence::KEYS[5],
    presence::KEYS[6],
    presence::KEYS[7],
];

pub(super) fn load(report: &FileReport, plan: &Plan) -> Vec<Zone> {
    let help = "a site without zones has {\"type\": \"FeatureCollection\", \"features\": []} in it";
    let Some(text) = text::read(report, MAX_BYTES, help) else { return Vec::new() };
    let source = Source::new(&text);
    let Some(root) = source.root_or_fault(report) else { return Vec::new() };
    let Some(features) = features(report, &source, root) else { return Vec::new() };
    let mut reader = Reader::new(report, &source, plan, false);
    let named = features.into_iter().enumerate().map(|(at, feature)| (format!("feature {}", at + 1), feature));
    let zones = named.filter_map(|(name, feature)| reader.feature(name, feature)).collect();
    reader.shapes.report_far(report);
    zones
}

/// Reads one feature that stands alone.
pub(super) fn read_one(report: &FileReport, source: &Source<'_>, root: &RawValue, plan: &Plan) -> Option<Zone> {
    let mut reader = Reader::new(report, source, plan, true);
    let zone = reader.feature("zone".to_owned(), root);
    reader.shapes.report_far(report);
    zone
}

/// The features of the collection.
fn features<'t>(report: &FileReport, source: &Source<'t>, root: &'t RawValue) -> Option<Vec<&'t RawValue>> {
    let help = "the file must be a GeoJSON FeatureCollection (RFC 7946)";
    let members = match json::members(root, MAX_MEMBERS) {
        Ok(members) => members,
        Err(error) => {
            report.error(format!("the file {error}")).at(source.line(root)).help(help);
            return None;
        }
    };
    let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|&(_, value)| value);
    match get("type").map(|value| (value, json::text(value))) {
        Some((_, Ok(kind))) if kind == "FeatureCollection" => {}
        Some((value, _)) => {
            let found = short(value.get());
            report.error(format!("\"type\" is {found}, not \"FeatureCollection\"")).at(source.line(value)).help(help);
            return None;
        }
        None => {
            report.error("\"type\" is missing").at(source.line(root)).help(help);
            return None;
        }
    }
    if let Some(crs) = get("crs").filter(|crs| !json::is_null(crs)) {
        // GeoJSON of 2008 could say so; anything but WGS84 would put the zones elsewhere.
        if !["CRS84", "EPSG::4326", "EPSG:4326"].iter().any(|name| crs.get().contains(name)) {
            report
                .error("\"crs\" names a coordinate system other than WGS84")
                .at(source.line(crs))
                .help("export the zones in WGS84 (EPSG:4326)");
        }
    }
    let Some(features) = get("features") else {
        report.error("\"features\" is missing").at(source.line(root)).help(help);
        return None;
    };
    match json::elements(features, MAX_ZONES) {
        Ok(features) => Some(features),
        Err(error) => {
            report.error(format!("\"features\" {error}")).at(source.line(features)).help(help);
            None
        }
    }
}

struct Reader<'r, 't> {
    report: &'r FileReport,
    source: &'r Source<'t>,
    plan: &'r Plan,
    lines: HashMap<ZoneId, usize>,
    shapes: ShapeReader,
    /// Whether members that are not known are faults.
    is_strict: bool,
}

/// A feature while it is read.
struct Feature<'r, 't> {
    report: &'r FileReport,
    source: &'r Source<'t>,
    record: String,
}

impl<'t> Feature<'_, 't> {
    fn fault(&self, value: &RawValue, message: impl Into<String>, help: Option<&str>) {
        let at = self.source.line(value);
        self.report.error(message).at(at).of(self.record.as_str()).maybe_help(help);
    }

    /// The members, with a fault for each that is there twice.
    fn members(&self, raw: &'t RawValue, what: &str) -> Option<Vec<(String, &'t RawValue)>> {
        match json::members(raw, MAX_MEMBERS) {
            Ok(members) => {
                for (second, (name, value)) in members.iter().enumerate() {
                    if members[..second].iter().any(|(first, _)| first == name) {
                        self.fault(value, format!("\"{}\" is there twice", short(name)), Some("remove one"));
                    }
                }
                Some(members)
            }
            Err(error) => {
                self.fault(raw, format!("{what} {error}"), None);
                None
            }
        }
    }

    fn unknown_members(&self, members: &[(String, &'t RawValue)]) {
        for (name, value) in members.iter().filter(|(name, _)| !FEATURE_KEYS.contains(&name.as_str())) {
            let help = if KEYS.contains(&name.as_str()) {
                "it belongs into \"properties\"".to_owned()
            } else {
                nearest(name, FEATURE_KEYS)
            };
            self.fault(value, format!("unknown key \"{}\"", short(name)), Some(&help));
        }
    }

    fn unknown_properties(&self, properties: &[(String, &'t RawValue)]) {
        for (name, value) in properties {
            if !KEYS.contains(&name.as_str()) {
                let near = nearest(name, KEYS);
                let near = if near.starts_with("did you mean") { near + " " } else { String::new() };
                let help = format!("{near}free data belongs into \"metadata\"");
                self.fault(value, format!("unknown property \"{}\"", short(name)), Some(&help));
            }
        }
    }
}

impl<'r, 't> Reader<'r, 't> {
    fn new(report: &'r FileReport, source: &'r Source<'t>, plan: &'r Plan, is_strict: bool) -> Self {
        Self { report, source, plan, lines: HashMap::new(), shapes: ShapeReader::new(plan.frame), is_strict }
    }

    /// Reads a feature, which is called `name` while its id is not known.
    fn feature(&mut self, name: String, raw: &'t RawValue) -> Option<Zone> {
        let mut feature = Feature { report: self.report, source: self.source, record: name };
        let members = feature.members(raw, "the feature")?;
        let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|&(_, value)| value);
        match get("type").map(|value| (value, json::text(value))) {
            Some((_, Ok(kind))) if kind == "Feature" => {}
            Some((value, _)) => feature.fault(value, "\"type\" must be \"Feature\"", None),
            None => feature.fault(raw, "\"type\": \"Feature\" is missing", None),
        }
        let Some(value) = get("properties").filter(|value| !json::is_null(value)) else {
            feature.fault(raw, "\"properties\" is missing", Some("write \"properties\": {\"id\": \"…\"}"));
            return None;
        };
        let properties = feature.members(value, "\"properties\"")?;
        let property = |key: &str| {
            properties.iter().find(|(name, value)| name == key && !json::is_null(value)).map(|&(_, value)| value)
        };

        let outer_id = get("id").filter(|id| self.is_strict && !json::is_null(id));
        let id = self.id(&mut feature, property("id").or(outer_id), value);
        if let (Some(inner), Some(outer)) = (property("id"), outer_id)
            && inner.get() != outer.get()
        {
            feature.fault(outer, "\"id\" is not the property \"id\"", Some("write the same id, or remove one"));
        }
        if self.is_strict {
            feature.unknown_members(&members);
        }
        feature.unknown_properties(&properties);
        let name = property("name").and_then(|value| match json::text(value) {
            Ok(name) => Some(name),
            Err(error) => {
                feature.fault(value, format!("name {error}"), None);
                None
            }
        });
        let is_site = id.as_ref().is_some_and(ZoneId::is_site);
        let level = self.level(&feature, property("level"), value, is_site);
        let labels = property("labels")
            .map_or_else(Labels::new, |value| labels::from_json(value, |fault| feature.fault(value, fault, None)));
        let metadata = metadata(&feature, property("metadata"));
        let presence = presence::read(&properties, &mut |value, message| feature.fault(value, message, None));
        if let (true, Some(value)) = (is_site, property(presence::MARGIN)) {
            feature.fault(value, "the zone \"site\" has no border to be moved", Some("remove margin_m"));
        }
        let metres = get("shape_m").filter(|value| !json::is_null(value));
        let shape = match metres.filter(|_| !is_site) {
            None => {
                if let Some(value) = metres {
                    let help = "write \"shape_m\": null, or give the zone another id";
                    feature.fault(value, "the zone \"site\" is the whole store, and has no shape", Some(help));
                }
                self.shape(&feature, get("geometry"), property("radius_m"), raw, is_site)
            }
            Some(metres) => self.shape_in_metres(&feature, metres, get("geometry"), property("radius_m")),
        };
        let id = id?;
        let name = name.unwrap_or_else(|| id.to_string());
        Some(Zone { id, name, level: level?, shape: shape?, labels, metadata: metadata?, presence })
    }

    /// The shape given in metres. What was given out with both is taken back with both, as long as they agree.
    fn shape_in_metres(
        &mut self,
        feature: &Feature<'_, '_>,
        metres: &'t RawValue,
        geometry: Option<&'t RawValue>,
        radius: Option<&'t RawValue>,
    ) -> Option<Shape> {
        let mut fault = |value: &RawValue, message: String, help: Option<&str>| feature.fault(value, message, help);
        let shape = self.shapes.read_metres(&feature.record, self.source, metres, &mut fault);
        let geometry = geometry.filter(|geometry| !json::is_null(geometry));
        let Some(geometry) = geometry else {
            if let Some(radius) = radius {
                feature.fault(radius, "radius_m goes with a Point in \"geometry\"", Some("remove it"));
            }
            return shape;
        };
        let mut fault = |value: &RawValue, message: String, help: Option<&str>| feature.fault(value, message, help);
        let other = self.shapes.read(&feature.record, self.source, geometry, radius, &mut fault);
        let (shape, other) = (shape?, other?);
        if shape != other {
            let message = "\"geometry\" and \"shape_m\" are both given, and are different shapes";
            feature.fault(metres, message, Some("send the one that was changed, without the other"));
            return None;
        }
        Some(shape)
    }

    fn id(&mut self, feature: &mut Feature<'_, '_>, id: Option<&'t RawValue>, at: &RawValue) -> Option<ZoneId> {
        let Some(value) = id else {
            feature.fault(at, "the property \"id\" is missing", Some("write \"id\": \"entrance\" into \"properties\""));
            return None;
        };
        let id = json::text(value).and_then(|text| ZoneId::new(&text).map_err(|error| error.to_string()));
        let id = match id {
            Ok(id) => id,
            Err(error) => {
                feature.fault(value, format!("id: {error}"), None);
                return None;
            }
        };
        feature.record = format!("zone \"{id}\"");
        if let Some(first) = self.lines.get(&id) {
            feature.fault(
                value,
                format!("the id is taken by the zone on line {first}"),
                Some("give each zone its own"),
            );
        } else {
            self.lines.insert(id.clone(), self.source.line(value));
        }
        Some(id)
    }

    /// None where it is faulty.
    #[allow(clippy::option_option, reason = "the whole site has no level, which is not a fault")]
    fn level(
        &self,
        feature: &Feature<'_, '_>,
        level: Option<&RawValue>,
        at: &RawValue,
        is_site: bool,
    ) -> Option<Option<LevelOrdinal>> {
        let Some(value) = level else {
            if is_site {
                return Some(None);
            }
            if self.plan.only_level().is_none() && self.plan.levels.is_some() {
                let help = "a site with several levels needs it: write \"level\": 0";
                feature.fault(at, "the property \"level\" is missing", Some(help));
            }
            return self.plan.only_level().map(Some);
        };
        if is_site {
            feature.fault(value, "the zone \"site\" is on every level", Some("remove \"level\""));
            return None;
        }
        let ordinal = json::number(value).and_then(|number| {
            let whole = number.fract() == 0.0 && (-200.0..=200.0).contains(&number);
            if whole { Ok(LevelOrdinal(number as i16)) } else { Err("must be a whole number".to_owned()) }
        });
        match ordinal {
            Ok(ordinal) => match self.plan.unknown_level(ordinal) {
                None => Some(Some(ordinal)),
                Some((message, help)) => {
                    feature.fault(value, message, Some(&help));
                    None
                }
            },
            Err(error) => {
                feature.fault(value, format!("level {error}"), Some("write 0 for the ground floor"));
                None
            }
        }
    }

    fn shape(
        &mut self,
        feature: &Feature<'_, '_>,
        geometry: Option<&'t RawValue>,
        radius: Option<&'t RawValue>,
        at: &'t RawValue,
        is_site: bool,
    ) -> Option<Shape> {
        let at = geometry.unwrap_or(at);
        let geometry = geometry.filter(|geometry| !json::is_null(geometry));
        let mut fault = |value: &RawValue, message: String, help: Option<&str>| feature.fault(value, message, help);
        match (geometry, is_site) {
            (None, true) if radius.is_none() => Some(Shape::Site),
            (_, true) => {
                let help = "write \"geometry\": null and no radius_m, or give the zone another id";
                fault(
                    geometry.or(radius).unwrap_or(at),
                    "the id \"site\" is reserved for the whole store, which has no geometry".to_owned(),
                    Some(help),
                );
                None
            }
            (None, false) => {
                fault(at, "the zone has no geometry".to_owned(), Some(shape::HELP));
                None
            }
            (Some(geometry), false) => self.shapes.read(&feature.record, self.source, geometry, radius, &mut fault),
        }
    }
}

fn metadata(feature: &Feature<'_, '_>, value: Option<&RawValue>) -> Option<serde_json::Map<String, serde_json::Value>> {
    let Some(value) = value else { return Some(serde_json::Map::new()) };
    if value.get().len() > MAX_METADATA {
        let message = format!("metadata takes {} bytes, more than {MAX_METADATA}", value.get().len());
        feature.fault(value, message, Some("keep what is large in the back end"));
        return None;
    }
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::Object(map)) => Some(map),
        Ok(_) => {
            feature.fault(value, format!("metadata must be an object, not {}", json::kind(value)), None);
            None
        }
        Err(error) => {
            feature.fault(value, format!("metadata cannot be read: {}", json::words(&error)), None);
            None
        }
    }
}

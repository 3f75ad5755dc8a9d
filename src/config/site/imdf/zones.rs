//! Zones out of units, sections, geofences, kiosks, fixtures and openings.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::features::Feature;
use super::levels::Levels;
use super::names::{Ids, words};
use super::said::{Said, Used, clip};
use super::{OPENING_WIDTH, Reader};
use crate::config::site::geometry;
use crate::config::site::json as raw;
use crate::config::site::shape::ShapeReader;
use crate::model::{Frame, LatLon, LevelOrdinal, Point};
use crate::registry::{Labels, PresenceSettings, Record, Ring, Shape, Zone};

/// The key in a zone's metadata by which it is found again.
const IMDF_ID: &str = "imdf_id";

/// What becomes zones, in the order in which ids are given.
const KINDS: [&str; 6] = ["unit", "section", "geofence", "kiosk", "fixture", "opening"];

/// Units that nobody can be in, and why.
const NO_PLACES: [(&[&str], &str); 3] = [
    (
        &["brick", "column", "concrete", "drywall", "glass", "structure", "wood"],
        "it is part of the building; nobody can be in it",
    ),
    (&["opentobelow"], "it is open to the level below; nobody can be there"),
    (&["vegetation"], "it is planted; nobody is to be there"),
];

/// Things of one kind that are listed in the metadata of one zone.
const MAX_LISTED: usize = 20;
/// Bytes of metadata, which the reader of zones allows 16 KiB.
const MAX_METADATA: usize = 15 << 10;
/// Labels, of which the reader of zones allows 32.
const MAX_LABELS: usize = 32;
/// Corners of a line.
const MAX_LINE: usize = 200;

/// The zones to be put; every feature is accounted for.
pub(super) fn read(reader: &mut Reader<'_>, frame: &Frame, levels: &Levels) -> Vec<Record> {
    let said = Said::new(reader);
    let within = reader.within;
    let mut known: HashMap<String, Vec<&Arc<Zone>>> = HashMap::new();
    for zone in within.zones() {
        if let Some(id) = zone.metadata.get(IMDF_ID).and_then(Value::as_str) {
            known.entry(id.to_owned()).or_default().push(zone);
        }
    }
    let mut maker = Maker {
        levels,
        said: &said,
        frame,
        ids: Ids::new(within.zones().iter().map(|zone| zone.id.to_string())),
        known,
        taken: HashSet::new(),
        used: Used::default(),
        zones: Vec::new(),
    };
    for kind in KINDS {
        let mut account = std::mem::take(reader.account(kind));
        if let (Some(collection), Some(report)) = (reader.collections.get(kind), reader.reports.get(kind)) {
            let mut shapes = ShapeReader::new(Some(*frame));
            for feature in &collection.features {
                let mut read = |geometry: &RawValue, record: &str| {
                    let mut fault = None;
                    let shape = shapes.read(record, &collection.source, geometry, None, &mut |_, message, _| {
                        fault.get_or_insert(message);
                    });
                    // Without a fault it is too far away, which is reported of all at once.
                    shape.ok_or_else(|| fault.unwrap_or_else(|| "it is too far from the site's origin".to_owned()))
                };
                match maker.feature(reader, kind, feature, &mut read) {
                    Ok(count) => {
                        account.used += 1;
                        account.zones += count;
                    }
                    Err(why) => account.skipped.push(super::Skipped { id: feature.id.clone(), why }),
                }
            }
            shapes.report_far(report);
        }
        *reader.account(kind) = account;
    }
    let Maker { zones, used, taken, .. } = maker;
    used.account(reader);
    let gone: Vec<String> = within
        .zones()
        .iter()
        .filter(|zone| zone.metadata.contains_key(IMDF_ID) && !taken.contains(zone.id.as_str()))
        .map(|zone| zone.id.to_string())
        .collect();
    if !gone.is_empty() {
        let more = if gone.len() > 5 { ", …" } else { "" };
        let named: Vec<String> = gone.iter().take(5).map(|id| format!("\"{id}\"")).collect();
        reader.warn(
            "",
            format!("{} zones of an earlier map are not in this one, and stay: {}{more}", gone.len(), named.join(", ")),
            "remove those that are no more",
        );
    }
    zones.into_iter().map(|zone| Record::Zone(Arc::new(zone))).collect()
}

struct Maker<'m> {
    levels: &'m Levels,
    said: &'m Said,
    frame: &'m Frame,
    ids: Ids,
    /// Zones of an earlier import, by the IMDF id of their feature.
    known: HashMap<String, Vec<&'m Arc<Zone>>>,
    /// Ids of these that are taken again.
    taken: HashSet<String>,
    used: Used,
    zones: Vec<Zone>,
}

impl Maker<'_> {
    /// Makes the zones of a feature; how many, or why none.
    fn feature(
        &mut self,
        reader: &Reader<'_>,
        kind: &'static str,
        feature: &Feature<'_>,
        read: &mut dyn FnMut(&RawValue, &str) -> Result<Shape, String>,
    ) -> Result<usize, String> {
        if feature.id.is_empty() {
            return Err("it has no id".to_owned());
        }
        let category = feature.text("category").unwrap_or(kind);
        if kind == "unit"
            && let Some((_, why)) = NO_PLACES.iter().find(|(categories, _)| categories.contains(&category))
        {
            return Err((*why).to_owned());
        }
        let levels = self.levels_of(kind, feature)?;
        let geometry = feature.geometry.ok_or("it has no geometry")?;
        let record = format!("{kind} \"{}\"", crate::config::text::short(&feature.id));
        let shape = if kind == "opening" { along(geometry, self.frame)? } else { read(geometry, &record)? };
        let (name, labels, metadata) = self.about(reader, kind, category, feature);
        for &level in &levels {
            let name = match (name.as_deref(), levels.len()) {
                (Some(name), 1) => name.to_owned(),
                (Some(name), _) => format!("{name}, level {level}"),
                (None, _) => words(category),
            };
            self.zone(kind, feature, level, name, shape.clone(), labels.clone(), metadata.clone());
        }
        Ok(levels.len())
    }

    fn levels_of(&self, kind: &str, feature: &Feature<'_>) -> Result<Vec<LevelOrdinal>, String> {
        if kind != "geofence" {
            let id = feature.text("level_id").ok_or("it names no level")?;
            let level = self.levels.ordinals.get(id).ok_or("its level is not in the archive")?;
            return Ok(vec![*level]);
        }
        let named = feature.texts("level_ids");
        let by_level = named.iter().filter_map(|id| self.levels.ordinals.get(*id));
        let mut levels: Vec<LevelOrdinal> = by_level.copied().collect();
        if named.is_empty() {
            let buildings = feature.texts("building_ids");
            levels = buildings.iter().filter_map(|id| self.levels.of_building.get(*id)).flatten().copied().collect();
        }
        levels.sort_unstable();
        levels.dedup();
        match (levels.is_empty(), self.levels.records.as_slice()) {
            (false, _) => Ok(levels),
            (true, [only]) => Ok(vec![only.ordinal]),
            (true, _) => Err("it names no level of the archive".to_owned()),
        }
    }

    /// Name, labels and metadata.
    fn about(
        &mut self,
        reader: &Reader<'_>,
        kind: &'static str,
        category: &str,
        feature: &Feature<'_>,
    ) -> (Option<String>, Labels, Map<String, Value>) {
        let mut labels = Labels::new();
        let mut label = |key: &str, value: &str| labels.insert(key.to_owned(), clip(value));
        label("imdf_type", kind);
        label("category", category);
        if let Some(restriction) = feature.text("restriction") {
            label("restriction", restriction);
        }
        let mut metadata = Map::new();
        metadata.insert(IMDF_ID.to_owned(), json!(feature.id));
        let own = reader.language.pick(feature.properties.get("name")).map(|name| clip(&name));
        let mut name = own.clone();
        if let Some(occupants) = self.said.occupants.get(&feature.id) {
            let names: Vec<&str> = occupants.iter().filter_map(|(_, name, _)| name.as_deref()).collect();
            if !names.is_empty() {
                name = Some(clip(&names.iter().take(3).copied().collect::<Vec<_>>().join(" / ")));
                metadata.extend(own.map(|own| ("unit_name".to_owned(), json!(own))));
            }
            if let Some(category) = occupants.iter().find_map(|(_, _, about)| about.get("category")?.as_str()) {
                label("occupant", category);
            }
            let list: Vec<&Value> = occupants.iter().take(MAX_LISTED).map(|(_, _, about)| about).collect();
            metadata.insert("occupants".to_owned(), json!(list));
            occupants.iter().for_each(|(id, _, _)| self.used.note("occupant", id));
        }
        if let Some(alternative) = reader.language.pick(feature.properties.get("alt_name")) {
            metadata.insert("alt_name".to_owned(), json!(clip(&alternative)));
        }
        if let Some(correlation) = feature.text("correlation_id") {
            metadata.insert("correlation_id".to_owned(), json!(clip(correlation)));
        }
        let accessibility = feature.texts("accessibility");
        if !accessibility.is_empty() {
            let listed: Vec<String> = accessibility.into_iter().take(MAX_LISTED).map(clip).collect();
            metadata.insert("accessibility".to_owned(), json!(listed));
        }
        if let Some(amenities) = self.said.amenities.get(&feature.id) {
            let list: Vec<&str> = amenities.iter().take(MAX_LISTED).map(|(_, text)| text.as_str()).collect();
            metadata.insert("amenities".to_owned(), json!(list));
            amenities.iter().for_each(|(id, _)| self.used.note("amenity", id));
        }
        let anchors = self.said.anchors.get(&feature.id).into_iter().flatten().map(String::as_str);
        let anchors: Vec<&str> = anchors.chain(feature.text("anchor_id")).collect();
        for anchor in anchors {
            self.used.note("anchor", anchor);
            if let Some((address, text)) = self.said.addresses.get(anchor) {
                metadata.insert("address".to_owned(), json!(text));
                self.used.note("address", address);
            }
        }
        let level = feature.text("level_id").unwrap_or_default();
        let of_level = self.levels.buildings.get(level).into_iter().flatten();
        for building in of_level.filter(|id| self.said.buildings.contains_key(*id)) {
            metadata.insert("building".to_owned(), json!(self.said.buildings[building]));
            self.used.note("building", building);
        }
        if kind == "opening" {
            metadata.insert("width_m".to_owned(), json!(OPENING_WIDTH));
        }
        (name, labels, metadata)
    }

    #[allow(clippy::too_many_arguments, reason = "these are the parts of a zone")]
    fn zone(
        &mut self,
        kind: &str,
        feature: &Feature<'_>,
        level: LevelOrdinal,
        name: String,
        shape: Shape,
        mut labels: Labels,
        metadata: Map<String, Value>,
    ) {
        let candidates = self.known.get(&feature.id).map(Vec::as_slice).unwrap_or_default();
        let same_level = candidates.iter().find(|zone| zone.level == Some(level));
        let moved = candidates.first().filter(|_| kind != "geofence");
        let before = same_level.or(moved).filter(|zone| !self.taken.contains(zone.id.as_str())).copied();
        let Some(before) = before else {
            let Some(id) = self.ids.make(&name, kind) else { return };
            let presence = PresenceSettings::default();
            let metadata = fitting(metadata);
            self.zones.push(Zone { id, name, level: Some(level), shape, labels, metadata, presence });
            return;
        };
        self.taken.insert(before.id.to_string());
        // What was said of the zone by hand stays, up to what a record may hold.
        for (key, value) in &before.labels {
            if labels.len() < MAX_LABELS {
                labels.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        let mut whole = before.metadata.clone();
        whole.extend(metadata);
        let whole = fitting(whole);
        let (id, presence) = (before.id.clone(), before.presence.clone());
        self.zones.push(Zone { id, name, level: Some(level), shape, labels, metadata: whole, presence });
    }
}

/// The metadata without its long lists, where it would be too long with them.
fn fitting(mut metadata: Map<String, Value>) -> Map<String, Value> {
    for key in ["accessibility", "amenities", "occupants"] {
        if json!(metadata).to_string().len() <= MAX_METADATA {
            break;
        }
        metadata.shift_remove(key);
    }
    metadata
}

/// The area of [`OPENING_WIDTH`] along a line.
fn along(geometry: &RawValue, frame: &Frame) -> Result<Shape, String> {
    let members = raw::members(geometry, 20)?;
    let get = |key: &str| members.iter().find(|(name, _)| name == key).map(|&(_, value)| value);
    let kind = get("type").and_then(|value| raw::text(value).ok()).unwrap_or_default();
    let coordinates = get("coordinates").ok_or("its geometry has no coordinates")?;
    let lines = match kind.as_str() {
        "LineString" => vec![coordinates],
        "MultiLineString" => raw::elements(coordinates, MAX_LINE)?,
        other => return Err(format!("its geometry is a {}, not a line", crate::config::text::short(other))),
    };
    let mut rectangles: Vec<Ring> = Vec::new();
    for line in lines {
        let mut points = Vec::new();
        for position in raw::elements(line, MAX_LINE)? {
            let numbers: Vec<f64> =
                raw::elements(position, 4)?.into_iter().map(raw::number).collect::<Result<_, String>>()?;
            let (Some(&longitude), Some(&latitude)) = (numbers.first(), numbers.get(1)) else {
                return Err("a position of its line is not [longitude, latitude]".to_owned());
            };
            let at = LatLon { latitude, longitude };
            let point = at.is_valid().then(|| geometry::project(frame, at)).flatten();
            points.push(point.ok_or("it is too far from the site's origin")?);
        }
        rectangles.extend(points.windows(2).filter_map(|ends| rectangle(ends[0], ends[1])));
    }
    // Places are taken as they are written.
    let taken = |ring: Ring| -> Option<Ring> {
        let corners: Option<Ring> =
            ring.into_iter().map(|point| geometry::project(frame, geometry::to_degrees(frame, point))).collect();
        geometry::ring(&corners?).ok()
    };
    let parts: Vec<(Ring, Vec<Ring>)> =
        geometry::union(&rectangles).into_iter().filter_map(taken).map(|ring| (ring, Vec::new())).collect();
    if parts.is_empty() {
        return Err("its line has no length".to_owned());
    }
    Ok(Shape::Polygons(parts))
}

fn rectangle(from: Point, to: Point) -> Option<Ring> {
    let length = from.distance(to);
    if length < 0.01 {
        return None;
    }
    let half = OPENING_WIDTH / 2.0 / length;
    let (across_x, across_y) = ((to.y - from.y) * half, (from.x - to.x) * half);
    Some(vec![
        Point { x: from.x + across_x, y: from.y + across_y },
        Point { x: to.x + across_x, y: to.y + across_y },
        Point { x: to.x - across_x, y: to.y - across_y },
        Point { x: from.x - across_x, y: from.y - across_y },
    ])
}

//! Levels out of IMDF levels.

use std::collections::{BTreeMap, HashMap};

use super::Reader;
use crate::config::site::geometry;
use crate::config::site::shape::ShapeReader;
use crate::model::{Frame, LevelOrdinal, Metres};
use crate::registry::{Level, Ring, Shape};

/// How high a storey is taken to be: IMDF knows the order of levels, not their heights.
const STOREY: Metres = 4.0;
/// Corners of an outline.
const MAX_OUTLINE: usize = 10_000;

/// The levels of a map.
pub(super) struct Levels {
    pub(super) records: Vec<Level>,
    /// By their IMDF ids.
    pub(super) ordinals: HashMap<String, LevelOrdinal>,
    /// Levels by the IMDF id of a building.
    pub(super) of_building: HashMap<String, Vec<LevelOrdinal>>,
    /// Buildings by the IMDF id of a level.
    pub(super) buildings: HashMap<String, Vec<String>>,
}

/// What is known of one ordinal.
#[derive(Default)]
struct Storey {
    name: Option<String>,
    rings: Vec<Ring>,
    /// An outline is of use only where it is all of it.
    is_partial: bool,
}

pub(super) fn read(reader: &mut Reader<'_>, frame: &Frame) -> Levels {
    let mut levels = Levels {
        records: Vec::new(),
        ordinals: HashMap::new(),
        of_building: HashMap::new(),
        buildings: HashMap::new(),
    };
    let mut storeys: BTreeMap<LevelOrdinal, Storey> = BTreeMap::new();
    let mut skipped = Vec::new();
    let mut used = 0;
    let mut shapes = ShapeReader::new(Some(*frame));
    if let Some(collection) = reader.collections.get("level") {
        for feature in &collection.features {
            let ordinal = feature.properties.get("ordinal").and_then(serde_json::Value::as_f64);
            let ordinal = ordinal.filter(|number| number.fract() == 0.0 && (-200.0..=200.0).contains(number));
            let Some(ordinal) = ordinal.map(|number| LevelOrdinal(number as i16)) else {
                skipped.push((feature.id.clone(), "its ordinal is no whole number from -200 to 200".to_owned()));
                continue;
            };
            used += 1;
            let storey = storeys.entry(ordinal).or_default();
            let name = reader.language.pick(feature.properties.get("name"));
            let name = name.or_else(|| reader.language.pick(feature.properties.get("short_name")));
            storey.name = storey.name.take().or(name);
            levels.ordinals.insert(feature.id.clone(), ordinal);
            for building in feature.texts("building_ids") {
                levels.of_building.entry(building.to_owned()).or_default().push(ordinal);
                levels.buildings.entry(feature.id.clone()).or_default().push(building.to_owned());
            }
            let record = format!("level {ordinal}");
            let shape = feature
                .geometry
                .and_then(|geometry| shapes.read(&record, &collection.source, geometry, None, &mut |_, _, _| {}));
            match shape {
                Some(Shape::Polygons(parts)) => storey.rings.extend(parts.into_iter().map(|(outer, _)| outer)),
                _ => storey.is_partial = true,
            }
        }
        if let Some(report) = reader.reports.get("level") {
            shapes.report_far(report);
        }
    }
    reader.account("level").used += used;
    for (id, why) in skipped {
        reader.skip("level", &id, why);
    }
    let known = &reader.within.site().levels;
    let mut guessed = Vec::new();
    for (ordinal, storey) in storeys {
        let before = known.iter().find(|level| level.ordinal == ordinal);
        if before.is_none() {
            guessed.push(ordinal);
        }
        let outline = outline(&storey);
        if outline.is_none() {
            let why =
                if storey.is_partial { "the shape of a part of it cannot be used" } else { "it has several parts" };
            reader.warn(
                "level.geojson",
                format!("level {ordinal} gets no outline: {why}"),
                "draw one, so that positions are kept within the building",
            );
        }
        levels.records.push(Level {
            ordinal,
            name: storey.name.unwrap_or_else(|| format!("Level {ordinal}")),
            elevation: before.map_or(STOREY * f64::from(ordinal.0), |level| level.elevation),
            outline: outline.or_else(|| before.and_then(|level| level.outline.clone())),
            plan: before.and_then(|level| level.plan.clone()),
        });
    }
    if guessed.len() + known.len() > 1 && !guessed.is_empty() {
        let list: Vec<String> = guessed.iter().map(ToString::to_string).collect();
        reader.warn(
            "level.geojson",
            format!("IMDF does not know how high levels lie; {STOREY} m a storey are assumed of {}", list.join(", ")),
            "correct the elevation of each level",
        );
    }
    levels
}

/// The one ring around all parts, to the millimetre.
fn outline(storey: &Storey) -> Option<Ring> {
    if storey.is_partial {
        return None;
    }
    let mut whole = geometry::union(&storey.rings);
    let ring = whole.pop().filter(|ring| whole.is_empty() && ring.len() <= MAX_OUTLINE)?;
    let rounded: Ring = ring
        .into_iter()
        .map(|point| crate::model::Point { x: geometry::millimetres(point.x), y: geometry::millimetres(point.y) })
        .collect();
    geometry::ring(&rounded).ok()
}

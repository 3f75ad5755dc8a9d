//! A map of two buildings, with every feature type of the specification.

use serde_json::{Value, json};

use crate::model::{Frame, LatLon, Point};

/// Where the venue of the tests is: not where the fixture's site is.
pub(super) fn venue() -> Frame {
    Frame::new(LatLon { latitude: 51.9131, longitude: 4.4702 }, 0.0).unwrap()
}

pub(super) fn at(x: f64, y: f64) -> Value {
    let at = venue().to_geodetic(Point { x, y });
    json!([at.longitude, at.latitude])
}

pub(super) fn box_of(x: f64, y: f64, width: f64, height: f64) -> Value {
    let ring = [at(x, y), at(x + width, y), at(x + width, y + height), at(x, y + height), at(x, y)];
    json!({"type": "Polygon", "coordinates": [ring]})
}

pub(super) fn id(kind: u8, number: u8) -> String {
    format!("{kind:02}000000-0000-4000-8000-0000000000{number:02}")
}

pub(super) fn feature(kind: &str, id: String, geometry: Value, properties: Value) -> Value {
    json!({"id": id, "type": "Feature", "feature_type": kind, "geometry": geometry, "properties": properties})
}

pub(super) fn collection(kind: &str, features: Vec<Value>) -> (String, String) {
    let collection = json!({"type": "FeatureCollection", "name": kind, "features": features});
    (format!("{kind}.geojson"), serde_json::to_string_pretty(&collection).unwrap())
}

pub(super) fn manifest() -> (String, String) {
    let manifest = json!({
        "version": "1.0.0", "created": "2026-01-01T10:00:00Z", "generated_by": null, "language": "en-US", "extensions": null,
    });
    ("manifest.json".to_owned(), manifest.to_string())
}

pub(super) const UNIT: u8 = 1;
pub(super) const LEVEL: u8 = 2;
pub(super) const ANCHOR: u8 = 3;
pub(super) const BUILDING: u8 = 4;
pub(super) const ADDRESS: u8 = 5;
pub(super) const OTHER: u8 = 9;

/// All files of it.
pub(super) fn map() -> Vec<(String, String)> {
    vec![
        manifest(),
        addresses(),
        amenities(),
        anchors(),
        buildings(),
        details(),
        fixtures(),
        footprints(),
        geofences(),
        kiosks(),
        levels(),
        occupants(),
        openings(),
        relationships(),
        sections(),
        units(),
        venues(),
    ]
}

/// The line of a door.
fn line() -> Value {
    json!({"type": "LineString", "coordinates": [at(18.0, 0.0), at(22.0, 0.0)]})
}

fn addresses() -> (String, String) {
    collection(
        "address",
        vec![
            feature(
                "address",
                id(ADDRESS, 1),
                Value::Null,
                json!({
                    "address": "1 Market Street", "unit": "1A", "locality": "Rotterdam", "province": null, "country": "NL",
                    "postal_code": "3011", "postal_code_ext": null, "postal_code_vanity": null,
                }),
            ),
            feature(
                "address",
                id(ADDRESS, 2),
                Value::Null,
                json!({"address": "2 Market Street", "locality": "Rotterdam", "country": "NL"}),
            ),
        ],
    )
}

fn amenities() -> (String, String) {
    collection(
        "amenity",
        vec![
            feature(
                "amenity",
                id(OTHER, 1),
                json!({"type": "Point", "coordinates": at(3.0, 3.0)}),
                json!({
                    "category": "atm", "name": {"en": "Cash"}, "unit_ids": [id(UNIT, 1)], "address_id": null,
                }),
            ),
            feature(
                "amenity",
                id(OTHER, 2),
                json!({"type": "Point", "coordinates": at(30.0, 30.0)}),
                json!({
                    "category": "seating", "name": null, "unit_ids": [],
                }),
            ),
        ],
    )
}

fn anchors() -> (String, String) {
    collection(
        "anchor",
        vec![
            feature(
                "anchor",
                id(ANCHOR, 1),
                json!({"type": "Point", "coordinates": at(3.0, 3.0)}),
                json!({
                    "address_id": id(ADDRESS, 1), "unit_id": id(UNIT, 1),
                }),
            ),
            feature(
                "anchor",
                id(ANCHOR, 2),
                json!({"type": "Point", "coordinates": at(3.0, 3.0)}),
                json!({
                    "address_id": null, "unit_id": "missing",
                }),
            ),
        ],
    )
}

fn buildings() -> (String, String) {
    collection(
        "building",
        vec![
            feature(
                "building",
                id(BUILDING, 1),
                Value::Null,
                json!({"name": {"en": "Hall"}, "category": "unspecified"}),
            ),
            feature("building", id(BUILDING, 2), Value::Null, json!({"name": null, "category": "parking"})),
        ],
    )
}

fn details() -> (String, String) {
    collection("detail", vec![feature("detail", id(OTHER, 3), line(), json!({"level_id": id(LEVEL, 1)}))])
}

fn fixtures() -> (String, String) {
    collection(
        "fixture",
        vec![feature(
            "fixture",
            id(OTHER, 4),
            box_of(30.0, 2.0, 2.0, 1.0),
            json!({
                "category": "desk", "name": {"en": "Help desk"}, "alt_name": null, "anchor_id": null,
                "level_id": id(LEVEL, 1), "display_point": null,
            }),
        )],
    )
}

fn footprints() -> (String, String) {
    collection(
        "footprint",
        vec![feature(
            "footprint",
            id(OTHER, 5),
            box_of(0.0, 0.0, 40.0, 25.0),
            json!({
                "category": "ground", "name": null, "building_ids": [id(BUILDING, 1)],
            }),
        )],
    )
}

fn geofences() -> (String, String) {
    collection(
        "geofence",
        vec![
            feature(
                "geofence",
                id(OTHER, 6),
                box_of(0.0, 0.0, 40.0, 12.0),
                json!({
                    "category": "concourse", "name": {"en": "South side", "nl": "Zuidkant"}, "level_ids": null,
                    "building_ids": [id(BUILDING, 1)], "parents": null,
                }),
            ),
            feature(
                "geofence",
                id(OTHER, 7),
                box_of(0.0, 0.0, 40.0, 12.0),
                json!({"category": "geofence", "name": null}),
            ),
        ],
    )
}

fn kiosks() -> (String, String) {
    collection(
        "kiosk",
        vec![feature(
            "kiosk",
            id(OTHER, 8),
            box_of(20.0, 12.0, 2.0, 2.0),
            json!({
                "name": {"en": "Flowers"}, "anchor_id": null, "level_id": id(LEVEL, 1),
            }),
        )],
    )
}

fn levels() -> (String, String) {
    let level = |number: u8, ordinal: i16, name: &str, building: u8, geometry: Value| {
        let properties = json!({
            "category": "unspecified", "restriction": null, "outdoor": false, "ordinal": ordinal, "name": {"en": name},
            "short_name": {"en": ordinal.to_string()}, "display_point": null, "address_id": null,
            "building_ids": [id(BUILDING, building)],
        });
        feature("level", id(LEVEL, number), geometry, properties)
    };
    collection(
        "level",
        vec![
            level(1, 0, "Ground floor", 1, box_of(0.0, 0.0, 40.0, 25.0)),
            level(2, 1, "Upper floor", 1, box_of(0.0, 0.0, 40.0, 25.0)),
            // The ground floor of the building next door touches the first.
            level(3, 0, "Parking", 2, box_of(40.0, 0.0, 10.0, 25.0)),
        ],
    )
}

fn occupants() -> (String, String) {
    collection(
        "occupant",
        vec![
            feature(
                "occupant",
                id(OTHER, 9),
                Value::Null,
                json!({
                    "category": "bakery", "name": {"en": "Zoë’s Bakery"}, "anchor_id": id(ANCHOR, 1), "hours": "Mo-Fr 08:30-20:00",
                    "phone": "+12225551212", "website": "http://example.com", "validity": null, "correlation_id": null,
                }),
            ),
            feature(
                "occupant",
                id(OTHER, 10),
                Value::Null,
                json!({"category": "bank", "name": {"en": "Bank"}, "anchor_id": id(ANCHOR, 2)}),
            ),
        ],
    )
}

fn openings() -> (String, String) {
    let door = json!({
        "category": "pedestrian.principal", "accessibility": null, "access_control": null,
        "door": {"type": "sliding", "automatic": true, "material": "glass"}, "name": null, "alt_name": null,
        "display_point": null, "level_id": id(LEVEL, 1),
    });
    collection(
        "opening",
        vec![
            feature("opening", id(OTHER, 11), line(), door.clone()),
            feature(
                "opening",
                id(OTHER, 12),
                json!({"type": "LineString", "coordinates": [at(1.0, 1.0), at(1.0, 1.0)]}),
                door,
            ),
        ],
    )
}

fn relationships() -> (String, String) {
    collection(
        "relationship",
        vec![feature(
            "relationship",
            id(OTHER, 13),
            Value::Null,
            json!({
                "category": "traversal", "direction": "directed", "origin": {"id": id(UNIT, 1), "feature_type": "unit"},
                "intermediary": null, "destination": {"id": id(UNIT, 2), "feature_type": "unit"}, "hours": null,
            }),
        )],
    )
}

fn sections() -> (String, String) {
    collection(
        "section",
        vec![feature(
            "section",
            id(OTHER, 14),
            box_of(0.0, 12.0, 20.0, 13.0),
            json!({
                "category": "retail", "name": {"en": "Food"}, "level_id": id(LEVEL, 1), "parents": null,
            }),
        )],
    )
}

fn units() -> (String, String) {
    let unit = |number: u8, level: u8, category: &str, name: Value, geometry: Value| {
        let properties = json!({
            "category": category, "restriction": null, "accessibility": null, "name": name, "alt_name": null,
            "level_id": id(LEVEL, level), "display_point": null,
        });
        feature("unit", id(UNIT, number), geometry, properties)
    };
    collection(
        "unit",
        vec![
            unit(1, 1, "retail", json!({"en": "A101"}), box_of(1.0, 1.0, 9.0, 9.0)),
            unit(2, 1, "walkway", Value::Null, box_of(11.0, 1.0, 5.0, 20.0)),
            unit(3, 2, "walkway", Value::Null, box_of(11.0, 1.0, 5.0, 20.0)),
            unit(4, 1, "column", Value::Null, box_of(12.0, 2.0, 0.5, 0.5)),
            unit(5, 2, "opentobelow", Value::Null, box_of(20.0, 10.0, 5.0, 5.0)),
            unit(6, 9, "office", json!({"en": "Nowhere"}), box_of(20.0, 10.0, 5.0, 5.0)),
            unit(
                7,
                2,
                "office",
                json!({"en": "Torn"}),
                json!({"type": "Polygon", "coordinates": [[at(0.0, 0.0), at(4.0, 4.0), at(4.0, 0.0), at(0.0, 4.0), at(0.0, 0.0)]]}),
            ),
            unit(
                8,
                3,
                "parking",
                json!({"en": "P1"}),
                json!({"type": "MultiPolygon", "coordinates": [
                    box_of(41.0, 1.0, 3.0, 3.0)["coordinates"], box_of(45.0, 1.0, 3.0, 3.0)["coordinates"],
                ]}),
            ),
        ],
    )
}

fn venues() -> (String, String) {
    collection(
        "venue",
        vec![feature(
            "venue",
            id(OTHER, 15),
            box_of(0.0, 0.0, 50.0, 25.0),
            json!({
                "category": "shoppingcenter", "restriction": null, "name": {"en": "Market Hall"}, "alt_name": null, "hours": null,
                "phone": null, "website": null, "display_point": {"type": "Point", "coordinates": at(0.0, 0.0)},
                "address_id": id(ADDRESS, 2),
            }),
        )],
    )
}

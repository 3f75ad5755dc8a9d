use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::config::site::fixture::records;
use crate::config::{from_json, load_bundled_site, to_json};
use crate::model::{LevelOrdinal, Point, ZoneId};
use crate::registry::{Level, Shape, Zone, fixture};

/// The fixture's site, without anything in it.
fn empty() -> Registry {
    let site = fixture::site();
    let levels = vec![Level { outline: None, ..site.levels[0].clone() }];
    Registry::new(Site { levels, ..site }, vec![], vec![], vec![], vec![]).unwrap()
}

/// Where the venue of the tests is: not where the fixture's site is.
fn venue() -> Frame {
    Frame::new(LatLon { latitude: 51.9131, longitude: 4.4702 }, 0.0).unwrap()
}

fn at(x: f64, y: f64) -> Value {
    let at = venue().to_geodetic(Point { x, y });
    json!([at.longitude, at.latitude])
}

fn box_of(x: f64, y: f64, width: f64, height: f64) -> Value {
    let ring = [at(x, y), at(x + width, y), at(x + width, y + height), at(x, y + height), at(x, y)];
    json!({"type": "Polygon", "coordinates": [ring]})
}

fn id(kind: u8, number: u8) -> String {
    format!("{kind:02}000000-0000-4000-8000-0000000000{number:02}")
}

fn feature(kind: &str, id: String, geometry: Value, properties: Value) -> Value {
    json!({"id": id, "type": "Feature", "feature_type": kind, "geometry": geometry, "properties": properties})
}

fn collection(kind: &str, features: Vec<Value>) -> (String, String) {
    let collection = json!({"type": "FeatureCollection", "name": kind, "features": features});
    (format!("{kind}.geojson"), serde_json::to_string_pretty(&collection).unwrap())
}

fn manifest() -> (String, String) {
    let manifest = json!({
        "version": "1.0.0", "created": "2026-01-01T10:00:00Z", "generated_by": null, "language": "en-US", "extensions": null,
    });
    ("manifest.json".to_owned(), manifest.to_string())
}

const UNIT: u8 = 1;
const LEVEL: u8 = 2;
const ANCHOR: u8 = 3;
const BUILDING: u8 = 4;
const ADDRESS: u8 = 5;
const OTHER: u8 = 9;

/// A map of two buildings, with every feature type of the specification.
fn map() -> Vec<(String, String)> {
    let unit = |number: u8, level: u8, category: &str, name: Value, geometry: Value| {
        let properties = json!({
            "category": category, "restriction": null, "accessibility": null, "name": name, "alt_name": null,
            "level_id": id(LEVEL, level), "display_point": null,
        });
        feature("unit", id(UNIT, number), geometry, properties)
    };
    let level = |number: u8, ordinal: i16, name: &str, building: u8, geometry: Value| {
        let properties = json!({
            "category": "unspecified", "restriction": null, "outdoor": false, "ordinal": ordinal, "name": {"en": name},
            "short_name": {"en": ordinal.to_string()}, "display_point": null, "address_id": null,
            "building_ids": [id(BUILDING, building)],
        });
        feature("level", id(LEVEL, number), geometry, properties)
    };
    let line = json!({"type": "LineString", "coordinates": [at(18.0, 0.0), at(22.0, 0.0)]});
    let door = json!({
        "category": "pedestrian.principal", "accessibility": null, "access_control": null,
        "door": {"type": "sliding", "automatic": true, "material": "glass"}, "name": null, "alt_name": null,
        "display_point": null, "level_id": id(LEVEL, 1),
    });
    vec![
        manifest(),
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
        ),
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
        ),
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
        ),
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
        ),
        collection("detail", vec![feature("detail", id(OTHER, 3), line.clone(), json!({"level_id": id(LEVEL, 1)}))]),
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
        ),
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
        ),
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
        ),
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
        ),
        collection(
            "level",
            vec![
                level(1, 0, "Ground floor", 1, box_of(0.0, 0.0, 40.0, 25.0)),
                level(2, 1, "Upper floor", 1, box_of(0.0, 0.0, 40.0, 25.0)),
                // The ground floor of the building next door touches the first.
                level(3, 0, "Parking", 2, box_of(40.0, 0.0, 10.0, 25.0)),
            ],
        ),
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
        ),
        collection(
            "opening",
            vec![
                feature("opening", id(OTHER, 11), line, door.clone()),
                feature(
                    "opening",
                    id(OTHER, 12),
                    json!({"type": "LineString", "coordinates": [at(1.0, 1.0), at(1.0, 1.0)]}),
                    door,
                ),
            ],
        ),
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
        ),
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
        ),
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
        ),
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
        ),
    ]
}

fn archive(files: &[(String, String)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn read(within: &Registry) -> Imdf {
    read_imdf(&archive(&map()), within).unwrap()
}

fn faults(bytes: &[u8], within: &Registry) -> String {
    read_imdf(bytes, within).unwrap_err().to_string()
}

fn zone<'a>(registry: &'a Registry, id: &str) -> &'a Zone {
    let Some(at) = registry.zone(&ZoneId::new(id).unwrap()) else {
        let ids: Vec<&str> = registry.zones().iter().map(|zone| zone.id.as_str()).collect();
        panic!("no zone {id} among {ids:?}");
    };
    &registry.zones()[at.get()]
}

/// The middle of a zone of one rectangle.
fn middle(zone: &Zone) -> (f64, f64) {
    let Shape::Polygons(parts) = &zone.shape else { panic!("{:?}", zone.shape) };
    let ring = &parts[0].0;
    let count = ring.len() as f64;
    (ring.iter().map(|p| p.x).sum::<f64>() / count, ring.iter().map(|p| p.y).sum::<f64>() / count)
}

#[test]
fn every_feature_of_every_type_is_accounted_for() {
    let Imdf { accounting, .. } = read(&empty());
    assert_eq!(accounting.features.len(), 16);
    for (kind, account) in &accounting.features {
        assert!(account.read > 0, "{kind}");
        assert_eq!(account.read, account.used + account.skipped.len(), "{kind}: {account:?}");
    }
    let of = |kind: &str| {
        let account = &accounting.features[kind];
        (account.read, account.used, account.zones)
    };
    assert_eq!(of("unit"), (8, 4, 4));
    assert_eq!(of("geofence"), (2, 1, 2));
    assert_eq!(of("level"), (3, 3, 0));
    assert_eq!(of("opening"), (2, 1, 1));
    for kind in ["section", "kiosk", "fixture"] {
        assert_eq!(of(kind), (1, 1, 1), "{kind}");
    }
    for (kind, used) in
        [("address", 1), ("amenity", 1), ("anchor", 1), ("building", 1), ("occupant", 1), ("venue", 1), ("detail", 0)]
    {
        assert_eq!(accounting.features[kind].used, used, "{kind}");
    }
    let why = |kind: &str, wanted: &str| {
        let skipped = accounting.features[kind].skipped.iter().find(|skipped| skipped.id == wanted);
        skipped.unwrap_or_else(|| panic!("{wanted} was not skipped")).why.clone()
    };
    assert_eq!(why("unit", &id(UNIT, 4)), "it is part of the building; nobody can be in it");
    assert_eq!(why("unit", &id(UNIT, 5)), "it is open to the level below; nobody can be there");
    assert_eq!(why("unit", &id(UNIT, 6)), "its level is not in the archive");
    assert!(why("unit", &id(UNIT, 7)).contains("crosses or touches itself"));
    assert_eq!(why("opening", &id(OTHER, 12)), "its line has no length");
    assert_eq!(why("geofence", &id(OTHER, 7)), "it names no level of the archive");
    let form = serde_json::to_value(&accounting).unwrap();
    assert_eq!(form["features"]["kiosk"], json!({"read": 1, "used": 1, "zones": 1, "skipped": []}));
}

#[test]
fn levels_units_and_doors_become_levels_and_zones_where_they_are() {
    let Imdf { edit, warnings, .. } = read(&empty());
    let registry = empty().edited(&edit).unwrap();
    assert_eq!(registry.frame().origin(), venue().origin());
    let levels = &registry.site().levels;
    assert_eq!(levels.iter().map(|level| level.ordinal.0).collect::<Vec<_>>(), [0, 1]);
    assert_eq!((levels[0].name.as_str(), levels[1].name.as_str()), ("Ground floor", "Upper floor"));
    assert!((levels[1].elevation - 4.0).abs() < 1e-9);
    let width = |level: &Level| level.outline.as_ref().unwrap().iter().map(|p| p.x).fold(0.0, f64::max);
    assert!((width(&levels[0]) - 50.0).abs() < 0.01, "both buildings: {}", width(&levels[0]));
    assert!((width(&levels[1]) - 40.0).abs() < 0.01);

    let bakery = zone(&registry, "zoes-bakery");
    assert_eq!((bakery.name.as_str(), bakery.level), ("Zoë’s Bakery", Some(LevelOrdinal(0))));
    let (x, y) = middle(bakery);
    assert!((x - 5.5).abs() < 0.01 && (y - 5.5).abs() < 0.01, "{x} {y}");
    assert_eq!(bakery.labels["category"], "retail");
    assert_eq!(bakery.labels["occupant"], "bakery");
    assert_eq!(bakery.metadata["imdf_id"], json!(id(UNIT, 1)));
    assert_eq!(bakery.metadata["unit_name"], "A101");
    assert_eq!(bakery.metadata["amenities"], json!(["atm: Cash"]));
    assert_eq!(bakery.metadata["address"], "1 Market Street, 1A, Rotterdam, 3011, NL");
    assert_eq!(bakery.metadata["building"], "Hall");
    assert_eq!(bakery.metadata["occupants"][0]["phone"], "+12225551212");

    assert_eq!(zone(&registry, "walkway").level, Some(LevelOrdinal(0)));
    assert_eq!(zone(&registry, "walkway-2").level, Some(LevelOrdinal(1)));
    assert_eq!(zone(&registry, "south-side-level-1").name, "South side, level 1");
    assert!(matches!(&zone(&registry, "p1").shape, Shape::Polygons(parts) if parts.len() == 2));
    let door = zone(&registry, "pedestrian-principal");
    let (x, y) = middle(door);
    assert!((x - 20.0).abs() < 0.01 && y.abs() < 0.01, "{x} {y}");
    let Shape::Polygons(parts) = &door.shape else { unreachable!() };
    assert!((geometry::area(&parts[0].0) - 4.0 * OPENING_WIDTH).abs() < 0.05);
    for word in ["the origin becomes the venue's display point", "4 m a storey are assumed of 1"] {
        assert!(warnings.iter().any(|warning| warning.message.contains(word)), "{warnings:#?}");
    }
}

#[test]
fn imported_zones_are_records_like_any_other() {
    let Imdf { edit, .. } = read(&empty());
    let registry = empty().edited(&edit).unwrap();
    for record in records(&registry) {
        let form = to_json(&record, registry.frame());
        let back = from_json(record.key().kind(), &form.to_string(), &registry).unwrap().0;
        assert_eq!(to_json(&back, registry.frame()), form);
        assert_eq!(back, record);
    }
}

#[test]
fn a_map_that_is_imported_again_changes_nothing_but_what_changed() {
    let first = read(&empty()).edit;
    let registry = empty().edited(&first).unwrap();
    let again = read(&registry);
    let next = registry.edited(&again.edit).unwrap();
    assert!(registry.difference(&next).is_empty(), "{:#?}", registry.difference(&next));
    assert!(again.warnings.iter().all(|warning| !warning.message.contains("origin")), "{:#?}", again.warnings);
    assert_eq!(again.accounting.features["venue"].used, 0);

    // Somebody gives the bakery another id and a dwell time, and the map another name.
    let before = zone(&registry, "zoes-bakery");
    let mut presence = before.presence.clone();
    presence.dwell = vec![std::time::Duration::from_secs(60)];
    let mut labels = before.labels.clone();
    labels.insert("team".to_owned(), "food".to_owned());
    let own = Zone { id: ZoneId::new("bread").unwrap(), presence, labels, ..before.clone() };
    let edit = Edit {
        put: vec![Record::Zone(std::sync::Arc::new(own))],
        remove: vec![crate::registry::Key::Zone(before.id.clone())],
    };
    let edited = registry.edited(&edit).unwrap();
    let mut files = map();
    for (_, text) in &mut files {
        *text = text.replace("Zoë’s Bakery", "Boulangerie").replace(&id(OTHER, 8), "gone");
    }
    let imdf = read_imdf(&archive(&files), &edited).unwrap();
    let next = edited.edited(&imdf.edit).unwrap();
    let bread = zone(&next, "bread");
    assert_eq!(
        (bread.name.as_str(), bread.presence.dwell.len(), bread.labels["team"].as_str()),
        ("Boulangerie", 1, "food")
    );
    assert!(next.zone(&ZoneId::new("boulangerie").unwrap()).is_none());
    let gone = imdf.warnings.iter().find(|warning| warning.message.contains("earlier map")).unwrap();
    assert!(gone.message.contains("1 zones of an earlier map are not in this one, and stay: \"flowers\""), "{gone}");
}

#[test]
fn a_map_of_another_place_is_refused_where_the_site_has_things_in_it() {
    let message = faults(&archive(&map()), &fixture::registry(&fixture::settings()));
    assert!(message.contains("km from the site's origin"), "{message}");
    assert!(message.contains("check the site's origin"), "{message}");
}

#[test]
fn a_map_of_the_same_place_is_added_to_what_is_there() {
    let files = crate::cli::demo::store::STORE;
    let registry = load_bundled_site(&files).unwrap().0;
    let imdf = read(&registry);
    let next = registry.edited(&imdf.edit).unwrap();
    assert_eq!(next.frame(), registry.frame());
    assert_eq!(next.zones().len(), registry.zones().len() + 10);
    let upper = &next.site().levels[1];
    assert!((upper.elevation - 4.5).abs() < 1e-9, "the height of a known level is kept");
    assert!(upper.plan.is_some());
    assert_eq!(zone(&next, "zoes-bakery").level, Some(LevelOrdinal(0)));
}

#[test]
fn folders_and_files_of_archivers_do_no_harm() {
    let mut files: Vec<(String, String)> =
        map().into_iter().map(|(name, text)| (format!("Market Hall/{name}"), text)).collect();
    files.push(("__MACOSX/Market Hall/._manifest.json".to_owned(), "x".to_owned()));
    files.push(("Market Hall/.DS_Store".to_owned(), "x".to_owned()));
    files.push(("Market Hall/notes.txt".to_owned(), "x".to_owned()));
    files.push(("../../etc/passwd".to_owned(), "x".to_owned()));
    let imdf = read_imdf(&archive(&files), &empty()).unwrap();
    assert_eq!(imdf.accounting, read(&empty()).accounting);
    let others = imdf.warnings.iter().find(|warning| warning.message.contains("no part of IMDF")).unwrap();
    assert!(others.message.starts_with("2 files are no part"), "{others}");
}

#[test]
fn archives_that_are_none_are_refused() {
    let file = |name: &str, text: &str| vec![manifest(), (name.to_owned(), text.to_owned())];
    let bare = |text: &str| vec![("manifest.json".to_owned(), text.to_owned())];
    for (bytes, part) in [
        (b"".to_vec(), "this is no ZIP archive"),
        (b"PK\x03\x04 and nothing more".to_vec(), "this is no ZIP archive"),
        (archive(&[]), "no manifest.json"),
        (archive(&map()[1..]), "no manifest.json"),
        (archive(&bare("{")), "manifest.json:1: error: column 1: broken JSON"),
        (archive(&bare("{\"version\": \"2.0.0\"}")), "IMDF version 2.0.0"),
        (archive(&[manifest()]), "the archive has no features in it"),
        (archive(&file("unit.geojson", "{")), "unit.geojson:1: error: column 1: broken JSON"),
        (archive(&file("unit.geojson", "[]")), "unit.geojson:1: error: the file must be an object"),
        (archive(&file("unit.geojson", "{\"features\": [\n1]}")), "unit.geojson:2: error: a feature must be an object"),
        (archive(&file("unit.geojson", "{}")), "\"features\" is missing"),
        (archive(&file("unit.geojson", &" ".repeat(65 << 20))), "unit.geojson: error: it unpacks to more than 64 MiB"),
        (
            archive(&(0..1_001).map(|n| (format!("{n}"), String::new())).collect::<Vec<_>>()),
            "1001 entries, more than 1000",
        ),
        ([archive(&map()), b"PK\x06\x07".to_vec()].concat(), "ZIP64"),
    ] {
        let message = faults(&bytes, &empty());
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn broken_archives_never_panic() {
    let good = archive(&map());
    for at in (0..good.len()).step_by(97) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let _ = read_imdf(&bytes, &empty());
        let _ = read_imdf(&good[..at], &empty());
    }
}

#[test]
fn features_of_odd_shapes_and_types_are_skipped_not_guessed() {
    let features = vec![
        json!(null),
        json!({}),
        json!({"id": 5, "properties": null, "geometry": {}}),
        json!({"id": "a", "properties": {"level_id": id(LEVEL, 1), "category": 7, "name": 4}, "geometry": {"type": "Point"}}),
        json!({"id": "b", "properties": {"level_id": [], "name": {"en": 5}}, "geometry": box_of(0.0, 0.0, 1.0, 1.0)}),
        json!({"id": "c", "properties": {"level_id": id(LEVEL, 1)}, "geometry": box_of(0.0, 0.0, 1.0, 1.0)}),
        json!({"id": "d", "properties": {"level_id": id(LEVEL, 1)}, "geometry": null}),
    ];
    let mut files: Vec<(String, String)> = map().into_iter().filter(|(name, _)| name != "unit.geojson").collect();
    files.push(collection("unit", features[1..].to_vec()));
    let imdf = read_imdf(&archive(&files), &empty()).unwrap();
    let account = &imdf.accounting.features["unit"];
    assert_eq!((account.read, account.used, account.skipped.len()), (6, 1, 5), "{account:?}");
    files.pop();
    files.push(collection("unit", features));
    assert!(faults(&archive(&files), &empty()).contains("a feature must be an object, not null"));
}

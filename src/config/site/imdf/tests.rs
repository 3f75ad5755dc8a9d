mod map;

use std::io::{Cursor, Write as _};

use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use self::map::{LEVEL, OTHER, UNIT, box_of, collection, id, manifest, map, venue};
use super::*;
use crate::config::site::fixture::records;
use crate::config::{from_json, load_bundled_site, to_json};
use crate::model::{LevelOrdinal, ZoneId};
use crate::registry::{Level, Shape, Zone, fixture};

/// The fixture's site, without anything in it.
fn empty() -> Registry {
    let site = fixture::site();
    let levels = vec![Level { outline: None, ..site.levels[0].clone() }];
    Registry::new(Site { levels, ..site }, vec![], vec![], vec![], vec![]).unwrap()
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
        calibration: None,
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

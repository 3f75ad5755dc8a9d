use std::fmt::Write as _;

use super::*;
use crate::cli::demo::store::STORE;
use crate::config::Severity;
use crate::registry::{Edit, fixture};

fn registry() -> Registry {
    fixture::registry(&fixture::settings())
}

fn errors<T: std::fmt::Debug>(read: Result<T, Faults>) -> Vec<String> {
    let faults = read.unwrap_err().into_diagnostics();
    faults.iter().filter(|fault| fault.severity == Severity::Error).map(ToString::to_string).collect()
}

/// The texts of the example store, one of them changed.
fn store(name: &str, change: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let files = [
        (SITE, STORE.site),
        (ZONES, STORE.zones),
        (BEACONS, STORE.beacons),
        (DEVICES, STORE.devices),
        (TRIGGERS, STORE.triggers),
    ];
    let changed =
        |(file, text): (&str, &str)| (file.to_owned(), if file == name { change(text) } else { text.to_owned() });
    files.into_iter().map(changed).collect()
}

fn pictures() -> BTreeMap<String, Vec<u8>> {
    STORE.plans.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect()
}

#[test]
fn faults_of_an_import_have_the_lines_of_its_file() {
    let mut text = "id,identity,device,x,y,level,measured_power\n".to_owned();
    for number in 0..10_000 {
        let _ = writeln!(text, "n{number},mac:C1:00:00:00:{:02X}:{:02X},d1,,,,", number / 256, number % 256);
    }
    let text = text.replace(",d1,,,,\nn5000,", ",d9,,,,\nn5000,").replace("n7000,mac:C1", "n7000,mac:C0:00");
    let found = errors(read_beacons_text("beacons.csv", text, &registry()));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with(
            "beacons.csv:5001: error: beacon \"n4999\": device \"d9\" is not registered; did you mean \"d1\"?"
        ),
        "{found:?}"
    );
    assert!(found[1].starts_with("beacons.csv:7002: error: beacon \"n7000\": identity: "), "{found:?}");
    let zones = "{\"type\": \"FeatureCollection\", \"features\": [\n{\"type\": \"Feature\", \"properties\": {\"id\": \"z\", \"level\": 4},\n\"geometry\": null}]}";
    let found = errors(read_zones_text("zones.geojson", zones.to_owned(), &registry()));
    assert!(
        found[0].starts_with("zones.geojson:2: error: zone \"z\": the site has no level 4; its levels are 0;"),
        "{found:?}"
    );
    assert!(found[1].starts_with("zones.geojson:3: error: zone \"z\": the zone has no geometry"), "{found:?}");
    let found = errors(read_devices_text("d.csv", "id,consent,labels\na,,\n\na,,\n".to_owned()));
    assert_eq!(
        found,
        ["d.csv:4: error: device \"a\": the id is taken by the device on line 2; give each device its own"]
    );
}

#[test]
fn an_identity_is_free_once_its_beacon_is_given_another() {
    let header = "id,identity,device,x,y,level,measured_power\n";
    let (one, other) = ("mac:C0:00:00:00:00:01", "mac:C0:00:00:00:00:02");
    let taken = errors(read_beacons_text("b", format!("{header}new,{one},d1,,,,\n"), &registry()));
    assert!(
        taken[0].starts_with(&format!(
            "b:2: error: beacon \"new\": the identity {one} is that of the registered beacon \"b1\""
        )),
        "{taken:?}"
    );
    let exchanged = format!("{header}b1,{other},d1,,,,\nb2,{one},d2,,,,\n");
    let (records, _) = read_beacons_text("b", exchanged, &registry()).unwrap();
    assert!(registry().edited(&Edit { put: records, ..Edit::default() }).is_ok());
    let none = Registry::new(registry().site().clone(), vec![], vec![], vec![], vec![fixture_device()]).unwrap();
    assert!(read_beacons_text("b", format!("{header}new,{one},d1,,,,\n"), &none).is_ok());
}

fn fixture_device() -> crate::registry::Device {
    registry().devices()[0].as_ref().clone()
}

#[test]
fn a_site_of_texts_is_what_its_directory_would_be() {
    let (registry, plans, warnings) = read_site_texts(store("", str::to_owned), pictures()).unwrap();
    let (bundled, bundled_plans, _) = crate::config::load_bundled_site_with_plans(&STORE).unwrap();
    assert!(registry.difference(&bundled).is_empty() && bundled.difference(&registry).is_empty());
    assert_eq!((plans, warnings), (bundled_plans, vec![]));
    let mut alone = store("", str::to_owned);
    alone.retain(|name, _| name == SITE);
    let (registry, _, _) = read_site_texts(alone, pictures()).unwrap();
    assert_eq!((registry.zones().len(), registry.beacons().len(), registry.devices().len()), (1, 0, 0));
}

#[test]
fn files_that_are_none_of_a_site_are_named() {
    let mut files = store("", str::to_owned);
    files.insert("zone.geojson".to_owned(), "{}".to_owned());
    let found = errors(read_site_texts(files, pictures()));
    assert_eq!(found, ["zone.geojson: error: \"zone.geojson\" is no file of a site; did you mean \"zones.geojson\"?"]);
    let files = store("", str::to_owned);
    let mut extra = pictures();
    extra.insert("cat.png".to_owned(), vec![1]);
    let (_, _, warnings) = read_site_texts(files, extra).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["cat.png: warning: no level of site.toml names the picture; it is ignored"]);
    assert_eq!(errors(read_site_texts(BTreeMap::new(), BTreeMap::new())).len(), 1);
}

#[test]
fn faults_of_floor_plans_have_their_line() {
    let plan = "plan = { file = \"floor-0.svg\", x = -0.5, y = 25.5, metres_per_pixel = 1.0, bearing = 0.0 }";
    for (with, wanted) in [
        (
            "plan = { file = \"floor-9.svg\", x = 0, y = 0, metres_per_pixel = 1 }",
            "level 0, plan: the file \"floor-9.svg\" is missing; put the picture beside site.toml",
        ),
        (
            "plan = { file = \"floor-1.svg\", x = 0, y = 0, metres_per_pixel = 1 }",
            "the file \"floor-1.svg\" is the plan of level 0",
        ),
        (
            "plan = { file = \"broken.png\", x = 0, y = 0, metres_per_pixel = 1 }",
            "\"broken.png\": this is no PNG, JPEG or SVG",
        ),
        (
            "plan = { file = \"../etc/x.png\", x = 0, y = 0, metres_per_pixel = 1 }",
            "is no name of a file in the site directory",
        ),
        ("plan = { file = \"site.toml\", x = 0, y = 0, metres_per_pixel = 1 }", "is no picture by its name"),
        ("plan = { x = 0, y = 0, metres_per_pixel = 1 }", "\"file\" is missing"),
        ("plan = { file = \"floor-0.svg\", y = 0, metres_per_pixel = 1 }", "\"x\" is missing"),
        (
            "plan = { file = \"floor-0.svg\", x = 0, y = 0, metres_per_pixel = 0 }",
            "\"metres_per_pixel\" is 0; it must lie between",
        ),
        ("plan = { file = \"floor-0.svg\", x = 0, y = 0, metres_per_pixel = 1, bearing = 400 }", "\"bearing\" is 400"),
        ("plan = { file = \"floor-0.svg\", x = 0, y = 0, metres_per_pixel = 1, width = 4 }", "unknown key \"width\""),
        ("plan = \"floor-0.svg\"", "\"plan\" must be a table"),
    ] {
        let line = STORE.site.lines().position(|line| line == plan).unwrap() + 1;
        let mut pictures = pictures();
        pictures.insert("broken.png".to_owned(), b"GIF89a".to_vec());
        let found = errors(read_site_texts(store(SITE, |text| text.replace(plan, with)), pictures));
        assert!(found.len() == 1 && found[0].contains(wanted), "{with}: {found:?}");
        if !found[0].contains("of level 0") {
            assert!(found[0].starts_with(&format!("site.toml:{line}: error: level 0")), "{with}: {found:?}");
        }
    }
}

#[test]
fn many_rows_are_read_and_written_back_as_they_were() {
    let (mut devices, mut beacons) = ("id,consent,labels,kind\n".to_owned(), String::new());
    beacons.push_str("id,identity,device,x,y,level,measured_power\n");
    let mut zones = "{\"type\": \"FeatureCollection\", \"features\": [".to_owned();
    for number in 0..2_000 {
        let _ = writeln!(devices, "device-{number},marketing;presence,tier=gold;lang=fr,customer");
        let _ = writeln!(
            beacons,
            "beacon-{number},ibeacon:8f1c7d2e-5a43-4b0e-9d61-2c7be0a4f3d9/{}/{},device-{number},,,,-59",
            number / 65_536,
            number % 65_536
        );
    }
    for number in 0..1_000_u32 {
        let (x, y) = (2.35 + f64::from(number % 100) * 1e-5, 48.856 + f64::from(number / 100) * 1e-5);
        let (right, top) = (x + 0.9e-5, y + 0.9e-5);
        let _ = write!(
            zones,
            "{}{{\"type\":\"Feature\",\"properties\":{{\"id\":\"z{number}\",\"level\":0}},\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[[{x},{y}],[{right},{y}],[{right},{top}],[{x},{top}],[{x},{y}]]]}}}}",
            if number > 0 { ",\n" } else { "" }
        );
    }
    zones.push_str("]}");
    let (records, _) = read_devices_text("devices.csv", devices).unwrap();
    let empty = Registry::new(registry().site().clone(), vec![], vec![], vec![], vec![]).unwrap();
    let registry = empty.edited(&Edit { put: records, ..Edit::default() }).unwrap();
    let (records, _) = read_beacons_text("beacons.csv", beacons, &registry).unwrap();
    let registry = registry.edited(&Edit { put: records, ..Edit::default() }).unwrap();
    let (records, _) = read_zones_text("zones.geojson", zones, &registry).unwrap();
    let registry = registry.edited(&Edit { put: records, ..Edit::default() }).unwrap();
    let texts = crate::config::site_texts(&registry);
    let (back, _, _) = read_site_texts(texts, BTreeMap::new()).unwrap();
    assert!(registry.difference(&back).is_empty());
}

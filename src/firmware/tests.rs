//! Whole files, from registries that mean ill.

use super::*;
use crate::advert::{Frame, frames_in};
use crate::registry::Registry;

/// A name that tries to break out of every language at once.
const HOSTILE: &str = "=x*/ \"';$(id)`id`${1+1}%n@ID@<script>&--\u{202e}\u{2028}\u{0085}\\";

fn registry(level: &str, zone: &str) -> Registry {
    let mut texts = std::collections::BTreeMap::new();
    let quote = |text: &str| serde_json::to_string(text).unwrap();
    texts.insert(
        "site.toml".to_owned(),
        format!(
            "id = \"s\"\nname = {0}\ntime_zone = \"UTC\"\n\
             origin = {{ latitude = 0.0, longitude = 0.0, bearing = 0.0 }}\n\
             measured_power = -61\n[[level]]\nordinal = 0\nname = {0}\nelevation = 0.0\n",
            quote(level)
        ),
    );
    let corner = |x: f64, y: f64| format!("[{:.8}, {:.8}]", x / 111_319.49, y / 110_574.28);
    let ring = [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0), (0.0, 0.0)].map(|(x, y)| corner(x, y)).join(", ");
    texts.insert(
        "zones.geojson".to_owned(),
        format!(
            "{{\"type\": \"FeatureCollection\", \"features\": [{{\"type\": \"Feature\", \
             \"properties\": {{\"id\": \"z\", \
             \"name\": {}, \"level\": 0}}, \"geometry\": {{\"type\": \"Polygon\", \"coordinates\": [[{ring}]]}}}}]}}",
            quote(zone)
        ),
    );
    texts.insert("devices.csv".to_owned(), "id,consent,labels,kind\nd1,,,asset\n".to_owned());
    texts.insert(
        "beacons.csv".to_owned(),
        "id,identity,device,x,y,level,measured_power\n\
         shelf,ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/258,,4,5,0,-59\n\
         Cart.7,eddystone-uid:00010203040506070809/0a0b0c0d0e0f,d1,,,,\n\
         alt,altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002,,20,20,0,\n\
         tag,mac:C0:FF:EE:00:00:01,,1,1,0,\n"
            .to_owned(),
    );
    crate::config::read_site_texts(texts, std::collections::BTreeMap::new()).unwrap().0
}

fn settings(target: Target) -> Settings {
    Settings::new(target, Interval::USUAL, 0, None).unwrap()
}

fn rendered(target: Target, ids: &[&str], registry: &Registry) -> Result<Vec<Rendered>, FirmwareError> {
    let subjects: Vec<Subject<'_>> = ids.iter().map(|id| Subject::find(registry, id)).collect::<Result<_, _>>()?;
    render(target, &subjects, &settings(target))
}

fn file<'a>(files: &'a [Rendered], path: &str) -> &'a str {
    let found = files.iter().find(|file| file.path == path);
    &found.unwrap_or_else(|| panic!("no {path} in {:?}", files.iter().map(|file| &file.path).collect::<Vec<_>>())).text
}

/// The identity and power in advertising data.
fn read(bytes: &[u8]) -> (String, Option<i16>) {
    let frames: Vec<Frame<'_>> = frames_in(bytes).map(Result::unwrap).collect();
    assert_eq!(frames.len(), 1);
    let identity = match frames[0] {
        Frame::IBeacon(frame) => {
            format!("ibeacon:{}/{}/{}", uuid::Uuid::from_bytes(*frame.uuid), frame.major, frame.minor)
        }
        Frame::AltBeacon(frame) => format!("altbeacon:{}", hex::encode(frame.id)),
        Frame::EddystoneUid(frame) => {
            format!("eddystone-uid:{}/{}", hex::encode(frame.namespace), hex::encode(frame.instance))
        }
        other => panic!("{other:?}"),
    };
    (identity, frames[0].measured_power())
}

const SENT: [(&str, &str, i16); 3] = [
    ("shelf", "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/258", -59),
    ("Cart.7", "eddystone-uid:00010203040506070809/0a0b0c0d0e0f", -61),
    ("alt", "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002", -61),
];

#[test]
fn a_linux_computer_sends_what_is_registered() {
    let registry = registry("Ground", "Fruit");
    for (id, identity, power) in SENT {
        let files = rendered(Target::Linux, &[id], &registry).unwrap();
        let script = file(&files, &format!("{id}/beaconfence-beacon"));
        let data = script.lines().find_map(|line| line.strip_prefix("DATA=")).unwrap();
        assert_eq!(read(&hex::decode(data).unwrap()), (identity.to_owned(), Some(power)));
        assert!(script.contains("\nINTERVAL=800\n") && script.contains("\nTX_POWER=0\n"));
        assert!(files[0].is_program && !files[1].is_program);
    }
}

#[test]
fn zephyr_sends_what_is_registered() {
    let registry = registry("Ground", "Fruit");
    for (id, identity, power) in SENT {
        let files = rendered(Target::Zephyr, &[id], &registry).unwrap();
        let header = file(&files, &format!("{id}/src/beacon.h"));
        // The arrays by name, and the order and types of the elements.
        let mut bytes = Vec::new();
        for element in header.lines().filter(|line| line.trim_start().starts_with("BT_DATA(")) {
            let inside = element.trim().strip_prefix("BT_DATA(0x").unwrap();
            let (kind, rest) = inside.split_once(", ").unwrap();
            let name = rest.split(',').next().unwrap();
            let begin = header.find(&format!("static const uint8_t {name}[] = {{")).unwrap();
            let body = &header[begin..];
            let body = &body[body.find('{').unwrap() + 1..body.find('}').unwrap()];
            let data = hex::decode(body.replace("0x", "").replace([',', ' ', '\t', '\n'], "")).unwrap();
            bytes.push(data.len() as u8 + 1);
            bytes.push(u8::from_str_radix(kind, 16).unwrap());
            bytes.extend(data);
        }
        assert_eq!(read(&bytes), (identity.to_owned(), Some(power)));
        assert!(header.contains("#define BEACON_INTERVAL 800\n"), "{header}");
        assert_eq!(files.len(), 5);
    }
}

#[test]
fn esphome_is_told_what_is_registered() {
    let registry = registry("Ground", "Fruit");
    let files = rendered(Target::Esphome, &["shelf"], &registry).unwrap();
    let text = file(&files, "shelf.yaml");
    for line in [
        "# x 4.00 m, y 5.00 m, Ground, Fruit",
        "  name: \"shelf\"",
        "  uuid: \"e2c56db5-dffb-48d2-b060-d0f5a71096e0\"",
        "  major: 1",
        "  minor: 258",
        "  min_interval: \"500ms\"",
        "  measured_power: -59",
        "  tx_power: \"0dBm\"",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn steps_of_power_are_named_as_zephyr_names_them() {
    let registry = registry("Ground", "Fruit");
    for (dbm, name) in [(4, "PLUS_4"), (0, "0"), (-8, "MINUS_8"), (-40, "MINUS_40")] {
        let settings = Settings::new(Target::Zephyr, Interval::USUAL, dbm, None).unwrap();
        let files = render(Target::Zephyr, &[Subject::find(&registry, "shelf").unwrap()], &settings).unwrap();
        let line = format!("CONFIG_BT_CTLR_TX_PWR_{name}=y");
        assert!(file(&files, "shelf/prj.conf").lines().any(|found| found == line));
    }
}

#[test]
fn hostile_names_stay_text() {
    let (plain, hostile) = (registry("Ground", "Fruit"), registry(HOSTILE, HOSTILE));
    for target in [Target::Esphome, Target::Zephyr, Target::Linux] {
        let plain = rendered(target, &["shelf"], &plain).unwrap();
        let hostile = rendered(target, &["shelf"], &hostile).unwrap();
        for (plain, hostile) in plain.iter().zip(&hostile) {
            // But for the one line of a comment in which it stands, everything is the same.
            let (plain, lines): (Vec<&str>, Vec<&str>) = (plain.text.lines().collect(), hostile.text.lines().collect());
            assert_eq!(plain.len(), lines.len(), "{}", hostile.path);
            let different: Vec<&str> =
                plain.iter().zip(&lines).filter(|(a, b)| a != b).map(|(_, hostile)| *hostile).collect();
            assert!(different.len() <= 1, "{different:?}");
            for line in different {
                let in_c = line.starts_with(" * ");
                assert!(in_c || line.starts_with("# "), "{line}");
                assert!(!in_c || !line.contains("*/"), "{line}");
                assert!(!line.ends_with('\\'), "{line}");
                assert!(line.chars().all(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}')), "{line}");
                assert!(line.contains("@ID@"), "values are not read again: {line}");
            }
        }
    }
}

#[test]
fn a_sheet_holds_everything_and_no_formula() {
    let registry = registry(HOSTILE, HOSTILE);
    let sheet = render(Target::Sheet, &Subject::all(&registry), &settings(Target::Sheet)).unwrap();
    let text = file(&sheet, "beacons-sheet.csv");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    // 188,000 / (21.019 + 1.9 + 0.268) = 8,108 h; 0.05 is left at 0.491 of the seventh period of 505 ms, and 1.2 s.
    assert_eq!(
        lines[1],
        "Cart.7,eddystone-uid:00010203040506070809/0a0b0c0d0e0f,carried,d1,,,,,,500,0,-61,cr2032,338,4.5,zephyr linux"
    );
    // Twice: the level's name and the zone's.
    assert_eq!(lines[3].matches("\"'=x*/ \"\"';$(id)").count(), 2, "{}", lines[3]);
    assert!(lines[4].starts_with("tag,mac:C0:FF:EE:00:00:01,fixed,,1.000,1.000,0,"), "{}", lines[4]);
    assert!(lines[4].ends_with(','), "nothing sends an address: {}", lines[4]);
}

#[test]
fn labels_are_sound_xml_whatever_names_hold() {
    let registry = registry(HOSTILE, HOSTILE);
    let many: Vec<Subject<'_>> = Subject::all(&registry).into_iter().cycle().take(50).collect();
    let pages = render(Target::Labels, &many, &settings(Target::Labels)).unwrap();
    assert_eq!(
        pages.iter().map(|page| page.path.as_str()).collect::<Vec<_>>(),
        ["labels-1.svg", "labels-2.svg", "labels-3.svg"]
    );
    let mut labels = 0;
    for page in &pages {
        let mut reader = quick_xml::Reader::from_str(&page.text);
        reader.config_mut().check_end_names = true;
        let mut names = std::collections::BTreeSet::new();
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => break,
                quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                    let name = tag.name().as_ref().to_owned();
                    labels += usize::from(name == "path");
                    names.insert(name);
                }
                _ => {}
            }
        }
        let known = ["g", "path", "rect", "style", "svg", "text", "title"].map(str::to_owned);
        assert_eq!(names.into_iter().collect::<Vec<_>>(), known);
    }
    assert_eq!(labels, 50);
}

#[test]
fn what_cannot_be_done_says_why() {
    let registry = registry("Ground", "Fruit");
    for (target, id, parts) in [
        (Target::Zephyr, "shelv", &["no beacon \"shelv\"", "did you mean \"shelf\"?"][..]),
        (Target::Zephyr, "../../etc", &["no beacon \"../../etc\"", "beacon list"]),
        (Target::Linux, "tag", &["linux cannot send mac:C0:FF:EE:00:00:01", "the address is the chip's own"]),
        (Target::Esphome, "Cart.7", &["esphome cannot send eddystone-uid:", "iBeacons only", "zephyr or linux"]),
        (Target::Esphome, "alt", &["esphome cannot send altbeacon:"]),
    ] {
        let message = rendered(target, &[id], &registry).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
    assert_eq!(
        rendered(Target::Linux, &["shelf", "shelf"], &registry).unwrap_err(),
        FirmwareError::Twice("shelf/beaconfence-beacon".to_owned())
    );
}

#[test]
fn intervals_and_powers_that_no_radio_has_are_refused() {
    for ms in [0, 19, 10_241] {
        let message = Interval::new(ms).unwrap_err().to_string();
        assert!(
            message.contains("20 to 10240 ms") && message.contains("100 ms or more before Bluetooth 5.0"),
            "{message}"
        );
    }
    assert_eq!([20, 500, 1_023, 10_240].map(|ms| Interval::new(ms).unwrap().units()), [32, 800, 1_637, 16_384]);
    let refused = |target, dbm, battery| Settings::new(target, Interval::USUAL, dbm, battery).unwrap_err().to_string();
    assert_eq!(
        refused(Target::Zephyr, 3, None),
        "an nRF52832 has no step of 3 dBm; it has -40, -20, -16, -12, -8, -4, 0, 4"
    );
    assert!(refused(Target::Esphome, 4, None).ends_with("it has -12, -9, -6, -3, 0, 3, 6, 9"));
    let weak = refused(Target::Esphome, 0, Some(Battery::Cr2032));
    assert!(weak.contains("takes 130 mA") && weak.ends_with("choose aa or usb"), "{weak}");
    assert!(refused(Target::Linux, 0, Some(Battery::Aa)).contains("--battery usb only"));
}

#[test]
fn esphome_cannot_say_a_positive_power() {
    let registry = registry("Ground", "Fruit");
    let mut beacon = Subject::find(&registry, "shelf").unwrap().beacon.clone();
    beacon.measured_power = crate::model::MeasuredPower::new(4.0).ok();
    let subject = Subject { beacon: &beacon, registry: &registry };
    let message = render(Target::Esphome, &[subject], &settings(Target::Esphome)).unwrap_err().to_string();
    assert!(message.contains("at most 0 dBm, not 4"), "{message}");
}

#[test]
fn the_gateway_s_own_settings_need_no_registry() {
    let files = render(Target::Bluez, &[], &settings(Target::Bluez)).unwrap();
    assert!(file(&files, "main.conf").contains("\nControllerMode = le\n"));
}

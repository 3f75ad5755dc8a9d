use std::path::Path;

use serde_json::Value;

use super::super::{FILES, load_site};
use super::*;
use crate::config::Severity;
use crate::model::SiteId;

const SITE: &str = r#"id = "s"
time_zone = "Europe/Paris"
origin = { latitude = 48.8, longitude = 2.3 }
level = [{ ordinal = 0 }]
receiver = [{ id = "r1", x = 0, y = 0 }, { id = "r2", x = 9.0, y = 4.25, z = 3.0 }]
"#;

/// Eight times the same, in a row.
macro_rules! many {
    ($one:expr) => {
        concat!($one, ", ", $one, ", ", $one, ", ", $one, ", ", $one, ", ", $one, ", ", $one, ", ", $one)
    };
}

fn calibration() -> Calibration {
    let receiver = |id: &str, x, y, z, points: Vec<SurveyPoint>| ReceiverCalibration {
        id: ReceiverId::new(id).unwrap(),
        point: Point { x, y },
        z,
        level: LevelOrdinal(0),
        power: -58.25,
        exponent: 2.125,
        rssi_offset: -1.5,
        sd: 3.75,
        points,
    };
    let point = |x, rssi| SurveyPoint { point: Point { x, y: -0.5 }, level: LevelOrdinal(0), rssi, count: 12 };
    Calibration {
        recording: Recording {
            from: "2026-01-01T10:00:00.000Z".parse().unwrap(),
            to: "2026-01-01T10:20:00.500Z".parse().unwrap(),
            sightings: 1_234,
            points: 2,
        },
        path_loss_exponent: 2.125,
        measured_power: MeasuredPower::new(-58.75).unwrap(),
        beacons: vec![BeaconCalibration {
            id: BeaconId::new("b1").unwrap(),
            measured_power: MeasuredPower::new(-58.75).unwrap(),
            sightings: 1_234,
        }],
        receivers: vec![
            receiver("r1", 0.0, 0.0, 2.5, vec![point(1.25, -61.25), point(2.5, -70.0)]),
            receiver("r2", 9.0, 4.25, 3.0, vec![point(1.25, -80.5)]),
        ],
    }
}

fn directory(calibration: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [
        (FILES[0], SITE),
        (FILES[1], r#"{"type": "FeatureCollection", "features": []}"#),
        (FILES[2], "id,identity,device,x,y,level,measured_power\nb1,mac:C0:00:00:00:00:01,d1,,,,\n"),
        (FILES[3], "id,consent,labels\nd1,presence,\n"),
        ("calibration.json", calibration),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn text() -> String {
    calibration_text(&SiteId::new("s").unwrap(), &calibration())
}

fn faults(dir: &Path) -> Vec<String> {
    let faults = load_site(dir).unwrap_err().into_diagnostics();
    assert!(faults.iter().all(|fault| fault.severity == Severity::Error), "{faults:?}");
    faults.iter().map(|fault| fault.to_string().replace(&format!("{}/", dir.display()), "")).collect()
}

#[test]
fn what_is_written_reads_back_as_it_was() {
    let dir = directory(&text());
    let (registry, warnings) = load_site(dir.path()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(registry.calibration(), Some(&calibration()));
    assert_eq!(calibration_text(&registry.site().id, registry.calibration().unwrap()), text());
}

#[test]
fn what_is_written_is_valid_by_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../../docs/schemas/calibration.json")).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let mut value: Value = serde_json::from_str(&text()).unwrap();
    validator.validate(&value).unwrap();
    for (pointer, bad) in [("/schema_version", 2.0), ("/receivers/0/points/0/4", 0.0), ("/path_loss_exponent", 9.0)] {
        let before = std::mem::replace(value.pointer_mut(pointer).unwrap(), bad.into());
        assert!(!validator.is_valid(&value), "{pointer}");
        *value.pointer_mut(pointer).unwrap() = before;
    }
}

const MANY: &str = concat!(many!(many!(many!("[1, 1, 0, -60, 1]"))));

#[test]
fn one_slip_is_one_fault_with_its_line_and_what_to_do() {
    for (from, to, wanted) in [
        ("[1.25, -0.5, 0, -61.25, 12]", "[1.25, -0.5, 0, -61.25, 12", "14: error: broken JSON"),
        (
            "\"schema_version\": 1",
            "\"schema_version\": 2",
            "2: error: schema_version is 2, not 1; it was written by another",
        ),
        ("\"site\": \"s\"", "\"site\": \"t\"", "3: error: it is the calibration of site \"t\", and this is \"s\""),
        (
            "\"id\": \"r2\"",
            "\"id\": \"r3\"",
            "15: error: receiver \"r3\": it is not in site.toml; did you mean \"r1\"?",
        ),
        ("\"id\": \"r2\"", "\"id\": \"r1\"", "10: error: receiver \"r1\" is there twice"),
        ("\"id\": \"b1\"", "\"id\": \"b2\"", "8: error: beacon \"b2\": it is not in beacons.csv; remove its entry"),
        (
            "\"exponent\": 2.125",
            "\"exponent\": 0.5",
            "11: error: receiver \"r1\": \"exponent\" is 0.5, but must lie between 1",
        ),
        ("\"exponent\"", "\"exponant\"", "\"exponant\"; did you mean \"exponent\"?"),
        ("\"x\": 0", "\"x\": null", "11: error: receiver \"r1\": \"x\" must be a number, not null; calibrate again"),
        ("\"sd\": 3.75", "\"sd\": 1e999", "number"),
        (
            "-58.75, \"sightings\"",
            "-158.75, \"sightings\"",
            "8: error: beacon \"b1\": \"measured_power\" is wrong: -158.75 is not a measured power",
        ),
        ("\"sightings\": 1234,", "\"sightings\": -1,", "4: error: recording: \"sightings\" is -1"),
        ("2026-01-01T10:20:00.500Z", "today", "4: error: recording: \"to\" is wrong: \"today\" is not an RFC 3339"),
        (
            "[2.5, -0.5, 0, -70, 12]",
            "[2.5, -0.5, 1, -70, 12]",
            "13: error: receiver \"r1\": level 1 is not in site.toml",
        ),
        ("[2.5, -0.5, 0, -70, 12]", "[2.5, -0.5, 0, 70, 12]", "13: error: receiver \"r1\": 70 is not an RSSI"),
        ("[2.5, -0.5, 0, -70, 12]", "[2.5, 99999, 0, -70, 12]", "km from the site's origin"),
        ("[2.5, -0.5, 0, -70, 12]", "[2.5, -0.5, 0, -70, 0.5]", "count 0.5 is not a whole number from 1"),
        (
            "[2.5, -0.5, 0, -70, 12]",
            "[2.5, -0.5, 0]",
            "[2.5, -0.5, 0] is no survey point; it must be [x, y, level, rssi",
        ),
        ("[2.5, -0.5, 0, -70, 12]", MANY, "\"points\" has more than 400 elements"),
    ] {
        let text = text();
        assert!(text.contains(from), "{from}\n{text}");
        let dir = directory(&text.replacen(from, to, 1));
        let faults = faults(dir.path());
        assert!(!faults.is_empty() && faults[0].starts_with("calibration.json:"), "{faults:?}");
        assert!(faults[0].contains(wanted), "{to}: {faults:?}");
        assert!(faults.len() == 1 || to.contains("exponant"), "{faults:?}");
    }
}

#[test]
fn the_map_of_a_receiver_that_was_moved_is_not_used() {
    for (to, part) in [
        ("y = 4.6", None),
        (
            "y = 4.9",
            Some("receiver \"r2\": it was moved by 0.7 m since the survey, so its survey is not used; survey again"),
        ),
        ("y = 4.25, z = 2.0", Some("moved by 1.0 m")),
    ] {
        let dir = directory(&text());
        let site = SITE.replace(if to.contains('z') { "y = 4.25, z = 3.0" } else { "y = 4.25" }, to);
        std::fs::write(dir.path().join(FILES[0]), site).unwrap();
        let (registry, warnings) = load_site(dir.path()).unwrap();
        let is_used: Vec<bool> =
            registry.receivers().iter().map(|of| registry.calibration().unwrap().of(of).is_some()).collect();
        assert_eq!((warnings.len(), is_used), (usize::from(part.is_some()), vec![true, part.is_none()]), "{to}");
        assert!(warnings.iter().all(|warning| warning.to_string().contains(part.unwrap())), "{warnings:?}");
    }
}

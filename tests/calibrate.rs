//! `beaconfence calibrate` on surveys of a hall whose radio is known.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot start a program has failed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// x, y, and what the receiver reads too high, in dB. The last three make it asymmetric.
const RECEIVERS: [(f64, f64, f64); 6] =
    [(1.0, 1.0, 0.0), (12.0, 0.5, 3.0), (23.0, 2.0, -3.0), (3.0, 15.0, 1.0), (14.0, 13.0, -2.0), (22.0, 15.5, 1.0)];
const EXPONENT: f64 = 2.6;
const POWER: f64 = -52.0;

/// A hall of 24 x 16 m.
struct Hall {
    dir: TempDir,
    /// Where the device is, and for how long in tenths of a second.
    points: Vec<(f64, f64)>,
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Hall {
    fn new() -> Self {
        let hall = Self { dir: tempfile::tempdir().unwrap(), points: grid() };
        std::fs::create_dir(hall.path("site")).unwrap();
        hall.write_site(0.0);
        hall.write("site/zones.geojson", r#"{"type": "FeatureCollection", "features": []}"#);
        hall.write("site/devices.csv", "id,consent,labels,kind\nwalker,,,staff\nguest,,,\n");
        let mut beacons = String::from("id,identity,device,x,y,level,measured_power\n");
        beacons.push_str("tag,mac:C0:00:00:00:00:01,walker,,,,\ng,mac:C0:00:00:00:00:02,guest,,,,\n");
        for (at, (x, y)) in fixed().into_iter().enumerate() {
            let _ = writeln!(beacons, "f{at},mac:C0:00:00:00:01:{at:02X},,{x},{y},0,");
        }
        hall.write("site/beacons.csv", &beacons);
        hall
    }

    /// The site, with its second receiver moved by so many metres.
    fn write_site(&self, moved: f64) {
        let mut site = String::from(
            "id = \"hall\"\ntime_zone = \"Europe/Paris\"\norigin = { latitude = 48.8, longitude = 2.3 }\n\
             [[level]]\nordinal = 0\noutline = [[0, 0], [24, 0], [24, 16], [0, 16]]\n",
        );
        for (at, (x, y, _)) in RECEIVERS.iter().enumerate() {
            let y = if at == 1 { y + moved } else { *y };
            let _ = writeln!(site, "[[receiver]]\nid = \"r{at}\"\nx = {x}\ny = {y}\nz = 2.5");
        }
        self.write("site/site.toml", &site);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    /// Writes what the receivers hear, five times a second for four seconds at each point, and the points.
    fn record(&self, hears: impl Fn(usize, f64, f64, u32) -> Option<f64>) {
        let (mut sightings, mut csv) = (String::new(), String::from("from,to,device,x,y,level\n"));
        for (at, (x, y)) in self.points.iter().enumerate() {
            let begins = at as u32 * 50;
            let _ = writeln!(csv, "{},{},walker,{x},{y},0", time(begins), time(begins + 40));
            for tick in (begins..begins + 40).step_by(2) {
                sight(&mut sightings, tick, "c0:00:00:00:00:01", *x, *y, &hears);
            }
        }
        self.write("sightings.jsonl", &sightings);
        self.write("points.csv", &csv);
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
            .arg(command)
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn calibrate(&self, more: &[&str]) -> Ran {
        let mut arguments = vec!["--site", "site", "--sightings", "sightings.jsonl", "--points", "points.csv"];
        arguments.extend(more);
        self.run("calibrate", &arguments)
    }
}

fn sight(
    out: &mut String,
    tick: u32,
    address: &str,
    x: f64,
    y: f64,
    hears: &impl Fn(usize, f64, f64, u32) -> Option<f64>,
) {
    for at in 0..RECEIVERS.len() {
        if let Some(rssi) = hears(at, x, y, tick) {
            let _ = writeln!(
                out,
                "{{\"time\":\"{}\",\"receiver\":\"r{at}\",\"address\":\"{address}\",\"rssi\":{rssi:.1}}}",
                time(tick)
            );
        }
    }
}

/// Tenths of a second after ten.
fn time(tick: u32) -> String {
    let (minutes, seconds) = (tick / 600, f64::from(tick % 600) / 10.0);
    format!("2026-01-01T{:02}:{:02}:{seconds:06.3}Z", 10 + minutes / 60, minutes % 60)
}

fn grid() -> Vec<(f64, f64)> {
    let column = |x: i32| {
        (0..7).map(move |y| (1.5 + f64::from(x) * 2.0, 2.0 + f64::from(if x % 2 == 0 { y } else { 6 - y }) * 2.0))
    };
    (0..11).flat_map(column).collect()
}

fn fixed() -> Vec<(f64, f64)> {
    (0..20).map(|at| (2.0 + f64::from(at % 5) * 5.0, 2.0 + f64::from(at / 5) * 4.0)).collect()
}

/// A number from -1 to 1 that looks like chance.
fn chance(seed: u32) -> f64 {
    let mixed = (seed ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x85eb_ca6b);
    f64::from((mixed ^ (mixed >> 13)) & 0xffff) / 32_768.0 - 1.0
}

/// The hall's radio: the law, an offset, shelves (the same for the same place), and fading.
fn hears(at: usize, x: f64, y: f64, tick: u32) -> Option<f64> {
    let (rx, ry, offset) = RECEIVERS[at];
    let distance = (x - rx).hypot(y - ry).hypot(1.5);
    let shelves = 5.0 * (x / 3.0 + at as f64).sin() * (y / 3.5 + 2.0 * at as f64).cos();
    let rssi = POWER + offset - 10.0 * EXPONENT * distance.log10() + shelves + 5.0 * chance(tick * 8 + at as u32);
    (rssi > -110.0).then_some(rssi)
}

#[test]
fn what_is_known_of_the_radio_is_found_and_written_down() {
    let hall = Hall::new();
    hall.record(hears);
    let ran = hall.calibrate(&["--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let near = |value: &Value, wanted: f64, by: f64| {
        let found = value.as_f64().unwrap();
        assert!((found - wanted).abs() <= by, "{found}, not {wanted}");
    };
    near(&json["path_loss_exponent"], EXPONENT, 0.3);
    near(&json["beacons"][0]["measured_power"], POWER, 3.0);
    for (at, (_, _, offset)) in RECEIVERS.iter().enumerate() {
        near(&json["receivers"][at]["rssi_offset"], *offset, 1.5);
    }
    let figure = |name: &str, when: &str| json["held_out"][name][when].as_f64().unwrap();
    assert!(figure("level_db", "after") < 0.7 * figure("level_db", "before"), "{json}");
    assert!(figure("position_m", "after") < figure("position_m", "before"), "{json}");
    assert_eq!((&json["ok"], &json["written"]), (&true.into(), &true.into()));
    assert_eq!(std::fs::read_dir(hall.path("site")).unwrap().count(), 5, "nothing is left beside the files");

    let checked = hall.run("check", &["--site", "site"]);
    assert_eq!((checked.code, &checked.stderr[..]), (Some(0), ""));
    assert!(checked.stdout.ends_with("2 devices, 6 of 6 receivers surveyed, 1 warning\n"), "{}", checked.stdout);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let hall = Hall::new();
    hall.record(hears);
    let first = hall.calibrate(&[]);
    let text = hall.read("site/calibration.json").unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(hall.read("sightings.jsonl").unwrap().as_bytes()).unwrap();
    std::fs::write(hall.path("sightings.jsonl"), gzip.finish().unwrap()).unwrap();
    let second = hall.calibrate(&[]);
    assert_eq!((first.code, second.code), (Some(0), Some(0)));
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(hall.read("site/calibration.json").unwrap(), text);
}

#[test]
fn a_dry_run_shows_the_same_and_writes_nothing() {
    let hall = Hall::new();
    hall.record(hears);
    let ran = hall.calibrate(&["--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in ["Site \"hall\": 9,240 sightings at 77 known places", "error of the position, m (mean)", "--dry-run"] {
        assert!(ran.stdout.contains(part), "{}", ran.stdout);
    }
    assert_eq!(hall.read("site/calibration.json"), None);
}

/// A survey that is refused leaves the file as it was; says why.
fn refused(hall: &Hall) -> String {
    hall.write("site/calibration.json", "an older one, and a broken one");
    let ran = hall.calibrate(&[]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert_eq!(hall.read("site/calibration.json").unwrap(), "an older one, and a broken one");
    let last = ran.stderr.lines().last().unwrap().to_owned();
    assert!(last.starts_with("error: ") && last.ends_with("calibration.json is left as it was"), "{}", ran.stderr);
    last
}

#[test]
fn a_survey_that_teaches_nothing_is_refused_and_the_file_is_left() {
    let of = |points: Vec<(f64, f64)>, hears: &dyn Fn(usize, f64, f64, u32) -> Option<f64>, part: &str| {
        let mut hall = Hall::new();
        hall.points = points;
        hall.record(hears);
        let why = refused(&hall);
        assert!(why.contains(part), "{why}");
    };
    let corner: Vec<(f64, f64)> = (0..30).map(|at| (5.0 + f64::from(at) * 0.01, 5.0)).collect();
    of(corner, &hears, "all points are in one place");
    let line: Vec<(f64, f64)> = (0..30).map(|at| (1.0 + f64::from(at) * 0.7, 1.0 + f64::from(at) * 0.4)).collect();
    of(line, &hears, "all points lie on a line");
    of(grid().into_iter().step_by(9).collect(), &hears, "only 9 different places were surveyed");
    of(grid(), &|at, x, y, tick| hears(at, x, y, tick).filter(|_| at < 2), "only 2 receivers were heard");
    of(grid(), &|at, x, y, tick| hears(at, x, y, tick).filter(|_| tick % 600 == 0), "sightings were heard at known");
    of(
        grid(),
        &|at, x, y, _| Some(-100.0 + (x - RECEIVERS[at].0).hypot(y - RECEIVERS[at].1)),
        "which no building gives",
    );
    of(grid(), &|_, _, _, tick| Some(-70.0 + 8.0 * chance(tick)), "which no building gives");
}

#[test]
fn a_survey_that_would_make_positions_worse_is_refused() {
    let hall = Hall::new();
    hall.record(hears);
    // The clock of the one who wrote the points down is off by a few of them.
    let csv = hall.read("points.csv").unwrap();
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    let mut shifted = String::from("from,to,device,x,y,level\n");
    for (at, row) in rows.iter().enumerate() {
        let (when, _) = row.split_at(row.find("walker").unwrap());
        let place = rows[(at * 10 + at / 8) % rows.len()];
        let _ = writeln!(shifted, "{when}{}", &place[place.find("walker").unwrap()..]);
    }
    hall.write("points.csv", &shifted);
    let why = refused(&hall);
    assert!(why.contains("worse") || why.contains("no building"), "{why}");
}

#[test]
fn every_fault_of_the_points_is_told_with_its_line() {
    let hall = Hall::new();
    hall.record(hears);
    let rows = [
        "from,to,device,x,y,level",
        "2026-01-01T10:00:00Z,2026-01-01T10:00:10Z,walker,1,1,0",
        "2026-01-01T10:00:05Z,2026-01-01T10:00:15Z,walker,2,1,0",
        "2026-01-01T10:01:10Z,2026-01-01T10:01:00Z,walker,2,1,0",
        "yesterday,2026-01-01T10:01:00Z,walker,2,1,0",
        "2026-01-01T10:02:00Z,2026-01-01T10:02:00Z,waker,2,1,0",
        "2026-01-01T10:03:00Z,2026-01-01T10:03:00Z,guest,2,1,0",
        "2026-01-01T10:04:00Z,2026-01-01T10:04:00Z,walker,two,1,7",
        "2026-01-01T10:05:00Z,2026-01-01T10:05:00Z,walker,,1,0",
        "2026-01-01T10:06:00Z,2026-01-01T10:06:00Z,walker,99,1,",
        "2026-01-01T10:07:00Z,walker,1,1,0",
    ];
    hall.write("points.csv", &rows.join("\n"));
    let ran = hall.calibrate(&[]);
    assert_eq!(ran.code, Some(1));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    for (at, wanted) in [
        "points.csv:3: error: device \"walker\": its time overlaps that of line 2; a device is at one place at a time",
        "points.csv:4: error: to (2026-01-01T10:01:00.000Z) is before from",
        "points.csv:5: error: from: \"yesterday\" is not an RFC 3339 instant",
        "points.csv:6: error: device \"waker\" is not in devices.csv; did you mean \"walker\"?",
        "points.csv:7: error: device \"guest\" is a customer's without consent for presence",
        "points.csv:8: error: x \"two\" is not a number",
        "points.csv:8: error: level 7 is not in site.toml",
        "points.csv:9: error: x is missing",
        "points.csv:10: warning: the point (99, 1) lies outside the outline of level 0",
        "points.csv:11: error: the row has 5 fields, the header 6",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{at} {wanted}: {lines:#?}");
    }
    assert_eq!(lines.len(), 10, "{lines:#?}");
}

#[test]
fn what_leads_to_nothing_is_counted() {
    let hall = Hall::new();
    hall.record(hears);
    let mut csv = hall.read("points.csv").unwrap();
    csv.push_str("2026-01-01T20:00:00Z,2026-01-01T20:00:00Z,walker,5,5,0\n");
    hall.write("points.csv", &csv);
    let mut sightings = hall.read("sightings.jsonl").unwrap();
    for (time, receiver, address) in [
        ("2026-01-01T21:00:00Z", "r1", "c0:00:00:00:00:01"),
        ("2026-01-01T21:00:00Z", "r1", "c0:00:00:00:00:ff"),
        ("2026-01-01T21:00:00Z", "r9", "c0:00:00:00:00:01"),
    ] {
        let _ = writeln!(
            sightings,
            "{{\"time\":\"{time}\",\"receiver\":\"{receiver}\",\"address\":\"{address}\",\"rssi\":-60}}"
        );
    }
    sightings.push_str("{\"time\":\n");
    hall.write("sightings.jsonl", &sightings);
    let ran = hall.calibrate(&[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for part in [
        "points.csv: warning: 1 of 78 points have no sighting (lines 79); look whether the clocks agree",
        "sightings.jsonl:9244: ",
        "note: passed over 1 sightings of registered beacons at no point",
        "note: passed over 1 advertisements of beacons that are not registered",
        "note: passed over 1 advertisements heard by receivers that the site does not have",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
}

#[test]
fn points_may_be_instants() {
    let hall = Hall::new();
    hall.record(hears);
    let csv = hall.read("points.csv").unwrap();
    let mut instants = String::from("from,to,device,x,y,level\n");
    for row in csv.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let _ = writeln!(instants, "{},{0},{}", fields[0], fields[2..].join(","));
    }
    hall.write("points.csv", &instants);
    let ran = hall.calibrate(&["--json", "--dry-run"]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    // The instant itself and 0.2 s after it, at six receivers.
    assert_eq!(json["recording"]["sightings"], 77 * 2 * 6, "{json}");
    assert_eq!(json["recording"]["sightings_at_no_point"], 77 * 18 * 6);
}

#[test]
fn fixed_beacons_are_known_places_and_need_no_walk() {
    let hall = Hall::new();
    let mut sightings = String::new();
    for tick in (0..300).step_by(2) {
        for (at, (x, y)) in fixed().into_iter().enumerate() {
            sight(&mut sightings, tick, &format!("c0:00:00:00:01:{at:02x}"), x, y, &hears);
        }
    }
    hall.write("sightings.jsonl", &sightings);
    let ran = hall.run("calibrate", &["--site", "site", "--sightings", "sightings.jsonl", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&json["recording"]["fixed_beacons"], &json["recording"]["points"]), (&20.into(), &0.into()));
    let exponent = json["path_loss_exponent"].as_f64().unwrap();
    assert!((exponent - EXPONENT).abs() < 0.5, "{exponent}");
    assert_eq!(json["beacons"].as_array().unwrap().len(), 20);
}

#[test]
fn a_receiver_that_was_moved_is_warned_of_and_a_small_step_is_not() {
    let hall = Hall::new();
    hall.record(hears);
    assert_eq!(hall.calibrate(&[]).code, Some(0));
    hall.write_site(0.4);
    assert!(!hall.run("check", &["--site", "site"]).stdout.contains("calibration.json"));
    hall.write_site(3.0);
    let checked = hall.run("check", &["--site", "site"]);
    let warning = "site/calibration.json: warning: receiver \"r1\": it was moved by 3.0 m since the survey";
    assert!(checked.code == Some(0) && checked.stdout.contains(warning), "{}", checked.stdout);
}

#[test]
fn a_receiver_that_drifts_is_told_of_by_a_replay() {
    let mut hall = Hall::new();
    hall.record(hears);
    assert_eq!(hall.calibrate(&[]).code, Some(0));
    // On another day the same way twice, three metres at a time.
    hall.points = grid().into_iter().step_by(2).collect::<Vec<_>>().repeat(4);
    let replay = ["sightings.jsonl", "--site", "site", "--positions"];
    hall.record(|at, x, y, tick| hears(at, x, y, tick + 100_000));
    let ran = hall.run("replay", &replay);
    assert!(ran.code == Some(0) && !ran.stderr.contains("against the survey"), "{}", ran.stderr);
    hall.record(|at, x, y, tick| Some(hears(at, x, y, tick + 100_000)? - if at == 4 { 8.0 } else { 0.0 }));
    let ran = hall.run("replay", &replay);
    let notes: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("against the survey")).collect();
    assert!(notes.len() == 1 && notes[0].starts_with("note: receiver \"r4\" reads -"), "{notes:?}");
}

//! `beaconfence check`: every single fault gets one line that names file and line, and exit code 1.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const SITE: &str = r#"id = "store-1"
name = "Store 1"
time_zone = "Europe/Paris"
origin = { latitude = 48.8566, longitude = 2.3522, bearing = 10.0 }
measured_power = -61

[[level]]
ordinal = 0
name = "Ground"
elevation = 0.0
outline = [[-20, -15], [20, -15], [20, 15], [-20, 15]]

[[level]]
ordinal = 1
name = "First"
elevation = 4.5

[[receiver]]
id = "r1"
x = 0.0
y = 0.0
z = 3.0
level = 0

[[receiver]]
id = "r2"
latitude = 48.8567
longitude = 2.3523
level = 0

[[receiver]]
id = "r3"
x = 10
y = -5
level = 0
rssi_offset = -2.5
"#;

const ZONES: &str = r#"{
  "type": "FeatureCollection",
  "features": [
    {
      "type": "Feature",
      "properties": {
        "id": "entrance",
        "name": "Entrance",
        "level": 0,
        "labels": {"kind": "door"},
        "metadata": {"any": [1, {"thing": null}]},
        "enter_probability": 0.7,
        "enter_after": "2s",
        "exit_probability": 0.2,
        "dwell": ["1m", "5m"]
      },
      "geometry": {
        "type": "Polygon",
        "coordinates": [[
          [2.3521, 48.8565],
          [2.3523, 48.8565],
          [2.3523, 48.8567],
          [2.3521, 48.8567],
          [2.3521, 48.8565]
        ]]
      }
    },
    {
      "type": "Feature",
      "properties": {"id": "tills", "level": 0, "radius_m": 9, "labels": "kind=till;side=east"},
      "geometry": {"type": "Point", "coordinates": [2.3524, 48.8566]}
    },
    {
      "type": "Feature",
      "properties": {"id": "stairs", "level": 0},
      "geometry": {
        "type": "MultiPolygon",
        "coordinates": [
          [[[2.3520, 48.8560], [2.3522, 48.8560], [2.3522, 48.8562], [2.3520, 48.8562], [2.3520, 48.8560]],
           [[2.35205, 48.85605], [2.35215, 48.85605], [2.35215, 48.85615], [2.35205, 48.85615], [2.35205, 48.85605]]],
          [[[2.3525, 48.8560], [2.3526, 48.8560], [2.3526, 48.8561], [2.3525, 48.8560]]]
        ]
      }
    },
    {
      "type": "Feature",
      "properties": {"id": "site", "name": "Everything", "lost_after": "5m"},
      "geometry": null
    }
  ]
}
"#;

const BEACONS: &str = r#"id,identity,device,x,y,level,measured_power
b1,ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/1,d1,,,,
b2,eddystone-uid:00010203040506070809/010203040506,d2,,,,-65.5
b3,mac:C0:FF:EE:00:00:01,,12.5,-3,0,
"b4","altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002",d3,,,,
"#;

const DEVICES: &str =
    "id,consent,labels,kind\nd1,presence;marketing,tier=gold,\nd2,,,staff\nd3,,\"cart=7;note=a,b\",asset\n";

const GATEWAY: &str = r#"id = "gateway-1"
site = "site"
data_dir = "data"

[[adapter]]
name = "hci0"
receiver = "r1"

[[adapter]]
address = "AA:BB:CC:DD:EE:FF"
receiver = "r2"

[mqtt]
brokers = ["mqtt://localhost:1883", "mqtts://[::1]:8883"]
version = "5"
prefix = "beaconfence/v1"
username = "gateway"
password_file = "password"
keep_alive = "30s"
status_interval = "1m"
publish_positions = true

[record]
days = 0
"#;

struct Tree(TempDir);

impl Tree {
    /// A tree without fault.
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(tree.path("site")).unwrap();
        for (name, text) in [
            ("gateway.toml", GATEWAY),
            ("password", "secret\n"),
            ("site/site.toml", SITE),
            ("site/zones.geojson", ZONES),
            ("site/beacons.csv", BEACONS),
            ("site/devices.csv", DEVICES),
        ] {
            tree.write(name, text);
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(tree.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
        tree
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Replaces the first `from`, which must be there.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, text.replacen(from, to, 1));
    }

    fn check(&self, args: &[&str]) -> Checked {
        run(self.0.path(), args)
    }
}

struct Checked {
    code: Option<i32>,
    faults: Vec<String>,
    stdout: String,
}

fn run(dir: &Path, args: &[&str]) -> Checked {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .arg("check")
        .args(args)
        .current_dir(dir)
        .env_remove("CREDENTIALS_DIRECTORY")
        .output()
        .unwrap();
    Checked {
        code: status.code(),
        faults: String::from_utf8(stderr).unwrap().lines().map(str::to_owned).collect(),
        stdout: String::from_utf8(stdout).unwrap(),
    }
}

#[test]
fn a_tree_without_fault_is_summed_up() {
    let checked = Tree::new().check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!(
        checked.stdout,
        "ok: site \"store-1\" (Store 1): 2 levels, 3 receivers, 3 zones, 4 beacons, 3 devices\n"
    );
    assert_eq!(checked.code, Some(0));
}

#[test]
fn each_single_edit_is_one_fault_on_its_line() {
    const SITE: &str = "site/site.toml";
    const ZONES: &str = "site/zones.geojson";
    const BEACONS: &str = "site/beacons.csv";
    const DEVICES: &str = "site/devices.csv";
    const GATEWAY: &str = "gateway.toml";
    // File, what is replaced, by what, what the message says; the fault is on the line of the edit's end.
    let edits: &[(&str, &str, &str, &str)] = &[
        (SITE, "id = \"store-1\"", "id = \"store 1\"", "holds ' '"),
        (SITE, "name = \"Store 1\"", "nam = \"Store 1\"", "unknown key \"nam\"; did you mean \"name\"?"),
        (SITE, "name = \"Store 1\"", "name = 1", "must be text in quotes, not a whole number"),
        (SITE, "Europe/Paris", "Europe/Pariss", "is no IANA time zone"),
        (SITE, "latitude = 48.8566", "latitude = 91", "latitude 91 must lie between"),
        (SITE, "bearing = 10.0", "bearing = nan", "must be a finite number"),
        (SITE, "bearing = 10.0", "heading = 10.0", "unknown key \"heading\""),
        (SITE, "measured_power = -61", "measured_power = 61", "61 is not a measured power"),
        (SITE, "measured_power = -61", "radio = { measured_power = -61 }", "at the top of the file"),
        (SITE, "ordinal = 1", "ordinal = 0", "the ordinal 0 is taken by the level on line 8"),
        (SITE, "ordinal = 1", "ordinal = 1.5", "must be a whole number"),
        (SITE, "[20, -15], [20, 15]", "[20, 15], [20, -15]", "crosses or touches itself"),
        (SITE, "[[-20, -15]", "[[-20, -15, 0]", "corner 1 of the outline must be two numbers"),
        (SITE, "id = \"r3\"", "id = \"r1\"", "the id \"r1\" is taken by the receiver on line 19"),
        (
            SITE,
            "latitude = 48.8567",
            "latitude = 2.3523",
            "km from the site's origin; are latitude and longitude swapped?",
        ),
        (SITE, "x = 10", "x = inf", "must be a finite number"),
        (SITE, "x = 10", "x = \"10\"", "must be a number, not text in quotes"),
        (
            SITE,
            "z = 3.0\nlevel = 0",
            "z = 3.0\nlevel = 7",
            "receiver \"r1\": level 7 is not in site.toml; its levels are 0, 1",
        ),
        (SITE, "rssi_offset = -2.5", "rssi_ofset = -2.5", "did you mean \"rssi_offset\"?"),
        (SITE, "name = \"Ground\"", "name = \"Ground", "invalid basic string"),
        (SITE, "id = \"store-1\"", "id = \"store-1\"\nid = \"store-2\"", "\"id\" is there twice"),
        (SITE, "elevation = 0.0", "elevation = ", "string values must be quoted"),
        (SITE, "[[level]]", "[[level]", "unclosed array table"),
        (SITE, "[20, -15], ", "[20, -15, ", "look for a missing or surplus bracket"),
        (SITE, "bearing = 10.0 }", "bearing = 10.0\n", "look for a missing or surplus bracket"),
        (SITE, "[-20, 15]]", "[-20, 15]\n", "look for a missing or surplus bracket"),
        (ZONES, "\"Entrance\"", "\"Entrance", "broken JSON"),
        (ZONES, "\"level\": 0,", "\"level\": 9,", "zone \"entrance\": level 9 is not in site.toml"),
        (ZONES, "\"level\": 0,", "\"level\": \"0\",", "must be a number, not text in quotes"),
        (
            ZONES,
            "\"level\": 0,",
            "\"floor\": 0, \"level\": 0,",
            "unknown property \"floor\"; free data belongs into \"metadata\"",
        ),
        (ZONES, "\"enter_probability\": 0.7", "\"enter_probabilty\": 0.7", "did you mean \"enter_probability\"?"),
        (ZONES, "\"enter_probability\": 0.7", "\"enter_probability\": 1.5", "1.5 is not a probability"),
        (ZONES, "\"enter_probability\": 0.7", "\"enter_probability\": 1e999", "must be a finite number"),
        (ZONES, "\"enter_probability\": 0.7", "\"enter_probability\": NaN", "broken JSON"),
        (
            ZONES,
            "\"exit_probability\": 0.2",
            "\"exit_probability\": 0.8",
            "exit_probability 0.8 is above enter_probability 0.7",
        ),
        (ZONES, "\"enter_after\": \"2s\"", "\"enter_after\": \"2 minutes\"", "is not a duration"),
        (ZONES, "\"dwell\": [\"1m\", \"5m\"]", "\"dwell\": [\"1m\", \"1m\"]", "is there twice"),
        (ZONES, "{\"kind\": \"door\"}", "{\"kind\": 7}", "label \"kind\" must be text in quotes"),
        (ZONES, "kind=till;", "till;", "label \"till\" must be key=value"),
        (ZONES, "{\"any\": [1, {\"thing\": null}]}", "[]", "metadata must be an object, not an array"),
        (ZONES, "\"id\": \"tills\"", "\"id\": \"entrance\"", "the id is taken by the zone on line 7"),
        (ZONES, "\"id\": \"tills\"", "\"id\": 5", "id: must be text in quotes, not a number"),
        (ZONES, "{\"id\": \"tills\", \"level\": 0", "{\"level\": 0", "feature 2: the property \"id\" is missing"),
        (
            ZONES,
            "\"id\": \"stairs\", \"level\": 0",
            "\"id\": \"stairs\"",
            "zone \"stairs\": the property \"level\" is missing",
        ),
        (ZONES, "\"id\": \"stairs\"", "\"id\": \"stairs\", \"id\": \"stairs\"", "\"id\" is there twice"),
        (ZONES, "\"radius_m\": 9", "\"radius_m\": -9", "radius_m is -9; it must lie above 0"),
        (ZONES, "\"radius_m\": 9", "\"radius_m\": 0", "radius_m is 0"),
        (ZONES, "[2.3523, 48.8567]", "[2.3523, 91]", "latitude 91, which must lie between -90 and 90"),
        (ZONES, "[2.3524, 48.8566]", "[48.8566, 2.3524]", "latitude and longitude are swapped"),
        (ZONES, "[2.3524, 48.8566]", "[2.3524]", "the centre has 1 numbers; write [longitude, latitude]"),
        (ZONES, "[2.3521, 48.8565]\n        ]]", "[2.3521, 48.8566]\n        ]]", "is not closed"),
        (ZONES, "\"type\": \"Polygon\"", "\"type\": \"LineString\"", "of type \"LineString\" cannot be a zone"),
        (
            ZONES,
            "\"type\": \"Feature\",\n      \"properties\": {\"id\": \"tills\"",
            "\"type\": \"Feture\",\n      \"properties\": {\"id\": \"tills\"",
            "must be \"Feature\"",
        ),
        (ZONES, "\"id\": \"site\", ", "\"id\": \"site\", \"level\": 0, ", "the zone \"site\" is on every level"),
        (
            ZONES,
            "\"geometry\": {\"type\": \"Point\", \"coordinates\": [2.3524, 48.8566]}",
            "\"geometry\": null",
            "the zone has no geometry; draw a Polygon",
        ),
        (BEACONS, "e2c56db5-dffb", "e2c56db5-dffg", "is not a UUID"),
        (BEACONS, "/1/1,", "/1/65536,", "is no minor"),
        (BEACONS, ",d1,", ",d9,", "beacon \"b1\": device \"d9\" is not in devices.csv; did you mean"),
        (BEACONS, "b2,", "b1,", "the id is taken by the beacon on line 2"),
        (BEACONS, "b2,", "b/2,", "holds '/'"),
        (
            BEACONS,
            "mac:C0:FF:EE:00:00:01",
            "ibeacon:E2C56DB5-DFFB-48D2-B060-D0F5A71096E0/1/1",
            "is taken by the beacon on line 2",
        ),
        (BEACONS, "d2,,,,-65.5", "d2,,,,-65.5,", "the row has 8 fields, the header 7"),
        (BEACONS, "d2,,,,-65.5", "d2,,,-65.5", "the row has 6 fields, the header 7"),
        (BEACONS, "d2,,,,-65.5", "d2,,,,65.5", "65.5 is not a measured power"),
        (BEACONS, "d2,,,,-65.5", "d2,,,,NaN", "measured_power \"NaN\" is not a number"),
        (BEACONS, ",12.5,-3,0,", ",12.5,-3,4,", "level 4 is not in site.toml"),
        (BEACONS, ",12.5,-3,0,", ",12.5,-3,,", "level is missing"),
        (BEACONS, ",12.5,-3,0,", ",12.5,,0,", "y is missing"),
        (BEACONS, ",12.5,-3,0,", ",12500,-3,0,", "km from the site's origin"),
        (BEACONS, ",,12.5", ",d1,12.5", "has a fixed place as well"),
        (BEACONS, "\"b4\",", "\"b4,", "field 1 goes on after its closing quote"),
        (BEACONS, "id,identity,device", "id,identity,devices", "unknown column \"devices\"; did you mean \"device\"?"),
        (BEACONS, "level,measured_power", "level,measured_power,colour", "unknown column \"colour\""),
        (BEACONS, ",measured_power", "", "the column \"measured_power\" is missing; the header is id,identity"),
        (BEACONS, "id,identity", "identity", "the column \"id\" is missing"),
        (
            BEACONS,
            "id,identity,device,x,y,level,measured_power",
            "b0,mac:C0:FF:EE:00:00:02,d1,,,,",
            "names no known column",
        ),
        (
            BEACONS,
            "id,identity,device,x,y,level,measured_power",
            "id;identity;device;x;y;level;measured_power",
            "separated by semicolons",
        ),
        (DEVICES, "id,consent,labels,kind", "id,consent,labels,labels", "the column \"labels\" is there twice"),
        (DEVICES, "asset\n", "asset\nd1,,,\n", "the id is taken by the device on line 2"),
        (DEVICES, "staff", "stuff", "kind \"stuff\" is unknown; did you mean \"staff\"?"),
        (DEVICES, "tier=gold", "gold", "label \"gold\" must be key=value"),
        (DEVICES, "presence;marketing", "presence;mark eting", "is no purpose"),
        (DEVICES, "d2,,,staff", "d2,,staff", "the row has 3 fields, the header 4"),
        (DEVICES, "d2,,,staff", "d2,\",,staff", "has no closing quote"),
        (GATEWAY, "id = \"gateway-1\"", "id = \"\"", "must not be empty"),
        (GATEWAY, "site = \"site\"", "site = \"sight\"", "there is no such directory"),
        (GATEWAY, "site = \"site\"", "site = \"gateway.toml\"", "this is not a directory"),
        (GATEWAY, "name = \"hci0\"", "nam = \"hci0\"", "did you mean \"name\"?"),
        (GATEWAY, "receiver = \"r1\"", "receiver = \"r9\"", "receiver \"r9\" is not in the site's site.toml"),
        (GATEWAY, "receiver = \"r2\"", "receiver = \"r1\"", "receiver \"r1\" is taken by the adapter on line 7"),
        (GATEWAY, "AA:BB:CC:DD:EE:FF", "AA:BB", "is no address"),
        (GATEWAY, "mqtt://localhost:1883", "mqtt://me:hunter2@localhost", "holds credentials"),
        (GATEWAY, "mqtt://localhost:1883", "localhost:1883", "is no broker address"),
        (GATEWAY, "version = \"5\"", "version = \"4\"", "\"4\" is not supported"),
        (GATEWAY, "version = \"5\"", "version = 5", "must be text in quotes"),
        (GATEWAY, "prefix = \"beaconfence/v1\"", "prefix = \"/beaconfence/#\"", "is no topic prefix"),
        (GATEWAY, "password_file = \"password\"", "password = \"hunter2\"", "write the password into a file"),
        (GATEWAY, "password_file = \"password\"", "password_file = \"nothing\"", "the file is missing"),
        (GATEWAY, "password_file = \"password\"", "password_file = \"site\"", "this is a directory"),
        (GATEWAY, "username = \"gateway\"\n", "", "a password needs a username"),
        (GATEWAY, "username = \"gateway\"", "username = \"gateway\"\nca_file = \"password\"", "no certificate in PEM"),
        (GATEWAY, "keep_alive = \"30s\"", "keep_alive = \"30\"", "is not a duration"),
        (GATEWAY, "keep_alive = \"30s\"", "keep_alive = \"2d\"", "must be whole seconds from 1s to 18h12m15s"),
        (
            GATEWAY,
            "publish_positions = true",
            "publish_positions = \"yes\"",
            "must be true or false, not text in quotes",
        ),
        (GATEWAY, "days = 0", "days = 7", "records nothing"),
        (GATEWAY, "publish_positions = true", "publish_positions = maybe", "TOML"),
    ];
    let mut wrong = Vec::new();
    for (name, from, to, part) in edits {
        let tree = Tree::new();
        let text = std::fs::read_to_string(tree.path(name)).unwrap();
        let start = text.find(from).unwrap_or_else(|| panic!("{name} has no {from:?}"));
        tree.edit(name, from, to);
        let checked = tree.check(&[]);
        let [fault] = checked.faults.as_slice() else {
            wrong.push(format!("{name}: {from:?} -> {to:?}: {:#?}", checked.faults));
            continue;
        };
        // The fault is on one of the lines that the edit touched.
        let first = 1 + text[..start].matches('\n').count();
        let last = first + from.matches('\n').count().max(to.matches('\n').count());
        let named = (first..=last).any(|line| fault.starts_with(&format!("{name}:{line}: error: ")));
        let good = named
            && fault.contains(part)
            && !fault.contains("hunter2")
            && checked.code == Some(1)
            && checked.stdout.starts_with("1 fault");
        if !good {
            wrong.push(format!("{name}:{first}: wanted {part:?}: {fault}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let wide: Vec<u8> = [0xff, 0xfe].into_iter().chain("id = 1\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    // The process may be one that may read everything, so a directory stands for what cannot be read.
    let cases: [(&str, Option<&[u8]>, &str, &str); 7] = [
        ("missing", None, "", "the file is missing"),
        ("directory", None, "", "this is a directory; a file is wanted here"),
        ("empty", Some(b""), ":1", "the file is empty"),
        ("blank", Some(b"\n \n"), ":1", "the file is empty"),
        ("wide", Some(&wide), ":1", "the file is UTF-16 (from byte offset 0); save it as UTF-8"),
        (
            "latin",
            Some(b"# a\n# caf\xe9\n"),
            ":2",
            "byte 0xe9 at byte offset 9 of the file is not UTF-8; save the file as UTF-8",
        ),
        ("zeros", Some(&[0; 100]), ":1", "the file is UTF-16"),
    ];
    for name in ["gateway.toml", "site/site.toml", "site/zones.geojson", "site/beacons.csv", "site/devices.csv"] {
        for (case, content, line, part) in cases {
            let tree = Tree::new();
            std::fs::remove_file(tree.path(name)).unwrap();
            match content {
                Some(content) => tree.write(name, content),
                None if case == "directory" => std::fs::create_dir(tree.path(name)).unwrap(),
                None => {}
            }
            let checked = tree.check(&[]);
            assert_eq!(checked.faults.len(), 1, "{name} {case}: {:#?}", checked.faults);
            assert!(checked.faults[0].starts_with(&format!("{name}{line}: error: ")), "{case}: {}", checked.faults[0]);
            assert!(checked.faults[0].contains(part), "{name} {case}: {}", checked.faults[0]);
            assert_eq!(checked.code, Some(1));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_a_file_does_not_block() {
    let tree = Tree::new();
    std::fs::remove_file(tree.path("site/beacons.csv")).unwrap();
    assert!(Command::new("mkfifo").arg(tree.path("site/beacons.csv")).status().unwrap().success());
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, ["site/beacons.csv: error: this is not a regular file; pipes and devices are not read"]);
}

#[test]
fn files_as_windows_and_spreadsheets_save_them_are_read() {
    let tree = Tree::new();
    for name in ["gateway.toml", "site/site.toml", "site/zones.geojson", "site/beacons.csv", "site/devices.csv"] {
        let text = std::fs::read_to_string(tree.path(name)).unwrap();
        let rows = if name.ends_with("csv") { ",,,\r\n\r\n".repeat(2) } else { String::new() };
        tree.write(name, format!("\u{feff}{}{rows}", text.replace('\n', "\r\n")));
    }
    tree.edit("site/devices.csv", "id,consent,labels,kind", "kind,labels,id,consent");
    tree.write("site/devices.csv", "\u{feff}kind,labels,id,consent\r\n,,d1,\r\n,,d2,\r\n,,d3,presence\r\n,,,\r\n");
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert!(checked.stdout.contains("2 customer devices are not tracked"), "{}", checked.stdout);
}

#[test]
fn ten_faults_in_one_tree_are_ten_lines_in_order() {
    let tree = Tree::new();
    for (name, from, to) in [
        ("gateway.toml", "name = \"hci0\"", "nam = \"hci0\""),
        ("gateway.toml", "keep_alive = \"30s\"", "keep_alive = \"soon\""),
        ("site/site.toml", "Europe/Paris", "Mars/Base"),
        ("site/site.toml", "x = 10", "x = nan"),
        ("site/zones.geojson", "\"enter_probability\": 0.7", "\"enter_probability\": 1.5"),
        (
            "site/zones.geojson",
            "[2.3523, 48.8567],\n          [2.3521, 48.8567]",
            "[2.3521, 48.8567],\n          [2.3523, 48.8567]",
        ),
        ("site/zones.geojson", "\"level\": 0, \"radius_m\"", "\"level\": 9, \"radius_m\""),
        ("site/beacons.csv", "b2,eddystone-uid:00010203040506070809", "b1,eddystone-uid:0001"),
        ("site/devices.csv", "staff", "boss"),
    ] {
        tree.edit(name, from, to);
    }
    let checked = tree.check(&[]);
    let starts: Vec<&str> = checked.faults.iter().map(|fault| fault.split(": error").next().unwrap()).collect();
    assert_eq!(
        starts,
        [
            "gateway.toml:6",
            "gateway.toml:19",
            "site/site.toml:3",
            "site/site.toml:33",
            "site/zones.geojson:12",
            "site/zones.geojson:23",
            "site/zones.geojson:30",
            "site/beacons.csv:3",
            "site/beacons.csv:3",
            "site/devices.csv:3",
        ]
    );
    assert!(checked.stdout.starts_with("10 faults"), "{}", checked.stdout);
}

#[test]
fn a_record_that_failed_is_not_unknown_to_others() {
    let tree = Tree::new();
    tree.edit("site/devices.csv", "staff", "boss");
    tree.edit("site/devices.csv", "d1,presence;marketing,tier=gold,", "d1,presence");
    tree.edit("site/site.toml", "id = \"r1\"\nx = 0.0", "id = \"r1\"\nx = \"0\"");
    let checked = tree.check(&[]);
    assert_eq!(checked.faults.len(), 3, "{:#?}", checked.faults);
}

#[test]
fn messages_say_what_is_wrong_and_what_to_do() {
    let tree = Tree::new();
    for (name, from, to) in [
        ("gateway.toml", "publish_positions", "publish_position"),
        ("site/site.toml", "elevation = 4.5\n", ""),
        ("site/zones.geojson", "\"exit_probability\": 0.2", "\"exit_probability\": 0.9"),
        (
            "site/zones.geojson",
            "[2.3523, 48.8567],\n          [2.3521, 48.8567]",
            "[2.3521, 48.8567],\n          [2.3523, 48.8567]",
        ),
        ("site/zones.geojson", "[2.3524, 48.8566]", "[48.8566, 2.3524]"),
        ("site/beacons.csv", ",d1,", ",d11,"),
        ("site/devices.csv", "cart=7", "cart"),
    ] {
        tree.edit(name, from, to);
    }
    let checked = tree.check(&[]);
    let golden = [
        "gateway.toml:21: error: [mqtt]: unknown key \"publish_position\"; did you mean \"publish_positions\"?",
        "site/site.toml:13: error: level 1: \"elevation\" is missing; with several levels each needs the height of its floor in metres",
        "site/zones.geojson:14: error: zone \"entrance\": exit_probability 0.9 is above enter_probability 0.7; a device would leave while it enters; set it at or below",
        "site/zones.geojson:23: error: zone \"entrance\": the outer ring crosses or touches itself at [2.3522000, 48.8566000]; draw the border once around, without loops or spikes",
        "site/zones.geojson:31: error: zone \"tills\": [48.8566000, 2.3524000] is more than 10 km from the site's origin; latitude and longitude are swapped; GeoJSON has longitude first",
        "site/beacons.csv:2: error: beacon \"b1\": device \"d11\" is not in devices.csv; did you mean \"d1\"?",
        "site/devices.csv:4: error: device \"d3\": label \"cart\" must be key=value",
    ];
    assert_eq!(checked.faults, golden);
}

#[test]
fn warnings_leave_the_exit_code_0_and_go_to_standard_output() {
    let tree = Tree::new();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(tree.path("password"), std::fs::Permissions::from_mode(0o644)).unwrap();
    tree.write("site/triggers.toml", "");
    tree.edit("site/zones.geojson", "\"radius_m\": 9", "\"radius_m\": 2");
    tree.edit("site/beacons.csv", "12.5,-3,0", ",,");
    tree.edit("gateway.toml", "mqtt://localhost", "mqtt://broker.example");
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!(checked.code, Some(0));
    for part in [
        "gateway.toml:18: warning: [mqtt]: the password goes to mqtt://broker.example:1883 in the clear",
        "gateway.toml:18: warning: password_file: password: every user of this machine can read the secret",
        "site/triggers.toml: warning: this version does not read the file; it is ignored",
        "site/zones.geojson: warning: zone \"tills\": it is too small",
        "site/beacons.csv:4: warning: beacon \"b3\": it has neither a device nor a place",
        "3 devices, 5 warnings",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
    }
}

#[test]
fn a_site_is_checked_by_itself_and_as_json() {
    let tree = Tree::new();
    std::fs::remove_file(tree.path("gateway.toml")).unwrap();
    let checked = tree.check(&["--site", "site", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((checked.code, &json["ok"], &json["site"]["zones"]), (Some(0), &true.into(), &3.into()));
    tree.edit("site/devices.csv", "staff", "boss");
    let checked = tree.check(&["--site", "site", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(checked.code, Some(1));
    assert_eq!((&json["faults"][0]["line"], &json["faults"][0]["record"]), (&3.into(), &"device \"d2\"".into()));
    assert_eq!(tree.check(&["--nonsense"]).code, Some(2));
}

/// Not a proof, but what was tried: bytes changed, removed, doubled, and what breaks parsers put in.
#[test]
fn mutated_files_load_or_are_reported_and_never_panic() {
    use rand::{RngExt, SeedableRng};
    const TOKENS: [&str; 24] = [
        "\"",
        "\n",
        "\r",
        ",",
        ";",
        "[",
        "]",
        "{",
        "}",
        "=",
        "null",
        "NaN",
        "1e999",
        "-0",
        "-1",
        "91",
        "\u{feff}",
        "\0",
        "'''",
        "\\ud800",
        "[[receiver]]",
        "999999999999999999999",
        "é",
        "[[[[[[[[",
    ];
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(20_261_123);
    let names = ["gateway.toml", "site/site.toml", "site/zones.geojson", "site/beacons.csv", "site/devices.csv"];
    let originals = [GATEWAY, SITE, ZONES, BEACONS, DEVICES];
    let tree = Tree::new();
    let (gateway, mut loaded, mut refused) = (tree.path("gateway.toml"), 0, 0);
    for round in 0..4_000 {
        let file = round % names.len();
        let mut bytes = originals[file].as_bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            let end = (at + random.random_range(1..20)).min(bytes.len());
            match random.random_range(0..6) {
                0 => bytes[at] = random.random_range(0..=255),
                1 if end - at < bytes.len() => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => bytes.truncate(at.max(1)),
                4 => drop(bytes.splice(at..end, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
                _ => drop(bytes.splice(at..at, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
            }
        }
        tree.write(names[file], &bytes);
        let checked = beaconfence::config::check(Some(&gateway), None);
        for diagnostic in &checked.diagnostics {
            assert_eq!(diagnostic.to_string().lines().count(), 1, "{diagnostic}");
        }
        match checked.count(beaconfence::config::Severity::Error) {
            0 => loaded += 1,
            _ => refused += 1,
        }
        tree.write(names[file], originals[file]);
    }
    assert!(loaded > 100 && refused > 1_000, "{loaded} loaded, {refused} refused");
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (name, text) in [
        ("site/zones.geojson", nested(100_000)),
        ("site/zones.geojson", ZONES.replacen("{\"any\"", &format!("{{\"deep\": {}, \"any\"", nested(500)), 1)),
        ("site/zones.geojson", ZONES.replacen("[2.3524, 48.8566]", &nested(100_000), 1)),
        ("site/site.toml", format!("z = {}\n{SITE}", nested(100_000))),
        ("gateway.toml", format!("{}x = 1\n{GATEWAY}", "a.".repeat(100_000))),
    ] {
        let tree = Tree::new();
        tree.write(name, text);
        let checked = tree.check(&[]);
        assert_eq!(checked.code, Some(1), "{name}: {:?}", checked.faults);
        assert_eq!(checked.faults.len(), 1, "{name}: {:?}", checked.faults);
        assert!(checked.faults[0].len() < 500, "{:?}", checked.faults);
    }
}

/// The blocks of a document that `<!-- file: NAME -->` stands before.
fn examples(document: &str) -> Vec<(String, String)> {
    document
        .split("<!-- file: ")
        .skip(1)
        .map(|part| {
            let (name, rest) = part.split_once(" -->").unwrap();
            let block = rest.split_once("```").unwrap().1.split_once('\n').unwrap().1.split_once("```").unwrap().0;
            (name.to_owned(), block.to_owned())
        })
        .collect()
}

#[test]
fn the_examples_in_the_documentation_are_without_fault() {
    let tree = Tree::new();
    let site = examples(include_str!("../docs/site-directory.md"));
    let gateway = examples(include_str!("../docs/gateway-toml.md"));
    assert_eq!((site.len(), gateway.len()), (4, 1));
    site.iter().for_each(|(name, text)| tree.write(&format!("site/{name}"), text));
    gateway.iter().for_each(|(name, text)| tree.write(name, text));
    std::fs::rename(tree.path("password"), tree.path("mqtt-password")).unwrap();
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!(
        checked.stdout,
        "ok: site \"paris-12\" (Paris 12): 2 levels, 3 receivers, 2 zones, 3 beacons, 2 devices\n"
    );
}

//! A tree without fault to make faults in, and a run of `check`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

pub const SITE: &str = r#"id = "store-1"
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

pub const ZONES: &str = r#"{
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

pub const BEACONS: &str = r#"id,identity,device,x,y,level,measured_power
b1,ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/1,d1,,,,
b2,eddystone-uid:00010203040506070809/010203040506,d2,,,,-65.5
b3,mac:C0:FF:EE:00:00:01,,12.5,-3,0,
"b4","altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002",d3,,,,
"#;

pub const DEVICES: &str =
    "id,consent,labels,kind\nd1,presence;marketing,tier=gold,\nd2,,,staff\nd3,,\"cart=7;note=a,b\",asset\n";

pub const GATEWAY: &str = r#"id = "gateway-1"
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

pub struct Tree(TempDir);

impl Tree {
    /// A tree without fault.
    pub fn new() -> Self {
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
        std::fs::set_permissions(tree.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
        tree
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// Replaces the first `from`, which must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, text.replacen(from, to, 1));
    }

    pub fn check(&self, args: &[&str]) -> Checked {
        run(self.0.path(), args)
    }
}

pub struct Checked {
    pub code: Option<i32>,
    pub faults: Vec<String>,
    pub stdout: String,
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

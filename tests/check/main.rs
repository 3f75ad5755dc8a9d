//! `beaconfence check`: every single fault gets one line that names file and line, and exit code 1.

#![allow(clippy::unwrap_used, reason = "tests say what is wrong by panicking, and so do their helpers")]

mod edits;
mod mutations;
mod tree;

use std::process::Command;

use tree::Tree;

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
    use std::os::unix::fs::PermissionsExt;
    let tree = Tree::new();
    std::fs::set_permissions(tree.path("password"), std::fs::Permissions::from_mode(0o644)).unwrap();
    tree.write(
        "site/triggers.toml",
        "[[trigger]]\nid = \"open\"\nwhen = { entered = \"tills\" }\nunless = { store_hours = true }\n",
    );
    tree.edit("site/zones.geojson", "\"radius_m\": 9", "\"radius_m\": 2");
    tree.edit("site/beacons.csv", "12.5,-3,0", ",,");
    tree.edit("gateway.toml", "mqtt://localhost", "mqtt://broker.example");
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!(checked.code, Some(0));
    for part in [
        "gateway.toml:18: warning: [mqtt]: the password goes to mqtt://broker.example:1883 in the clear",
        "gateway.toml:18: warning: password_file: password: every user of this machine can read the secret",
        "site/triggers.toml:4: warning: trigger \"open\": it fires in store hours only, and none are set: it fires at any time; write \
         store_hours = [\"09:00-20:00\"] at the top of the file",
        "site/zones.geojson: warning: zone \"tills\": it is too small",
        "site/beacons.csv:4: warning: beacon \"b3\": it has neither a device nor a place",
        "3 devices, 1 trigger, 5 warnings",
    ] {
        assert!(checked.stdout.contains(part), "{part}: {}", checked.stdout);
    }
}

#[test]
fn a_zone_of_which_nothing_is_left_is_warned_about() {
    let tree = Tree::new();
    // 9 m around a point: gone for the thing, whose border is another metre further in, and not for the others.
    tree.edit("site/zones.geojson", "\"radius_m\": 9", "\"radius_m\": 9, \"margin_m\": -8.5");
    tree.edit("site/site.toml", "[[level]]\nordinal = 0", "[kind.asset]\nmargin_m = -1.0\n\n[[level]]\nordinal = 0");
    let checked = tree.check(&[]);
    let warning =
        "zone \"tills\": nothing is left of it for devices of kind asset when its border is moved inwards by 9.5 m";
    assert!(checked.faults.is_empty() && checked.stdout.contains(warning), "{}", checked.stdout);
    tree.edit("site/zones.geojson", "-8.5", "-7.5");
    assert!(!tree.check(&[]).stdout.contains("nothing is left"));
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
    let site = examples(include_str!("../../docs/site-directory.md"));
    let gateway = examples(include_str!("../../docs/gateway-toml.md"));
    assert_eq!((site.len(), gateway.len()), (4, 1));
    for (name, text) in &site {
        tree.write(&format!("site/{name}"), text);
    }
    for (name, text) in &gateway {
        tree.write(name, text);
    }
    std::fs::rename(tree.path("password"), tree.path("mqtt-password")).unwrap();
    let checked = tree.check(&[]);
    assert_eq!(checked.faults, Vec::<String>::new());
    assert_eq!(
        checked.stdout,
        "ok: site \"paris-12\" (Paris 12): 2 levels, 3 receivers, 2 zones, 3 beacons, 2 devices\n"
    );
}

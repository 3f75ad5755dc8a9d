//! One slip, one fault.

use super::tree::Tree;

const SITE: &str = "site/site.toml";
const ZONES: &str = "site/zones.geojson";
const BEACONS: &str = "site/beacons.csv";
const DEVICES: &str = "site/devices.csv";
const GATEWAY: &str = "gateway.toml";

/// File, what is replaced, by what, and what the message says.
const EDITS: &[(&str, &str, &str, &str)] = &[
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
    (SITE, "latitude = 48.8567", "latitude = 2.3523", "km from the site's origin; are latitude and longitude swapped?"),
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
    (
        SITE,
        "[[level]]",
        "[kind.asset]\nmargin_m = -51\n\n[[level]]",
        "[kind.asset]: \"margin_m\" is -51; it must lie between -50 and 50 m",
    ),
    (SITE, "[[level]]", "[kind.trolley]\nmargin_m = 1\n\n[[level]]", "unknown key \"trolley\""),
    (ZONES, "\"Entrance\"", "\"Entrance", "broken JSON"),
    (
        ZONES,
        "\"level\": 0,",
        "\"margin_m\": 51, \"level\": 0,",
        "zone \"entrance\": margin_m: 51 must lie between -50 and 50 m",
    ),
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
    (GATEWAY, "publish_positions = true", "publish_positions = \"yes\"", "must be true or false, not text in quotes"),
    (GATEWAY, "days = 0", "days = 367", "must lie between 0 (nothing is kept) and 366"),
    (GATEWAY, "days = 0", "days = 1\nmax_megabytes = 0", "must be a number of megabytes from 1"),
    (GATEWAY, "publish_positions = true", "publish_positions = maybe", "TOML"),
];

#[test]
fn each_single_edit_is_one_fault_on_its_line() {
    let mut wrong = Vec::new();
    for (name, from, to, part) in EDITS {
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

//! A support bundle names nobody and holds no secret: everything is planted, and looked for in all of it.

use std::io::{Cursor, Read as _};
use std::os::unix::fs::PermissionsExt as _;

use zip::ZipArchive;

use crate::gateway::{Gateway, names};

/// What must not be found anywhere, in any case of letters.
const PLANTED: &[&str] = &[
    // Secrets.
    "correct-horse-battery",
    "hunter2",
    "swordfish",
    "bf_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "MIIEvQIBADANBgkq",
    "s3ss10n",
    // Accounts, hosts, addresses.
    "mqtt-account-77",
    "client-of-anna",
    "broker.shop.example",
    "192.168.17.23",
    "fe80::1c2d:3e4f:5061:7283",
    "anna.jansen",
    "shop.example",
    // Devices, beacons, receivers, places, people.
    "shopper-01",
    "shopper-06",
    "phone-01",
    "8f1c7d2e-5a43-4b0e-9d61-2c7be0a4f3d9",
    "8f1c7d2e5a43",
    "C0:FF:EE:00:00:01",
    "C0_FF_EE_00_00_01",
    "c0ffee000001",
    "ground-west",
    "market-hall",
    "Market Hall",
    "Cheese and deli",
    "cheese",
    "gateway-of-bert",
    "token-of-carla",
    "comment-about-dirk",
    "51.9131",
    "4.4702",
    "51.91327889",
    "4.47049207",
    "ghost-17",
];

fn whole(bundle: &[u8]) -> Vec<(String, String)> {
    let mut zip = ZipArchive::new(Cursor::new(bundle)).unwrap();
    (0..zip.len())
        .map(|at| {
            let mut file = zip.by_index(at).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            (file.name().unwrap().into_owned(), text)
        })
        .collect()
}

fn assert_clean(bundle: &[u8]) {
    let parts = whole(bundle);
    assert!(parts.len() >= 6);
    let raw = String::from_utf8_lossy(bundle).to_lowercase();
    for planted in PLANTED {
        for (name, text) in &parts {
            let at = text.to_lowercase().find(&planted.to_lowercase());
            assert_eq!(at, None, "{planted} is in {name}: {text}");
        }
        assert!(!raw.contains(&planted.to_lowercase()), "{planted} is in the file itself");
    }
}

fn log() -> String {
    [
        "2026-11-26T10:15:03.120Z  INFO beaconfence::gateway: running site=market-hall gateway=gateway-of-bert epoch=b4f8d44d3cf2",
        "2026-11-26T10:15:04.120Z  WARN device=shopper-06 entered \"Cheese and deli\" at 51.91327889, 4.47049207",
        "dev_C0_FF_EE_00_00_01 c0:ff:ee:00:00:01 and raw 02158f1c7d2e5a434b0e9d612c7be0a4f3d900010001c5 c0ffee000001",
        "ibeacon:8f1c7d2e-5a43-4b0e-9d61-2c7be0a4f3d9/4711/815 heard by ground-west, phone-01 is of shopper-01",
        "refused from 192.168.17.23:5566 and [fe80::1c2d:3e4f:5061:7283]:5566 as mqtt-account-77",
        "mail anna.jansen@shop.example, Authorization: Bearer bf_AbCdEfGhIjKlMnOpQrStUvWxYz, cookie session_token=s3ss10n",
        "connecting to mqtts://mqtt-account-77:swordfish@broker.shop.example:8883 with password=hunter2",
        "the password is correct-horse-battery, and ghost-17 was removed",
        "-----BEGIN PRIVATE KEY-----",
        "MIIEvQIBADANBgkq",
        "-----END PRIVATE KEY-----",
        "{\"latitude\":51.9131,\"longitude\":4.4702}",
        "2026-11-26T10:15:05.000Z  INFO device=shopper-06 left; the connection stood for 12.5 s",
    ]
    .join("\n")
}

fn planted() -> Gateway {
    let gateway = Gateway::new();
    let settings = "id = \"gateway-of-bert\" # comment-about-dirk\nsite = \"site\"\ndata_dir = \"data\"\n# comment-about-dirk\n\
        [http]\nlisten = [\"127.0.0.1:0\"]\nnames = [\"broker.shop.example\"]\n[mqtt]\nbrokers = [\"mqtts://broker.shop.example:1\"]\n\
        username = \"mqtt-account-77\"\npassword_file = \"password\"\nclient_id = \"client-of-anna\"\n";
    std::fs::write(gateway.path("gateway.toml"), settings).unwrap();
    std::fs::write(gateway.path("password"), "correct-horse-battery\n").unwrap();
    std::fs::set_permissions(gateway.path("password"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(gateway.path("planted.log"), log()).unwrap();
    gateway
}

#[test]
fn nothing_planted_is_found_in_a_bundle_of_a_gateway_that_runs_or_not() {
    let mut gateway = planted();
    gateway.start();
    gateway.out(&["token", "add", "token-of-carla", "--role", "viewer"]);
    // Removed, and in the log still.
    gateway.out(&["device", "add", "ghost-17", "--consent", "presence"]);
    gateway.out(&["device", "remove", "ghost-17"]);
    gateway.feed();
    gateway.wait_for_sequence(3);
    let running = gateway.out(&["support-bundle", "--output", "one.zip", "--log", "planted.log"]);
    gateway.stop();
    let stopped = gateway.out(&["support-bundle", "--output", "two.zip", "--log", "planted.log"]);
    let again = gateway.err(&["support-bundle", "--output", "two.zip", "--log", "planted.log"]);
    assert!(again.contains("cannot write two.zip"), "{again}");
    for (name, said) in [("one.zip", &running), ("two.zip", &stopped)] {
        let bundle = std::fs::read(gateway.path(name)).unwrap();
        assert_clean(&bundle);
        let mode = std::fs::metadata(gateway.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for (part, _) in whole(&bundle) {
            assert!(said.contains(&part), "{part} is not in what is said: {said}");
        }
        for planted in PLANTED {
            assert!(!said.to_lowercase().contains(&planted.to_lowercase()), "{planted} is printed: {said}");
        }
    }
    // It is of use all the same.
    let parts = whole(&std::fs::read(gateway.path("one.zip")).unwrap());
    let part = |name: &str| parts.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let status: serde_json::Value = serde_json::from_str(&part("status.json")).unwrap();
    assert_eq!(status["state"], "online", "{status}");
    assert!(status["counters"]["commits"].as_u64().unwrap() > 0, "{status}");
    let outbox: serde_json::Value = serde_json::from_str(&part("outbox.json")).unwrap();
    assert!(outbox["next_sequence"].as_u64().unwrap() >= 3, "{outbox}");
    let registry: serde_json::Value = serde_json::from_str(&part("registry.json")).unwrap();
    assert_eq!((registry["receivers"].as_u64(), registry["tokens"].as_u64()), (Some(5), Some(1)), "{registry}");
    let system: serde_json::Value = serde_json::from_str(&part("system.json")).unwrap();
    assert_eq!(system["beaconfence"], env!("CARGO_PKG_VERSION"));
    let settings = part("gateway.toml");
    assert!(
        settings.contains("password_file = \"password\"") && settings.contains("listen = [\"127.0.0.1:0\"]"),
        "{settings}"
    );
    // The same device can be followed, and times are legible.
    let log = part("log.txt");
    let device = |line: &str| line.split("device=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let of_device: Vec<String> = log.lines().filter(|line| line.contains("device=device-")).map(device).collect();
    assert_eq!(of_device.len(), 2, "{log}");
    assert_eq!(of_device[0], of_device[1]);
    assert!(log.contains("2026-11-26T10:15:05.000Z  INFO") && log.contains("12.5 s"), "{log}");
    // In another bundle it is called otherwise.
    let other = whole(&std::fs::read(gateway.path("two.zip")).unwrap());
    let other = &other.iter().find(|(name, _)| name == "log.txt").unwrap().1;
    assert!(!other.contains(&of_device[0]));
}

#[test]
fn a_gateway_that_cannot_start_gives_a_bundle_too_and_its_secrets_stay() {
    let gateway = planted();
    std::fs::write(
        gateway.path("gateway.toml"),
        "id = \"gateway-of-bert\" # comment-about-dirk\npassword = \"hunter2\"\n[mqtt]\nbroker = \"mqtt://mqtt-account-77:swordfish@192.168.17.23\"\n\
         username = \"mqtt-account-77\"\nclient_id = 'client-of-anna'\ntoken = s3ss10n\n",
    )
    .unwrap();
    let said = gateway.out(&["support-bundle", "--output", "one.zip"]);
    let bundle = std::fs::read(gateway.path("one.zip")).unwrap();
    let parts = whole(&bundle);
    for planted in
        ["hunter2", "swordfish", "192.168.17.23", "mqtt-account-77", "client-of-anna", "s3ss10n", "comment-about"]
    {
        for (name, text) in &parts {
            assert!(!text.contains(planted), "{planted} is in {name}: {text}");
        }
        assert!(!said.contains(planted), "{planted} is printed");
    }
    let check = &parts.iter().find(|(name, _)| name == "check.txt").unwrap().1;
    assert!(check.contains("password") && check.contains("unknown"), "{check}");
    let missing = gateway.err(&["support-bundle", "--output", "two.zip", "--log", "nothing.log"]);
    assert!(missing.contains("nothing.log"), "{missing}");
    assert!(!names(&gateway.path("")).contains(&"two.zip".to_owned()));
}

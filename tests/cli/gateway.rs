//! Every command against a gateway that runs, without a broker.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fake::{Ran, run};

const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples/store");

/// A gateway's directory, and the gateway while it runs.
struct Gateway {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Gateway {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(Path::new(STORE), &dir.path().join("site"));
        // Tests make rules of their own.
        std::fs::remove_file(dir.path().join("site/triggers.toml")).unwrap();
        let settings = "id = \"gw\"\nsite = \"site\"\n\n[http]\nlisten = [\"127.0.0.1:0\"]\n\n[mqtt]\nbrokers = [\"mqtt://127.0.0.1:1\"]\n";
        std::fs::write(dir.path().join("gateway.toml"), settings).unwrap();
        Self { dir, child: None }
    }

    fn started() -> Self {
        let mut gateway = Self::new();
        gateway.start();
        gateway
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
            .arg("run")
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap());
        let socket = self.dir.path().join("data/api.sock");
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(60), "the gateway does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let stopped = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(stopped.success());
        assert!(child.wait().unwrap().success());
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(arguments, self.dir.path(), b"")
    }

    /// What the command prints, where it succeeds.
    fn out(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.err);
        ran.out
    }

    /// What it says on stderr, where it fails.
    fn err(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}: {}", ran.out);
        ran.err
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

#[test]
fn what_is_registered_outlives_its_database_with_and_without_a_site_directory() {
    for site in ["site = \"site\"\n", ""] {
        let mut gateway = Gateway::new();
        let settings = std::fs::read_to_string(gateway.path("gateway.toml")).unwrap();
        std::fs::write(gateway.path("gateway.toml"), settings.replace("site = \"site\"\n", site)).unwrap();
        gateway.start();
        gateway.out(&["zone", "add", "kept", "--level", "0", "--circle", "5,5 2"]);
        let token = gateway.out(&["token", "add", "anna", "--role", "viewer"]);
        assert!(token.starts_with("bf_"), "{token}");
        gateway.stop();
        std::fs::write(gateway.path("data/beaconfence.redb"), b"no database").unwrap();
        gateway.start();
        assert!(gateway.out(&["zone", "list"]).contains("kept"));
        assert!(gateway.out(&["token", "list"]).contains("anna"));
        assert!(std::fs::read_to_string(gateway.path("log")).unwrap().contains("was damaged"));
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn records_are_added_changed_shown_removed_and_brought_back() {
    let gateway = Gateway::started();
    let out = gateway.out(&["zone", "add", "tills-2", "--level", "0", "--circle", "5,5 2", "--name", "Tills"]);
    assert_eq!(out, "added zone \"tills-2\" in revision 2; to take it back: beaconfence undo 2\n");
    let exists = gateway.err(&["zone", "add", "tills-2", "--level", "0", "--circle", "5,5 2"]);
    assert_eq!(exists, "error: zone \"tills-2\" is there already; add --change or --replace where that one is meant\n");
    let out = gateway.out(&[
        "zone",
        "add",
        "tills-2",
        "--change",
        "--polygon",
        "4,4 8,4 8,7.5 4,7.5",
        "--label",
        "role=till",
    ]);
    assert!(out.starts_with("changed zone \"tills-2\" in revision 3"), "{out}");
    assert!(out.contains("\n  labels: - -> role=till\n"), "{out}");
    assert!(out.contains("\n  shape: circle 5,5 2 -> polygon 4,4 8,4 8,7.5 4,7.5\n"), "{out}");
    let out = gateway.out(&["zone", "show", "tills-2"]);
    assert!(
        out.contains("name               Tills\n") && out.contains("shape              polygon 4,4 8,4 8,7.5 4,7.5\n"),
        "{out}"
    );
    assert!(
        gateway.out(&["zone", "list"]).contains("tills-2   Tills                     0  14.0 m²         role=till\n")
    );
    gateway.out(&["undo", "3"]);
    assert!(gateway.out(&["zone", "show", "tills-2"]).contains("circle 5,5 2"));
    gateway.out(&["zone", "remove", "tills-2"]);
    assert!(gateway.err(&["zone", "show", "tills-2"]).contains("there is no zone \"tills-2\""));
    gateway.out(&["undo", "5"]);
    // What show prints for programs is what add reads.
    let json = gateway.out(&["zone", "show", "tills-2", "--json"]);
    std::fs::write(gateway.path("zone.json"), &json).unwrap();
    assert_eq!(gateway.out(&["zone", "add", "--file", "zone.json", "--replace"]), "zone \"tills-2\" is already so\n");

    gateway.out(&["receiver", "add", "r9", "--x", "1", "--y", "2", "--level", "0"]);
    gateway.out(&["receiver", "add", "r9", "--change", "--z", "3.5"]);
    let receiver: Value = serde_json::from_str(&gateway.out(&["receiver", "show", "r9", "--json"])).unwrap();
    assert_eq!((&receiver["x"], &receiver["z"]), (&serde_json::json!(1.0), &serde_json::json!(3.5)));
    gateway.out(&["device", "add", "d9", "--consent", "presence", "--label", "tier=gold", "--kind", "customer"]);
    gateway.out(&["beacon", "add", "b9", "--identity", "mac:C0:FF:EE:00:00:09", "--device", "d9"]);
    let in_use = gateway.err(&["device", "remove", "d9"]);
    assert!(in_use.contains("beacon \"b9\"") && in_use.contains("--with-beacons"), "{in_use}");
    gateway.out(&["device", "remove", "d9", "--with-beacons"]);
    assert!(gateway.err(&["beacon", "show", "b9"]).contains("there is no beacon \"b9\""));
    gateway.out(&["receiver", "remove", "r9"]);
    let bad = gateway.err(&["zone", "add", "bad", "--level", "7", "--polygon", "0,0 4,4 4,0 0,4"]);
    assert!(bad.lines().count() >= 1 && bad.lines().all(|line| line.starts_with("error: zone \"bad\": ")), "{bad}");
}

#[test]
fn levels_and_the_site_are_changed() {
    let gateway = Gateway::started();
    gateway.out(&["level", "add", "2", "--name", "Roof", "--elevation", "9", "--outline", "0,0 40,0 40,25 0,25"]);
    let plan = Path::new(STORE).join("floor-0.svg");
    let plan = plan.to_str().unwrap();
    gateway.out(&["level", "plan", "2", plan]);
    gateway.out(&["level", "plan", "2", "--x", "-1", "--y", "25", "--metres-per-pixel", "0.5"]);
    let level: Value = serde_json::from_str(&gateway.out(&["level", "show", "2", "--json"])).unwrap();
    assert_eq!(
        (&level["plan"]["x"], &level["plan"]["metres_per_pixel"]),
        (&serde_json::json!(-1.0), &serde_json::json!(0.5))
    );
    let listed = gateway.out(&["level", "list"]);
    assert_eq!(listed.lines().last().unwrap(), "      2  Roof                  9  4 corners  41 × 26 svg");
    std::fs::write(gateway.path("plan.png"), "not a picture").unwrap();
    assert!(gateway.err(&["level", "plan", "2", "plan.png"]).contains("no PNG, JPEG or SVG"));
    gateway.out(&["level", "plan", "2", "--remove"]);
    gateway.out(&["level", "remove", "2"]);
    assert!(gateway.err(&["level", "remove", "0"]).contains("move or remove what is on it first"));
    let out = gateway.out(&["site", "set", "--name", "Halle"]);
    assert!(out.contains("\n  name: Market Hall -> Halle\n"), "{out}");
    assert!(gateway.out(&["site", "show"]).contains("name               Halle\n"));
    let history = gateway.out(&["history", "--limit", "1"]);
    assert!(history.contains("changed the site\n"), "{history}");
}

#[test]
fn tokens_let_in_over_the_network_and_no_longer_once_they_are_revoked() {
    let gateway = Gateway::started();
    let link = gateway.out(&["token", "link"]);
    let url = link.split("/#code=").next().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{link}");
    std::fs::write(gateway.path("token"), gateway.out(&["token", "add", "anna", "--role", "viewer"])).unwrap();
    let there = ["--url", &url, "--token-file", "token"];
    let zones = gateway.out(&[&["zone", "list"], &there[..]].concat());
    assert_eq!(zones, gateway.out(&["zone", "list"]));
    let refused = gateway.err(&[&["zone", "remove", "wine"], &there[..]].concat());
    assert!(refused.starts_with("error: ") && refused.contains("role"), "{refused}");
    assert!(gateway.out(&["token", "list"]).contains("anna  viewer"));
    assert!(gateway.err(&["token", "add", "anna", "--role", "admin"]).contains("revoke it first"));
    gateway.out(&["token", "revoke", "anna"]);
    let unknown = gateway.err(&[&["zone", "list"], &there[..]].concat());
    assert!(unknown.contains("token"), "{unknown}");
    assert!(gateway.err(&["token", "revoke", "anna"]).contains("token list"));
}

#[test]
fn what_is_imported_is_there_whole_or_not_at_all() {
    let gateway = Gateway::started();
    let head = "id,identity,device,x,y,level,measured_power\n";
    let rows: Vec<String> =
        (0..500).map(|n| format!("n{n},mac:C0:FF:EE:00:{:02X}:{:02X},,1,1,0,\n", n / 256, n % 256)).collect();
    std::fs::write(gateway.path("beacons.csv"), format!("{head}{}", rows.concat())).unwrap();
    std::fs::write(gateway.path("faulty.csv"), format!("{head}{}x,foo:1,,1,1,0,\n", rows.concat())).unwrap();
    let faults = gateway.err(&["beacon", "import", "faulty.csv"]);
    assert!(faults.starts_with("faulty.csv:502: error: beacon \"x\": "), "{faults}");
    let planned = gateway.out(&["beacon", "import", "beacons.csv", "--dry-run"]);
    assert!(planned.contains("500 beacons (n0, ") && planned.ends_with("this is a dry run\n"), "{planned}");
    assert!(gateway.err(&["beacon", "show", "n7"]).contains("no beacon"));
    let done = gateway.out(&["beacon", "import", "beacons.csv"]);
    assert!(done.contains("done in revision 2; to take it back: beaconfence undo 2"), "{done}");
    assert_eq!(gateway.out(&["beacon", "list", "--json", "--q", "C0:FF:EE:00"]).lines().count(), 500);
    gateway.out(&["undo", "2"]);
    assert!(gateway.err(&["beacon", "show", "n7"]).contains("no beacon"));

    std::fs::write(gateway.path("more.toml"), "[[receiver]]\nid = \"r9\"\nx = 1\ny = 2\nlevel = 0\n").unwrap();
    let done = gateway.out(&["receiver", "import", "more.toml"]);
    assert_eq!(
        done,
        "added      1 receiver (r9)\nunchanged  119\ndone in revision 4; to take it back: beaconfence undo 4\n"
    );
}

#[test]
fn rules_are_added_changed_listed_imported_and_removed() {
    let gateway = Gateway::started();
    let data = "{\"text\": \"Hello {{device.id}}\"}";
    let out = gateway.out(&[
        "trigger",
        "add",
        "wine",
        "--when",
        "dwelled=5m",
        "--when",
        "in=wine",
        "--cap",
        "1 per visit",
        "--channel",
        "push",
        "--data",
        data,
    ]);
    assert_eq!(out, "added trigger \"wine\" in revision 2; to take it back: beaconfence undo 2\n");
    let out = gateway.out(&["trigger", "add", "wine", "--change", "--enabled", "false", "--cool-down", "2h"]);
    assert!(out.starts_with("changed trigger \"wine\" in revision 3"), "{out}");
    assert!(out.contains("  enabled: yes -> no\n") && out.contains("unless: "), "{out}");
    let rule: Value = serde_json::from_str(&gateway.out(&["trigger", "show", "wine", "--json"])).unwrap();
    assert_eq!(rule["unless"]["caps"], serde_json::json!(["1 per visit"]), "what is not given stays");
    assert_eq!(rule["unless"]["cool_down"], "2h");
    let list = gateway.out(&["trigger", "list"]);
    let row = "wine  wine  dwelled 5m in wine  -   wine      no";
    assert_eq!(list, format!("id    name  when                if  campaign  on\n{row}\n"));
    let shown = gateway.out(&["trigger", "show", "wine"]);
    assert!(shown.contains("when               dwelled=5m, in=wine, total=no\n"), "{shown}");
    let faults = gateway.err(&["trigger", "add", "other", "--when", "entered=wines"]);
    assert_eq!(faults, "error: trigger \"other\": there is no zone \"wines\"; did you mean \"wine\"?\n");
    let used = gateway.err(&["zone", "remove", "wine"]);
    assert!(used.contains("zone \"wine\" is in use by trigger \"wine\""), "{used}");

    let file = "[quiet_hours]\ndaily = [\"21:00-08:00\"]\n\n[[trigger]]\nid = \"bye\"\nwhen = { exited = \"site\" }\n";
    std::fs::write(gateway.path("more.toml"), file).unwrap();
    std::fs::write(gateway.path("faulty.toml"), file.replace("exited", "left")).unwrap();
    let faults = gateway.err(&["trigger", "import", "faulty.toml"]);
    assert!(faults.starts_with("faulty.toml:6: error: trigger \"bye\": unknown key \"left\"; "), "{faults}");
    let planned = gateway.out(&["trigger", "import", "more.toml", "--dry-run", "--replace"]);
    assert!(planned.contains("added      1 trigger (bye)\n"), "{planned}");
    assert!(planned.contains("removed    1 trigger (wine)\n"), "{planned}");
    assert!(gateway.out(&["trigger", "import", "more.toml"]).contains("done in revision 4"));
    assert!(gateway.out(&["trigger", "settings"]).contains("21:00-08:00"));
    gateway.out(&["export", "out"]);
    assert!(std::fs::read_to_string(gateway.path("out/triggers.toml")).unwrap().contains("id = \"bye\""));
    assert!(gateway.out(&["apply", "out"]).ends_with("nothing to change\n"));
    gateway.out(&["trigger", "remove", "wine", "bye"]);
    assert_eq!(gateway.out(&["trigger", "list", "--json"]), "");
    let planned = gateway.out(&["apply", "out", "--dry-run"]);
    assert!(planned.contains("added      2 triggers (wine, bye)\n"), "{planned}");
}

#[test]
fn a_site_goes_out_and_in_again_with_and_without_a_gateway() {
    let mut gateway = Gateway::started();
    gateway.out(&["zone", "add", "new", "--level", "0", "--circle", "5,5 2"]);
    gateway.out(&["export", "out"]);
    assert!(gateway.out(&["apply", "out"]).ends_with("nothing to change\n"));
    gateway.stop();
    gateway.out(&["export", "stopped"]);
    assert_eq!(files(&gateway.path("stopped")), files(&gateway.path("out")));
    assert!(files(&gateway.path("out")).iter().any(|(name, _)| name == "floor-0.svg"));

    // Without a gateway: what the first directory says is put into the database.
    let ran = gateway.run(&["apply", "site", "--dry-run"]);
    assert!(ran.out.contains("removed    1 zone (new)\n") && ran.out.ends_with("this is a dry run\n"), "{ran:?}");
    let ran = gateway.run(&["apply", "site"]);
    assert!(ran.out.contains("done in revision 3"), "{ran:?}");
    assert!(ran.err.contains("no gateway runs on"), "{}", ran.err);
    gateway.start();
    assert!(gateway.err(&["zone", "show", "new"]).contains("no zone"));
    let history: Value = serde_json::from_str(&gateway.out(&["history", "3", "--json"])).unwrap();
    assert_eq!(history["action"], "apply");

    // With it, whole or not at all.
    let zones = gateway.path("out/zones.geojson");
    let text = std::fs::read_to_string(&zones).unwrap();
    std::fs::write(
        &zones,
        text.replacen("\"level\": 0", "\"level\": 70", 1).replacen("\"level\":0", "\"level\":70", 1),
    )
    .unwrap();
    let faults = gateway.err(&["apply", "out", "--yes"]);
    assert!(faults.starts_with("out/zones.geojson:") && faults.contains("70"), "{faults}");
    assert!(gateway.err(&["zone", "show", "new"]).contains("no zone"));
    std::fs::write(&zones, text).unwrap();
    assert!(gateway.out(&["apply", "out"]).contains("added      1 zone (new)\n"));

    // An empty gateway gets the same.
    let mut empty = Gateway::new();
    let out = gateway.path("out");
    let planned = empty.out(&["apply", out.to_str().unwrap(), "--dry-run"]);
    assert!(planned.starts_with("added      the site, 2 levels (0, 1), "), "{planned}");
    assert!(!empty.path("data").exists());
    empty.out(&["apply", out.to_str().unwrap()]);
    empty.start();
    empty.out(&["export", "again"]);
    assert_eq!(files(&empty.path("again")), files(&out));
}

//! What was withdrawn after a backup does not come back with it.

use crate::gateway::{Gateway, names};

fn consent(gateway: &Gateway, device: &str) -> String {
    let out = gateway.out(&["export", "now", "--config", &gateway.settings]);
    assert!(!out.is_empty() || gateway.path("now").exists());
    let devices = std::fs::read_to_string(gateway.path("now/devices.csv")).unwrap();
    std::fs::remove_dir_all(gateway.path("now")).unwrap();
    let line = devices.lines().find(|line| line.starts_with(&format!("{device},")));
    line.map_or("gone".to_owned(), |line| line.split(',').nth(1).unwrap().to_owned())
}

/// A gateway whose backup is older than two withdrawals, a removal and a revocation.
fn withdrawn() -> Gateway {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.out(&["token", "add", "anna", "--role", "viewer"]);
    gateway.out(&["token", "add", "bert", "--role", "viewer"]);
    gateway.out(&["backup", "--output", "one.zip"]);
    gateway.out(&["device", "add", "shopper-01", "--change", "--consent", "presence"]);
    gateway.out(&["device", "add", "shopper-02", "--change", "--consent", ""]);
    gateway.out(&["device", "add", "shopper-03", "--change", "--consent", "presence,marketing"]);
    let beacons = gateway.out(&["beacon", "list", "--json"]);
    assert!(beacons.contains("shopper-04"));
    gateway.out(&["device", "remove", "--with-beacons", "shopper-04"]);
    gateway.out(&["token", "revoke", "anna"]);
    // At once: the copy of the registry may be older than the database.
    gateway.kill();
    gateway
}

#[test]
fn withdrawn_consent_stays_withdrawn_and_everybody_is_named() {
    let mut gateway = withdrawn();
    let ran = gateway.run(&["restore", "one.zip", "--force"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("withdrawn since, and kept so: shopper-01, shopper-02\n"), "{}", ran.err);
    assert!(ran.err.contains("removed since; registered again, without consent"), "{}", ran.err);
    assert!(ran.err.contains("if that was meant: shopper-04\n"), "{}", ran.err);
    assert!(ran.err.contains("tokens revoked since, and kept so: anna\n"), "{}", ran.err);
    assert_eq!(consent(&gateway, "shopper-01"), "presence");
    assert_eq!(consent(&gateway, "shopper-02"), "");
    assert_eq!(consent(&gateway, "shopper-03"), "presence", "what was given since is not in the backup");
    assert_eq!(consent(&gateway, "shopper-04"), "");
    gateway.start();
    let tokens = gateway.out(&["token", "list"]);
    assert!(tokens.contains("bert") && !tokens.contains("anna"), "{tokens}");
    gateway.stop();
}

#[test]
fn the_consent_of_the_backup_holds_where_that_is_asked_for() {
    let gateway = withdrawn();
    let ran = gateway.run(&["restore", "one.zip", "--force", "--consent", "backup"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("given again by --consent backup: shopper-01, shopper-02\n"), "{}", ran.err);
    assert_eq!(consent(&gateway, "shopper-01"), "marketing;presence");
    assert_eq!(consent(&gateway, "shopper-04"), "marketing;presence");
}

#[test]
fn nobodys_consent_holds_where_that_is_asked_for() {
    let gateway = withdrawn();
    let other = Gateway::beside(&gateway, "other");
    let ran = other.run(&["restore", "one.zip", "--consent", "none", "--config", &other.settings]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("no data directory that could say"), "{}", ran.err);
    for device in ["shopper-01", "shopper-02", "shopper-03", "shopper-04"] {
        assert_eq!(consent(&other, device), "");
    }
}

#[test]
fn recordings_are_only_taken_and_put_back_where_that_is_asked_for() {
    let mut gateway = Gateway::new();
    gateway.write_settings("[record]\ndays = 7\n");
    gateway.start();
    gateway.feed();
    gateway.wait_for_sequence(3);
    gateway.stop();
    let recorded = names(&gateway.data().join("record"));
    assert!(recorded.len() > 1, "{recorded:?}");
    gateway.out(&["backup", "--output", "without.zip"]);
    gateway.out(&["backup", "--output", "with.zip", "--recordings"]);
    for (backup, arguments, there) in
        [("without.zip", &["--recordings"][..], false), ("with.zip", &[], false), ("with.zip", &["--recordings"], true)]
    {
        let name = format!("{}{}", backup.trim_end_matches(".zip"), arguments.len());
        let other = Gateway::beside(&gateway, &name);
        let mut all = vec!["restore", backup, "--config", &other.settings];
        all.extend(arguments);
        other.out(&all);
        assert_eq!(other.data().join("record").exists(), there, "{name}");
        if there {
            assert_eq!(names(&other.data().join("record")), recorded);
        }
    }
}

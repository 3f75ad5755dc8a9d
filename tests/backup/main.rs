//! Backups, putting them back, and support bundles, as a program: against a gateway that runs, and one that does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive;
mod epoch;
mod gateway;
mod large;
mod privacy;
mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway::{Gateway, PROGRAM, names};

fn ending(name: &str) -> Option<&str> {
    Path::new(name).extension()?.to_str()
}

/// Whether a file is a backup by its name, whole or not.
fn is_backup(name: &str) -> bool {
    matches!(ending(name), Some("zip" | "new"))
}

#[test]
fn backups_taken_while_events_flow_put_back_what_is_registered() {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.feed();
    gateway.wait_for_sequence(3);
    std::fs::create_dir(gateway.path("backups")).unwrap();
    let stop = AtomicBool::new(false);
    let mut taken = 0;
    std::thread::scope(|scope| {
        // Changes and sightings go on all the while.
        let changes = scope.spawn(|| {
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                let id = format!("zone-{at}");
                gateway.out(&["zone", "add", &id, "--level", "0", "--circle", "5,5 2"]);
                at += 1;
            }
            at
        });
        while taken < 5 {
            let out = gateway.out(&["backup", "--output", &format!("backups/{taken}.zip")]);
            assert!(out.contains("while it runs"), "{out}");
            taken += 1;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(changes.join().unwrap() > 0);
    });
    gateway.out(&["export", "before"]);
    let out = gateway.out(&["backup", "--output", "backups/last.zip"]);
    assert!(out.starts_with("backup     backups/last.zip ("), "{out}");
    let mode = std::fs::metadata(gateway.path("backups/last.zip")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(&gateway.path("backups")).len(), 6, "nothing else is left there");
    let refused = gateway.err(&["restore", "backups/last.zip", "--force"]);
    assert_eq!(refused, "error: a gateway runs on data; stop it first, then put the backup back, then start it\n");
    gateway.stop();

    for name in ["0", "1", "2", "3", "4", "last"] {
        let other = Gateway::beside(&gateway, name);
        let out = other.out(&["restore", &format!("backups/{name}.zip"), "--config", &other.settings]);
        assert!(out.contains(" begins; "), "{out}");
        other.out(&["export", &format!("after-{name}"), "--config", &other.settings]);
    }
    assert_eq!(gateway::files(&gateway.path("before")), gateway::files(&gateway.path("after-last")));
    let again = gateway.err(&["restore", "backups/last.zip", "--config", "last.toml"]);
    assert!(again.contains("data-last is not empty") && again.contains("--force"), "{again}");
}

#[test]
fn a_gateway_that_was_killed_is_backed_up_and_what_is_there_is_set_aside() {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.out(&["zone", "add", "kept", "--level", "0", "--circle", "5,5 2"]);
    gateway.kill();
    let out = gateway.out(&["backup", "--output", "one.zip"]);
    assert!(out.contains("while it does not run"), "{out}");
    gateway.start();
    gateway.out(&["zone", "remove", "kept"]);
    gateway.stop();
    gateway.err(&["restore", "one.zip"]);
    let before = std::fs::read(gateway.path("data/beaconfence.redb")).unwrap();
    let out = gateway.out(&["restore", "one.zip", "--force"]);
    let aside = names(&gateway.path("data")).into_iter().find(|name| name.starts_with("before-restore-")).unwrap();
    assert!(out.contains(&aside), "{out}");
    let kept = std::fs::read(gateway.path("data").join(&aside).join("beaconfence.redb")).unwrap();
    assert!(kept == before, "the old database is as it was");
    assert!(!gateway.path("data/restore.new").exists());
    gateway.start();
    assert!(gateway.out(&["zone", "list"]).contains("kept"));
    gateway.stop();
}

#[test]
fn the_oldest_backups_go_and_nothing_else() {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.stop();
    let dir = gateway.path("backups");
    std::fs::create_dir(&dir).unwrap();
    let ours = "beaconfence-backup+market-hall+gw+";
    let others = [
        "beaconfence-backup+market-hall+gw-2+20200101T000000Z.zip".to_owned(),
        format!("{ours}20200101T000000Z.zip.old"),
        format!("{ours}2020.zip"),
        "holiday.zip".to_owned(),
    ];
    for name in others.iter().cloned().chain((1..=3).map(|day| format!("{ours}2020010{day}T000000Z.zip"))) {
        std::fs::write(dir.join(name), b"x").unwrap();
    }
    let out = gateway.out(&["backup", "--output", "backups", "--keep", "2"]);
    assert_eq!(out.matches("deleted").count(), 2, "{out}");
    let left = names(&dir);
    assert!(others.iter().all(|name| left.contains(name)), "{left:?}");
    assert_eq!(left.len(), others.len() + 2);
    assert!(left.contains(&format!("{ours}20200103T000000Z.zip")));
    let usage = gateway.run(&["backup", "--output", "one.zip", "--keep", "2"]);
    assert_eq!((usage.code, usage.out.as_str()), (Some(2), ""));
    assert_eq!(gateway.run(&["backup", "--output", "backups", "--keep", "0"]).code, Some(2));
}

#[test]
fn where_it_cannot_be_written_it_says_why_and_leaves_nothing() {
    let mut gateway = Gateway::new();
    assert!(gateway.err(&["backup"]).contains("there is no database in data"));
    gateway.start();
    let full = format!("trap '' XFSZ; ulimit -f 4; exec {PROGRAM} backup --output full.zip");
    let full = Command::new("bash").args(["-c", &full]).current_dir(gateway.path("")).output().unwrap();
    let words = String::from_utf8(full.stderr).unwrap();
    assert!(!full.status.success() && words.contains("cannot write") && words.contains("File too large"), "{words}");
    assert_eq!((words.lines().count(), words.matches("File too large").count()), (1, 1), "{words}");
    assert!(gateway.err(&["backup", "--output", "nowhere/x.zip"]).contains("make the directory first"));
    assert!(gateway.err(&["backup", "--output", "data"]).contains("best on another disk"));
    assert!(gateway.err(&["backup", "--output", "data/x.zip"]).contains("best on another disk"));
    std::fs::write(gateway.path("there.zip"), b"x").unwrap();
    assert!(gateway.err(&["backup", "--output", "there.zip"]).contains("is there already"));
    assert_eq!(std::fs::read(gateway.path("there.zip")).unwrap(), b"x");
    let left = names(&gateway.path(""));
    assert!(!left.iter().any(|name| name.contains("backup+") || name == "full.zip"), "{left:?}");
    gateway.stop();
}

/// A gateway that gives the beginning of a copy, and then does what the test says.
fn fake(gateway: &Gateway, whole: bool, then: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::fs::create_dir_all(gateway.path("data")).unwrap();
    let listener = UnixListener::bind(gateway.path("data/backup.sock")).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"beaconfence rows 1\n").unwrap();
        let row = |table: u8, key: &[u8], value: &[u8]| {
            let lengths = [(key.len() as u32).to_le_bytes(), (value.len() as u32).to_le_bytes()].concat();
            [&[table], lengths.as_slice(), key, value].concat()
        };
        stream.write_all(&row(1, b"site", b"market-hall")).unwrap();
        if whole {
            stream.write_all(&row(0xff, b"", b"the disk gave up")).unwrap();
        }
        then();
    })
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_that_would_be_put_back() {
    let gateway = Gateway::new();
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let giving = fake(&gateway, false, move || {
        let _ = wait.recv();
    });
    let mut child = Command::new(PROGRAM)
        .args(["backup", "--output", "one.zip"])
        .current_dir(gateway.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let making = || names(&gateway.path("")).into_iter().find(|name| is_backup(name));
    gateway::until("the backup has begun", || making().is_some());
    std::thread::sleep(Duration::from_millis(200));
    child.kill().unwrap();
    child.wait().unwrap();
    let name = making().unwrap();
    assert!(name.starts_with("beaconfence-backup+") && ending(&name) == Some("new"), "{name}");
    drop(done);
    giving.join().unwrap();
    std::fs::remove_file(gateway.path("data/backup.sock")).unwrap();
    let refused = gateway.err(&["restore", &name]);
    assert!(refused.contains("is not a whole backup"), "{refused}");
    // It goes when it is old.
    let old = std::time::SystemTime::now() - Duration::from_secs(7_200);
    std::fs::File::options().write(true).open(gateway.path(&name)).unwrap().set_modified(old).unwrap();
    gateway.err(&["backup"]);
    assert_eq!(making(), None);
}

#[test]
fn a_gateway_that_breaks_off_leaves_no_backup() {
    for (whole, words) in [(true, "the gateway broke off: the disk gave up"), (false, "it ends in the middle")] {
        let gateway = Gateway::new();
        let giving = fake(&gateway, whole, || ());
        let said = gateway.err(&["backup", "--output", "one.zip"]);
        assert!(said.contains(words), "{said}");
        giving.join().unwrap();
        let left = names(&gateway.path(""));
        assert!(!left.iter().any(|name| name.contains(".zip") || is_backup(name)), "{left:?}");
    }
}

#[test]
fn a_second_backup_waits_its_turn_and_a_slow_one_harms_nobody() {
    let mut gateway = Gateway::new();
    gateway.start();
    // More than a socket takes at once, so that the reader below holds the copy open.
    let picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><desc>{}</desc></svg>",
        "x".repeat(4 << 20)
    );
    std::fs::write(gateway.path("plan.svg"), picture).unwrap();
    let arguments = ["level", "plan", "0", "plan.svg", "--x", "0", "--y", "9", "--metres-per-pixel", "1"];
    let set = gateway.run(&arguments);
    assert_eq!(set.code, Some(0), "{}", set.err);
    let mut slow = std::os::unix::net::UnixStream::connect(gateway.path("data/backup.sock")).unwrap();
    let mut first = [0; 19];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"beaconfence rows 1\n");
    let refused = gateway.err(&["backup", "--output", "two.zip"]);
    assert!(refused.contains("another backup is being made"), "{refused}");
    // Changes are committed all the same.
    gateway.out(&["zone", "add", "meanwhile", "--level", "0", "--circle", "5,5 2"]);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("meanwhile"), "the copy is of one moment");
    gateway::until("the first backup is done", || gateway.run(&["backup", "--output", "two.zip"]).code == Some(0));
    // And who stops the gateway does not wait for a reader.
    let mut slow = std::os::unix::net::UnixStream::connect(gateway.path("data/backup.sock")).unwrap();
    slow.read_exact(&mut first).unwrap();
    gateway.stop();
    assert!(Path::new(&gateway.path("two.zip")).exists());
}

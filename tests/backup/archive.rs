//! What is no whole backup of this gateway is refused, and nothing is touched.

use std::io::{Cursor, Read as _, Write as _};

use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::gateway::{Gateway, names};

fn backed_up() -> (Gateway, Vec<u8>) {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.stop();
    gateway.out(&["backup", "--output", "one.zip"]);
    let bytes = std::fs::read(gateway.path("one.zip")).unwrap();
    (gateway, bytes)
}

fn parts(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    (0..zip.len())
        .map(|at| {
            let mut file = zip.by_index(at).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (file.name().unwrap().into_owned(), bytes)
        })
        .collect()
}

fn zipped(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in parts {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The backup with another manifest.
fn said(bytes: &[u8], change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut parts = parts(bytes);
    let (_, manifest) = parts.iter_mut().find(|(name, _)| name == "manifest.json").unwrap();
    let mut value: Value = serde_json::from_slice(manifest).unwrap();
    change(&mut value);
    *manifest = serde_json::to_vec(&value).unwrap();
    zipped(&parts)
}

#[test]
fn damage_anywhere_is_found_and_named_and_nothing_is_touched() {
    let (gateway, whole) = backed_up();
    let other = Gateway::beside(&gateway, "other");
    let refused = |bytes: &[u8]| {
        std::fs::write(gateway.path("bad.zip"), bytes).unwrap();
        let said = other.err(&["restore", "bad.zip", "--config", &other.settings, "--force"]);
        assert!(!other.data().exists(), "{said}");
        said
    };
    // Wherever a bit flips, unless it is one that says nothing (a date, for instance), it is refused.
    let mut found = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(gateway.path("bad.zip"), &bytes).unwrap();
        let ran = other.run(&["restore", "bad.zip", "--config", &other.settings]);
        if ran.code == Some(0) {
            std::fs::remove_dir_all(other.data()).unwrap();
        } else {
            assert!(ran.err.contains("bad.zip is not a whole backup: "), "{}", ran.err);
            found += 1;
        }
    }
    assert!(found >= 35, "only {found} of 40 flipped bits were found");
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..length]).contains("is not a whole backup"));
    }

    let mut changed = parts(&whole);
    changed[0].1[100] ^= 1;
    assert!(refused(&zipped(&changed)).contains("database.rows: its SHA-256 is not what the manifest says"));
    let mut more = parts(&whole);
    more.push(("record/../../evil".to_owned(), Vec::new()));
    assert!(refused(&zipped(&more)).contains("other files than its manifest says"));
    let evil = said(&zipped(&more), |manifest| {
        let entry = serde_json::json!({"name": "record/../../evil", "bytes": 0, "sha256": ""});
        manifest["files"].as_array_mut().unwrap().push(entry);
    });
    assert!(refused(&evil).contains("belongs to no backup"));
    let fewer: Vec<_> = parts(&whole).into_iter().filter(|(name, _)| name != "database.rows").collect();
    assert!(refused(&zipped(&fewer)).contains("other files"));
    let none: Vec<_> = parts(&whole).into_iter().filter(|(name, _)| name != "manifest.json").collect();
    assert!(refused(&zipped(&none)).contains("it has no manifest.json"));
    assert!(refused(&said(&whole, |manifest| manifest["epoch"] = "other".into())).contains("another one's"));
    assert!(refused(b"PK").contains("no zip file"));
}

#[test]
fn what_is_anothers_or_of_a_later_version_is_refused_in_words() {
    let (gateway, whole) = backed_up();
    let other = Gateway::beside(&gateway, "other");
    let refused = |bytes: &[u8]| {
        std::fs::write(gateway.path("bad.zip"), bytes).unwrap();
        let said = other.err(&["restore", "bad.zip", "--config", &other.settings]);
        assert!(!other.data().exists(), "{said}");
        said
    };
    let later = refused(&said(&whole, |manifest| {
        manifest["beaconfence_backup"] = 2.into();
        manifest["version"] = "9.1.0".into();
        manifest["files"] = "in a new form".into();
    }));
    assert!(later.contains("of a later version of beaconfence") && later.contains("9.1.0"), "{later}");
    let later = refused(&said(&whole, |manifest| manifest["database_format"] = 99.into()));
    assert!(later.contains("its database is in format 99"), "{later}");
    let another = refused(&said(&whole, |manifest| manifest["gateway"] = "gw-2".into()));
    assert!(another.contains("is the backup of gateway \"gw-2\", and gateway.toml is of \"gw\""), "{another}");
    let another = refused(&said(&whole, |manifest| manifest["site"] = "elsewhere".into()));
    assert!(another.contains("is the backup of site \"elsewhere\""), "{another}");
    assert!(other.err(&["restore", "nothing.zip", "--config", &other.settings]).contains("cannot read nothing.zip"));
    assert!(other.err(&["restore", "site", "--config", &other.settings]).contains("it is a directory"));

    // A data directory of another site is not even set aside.
    let mut stranger = Gateway::beside(&gateway, "stranger");
    let site = std::fs::read_to_string(gateway.path("site/site.toml")).unwrap();
    std::fs::write(gateway.path("site/site.toml"), site.replace("\"market-hall\"", "\"elsewhere\"")).unwrap();
    stranger.start();
    stranger.stop();
    std::fs::write(gateway.path("site/site.toml"), site).unwrap();
    let before = names(&stranger.data());
    let said = stranger.err(&["restore", "one.zip", "--config", &stranger.settings, "--force"]);
    assert!(said.contains("data-stranger is of \"elsewhere\""), "{said}");
    assert_eq!(names(&stranger.data()), before);
}

//! The dependency rule of the layout, checked on the sources.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot read the sources has failed.

use std::path::{Path, PathBuf};

/// The pure stages in pipeline order; each may import itself and what stands before it.
const PURE: [&str; 9] =
    ["model", "advert", "registry", "position", "geofence", "presence", "trigger", "health", "engine"];

/// Who alone may name a crate.
const OWNERS: [(&str, &str); 5] =
    [("btleplug", "source"), ("rstar", "geofence"), ("redb", "store"), ("rumqttc", "mqtt"), ("mqtt5", "mqtt")];

/// What no pure stage may name: clocks, files, network, tasks.
const IMPURE: [&str; 8] =
    ["tokio", "std::fs", "std::net", "std::io", "std::env", "SystemTime", "Instant::now", "Timestamp::now"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The module below src/ that a file belongs to.
fn module(file: &Path) -> String {
    let relative = file.strip_prefix(src()).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code without comments: a word in prose is no import.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn imports(code: &str) -> Vec<String> {
    code.match_indices("crate::")
        .map(|(at, found)| code[at + found.len()..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn a_pure_stage_imports_only_earlier_stages() {
    let mut seen = 0;
    for file in sources(&src()) {
        let module = module(&file);
        let Some(stage) = PURE.iter().position(|pure| *pure == module) else { continue };
        let code = code(&file);
        for import in imports(&code) {
            let allowed = PURE[..=stage].contains(&import.as_str());
            assert!(allowed, "{} imports crate::{import}, which comes later", file.display());
            seen += 1;
        }
        for word in IMPURE {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
    assert!(seen > 20, "only {seen} imports were found: this test reads the wrong thing");
}

#[test]
fn what_beacons_run_is_rendered_without_touching_anything() {
    let files: Vec<PathBuf> = sources(&src()).into_iter().filter(|file| module(file) == "firmware").collect();
    assert!(files.len() > 10, "only {} files were found: this test reads the wrong thing", files.len());
    for file in files {
        let code = code(&file);
        for word in IMPURE {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn a_crate_that_has_an_owner_is_named_by_nobody_else() {
    for (name, owner) in OWNERS {
        let namers: Vec<String> = sources(&src())
            .iter()
            .filter(|file| code(file).contains(&format!("{name}::")) || code(file).contains(&format!("{name}_v")))
            .map(|file| module(file))
            .collect();
        assert!(namers.iter().all(|namer| namer == owner), "{name} is named by {namers:?}, not only by {owner}");
        assert!(!namers.is_empty(), "nobody names {name}: this test reads the wrong thing");
    }
}

//! Files that are broken at random.

use super::tree::{BEACONS, DEVICES, GATEWAY, SITE, Tree, ZONES};

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
    for round in 0..2_500 {
        let file = round % names.len();
        let mut bytes = originals[file].as_bytes().to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            let end = (at + random.random_range(1..20)).min(bytes.len());
            match random.random_range(0..10) {
                0 => bytes[at] = random.random_range(0..=255),
                1 if end - at < bytes.len() => drop(bytes.drain(at..end)),
                2 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                3 => bytes.truncate(at.max(1)),
                // A digit for a digit, a letter for a letter: what still parses, and reaches the checks behind.
                4..=7 => {
                    if let Some(at) = (at..bytes.len()).find(|&at| bytes[at].is_ascii_alphanumeric()) {
                        let first = if bytes[at].is_ascii_digit() { b'0' } else { b'a' };
                        bytes[at] = first + random.random_range(0..10);
                    }
                }
                8 => drop(bytes.splice(at..end, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
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
    // Both ways out were taken often, or the mutations are too coarse or too fine to try much.
    assert!(loaded > 100 && refused > 1_000, "{loaded} loaded, {refused} refused");
    println!("{loaded} loaded, {refused} refused");
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

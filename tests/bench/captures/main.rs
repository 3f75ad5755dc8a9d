//! Reads the real capture of `$BEACONFENCE_DATA/captures` and prints what is in it against what is known of it. It holds
//! real addresses: only counts are printed.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use beaconfence::advert::frames;
use beaconfence::engine::Input;
use beaconfence::model::ReceiverId;
use beaconfence::source::replay;

/// Advertisements, addresses and iBeacons that are known to be in the capture.
const KNOWN: [(&str, usize); 3] = [("advertisements", 412), ("addresses", 36), ("ibeacon", 11)];

fn main() -> ExitCode {
    // `cargo test --all-targets` runs this too, where there is no data.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("captures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let data = std::env::var_os("BEACONFENCE_DATA").ok_or("BEACONFENCE_DATA is not set")?;
    let path = PathBuf::from(data).join("captures/horizon.btsnoop");
    let begun = Instant::now();
    let mut replay = replay::open(&path, Some(ReceiverId::new("capture")?))?;
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let mut addresses = HashSet::new();
    let (mut first, mut last) = (None, None);
    for item in replay.by_ref() {
        let (time, Input::Advertisement(heard)) = item? else { continue };
        first = first.or(Some(time));
        last = Some(time);
        *found.entry("advertisements").or_default() += 1;
        addresses.extend(heard.address.map(|address| address.bytes));
        for frame in frames(&heard.data) {
            *found.entry(frame.map_or_else(|error| error.code(), |frame| frame.format().as_str())).or_default() += 1;
        }
    }
    found.insert("addresses", addresses.len());
    println!("captures: {found:?}, {:?}, from {first:?} to {last:?}, read in {:?}", replay.counts(), begun.elapsed());
    let mut held = true;
    for (name, known) in KNOWN {
        let count = found.get(name).copied().unwrap_or_default();
        let verdict = if count == known { "met" } else { "missed" };
        held &= count == known;
        println!("captures/{name} measured={count} goal={known} {verdict}");
    }
    Ok(held)
}

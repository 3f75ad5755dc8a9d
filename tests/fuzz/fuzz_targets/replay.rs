//! A file of observations: sightings, captures, gzip or not. It ends, and an error names its place.
#![no_main]

use std::io::Cursor;

use beaconfence::model::ReceiverId;
use beaconfence::source::replay;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let receiver = ReceiverId::new("r1").ok();
    let Ok(replay) = replay::read("file", Cursor::new(file.to_vec()), receiver) else { return };
    for item in replay {
        if let Err(error) = item {
            assert!(error.to_string().starts_with("file:"));
        }
    }
});

//! A line of `decode`: exactly one line of JSON comes out, whatever goes in.
#![no_main]

use beaconfence::advert::line::LineDecoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    let mut out = Vec::new();
    LineDecoder::default().decode(line, &mut out);
    assert_eq!(out.iter().position(|&byte| byte == b'\n'), Some(out.len() - 1));
    let value: serde_json::Value = serde_json::from_slice(&out).expect("what decode writes is JSON");
    assert!(value["frames"].is_array() && value["errors"].is_array());
});

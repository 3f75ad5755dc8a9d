//! `beaconfence decode` as a program: one line out for each line in, whatever comes in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

fn decode(input: Vec<u8>) -> (Option<i32>, Vec<u8>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .arg("decode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (output.status.code(), output.stdout)
}

/// Whole advertisements of each format, to be cut and damaged.
const SEEDS: [&str; 6] = [
    "0201061aff4c0002154142434445464748494041424344454600010002f8",
    "02011a1bff1801beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c509",
    "0201060303aafe1716aafe00e3123456789012346789010000000000010000",
    "0201060303aafe0d16aafe10e702676f6f676c6500",
    "0201060303aafe1116aafe20000b1813000000146700002ac4",
    "0201060303aafe0d16aafe30e34549445f74657374",
];

fn line(random: &mut ChaCha8Rng) -> Vec<u8> {
    let seed = hex::decode(SEEDS[random.random_range(0..SEEDS.len())]).unwrap();
    let mut bytes = match random.random_range(0..4) {
        0 => (0..random.random_range(0..64)).map(|_| random.random()).collect(),
        1 => seed[..random.random_range(0..=seed.len())].to_vec(),
        2 => {
            let mut seed = seed;
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..seed.len());
                seed[at] = random.random();
            }
            seed
        }
        _ => seed,
    };
    let mut line = match random.random_range(0..20) {
        // Binary garbage, with no line feed in it but anything else.
        0 => {
            bytes.retain(|&byte| byte != b'\n');
            bytes
        }
        1 => Vec::new(),
        2..5 => format!(r#"{{"manufacturer_data":{{"004c":"{}"}}}}"#, hex::encode(&bytes[bytes.len().min(7)..])).into(),
        5..8 => format!(r#"{{"service_data":{{"feaa":"{}"}}}}"#, hex::encode(&bytes[bytes.len().min(11)..])).into(),
        _ => format!(r#"{{"adv":"{}"}}"#, hex::encode(&bytes)).into_bytes(),
    };
    if random.random_range(0..20) == 0 {
        line.truncate(random.random_range(0..=line.len()));
    }
    line
}

#[test]
fn a_hundred_thousand_advertisements_of_any_kind_give_a_line_each() {
    const LINES: usize = 100_000;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut input = Vec::new();
    for _ in 0..LINES {
        input.extend(line(&mut random));
        input.push(b'\n');
    }
    let (code, output) = decode(input);
    assert_eq!(code, Some(0));
    let lines: Vec<&[u8]> = output.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), LINES);
    let (mut frames, mut errors) = (0, 0);
    for line in lines {
        let value: Value = serde_json::from_slice(line).unwrap();
        frames += value["frames"].as_array().unwrap().len();
        errors += value["errors"].as_array().unwrap().len();
    }
    assert!(frames > 20_000 && errors > 20_000, "{frames} {errors}");
}

#[test]
fn absurdly_long_lines_and_a_last_one_without_its_end_are_lines_too() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut binary = vec![0; 5_000_000];
    random.fill_bytes(&mut binary);
    binary.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    let input = [&b"{}\n"[..], &binary, b"\n\r\n{\"adv\":\"", &b"00".repeat(2_000_000), b"\"}\n{}"].concat();
    let (code, output) = decode(input);
    assert_eq!(code, Some(0));
    let lines: Vec<Value> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let codes: Vec<_> = lines.iter().map(|line| line["errors"][0]["code"].as_str().unwrap_or("none")).collect();
    assert_eq!(codes, ["none", "line-too-long", "empty-line", "line-too-long", "none"]);
}

#[test]
fn nothing_in_gives_nothing_out() {
    assert_eq!(decode(Vec::new()), (Some(0), Vec::new()));
}

#[test]
fn what_is_asked_one_by_one_is_answered_one_by_one() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .arg("decode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for _ in 0..3 {
        stdin.write_all(b"{}\n").unwrap();
        let mut answer = [0; 26];
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"{\"frames\":[],\"errors\":[]}\n");
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .arg("decode")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let writer = thread::spawn(move || {
        // Fails once the program is gone, as it should.
        let _ = stdin.write_all(&b"{}\n".repeat(1_000_000));
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_beaconfence")).args(["decode", "no/such/file"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot open no/such/file"), "{message}");
}

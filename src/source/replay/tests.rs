//! Whole files.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::advert::{Address, full_uuid};
use crate::model::Rssi;

type Item = Result<(Timestamp, Input), ReplayError>;

fn receiver() -> ReceiverId {
    ReceiverId::new("r1").unwrap()
}

fn all(bytes: impl Into<Vec<u8>>) -> Vec<Item> {
    read("file", Cursor::new(bytes.into()), Some(receiver())).unwrap().collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn sightings(count: u32) -> String {
    let lines = (0..count).map(|at| {
            // Something that does not compress to nothing, so that a cut falls within.
            let noise = at.wrapping_mul(2_654_435_761);
        format!(
                "{{\"time\":\"2026-01-01T10:00:00.{:03}Z\",\"receiver\":\"r{}\",\"rssi\":-60,\"manufacturer_data\":{{\"004c\":\"{noise:08x}\"}}}}\n",
                at % 1000,
                noise % 7
        )
    });
    lines.collect::<Vec<_>>().concat()
}

/// A capture of link type 1002 with those events at those milliseconds after 2026-01-01T00:00:00Z.
fn capture(events: &[(i64, &str)]) -> Vec<u8> {
    let mut bytes = b"btsnoop\0\0\0\0\x01\0\0\x03\xea".to_vec();
    for (ms, hex) in events {
        let parameters = hex::decode(hex.replace(' ', "")).unwrap();
        let packet = [&[0x04, 0x3e, parameters.len() as u8], &parameters[..]].concat();
        for word in [packet.len() as u32, packet.len() as u32, 3, 0] {
            bytes.extend(word.to_be_bytes());
        }
        // 2026-01-01 is 9,497 days after 2000-01-01.
        bytes.extend((0x00e0_3ab4_4a67_6000 + 9_497 * 86_400_000_000 + ms * 1_000).to_be_bytes());
        bytes.extend(packet);
    }
    bytes
}

/// An extended report of `data` with data status `status`, from the address that ends in `from`.
fn fragment(status: u8, from: u8, data: &str) -> String {
    let length = data.len() / 2;
    format!(
        "0d 01 {:02x}00 01 {from:02x}0000eeffc0 01 02 05 7f c4 0000 00 000000000000 {length:02x} {data}",
        status << 5
    )
}

fn data(item: &Item) -> &[(uuid::Uuid, Vec<u8>)] {
    let Ok((_, Input::Advertisement(heard))) = item else { panic!("{item:?}") };
    &heard.data.service_data
}

#[test]
fn a_file_is_read_the_same_with_and_without_gzip() {
    let text = sightings(500);
    let plain = all(text.as_bytes());
    let zipped = all(gzip(text.as_bytes()));
    assert_eq!(plain.len(), 500);
    assert!(plain.iter().all(Result::is_ok));
    assert_eq!(format!("{plain:?}"), format!("{zipped:?}"));
    // Two gzip members behind each other are one file, as with `cat`.
    assert_eq!(all([gzip(text.as_bytes()), gzip(text.as_bytes())].concat()).len(), 1000);
}

#[test]
fn a_bad_line_is_named_and_costs_nothing_else() {
    let text = sightings(3);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.insert(1, "nonsense");
    let found = all(lines.join("\r\n"));
    assert_eq!(found.iter().filter(|item| item.is_ok()).count(), 3);
    let error = found[1].as_ref().unwrap_err();
    assert!(!error.is_fatal());
    assert_eq!(
        error.to_string(),
        "file:2: expected ident (column 2); write one sighting or position report as a JSON object a line"
    );
}

#[test]
fn truncated_gzip_is_an_error_after_everything_before_it() {
    let whole = gzip(sightings(20_000).as_bytes());
    let found = all(&whole[..whole.len() / 2]);
    let (last, before) = found.split_last().unwrap();
    assert!(before.len() > 5_000 && before.iter().all(Result::is_ok), "{}", before.len());
    let error = last.as_ref().unwrap_err();
    assert!(matches!(error.cause, Cause::GzipTruncated) && error.is_fatal(), "{error}");
    assert_eq!(error.at, Place::Line(before.len() as u64 + 1));
    // A cut within the gzip header or its first block is found at once.
    let error = read("file", Cursor::new(whole[..12].to_vec()), None).unwrap_err();
    assert!(matches!(error.cause, Cause::GzipTruncated), "{error}");
}

#[test]
fn damaged_gzip_is_an_error() {
    let mut damaged = gzip(sightings(20_000).as_bytes());
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let last = all(damaged).pop().unwrap().unwrap_err();
    assert!(last.is_fatal() || matches!(last.cause, Cause::Sighting(_)), "{last}");
}

#[test]
fn an_empty_file_holds_nothing() {
    assert!(all("").is_empty());
    assert!(all(gzip(b"")).is_empty());
    assert!(all(capture(&[])).is_empty());
}

#[test]
fn files_that_are_not_read_say_so() {
    let fail = |bytes: &[u8], receiver| read("file", Cursor::new(bytes.to_vec()), receiver).unwrap_err().to_string();
    assert!(fail(b"\x0a\x0d\x0d\x0a\0\0\0\0", None).contains("pcapng captures are not read"));
    assert!(fail(b"\xd4\xc3\xb2\xa1\x02\0\x04\0", None).contains("pcap captures are not read"));
    assert_eq!(fail(&capture(&[]), None), "file: a capture does not say which receiver heard it; name the receiver");
    let error = open(Path::new("no/such/file"), None).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file: cannot be opened: "), "{error}");
}

#[test]
fn a_capture_gives_its_advertisements_with_their_times() {
    let bytes = capture(&[(0, "02 01 00 01 010000eeffc0 03 020106 c4"), (1_500, "02 01 03 00 060504030201 00 b0")]);
    for bytes in [gzip(&bytes), bytes] {
        let found = all(bytes);
        let Ok((time, Input::Advertisement(heard))) = &found[0] else { panic!("{found:?}") };
        assert_eq!((time.to_string(), heard.time), ("2026-01-01T00:00:00.000Z".to_owned(), *time));
        assert_eq!(heard.address, Some(Address { bytes: [0xc0, 0xff, 0xee, 0, 0, 1], random: Some(true) }));
        assert_eq!((heard.receiver.as_str(), heard.rssi), ("r1", Rssi::new(-60.0).unwrap()));
        assert_eq!(found[1].as_ref().unwrap().0.to_string(), "2026-01-01T00:00:01.500Z");
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn fragments_of_one_advertisement_are_joined_and_those_of_others_are_not() {
    let found = all(capture(&[
        (0, &fragment(1, 1, "0d16aafe30e3")),
        (1, &fragment(1, 2, "0616")),
        (2, &fragment(0, 1, "4549445f74657374")),
        (3, &fragment(0, 2, "aafe304041")),
    ]));
    assert_eq!(found.len(), 2);
    assert_eq!(data(&found[0]), [(full_uuid(0xfeaa), hex::decode("30e34549445f74657374").unwrap())]);
    assert_eq!(data(&found[1]), [(full_uuid(0xfeaa), hex::decode("304041").unwrap())]);
}

#[test]
fn fragments_that_stay_alone_are_counted_and_not_joined_to_later_ones() {
    let bytes = capture(&[
        (0, &fragment(1, 1, "0416aafe")),
        (5_000, &fragment(0, 1, "0416aafe30")),
        (5_001, &fragment(2, 1, "0416aafe300416")),
        (5_002, &fragment(1, 1, "0416")),
    ]);
    let mut replay = read("file", Cursor::new(bytes), Some(receiver())).unwrap();
    let found: Vec<_> = replay.by_ref().collect();
    let whole = [(full_uuid(0xfeaa), vec![0x30])];
    assert_eq!(found.iter().map(data).collect::<Vec<_>>(), [&whole, &whole]);
    assert_eq!(replay.counts(), Counts { without_rssi: 0, faulty_structures: 1, incomplete: 3 });
}

#[test]
fn fragments_without_end_take_bounded_memory() {
    let endless = fragment(1, 1, &"00".repeat(200));
    let one: Vec<_> = (0..100).map(|ms| (ms, &*endless)).collect();
    let others: Vec<_> = (0..100).map(|from| fragment(1, from, "00")).collect();
    let many: Vec<_> = others.iter().map(|event| (200, &**event)).collect();
    let mut replay = read("file", Cursor::new(capture(&[one, many].concat())), Some(receiver())).unwrap();
    assert_eq!(replay.by_ref().count(), 0);
    // Each 9th of the endless ones overflows; the other set keeps all but one a packet.
    assert!(replay.counts().incomplete >= 100, "{:?}", replay.counts());
}

#[test]
fn advertisements_without_rssi_are_counted() {
    let mut replay =
        read("file", Cursor::new(capture(&[(0, "02 01 00 01 010000eeffc0 00 7f")])), Some(receiver())).unwrap();
    assert!(replay.next().is_none());
    assert_eq!(replay.counts().without_rssi, 1);
}

#[test]
fn a_capture_cut_anywhere_gives_every_whole_record_and_then_an_error() {
    let events: Vec<_> = (0..4).map(|ms| (ms, "02 01 00 01 010000eeffc0 03 020106 c4")).collect();
    let bytes = capture(&events);
    let record = (bytes.len() - 16) / 4;
    for cut in 16..=bytes.len() {
        let found = all(&bytes[..cut]);
        let whole = (cut - 16) / record;
        assert_eq!(found.iter().filter(|item| item.is_ok()).count(), whole, "{cut}");
        if (cut - 16) % record == 0 {
            assert_eq!(found.len(), whole, "{cut}");
        } else {
            let error = found.last().unwrap().as_ref().unwrap_err();
            assert!(error.is_fatal());
            assert_eq!(error.at, Place::Record(whole as u64 + 1));
        }
    }
    assert!(all(&bytes[..10]).pop().unwrap().unwrap_err().to_string().starts_with("file: record 0: the capture ends"));
}

#[test]
fn a_record_cut_short_by_the_capture_is_an_error_and_costs_nothing_else() {
    let good = "02 01 00 01 010000eeffc0 03 020106 c4";
    let found = all(capture(&[(0, good), (1, "02 02 00 01 010000eeffc0 03 020106 c4 00"), (2, good)]));
    assert_eq!(found.iter().filter(|item| item.is_ok()).count(), 3);
    assert_eq!(
        found[2].as_ref().unwrap_err().to_string(),
        "file: record 2: the HCI event ends before its address; capture whole packets"
    );
}

#[test]
fn captures_of_other_kinds_and_absurd_records_are_errors() {
    let with = |at: usize, byte| {
        let mut bytes = capture(&[(0, "02 01 00 01 010000eeffc0 03 020106 c4")]);
        bytes[at] = byte;
        all(bytes).pop().unwrap().unwrap_err().to_string()
    };
    assert!(with(11, 2).contains("btsnoop version 2 is not known"));
    assert!(with(15, 0xeb).contains("link type 1003"));
    assert!(with(20, 0x7f).contains("more than any packet has"));
    assert!(with(33, 0x00).contains("lies before 1970"));
}

#[test]
fn plain_and_monitor_captures_are_read_too() {
    for (link, flags, wanted) in [(0x3e9_u32, 3_u32, 1), (0x3e9, 1, 0), (0x7d1, 0x0001_0003, 1), (0x7d1, 2, 0)] {
        let event = hex::decode("3e0f02010001010000eeffc003020106c4").unwrap();
        let mut bytes = b"btsnoop\0\0\0\0\x01".to_vec();
        bytes.extend(link.to_be_bytes());
        for word in [event.len() as u32, event.len() as u32, flags, 0, 0x00e2_97f0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(event);
        let found = all(bytes);
        assert_eq!(found.len(), wanted, "{link} {flags}: {found:?}");
        assert!(found.iter().all(Result::is_ok));
    }
}

#[test]
fn a_line_without_end_is_an_error() {
    let long = format!("{}\n{}", "x".repeat(200_000), sightings(1));
    let found = all(long);
    assert!(found[0].as_ref().unwrap_err().to_string().contains("is longer than 65536 bytes"));
    assert!(found[1].is_ok());
}

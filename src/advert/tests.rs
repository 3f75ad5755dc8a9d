//! Whole advertisements, and what holds for any bytes.

use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

#[test]
fn a_whole_advertisement_gives_its_frame() {
    // beacontools, tests/test_parser.py, test_ibeacon (MIT).
    let adv = bytes("0201061aff4c0002154142434445464748494041424344454600010002f8");
    let found: Vec<_> = frames_in(&adv).collect();
    let [Ok(frame @ Frame::IBeacon(beacon))] = found[..] else { panic!("{found:?}") };
    assert_eq!((beacon.major, beacon.minor, frame.measured_power()), (1, 2, Some(-8)));
}

#[test]
fn zero_padding_behind_the_data_is_ignored() {
    // android-beacon-library, testDetectsDaveMHardwareBeacon (Apache-2.0).
    let adv = bytes(
        "02011a1bff1801beac2f234454cf6d4a0fadf2f4911ba9ffa600050003be020e09526164426561636f6e20555342020a0300000000000000000000000000",
    );
    let found: Vec<_> = frames_in(&adv).collect();
    assert!(matches!(found[..], [Ok(Frame::AltBeacon(_))]), "{found:?}");
}

#[test]
fn only_apple_sends_ibeacons() {
    // ibeacon-ble, tests/test_init.py (MIT): company 21 is not Apple.
    let data = bytes("0215426c7565436861726d426561636f6e730efe1355c5");
    assert!(manufacturer_frame(0x004c, &data).is_some());
    assert_eq!(manufacturer_frame(21, &data), None);
}

#[test]
fn the_same_bytes_under_another_service_are_no_eddystone() {
    let data = bytes("30fc0011223344556677");
    assert!(service_frame(full_uuid(0xfeaa), &data).is_some());
    assert_eq!(service_frame(full_uuid(0xfeab), &data), None);
}

#[test]
fn unknown_frames_of_eddystone_are_passed_over_and_empty_ones_are_errors() {
    assert_eq!(service_frame(full_uuid(0xfeaa), &[0x40, 0, 0]), None);
    assert_eq!(service_frame(full_uuid(0xfeaa), &[]), Some(Err(FrameError::EddystoneEmpty)));
}

#[test]
fn several_structures_of_one_company_are_kept_apart() {
    // advlib-ble's INPUT_DATA_MULTIPLE_MANUFACTURER_DATA, the second company made the first's.
    let parts = AdvertisingData::from_ad(&bytes("06ff4c00a441e507ff4c00c0deb10e"), |fault| panic!("{fault}"));
    assert_eq!(parts.manufacturer_data, [(0x4c, bytes("a441e5")), (0x4c, bytes("c0deb10e"))]);
}

#[test]
fn a_fault_leaves_the_whole_parts() {
    let mut faults = Vec::new();
    let parts = AdvertisingData::from_ad(&bytes("01ff03ff4c0001160516aafe3000ff"), |fault| faults.push(fault));
    assert_eq!(parts.manufacturer_data, [(0x4c, vec![])]);
    assert_eq!(parts.service_data, [(full_uuid(0xfeaa), bytes("3000"))]);
    assert_eq!(faults.len(), 3, "{faults:?}");
}

/// Bytes that are near to frames, so that the parsers get beyond their first test.
fn nearly_frames() -> impl Strategy<Value = Vec<u8>> {
    let start = prop::sample::select(vec![
        "1aff4c000215",
        "1bff1801beac",
        "0201061bff",
        "1716aafe00",
        "1516aafe00",
        "0d16aafe10",
        "1116aafe2000",
        "0d16aafe30",
    ]);
    (start, prop::collection::vec(any::<u8>(), 0..64), any::<prop::sample::Index>()).prop_map(|(start, tail, cut)| {
        let mut all = bytes(start);
        all.extend(tail);
        all.truncate(cut.index(all.len() + 1));
        all
    })
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..1700)) {
        prop_assert!(frames_in(&bytes).count() <= bytes.len());
    }

    #[test]
    fn raw_and_owned_data_give_the_same_frames(bytes in nearly_frames()) {
        let mut faults = 0;
        let parts = AdvertisingData::from_ad(&bytes, |_| faults += 1);
        let owned: Vec<_> = frames(&parts).collect();
        let raw: Vec<_> = frames_in(&bytes).collect();
        prop_assert_eq!(raw.len(), owned.len() + faults);
        for frame in owned {
            prop_assert!(raw.contains(&frame.map_err(DecodeError::Frame)));
        }
    }

    #[test]
    fn frames_before_a_cut_are_still_there(bytes in nearly_frames(), more in nearly_frames(), cut in any::<prop::sample::Index>()) {
        // A whole structure in front, so that a cut behind it must not cost it.
        let mut adv = super::tests::bytes("1aff4c0002154142434445464748494041424344454600010002f8");
        let whole = adv.len();
        adv.extend(bytes);
        adv.extend(more);
        let cut = whole + cut.index(adv.len() - whole + 1);
        let is_first = matches!(frames_in(&adv[..cut]).next(), Some(Ok(Frame::IBeacon(_))));
        prop_assert!(is_first);
    }

    #[test]
    fn urls_are_always_printable(tail in prop::collection::vec(any::<u8>(), 0..32)) {
        let mut data = vec![0x10, 0x00];
        data.extend(tail);
        if let Some(Ok(Frame::EddystoneUrl(url))) = service_frame(full_uuid(0xfeaa), &data) {
            let text = url.to_string();
            prop_assert!(text.starts_with("http") && text.bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}

//! Raw advertising data: the borrowing and the owning way give the same frames, and every text can be written.
#![no_main]

use beaconfence::advert::{AdvertisingData, DecodeError, Frame, frames, frames_in};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut faults = 0;
    let data = AdvertisingData::from_ad(bytes, |fault| {
        assert!(!fault.to_string().is_empty());
        faults += 1;
    });
    let raw: Vec<_> = frames_in(bytes).collect();
    let owned: Vec<_> = frames(&data).map(|frame| frame.map_err(DecodeError::Frame)).collect();
    assert_eq!(raw.len(), owned.len() + faults);
    assert!(owned.iter().all(|frame| raw.contains(frame)));
    for frame in &raw {
        match frame {
            Ok(Frame::EddystoneUrl(url)) => assert!(url.to_string().bytes().all(|byte| byte.is_ascii_graphic())),
            Ok(frame) => assert!(frame.measured_power().is_none_or(|power| (-169..=127).contains(&power))),
            Err(error) => assert!(!error.to_string().is_empty() && !error.code().is_empty()),
        }
    }
});

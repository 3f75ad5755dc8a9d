//! Eddystone-UID (google/eddystone, eddystone-uid/README.md).
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | 0x00 |
//! | 1 | calibrated power at 0 m in dBm |
//! | 2..12 | namespace |
//! | 12..18 | instance |
//! | 18..20 | reserved; many beacons leave them out |

use super::{Format, FrameError, measured_power, whole};

/// An Eddystone-UID frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EddystoneUid<'a> {
    /// Calibrated power at 0 m in dBm.
    pub power_at_0m: i8,
    /// Namespace.
    pub namespace: &'a [u8; 10],
    /// Instance.
    pub instance: &'a [u8; 6],
}

impl EddystoneUid<'_> {
    /// RSSI at 1 m in dBm.
    pub fn measured_power(&self) -> i16 {
        measured_power(self.power_at_0m)
    }
}

pub(super) fn parse(data: &[u8]) -> Result<EddystoneUid<'_>, FrameError> {
    let [_, power, id @ ..] = whole::<18>(Format::EddystoneUid, data)?;
    let (Some((namespace, _)), Some((_, instance))) = (id.split_first_chunk(), id.split_last_chunk()) else {
        // Ten and six bytes are in sixteen; the compiler cannot be told.
        return Err(FrameError::Truncated { format: Format::EddystoneUid, needed: 18, found: data.len() });
    };
    Ok(EddystoneUid { power_at_0m: power.cast_signed(), namespace, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    // beacontools, tests/test_parser.py, test_eddystone_uid (MIT).
    const SAMPLE: &str = "00e3123456789012346789010000000000010000";

    #[test]
    fn a_uid_frame_is_read_with_and_without_its_reserved_bytes() {
        let bytes = hex::decode(SAMPLE).unwrap();
        for length in [18, 19, 20] {
            let frame = parse(&bytes[..length]).unwrap();
            assert_eq!(hex::encode(frame.namespace), "12345678901234678901");
            assert_eq!(hex::encode(frame.instance), "000000000001");
            // -29 dBm at 0 m.
            assert_eq!(frame.measured_power(), -70);
        }
    }

    #[test]
    fn every_cut_of_a_uid_frame_is_an_error() {
        let bytes = hex::decode(SAMPLE).unwrap();
        for found in 1..18 {
            let error = FrameError::Truncated { format: Format::EddystoneUid, needed: 18, found };
            assert_eq!(parse(&bytes[..found]), Err(error));
        }
    }

    #[test]
    fn the_least_power_does_not_overflow() {
        let mut bytes = hex::decode(SAMPLE).unwrap();
        bytes[1] = 0x80;
        assert_eq!(parse(&bytes).unwrap().measured_power(), -169);
    }
}

//! Eddystone-EID (google/eddystone, eddystone-eid/README.md).
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | 0x30 |
//! | 1 | calibrated power at 0 m in dBm |
//! | 2..10 | ephemeral identifier |

use super::{Format, FrameError, measured_power, whole};

/// An Eddystone-EID frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EddystoneEid {
    /// Calibrated power at 0 m in dBm.
    pub power_at_0m: i8,
    /// Ephemeral identifier: changes with time, and only the resolver that made its key knows whose it is.
    pub eid: [u8; 8],
}

impl EddystoneEid {
    /// RSSI at 1 m in dBm.
    pub fn measured_power(&self) -> i16 {
        measured_power(self.power_at_0m)
    }
}

pub(super) fn parse(data: &[u8]) -> Result<EddystoneEid, FrameError> {
    let &[_, power, eid @ ..] = whole::<10>(Format::EddystoneEid, data)?;
    Ok(EddystoneEid { power_at_0m: power.cast_signed(), eid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ephemeral_identifier_is_read() {
        // beacontools, tests/test_parser.py, test_eddystone_eid (MIT).
        let bytes = hex::decode("30e34549445f74657374").unwrap();
        assert_eq!(parse(&bytes), Ok(EddystoneEid { power_at_0m: -29, eid: *b"EID_test" }));
        for found in 1..bytes.len() {
            let error = FrameError::Truncated { format: Format::EddystoneEid, needed: 10, found };
            assert_eq!(parse(&bytes[..found]), Err(error));
        }
    }
}

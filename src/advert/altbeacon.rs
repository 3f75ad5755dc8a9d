//! AltBeacon (AltBeacon Protocol Specification v1.0): manufacturer data of any company that begins with 0xbeac.
//!
//! | byte | what |
//! | --- | --- |
//! | 0..2 | beacon code, 0xbeac |
//! | 2..22 | beacon id, 20 bytes |
//! | 22 | reference RSSI: at 1 m in dBm, two's complement |
//! | 23 | reserved for the manufacturer |

use super::{Format, FrameError};

const CODE: [u8; 2] = [0xbe, 0xac];

/// An AltBeacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AltBeacon<'a> {
    /// Company identifier of the maker.
    pub company: u16,
    /// Beacon id.
    pub id: &'a [u8; 20],
    /// Reference RSSI: at 1 m in dBm.
    pub measured_power: i8,
    /// The maker's own byte. Some beacons leave it out, and are read all the same, as android-beacon-library does.
    pub manufacturer_reserved: Option<u8>,
}

/// Reads manufacturer data; none where it has no beacon code. What may follow the 24 bytes is ignored.
pub(super) fn parse(company: u16, data: &[u8]) -> Option<Result<AltBeacon<'_>, FrameError>> {
    let rest = data.strip_prefix(&CODE)?;
    let Some((id, &[measured_power, ref tail @ ..])) = rest.split_first_chunk() else {
        return Some(Err(FrameError::Truncated { format: Format::AltBeacon, needed: 23, found: data.len() }));
    };
    Some(Ok(AltBeacon {
        company,
        id,
        measured_power: measured_power.cast_signed(),
        manufacturer_reserved: tail.first().copied(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    // android-beacon-library, AltBeaconParserTest, testRecognizeBeacon (Apache-2.0).
    const SAMPLE: &str = "beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c509";

    #[test]
    fn an_altbeacon_is_read() {
        let bytes = hex::decode(SAMPLE).unwrap();
        let beacon = parse(0x0118, &bytes).unwrap().unwrap();
        assert_eq!(hex::encode(beacon.id), "2f234454cf6d4a0fadf2f4911ba9ffa600010002");
        assert_eq!((beacon.company, beacon.measured_power, beacon.manufacturer_reserved), (0x0118, -59, Some(9)));
    }

    #[test]
    fn the_reserved_byte_may_be_left_out_and_nothing_else() {
        let bytes = hex::decode(SAMPLE).unwrap();
        assert_eq!(parse(0, &bytes[..23]).unwrap().unwrap().manufacturer_reserved, None);
        for found in 2..23 {
            let error = parse(0, &bytes[..found]).unwrap().unwrap_err();
            assert_eq!(error, FrameError::Truncated { format: Format::AltBeacon, needed: 23, found });
        }
        assert_eq!(parse(0, &bytes[..1]), None);
    }
}

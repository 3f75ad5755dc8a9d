//! iBeacon (Apple, "Proximity Beacon Specification", release R1): Apple's manufacturer data of type 0x02.
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | type, 0x02 |
//! | 1 | length of what follows, 0x15 |
//! | 2..18 | proximity UUID, big-endian |
//! | 18..20 | major, big-endian |
//! | 20..22 | minor, big-endian |
//! | 22 | measured power: RSSI at 1 m in dBm, two's complement |

use super::{Format, FrameError};

/// Apple's company identifier.
pub(super) const APPLE: u16 = 0x004c;
/// The type of Apple's data that is an iBeacon.
const TYPE: u8 = 0x02;
/// The only length that an iBeacon has.
const LENGTH: u8 = 0x15;

/// An iBeacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IBeacon<'a> {
    /// Proximity UUID, most significant byte first.
    pub uuid: &'a [u8; 16],
    /// Major.
    pub major: u16,
    /// Minor.
    pub minor: u16,
    /// RSSI at 1 m in dBm.
    pub measured_power: i8,
}

/// Reads Apple's data; none where it is of another type. What may follow the 23 bytes is ignored: some makers put a
/// battery level there.
pub(super) fn parse(data: &[u8]) -> Option<Result<IBeacon<'_>, FrameError>> {
    (data.first() == Some(&TYPE)).then(|| {
        match data.get(1) {
            Some(&LENGTH) | None => {}
            Some(&length) => return Err(FrameError::IBeaconLength { length }),
        }
        let Some(&[_, _, ref rest @ ..]) = data.first_chunk::<23>() else {
            return Err(FrameError::Truncated { format: Format::IBeacon, needed: 23, found: data.len() });
        };
        let [uuid @ .., major_high, major_low, minor_high, minor_low, measured_power] = rest;
        Ok(IBeacon {
            uuid,
            major: u16::from_be_bytes([*major_high, *major_low]),
            minor: u16::from_be_bytes([*minor_high, *minor_low]),
            measured_power: measured_power.cast_signed(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // beacontools, tests/test_parser.py, test_ibeacon (MIT).
    const SAMPLE: &str = "02154142434445464748494041424344454600010002f8";

    #[test]
    fn an_ibeacon_is_read() {
        let bytes = hex::decode(SAMPLE).unwrap();
        let beacon = parse(&bytes).unwrap().unwrap();
        assert_eq!(beacon.uuid, b"ABCDEFGHI@ABCDEF");
        assert_eq!((beacon.major, beacon.minor, beacon.measured_power), (1, 2, -8));
    }

    #[test]
    fn bytes_behind_an_ibeacon_are_ignored() {
        let bytes = hex::decode(format!("{SAMPLE}64")).unwrap();
        assert_eq!(parse(&bytes).unwrap().unwrap().minor, 2);
    }

    #[test]
    fn every_cut_of_an_ibeacon_is_an_error() {
        let bytes = hex::decode(SAMPLE).unwrap();
        for found in 1..bytes.len() {
            let error = parse(&bytes[..found]).unwrap().unwrap_err();
            assert_eq!(error, FrameError::Truncated { format: Format::IBeacon, needed: 23, found });
        }
    }

    #[test]
    fn another_length_is_an_error_and_another_type_is_no_ibeacon() {
        let mut bytes = hex::decode(SAMPLE).unwrap();
        bytes[1] = 0x14;
        assert_eq!(parse(&bytes).unwrap(), Err(FrameError::IBeaconLength { length: 0x14 }));
        // Apple's "nearby" data, as advlib-ble's INPUT_DATA_MANUFACTURER_SPECIFIC has it.
        assert_eq!(parse(&hex::decode("09060202c0a8006a").unwrap()), None);
        assert_eq!(parse(&[]), None);
    }
}

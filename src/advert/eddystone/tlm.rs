//! Eddystone-TLM, unencrypted (google/eddystone, eddystone-tlm/tlm-plain.md). The encrypted form, version 1, needs the
//! beacon's key and is reported as [`FrameError::TlmEncrypted`].
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | 0x20 |
//! | 1 | version, 0x00 |
//! | 2..4 | battery in mV; 0 where not supported |
//! | 4..6 | temperature in °C, signed 8.8 fixed point; 0x8000 where not supported |
//! | 6..10 | advertisements sent since power-on |
//! | 10..14 | time since power-on in 0.1 s |

use super::{Format, FrameError, whole};

/// What the temperature field holds where there is no thermometer.
const NO_TEMPERATURE: i16 = i16::MIN;

/// An Eddystone-TLM frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EddystoneTlm {
    /// Battery in mV; none where the beacon cannot tell.
    pub battery_mv: Option<u16>,
    /// Temperature in 1/256 °C; none where the beacon cannot tell.
    temperature: Option<i16>,
    /// Advertisements sent since power-on.
    pub advertisements: u32,
    /// Time since power-on in 0.1 s.
    uptime_ds: u32,
}

impl EddystoneTlm {
    /// Temperature in °C; none where the beacon cannot tell.
    pub fn temperature(&self) -> Option<f64> {
        self.temperature.map(|fixed| f64::from(fixed) / 256.0)
    }

    /// Time since power-on in seconds, to 0.1 s.
    pub fn uptime(&self) -> f64 {
        f64::from(self.uptime_ds) / 10.0
    }
}

pub(super) fn parse(data: &[u8]) -> Result<EddystoneTlm, FrameError> {
    match data.get(1) {
        Some(0x00) | None => {}
        Some(0x01) => return Err(FrameError::TlmEncrypted),
        Some(&version) => return Err(FrameError::TlmVersion { version }),
    }
    let &[_, _, b0, b1, t0, t1, a0, a1, a2, a3, u0, u1, u2, u3] = whole::<14>(Format::EddystoneTlm, data)?;
    let battery = u16::from_be_bytes([b0, b1]);
    let temperature = i16::from_be_bytes([t0, t1]);
    Ok(EddystoneTlm {
        battery_mv: (battery != 0).then_some(battery),
        temperature: (temperature != NO_TEMPERATURE).then_some(temperature),
        advertisements: u32::from_be_bytes([a0, a1, a2, a3]),
        uptime_ds: u32::from_be_bytes([u0, u1, u2, u3]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        // beacontools, tests/test_parser.py, test_eddystone_tlm (MIT).
        hex::decode("20000b1813000000146700002ac4").unwrap()
    }

    #[test]
    fn telemetry_is_read() {
        let frame = parse(&sample()).unwrap();
        assert_eq!(frame.battery_mv, Some(2840));
        assert_eq!(frame.temperature(), Some(19.0));
        assert_eq!(frame.advertisements, 5223);
        assert!((frame.uptime() - 1094.8).abs() < 1e-9);
    }

    #[test]
    fn what_a_beacon_cannot_tell_is_none() {
        let mut bytes = sample();
        bytes[2..6].copy_from_slice(&[0, 0, 0x80, 0]);
        let frame = parse(&bytes).unwrap();
        assert_eq!((frame.battery_mv, frame.temperature()), (None, None));
    }

    #[test]
    fn temperatures_below_zero_are_read() {
        let mut bytes = sample();
        bytes[4..6].copy_from_slice(&[0xff, 0x80]);
        assert_eq!(parse(&bytes).unwrap().temperature(), Some(-0.5));
    }

    #[test]
    fn encrypted_telemetry_and_unknown_versions_are_errors() {
        let mut bytes = sample();
        bytes[1] = 1;
        assert_eq!(parse(&bytes), Err(FrameError::TlmEncrypted));
        bytes[1] = 2;
        assert_eq!(parse(&bytes), Err(FrameError::TlmVersion { version: 2 }));
    }

    #[test]
    fn every_cut_of_telemetry_is_an_error() {
        let bytes = sample();
        for found in 1..14 {
            let error = FrameError::Truncated { format: Format::EddystoneTlm, needed: 14, found };
            assert_eq!(parse(&bytes[..found]), Err(error));
        }
    }
}

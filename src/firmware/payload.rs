//! What a beacon of an identity says: AD structures, at most 31 bytes, as legacy advertising has it (Core specification
//! Vol 3, Part C, section 11).

use crate::registry::Identity;

/// AD types (*Assigned Numbers*, 2.3).
const FLAGS: u8 = 0x01;
const SERVICES_16: u8 = 0x03;
const SERVICE_DATA_16: u8 = 0x16;
const MANUFACTURER_DATA: u8 = 0xff;
/// "LE General Discoverable" and "BR/EDR not supported" (Core Specification Supplement, Part A, 1.3).
const LE_ONLY: u8 = 0x06;
/// Company identifiers (*Assigned Numbers*, 7.1), little-endian on the air.
const APPLE: [u8; 2] = [0x4c, 0x00];
const RADIUS_NETWORKS: [u8; 2] = [0x18, 0x01];
/// Service UUID of Eddystone, 0xFEAA, little-endian on the air.
const EDDYSTONE: [u8; 2] = [0xaa, 0xfe];
/// What a signal loses from 0 m to 1 m, in dB (Eddystone-UID specification, *Tx Power*).
const EDDYSTONE_METRE: i8 = 41;

/// One AD structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// AD type.
    pub kind: u8,
    /// What it is, as a name in C.
    pub name: &'static str,
    /// What follows the type.
    pub data: Vec<u8>,
}

/// The AD structures of a beacon of that identity, which gives `measured_power` dBm at 1 m; none where an identity is
/// no data.
pub fn parts(identity: &Identity, measured_power: i8) -> Vec<Part> {
    let mut parts = vec![Part { kind: FLAGS, name: "flags", data: vec![LE_ONLY] }];
    let power = |dbm: i8| dbm.to_be_bytes()[0];
    match identity {
        // Apple, *Proximity Beacon Specification*, R1.
        Identity::IBeacon { uuid, major, minor } => {
            let mut data = [&APPLE[..], &[0x02, 0x15], uuid].concat();
            data.extend(major.to_be_bytes());
            data.extend(minor.to_be_bytes());
            data.push(power(measured_power));
            parts.push(Part { kind: MANUFACTURER_DATA, name: "ibeacon", data });
        }
        // google/eddystone, protocol-specification.md and eddystone-uid/README.md. Two reserved bytes at the end.
        Identity::EddystoneUid { namespace, instance } => {
            parts.push(Part { kind: SERVICES_16, name: "services", data: EDDYSTONE.to_vec() });
            let at_antenna = measured_power.saturating_add(EDDYSTONE_METRE);
            let data = [&EDDYSTONE[..], &[0x00, power(at_antenna)], namespace, instance, &[0, 0]].concat();
            parts.push(Part { kind: SERVICE_DATA_16, name: "eddystone_uid", data });
        }
        // AltBeacon Protocol Specification v1.0, with one reserved byte at the end.
        Identity::AltBeacon(id) => {
            let data = [&RADIUS_NETWORKS[..], &[0xbe, 0xac], id, &[power(measured_power), 0]].concat();
            parts.push(Part { kind: MANUFACTURER_DATA, name: "altbeacon", data });
        }
        Identity::Mac(_) => {}
    }
    parts
}

/// The advertising data as it goes on the air.
pub fn bytes(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        // At most 31 bytes in all.
        out.extend([part.data.len() as u8 + 1, part.kind]);
        out.extend(&part.data);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::{Frame, frames_in, structures};

    const IDENTITIES: [(&str, &str); 3] = [
        (
            "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/258",
            "0201061aff4c000215e2c56db5dffb48d2b060d0f5a71096e000010102c5",
        ),
        (
            "eddystone-uid:00010203040506070809/0a0b0c0d0e0f",
            "0201060303aafe1716aafe00ee000102030405060708090a0b0c0d0e0f0000",
        ),
        (
            "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002",
            "0201061bff1801beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c500",
        ),
    ];

    #[test]
    fn bytes_are_those_of_the_specifications() {
        for (identity, hex) in IDENTITIES {
            let sent = bytes(&parts(&identity.parse().unwrap(), -59));
            assert_eq!(hex::encode(&sent), hex, "{identity}");
            assert!(sent.len() <= 31, "{identity}");
        }
    }

    #[test]
    fn what_is_sent_is_read_back_as_the_same_identity_and_power() {
        for (identity, _) in IDENTITIES {
            for power in [-128, -100, -59, 0, 20] {
                let sent = bytes(&parts(&identity.parse().unwrap(), power));
                assert!(structures(&sent).all(|structure| structure.is_ok()));
                let frames: Vec<Frame<'_>> = frames_in(&sent).map(Result::unwrap).collect();
                let [frame] = frames.as_slice() else { panic!("{frames:?}") };
                let read = match frame {
                    Frame::IBeacon(frame) => {
                        Identity::IBeacon { uuid: *frame.uuid, major: frame.major, minor: frame.minor }
                    }
                    Frame::AltBeacon(frame) => Identity::AltBeacon(*frame.id),
                    Frame::EddystoneUid(frame) => {
                        Identity::EddystoneUid { namespace: *frame.namespace, instance: *frame.instance }
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!(read.to_string(), identity);
                assert_eq!(frame.measured_power(), Some(i16::from(power)), "{identity}");
            }
        }
    }
}

//! What beacons send, byte by byte, and what strangers' phones send.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::advert::{Address, AdvertisingData, full_uuid};
use crate::registry::Identity;

/// Company identifiers (Bluetooth SIG, *Assigned Numbers*, 7.1).
const APPLE: u16 = 0x004c;
const RADIUS_NETWORKS: u16 = 0x0118;
const SAMSUNG: u16 = 0x0075;
/// Service UUIDs (*Assigned Numbers*, 3.10 and 3.11).
const EDDYSTONE: u32 = 0xfeaa;
const FAST_PAIR: u32 = 0xfe2c;
/// What 1 m takes from the power at 0 m, in dB (Eddystone-UID specification, *Tx Power*).
const EDDYSTONE_METRE: f64 = 41.0;

/// What a beacon of that identity advertises; `power` at 1 m in dBm as it was calibrated.
pub(super) fn data(identity: &Identity, power: f64) -> AdvertisingData {
    let power_byte = |dbm: f64| (dbm.round().clamp(-128.0, 127.0) as i8).to_be_bytes()[0];
    let mut data = AdvertisingData::default();
    match identity {
        // Apple, *Proximity Beacon Specification*, R1.
        Identity::IBeacon { uuid, major, minor } => {
            let mut frame = vec![0x02, 0x15];
            frame.extend(uuid);
            frame.extend(major.to_be_bytes());
            frame.extend(minor.to_be_bytes());
            frame.push(power_byte(power));
            data.manufacturer_data.push((APPLE, frame));
        }
        // AltBeacon Protocol Specification v1.0: code 0xBEAC, 20 bytes of id, reference RSSI, one byte for the manufacturer.
        Identity::AltBeacon(id) => {
            let mut frame = vec![0xbe, 0xac];
            frame.extend(id);
            frame.extend([power_byte(power), 0]);
            data.manufacturer_data.push((RADIUS_NETWORKS, frame));
        }
        Identity::EddystoneUid { namespace, instance } => {
            let mut frame = vec![0x00, power_byte(power + EDDYSTONE_METRE)];
            frame.extend(namespace);
            frame.extend(instance);
            frame.extend([0, 0]);
            data.service_data.push((full_uuid(EDDYSTONE), frame));
        }
        Identity::Mac(_) => {}
    }
    data
}

/// The address that a beacon of that identity sends from: its own, or a static random one.
pub(super) fn address(identity: &Identity, rng: &mut ChaCha8Rng) -> Address {
    match identity {
        // The two top bits of a static random address are set (Core specification, Vol 6, Part B, 1.3.2.1).
        Identity::Mac(bytes) => Address { bytes: *bytes, random: Some(bytes[0] >= 0xc0) },
        _ => random_address(0b11, rng),
    }
}

/// A stranger's address: resolvable private, its two top bits `01` (Vol 6, Part B, 1.3.2.2).
pub(super) fn private_address(rng: &mut ChaCha8Rng) -> Address {
    random_address(0b01, rng)
}

/// What a stranger's phone says: nothing that anyone registers.
pub(super) fn stranger_data(rng: &mut ChaCha8Rng) -> AdvertisingData {
    let mut data = AdvertisingData::default();
    match rng.random_range(0..4_u8) {
        // "Nearby info", as iPhones send it all the time: type 0x10, five bytes.
        0 | 1 => data.manufacturer_data.push((APPLE, [&[0x10, 0x05][..], &rng.random::<[u8; 5]>()].concat())),
        2 => data.manufacturer_data.push((SAMSUNG, rng.random::<[u8; 8]>().to_vec())),
        _ => data.service_data.push((full_uuid(FAST_PAIR), rng.random::<[u8; 6]>().to_vec())),
    }
    data
}

fn random_address(top: u8, rng: &mut ChaCha8Rng) -> Address {
    let mut bytes: [u8; 6] = rng.random();
    bytes[0] = bytes[0] & 0x3f | top << 6;
    Address { bytes, random: Some(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(identity: &str) -> AdvertisingData {
        data(&identity.parse().unwrap(), -59.0)
    }

    #[test]
    fn an_ibeacon_is_sent_as_its_specification_says() {
        let frame = sent("ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/258");
        assert_eq!(frame.manufacturer_data[0].0, 0x004c);
        assert_eq!(hex::encode(&frame.manufacturer_data[0].1), "0215e2c56db5dffb48d2b060d0f5a71096e000010102c5");
    }

    #[test]
    fn an_eddystone_uid_gives_its_power_at_the_antenna() {
        let frame = sent("eddystone-uid:00010203040506070809/010203040506");
        assert_eq!(frame.service_data[0].0.to_string(), "0000feaa-0000-1000-8000-00805f9b34fb");
        assert_eq!(hex::encode(&frame.service_data[0].1), "00ee000102030405060708090102030405060000");
    }

    #[test]
    fn an_altbeacon_is_sent_as_its_specification_says() {
        let frame = sent("altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002");
        assert_eq!(frame.manufacturer_data[0].0, 0x0118);
        assert_eq!(hex::encode(&frame.manufacturer_data[0].1), "beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c500");
    }

    #[test]
    fn a_mac_beacon_sends_from_its_own_address() {
        let mut rng = super::super::walker::stream(1, 0, 0);
        let address = address(&"mac:C0:FF:EE:00:00:01".parse().unwrap(), &mut rng);
        assert_eq!(address, Address { bytes: [0xc0, 0xff, 0xee, 0, 0, 1], random: Some(true) });
        assert_eq!(private_address(&mut rng).bytes[0] >> 6, 0b01);
    }
}

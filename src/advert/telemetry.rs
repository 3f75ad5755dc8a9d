//! What beacons say of their battery, whatever else they say. Only formats that are published are read:
//!
//! | what | where | source |
//! | --- | --- | --- |
//! | Eddystone-TLM | service data 0xFEAA | google/eddystone, eddystone-tlm/tlm-plain.md |
//! | Ruuvi data format 3 (`RAWv1`) | company 0x0499, byte 0 is 3; mV in bytes 12 to 13 | docs.ruuvi.com, data formats |
//! | Ruuvi data format 5 (`RAWv2`) | company 0x0499, byte 0 is 5; in the upper 11 bits of bytes 13 to 14 | as above |
//! | `BTHome` v2, not encrypted | service data 0xFCD2; object 0x01 is percent | bthome.io/format |
//! | Battery Level | service data 0x180F of one byte, percent | Battery Service 1.1, 3.1 |
//!
//! In data format 5 the voltage is what is above 1600 mV, and all ones say that there is none.
//!
//! `BTHome` objects of voltage are passed over: they may be that of what the sensor measures.

use uuid::Uuid;

use super::ad::full_uuid;
use super::{AdvertisingData, EddystoneTlm, Frame, frames};

/// Ruuvi Innovations in the list of company identifiers.
const RUUVI: u16 = 0x0499;
const BTHOME: Uuid = full_uuid(0xfcd2);
const BATTERY_SERVICE: Uuid = full_uuid(0x180f);
/// No battery of a beacon has less, in mV: such a value is a mistake.
const LEAST_MV: u16 = 500;
/// Bytes of the `BTHome` objects that may come before the battery; objects are in the order of their ids.
const BTHOME_PACKET_ID: (u8, usize) = (0x00, 1);
const BTHOME_BATTERY: u8 = 0x01;

/// How full a battery is, as the beacon says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatteryLevel {
    /// Its voltage in mV, under whatever load there was.
    Millivolts(u16),
    /// 0 to 100, as the beacon reckons it.
    Percent(u8),
}

/// What one packet says of the beacon itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// Its battery.
    pub battery: Option<BatteryLevel>,
    /// Its counters.
    pub tlm: Option<EddystoneTlm>,
}

impl Telemetry {
    /// Whether it says anything.
    pub const fn is_empty(&self) -> bool {
        self.battery.is_none() && self.tlm.is_none()
    }
}

/// What advertising data say of the beacon itself. What is faulty says nothing.
pub fn telemetry(data: &AdvertisingData) -> Telemetry {
    let tlm = frames(data).find_map(|frame| match frame {
        Ok(Frame::EddystoneTlm(tlm)) => Some(tlm),
        _ => None,
    });
    let said = tlm.and_then(|tlm| tlm.battery_mv).and_then(millivolts);
    let ruuvi = || data.manufacturer_data.iter().find_map(|(company, data)| ruuvi(*company, data));
    let service = || data.service_data.iter().find_map(|(uuid, data)| service(*uuid, data));
    Telemetry { battery: said.or_else(ruuvi).or_else(service), tlm }
}

fn millivolts(mv: u16) -> Option<BatteryLevel> {
    (mv >= LEAST_MV && mv != u16::MAX).then_some(BatteryLevel::Millivolts(mv))
}

fn percent(value: u8) -> Option<BatteryLevel> {
    (value <= 100).then_some(BatteryLevel::Percent(value))
}

fn ruuvi(company: u16, data: &[u8]) -> Option<BatteryLevel> {
    if company != RUUVI {
        return None;
    }
    match (data.first()?, data.len()) {
        (3, 14..) => millivolts(u16::from_be_bytes([data[12], data[13]])),
        (5, 24..) => {
            let above = u16::from_be_bytes([data[13], data[14]]) >> 5;
            if above == 0x7ff { None } else { millivolts(1_600 + above) }
        }
        _ => None,
    }
}

fn service(uuid: Uuid, data: &[u8]) -> Option<BatteryLevel> {
    if uuid == BATTERY_SERVICE {
        return if let [level] = data { percent(*level) } else { None };
    }
    if uuid != BTHOME {
        return None;
    }
    // Device information: the version in the upper three bits, encryption in the lowest.
    let (information, mut objects) = data.split_first()?;
    if information >> 5 != 2 || information & 1 != 0 {
        return None;
    }
    if let Some((id, rest)) = objects.split_first()
        && *id == BTHOME_PACKET_ID.0
    {
        objects = rest.get(BTHOME_PACKET_ID.1..)?;
    }
    match objects {
        [BTHOME_BATTERY, level, ..] => percent(*level),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manufacturer(hex: &str) -> Option<BatteryLevel> {
        let data = vec![(RUUVI, hex::decode(hex).unwrap())];
        telemetry(&AdvertisingData { manufacturer_data: data, ..AdvertisingData::default() }).battery
    }

    fn of_service(uuid: u32, hex: &str) -> Telemetry {
        let data = vec![(full_uuid(uuid), hex::decode(hex).unwrap())];
        telemetry(&AdvertisingData { service_data: data, ..AdvertisingData::default() })
    }

    #[test]
    fn eddystone_telemetry_says_the_voltage() {
        // beacontools, tests/test_parser.py, test_eddystone_tlm (MIT).
        let said = of_service(0xfeaa, "20000b1813000000146700002ac4");
        assert_eq!(said.battery, Some(BatteryLevel::Millivolts(2_840)));
        assert_eq!(said.tlm.map(|tlm| tlm.advertisements), Some(5_223));
        let none = of_service(0xfeaa, "2000000013000000146700002ac4");
        assert!(none.battery.is_none() && none.tlm.is_some());
    }

    #[test]
    fn ruuvi_tags_say_the_voltage() {
        // Data format 3: the test vectors of the specification, and ruuvitag-ble, tests/test_v3.py (MIT).
        assert_eq!(manufacturer("03291a1ece1efc18f94202ca0b53"), Some(BatteryLevel::Millivolts(2_899)));
        assert_eq!(manufacturer("03b20c1fca20007a002603d0088f"), Some(BatteryLevel::Millivolts(2_191)));
        assert_eq!(manufacturer("03ff7f63ffff7fff7fff7fffffff"), None);
        // Data format 5: ruuvitag-ble, tests/test_v5.py (MIT).
        let v5 = "0505a060a0c89afd34028cff006376726976dead7b3fefaf";
        assert_eq!(manufacturer(v5), Some(BatteryLevel::Millivolts(2_395)));
        // The specification's invalid values.
        assert_eq!(manufacturer("058000ffffffff800080008000ffffffffffffffffffffff"), None);
        for cut in 0..v5.len() / 2 {
            assert_eq!(manufacturer(&v5[..2 * cut]), None, "{cut}");
        }
    }

    #[test]
    fn bthome_sensors_say_percent() {
        // bthome-ble, tests/test_parser_v2.py (MIT).
        for (hex, level) in [
            ("40002e01641e012e34451601", Some(100)),
            ("40015dfe5d0903b718", Some(93)),
            ("400009015d025d0903b718", Some(93)),
            ("40005201643a01", Some(100)),
            // A voltage, which may be that of the mains; encrypted; of another version; more than all.
            ("404a020c", None),
            ("41d2fcefe52eb212d600112233bc38c966", None),
            ("20015d", None),
            ("4001ff", None),
            ("4001", None),
            ("4000", None),
            ("40", None),
            ("", None),
        ] {
            assert_eq!(of_service(0xfcd2, hex).battery, level.map(BatteryLevel::Percent), "{hex}");
        }
    }

    #[test]
    fn the_battery_service_says_percent_in_one_byte() {
        assert_eq!(of_service(0x180f, "57").battery, Some(BatteryLevel::Percent(87)));
        for hex in ["", "65", "5757"] {
            assert!(of_service(0x180f, hex).is_empty(), "{hex}");
        }
    }
}

//! What each device last said, so that a packet of which only the RSSI is reported can be completed.

use std::collections::HashMap;
use std::hash::Hash;

use crate::advert::AdvertisingData;

/// Devices remembered for one radio.
///
/// A busy shop has some hundred phones around it, each with a new random address every 15 minutes: this is more than
/// an hour of them. An entry takes about 200 bytes, and at most 2 KB where extended advertising is used to the full.
pub const CAPACITY: usize = 4096;

/// The last words of the devices that were heard lately, in bounded memory.
///
/// Two generations: what is used moves to the young one; when that is half the capacity, it becomes the old one and the
/// former old one is dropped. So a device is forgotten only after half the capacity of other devices was heard.
#[derive(Debug)]
pub struct Known<K> {
    young: HashMap<K, Device>,
    old: HashMap<K, Device>,
    half: usize,
}

#[derive(Debug, Default)]
struct Device {
    random: Option<bool>,
    data: AdvertisingData,
}

impl<K: Hash + Eq> Known<K> {
    /// Remembers at most `capacity` devices.
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// Takes note of what a device says, and whether its address is random where that is known. Data that is empty
    /// says nothing, and changes nothing.
    pub fn learn(&mut self, key: K, random: Option<bool>, data: &AdvertisingData) {
        self.note(key, random, data);
    }

    /// Completes a packet: its data, or the device's last where it has none of its own; and whether the address is
    /// random, where that was ever said.
    ///
    /// A packet without data of its own is a scan response or an RSSI alone; it comes from the same antenna, so it is as
    /// good a sample of the device's distance.
    pub fn complete(&mut self, key: K, random: Option<bool>, data: AdvertisingData) -> (Option<bool>, AdvertisingData) {
        let device = self.note(key, random, &data);
        let data = if is_empty(&data) { device.data.clone() } else { data };
        (device.random, data)
    }

    fn note(&mut self, key: K, random: Option<bool>, data: &AdvertisingData) -> &Device {
        let known = if self.young.contains_key(&key) {
            None
        } else {
            let known = self.old.remove(&key);
            if self.young.len() >= self.half {
                self.old = std::mem::take(&mut self.young);
            }
            known
        };
        let device = self.young.entry(key).or_insert_with(|| known.unwrap_or_default());
        if random.is_some() {
            device.random = random;
        }
        if !is_empty(data) && device.data != *data {
            device.data.clone_from(data);
        }
        device
    }
}

fn is_empty(data: &AdvertisingData) -> bool {
    data.manufacturer_data.is_empty() && data.service_data.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(byte: u8) -> AdvertisingData {
        AdvertisingData { manufacturer_data: vec![(0x004c, vec![byte])], service_data: vec![] }
    }

    fn nothing() -> AdvertisingData {
        AdvertisingData::default()
    }

    #[test]
    fn a_packet_without_data_says_what_the_device_said_last() {
        let mut known = Known::new(8);
        assert_eq!(known.complete(1, None, nothing()), (None, nothing()), "a stranger has said nothing yet");
        known.learn(1, Some(true), &says(7));
        assert_eq!(known.complete(1, None, nothing()), (Some(true), says(7)));
        assert_eq!(known.complete(1, None, says(8)), (Some(true), says(8)));
        assert_eq!(known.complete(1, None, nothing()), (Some(true), says(8)));
    }

    #[test]
    fn a_device_heard_now_and_then_is_remembered_however_many_strangers_pass() {
        let mut known = Known::new(100);
        known.learn(0, Some(true), &says(1));
        for stranger in 1..100_000u32 {
            known.learn(stranger, None, &says(2));
            if stranger % 40 == 0 {
                assert_eq!(known.complete(0, None, nothing()), (Some(true), says(1)), "after {stranger} strangers");
            }
            assert!(known.young.len() + known.old.len() <= 100, "after {stranger} strangers");
        }
    }

    #[test]
    fn a_device_that_went_long_ago_is_forgotten() {
        let mut known = Known::new(100);
        known.learn(0, Some(true), &says(1));
        for stranger in 1..=100u32 {
            known.learn(stranger, None, &says(2));
        }
        assert_eq!(known.complete(0, None, nothing()), (None, nothing()));
    }
}

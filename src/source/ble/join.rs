//! Joins btleplug's events to packets, where the system's own messages are not at hand.
//!
//! On macOS and Windows one packet gives its manufacturer data, its service data and, last, its RSSI, each as an event
//! and only where it has it. So the RSSI closes the packet, and a packet without one is none.

use std::hash::Hash;

use super::known::Known;
use crate::advert::AdvertisingData;

/// Puts the packets of one adapter together.
#[derive(Debug)]
pub struct Join<K> {
    open: Option<(K, AdvertisingData)>,
    known: Known<K>,
}

impl<K: Hash + Eq + Clone> Join<K> {
    /// Remembers what at most `capacity` devices said last.
    pub fn new(capacity: usize) -> Self {
        Self { open: None, known: Known::new(capacity) }
    }

    /// A device said something.
    pub fn data(&mut self, device: &K, mut data: AdvertisingData) {
        match &mut self.open {
            Some((open, packet)) if open == device => {
                packet.manufacturer_data.append(&mut data.manufacturer_data);
                packet.service_data.append(&mut data.service_data);
            }
            open => {
                // Without an RSSI it is not heard of again, but what it said completes a later packet.
                if let Some((other, packet)) = open.take() {
                    self.known.learn(other, None, &packet);
                }
                *open = Some((device.clone(), data));
            }
        }
    }

    /// A device was heard: what its packet said.
    pub fn rssi(&mut self, device: &K) -> AdvertisingData {
        let data = match self.open.take() {
            Some((open, packet)) if open == *device => packet,
            other => {
                self.open = other;
                AdvertisingData::default()
            }
        };
        self.known.complete(device.clone(), None, data).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manufacturer(byte: u8) -> AdvertisingData {
        AdvertisingData { manufacturer_data: vec![(0x004c, vec![byte])], service_data: vec![] }
    }

    fn service(byte: u8) -> AdvertisingData {
        AdvertisingData { manufacturer_data: vec![], service_data: vec![(uuid::Uuid::nil(), vec![byte])] }
    }

    #[test]
    fn a_packet_with_both_kinds_of_data_is_one_packet() {
        let mut join = Join::new(8);
        join.data(&1, manufacturer(1));
        join.data(&1, service(2));
        let both = AdvertisingData { service_data: service(2).service_data, ..manufacturer(1) };
        assert_eq!(join.rssi(&1), both);
    }

    #[test]
    fn an_rssi_alone_says_what_the_device_said_last() {
        let mut join = Join::new(8);
        join.data(&1, manufacturer(1));
        assert_eq!(join.rssi(&1), manufacturer(1));
        assert_eq!(join.rssi(&1), manufacturer(1));
        assert_eq!(join.rssi(&2), AdvertisingData::default(), "a device that never said anything");
    }

    #[test]
    fn what_one_device_says_is_not_taken_for_anothers() {
        let mut join = Join::new(8);
        join.data(&1, manufacturer(1));
        join.data(&2, manufacturer(2));
        assert_eq!(join.rssi(&1), manufacturer(1));
        assert_eq!(join.rssi(&2), manufacturer(2));
    }
}

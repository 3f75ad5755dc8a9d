//! From an advertisement to the beacon that sent it.

use crate::advert::{Address, Advertisement, AdvertisingData, Frame, frames};

use super::{BeaconIndex, Identity, Registry};

impl Identity {
    /// What a frame says of who sent it; none where it changes with time or says nothing, as URLs and telemetry do.
    pub fn of_frame(frame: &Frame<'_>) -> Option<Self> {
        match frame {
            Frame::IBeacon(frame) => Some(Self::IBeacon { uuid: *frame.uuid, major: frame.major, minor: frame.minor }),
            Frame::AltBeacon(frame) => Some(Self::AltBeacon(*frame.id)),
            Frame::EddystoneUid(frame) => {
                Some(Self::EddystoneUid { namespace: *frame.namespace, instance: *frame.instance })
            }
            Frame::EddystoneUrl(_) | Frame::EddystoneTlm(_) | Frame::EddystoneEid(_) => None,
        }
    }
}

impl Registry {
    /// The registered beacon that sent an advertisement: by the identities in its frames, in order, and only then by its
    /// address, since a frame says who it is and an address may be borrowed. Faulty frames identify nobody.
    ///
    /// A stranger costs one look-up for each frame and one for its address; nothing is allocated.
    pub fn resolve(&self, heard: &Advertisement) -> Option<BeaconIndex> {
        self.sender(&heard.data, heard.address)
    }

    /// As [`Registry::resolve`], by what was sent and from which address.
    pub fn sender(&self, data: &AdvertisingData, address: Option<Address>) -> Option<BeaconIndex> {
        frames(data)
            .filter_map(|frame| Identity::of_frame(&frame.ok()?))
            .find_map(|identity| self.beacon_of(&identity))
            .or_else(|| self.beacon_of(&Identity::Mac(address?.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::full_uuid;
    use crate::model::{BeaconId, Frame as SiteFrame, LatLon, LevelOrdinal, ReceiverId, Rssi, SiteId, Timestamp};
    use crate::registry::{Beacon, KindMargins, Level, RadioDefaults, Site};

    const IBEACON: &str = "ibeacon:41424344-4546-4748-4940-414243444546/1/2";
    const UID: &str = "eddystone-uid:12345678901234678901/000000000001";
    const ALTBEACON: &str = "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002";
    const MAC: &str = "mac:C0:FF:EE:00:00:01";

    fn registry() -> Registry {
        let site = Site {
            id: SiteId::new("s").unwrap(),
            name: "S".to_owned(),
            time_zone: "Europe/Paris".to_owned(),
            frame: SiteFrame::new(LatLon { latitude: 48.0, longitude: 2.0 }, 0.0).unwrap(),
            levels: vec![Level {
                ordinal: LevelOrdinal(0),
                name: "0".to_owned(),
                elevation: 0.0,
                outline: None,
                plan: None,
            }],
            radio: RadioDefaults::default(),
            margins: KindMargins::default(),
        };
        let beacons = [IBEACON, UID, ALTBEACON, MAC].iter().enumerate().map(|(at, identity)| Beacon {
            id: BeaconId::new(&format!("b{at}")).unwrap(),
            identity: identity.parse().unwrap(),
            device: None,
            fixed: None,
            measured_power: None,
        });
        Registry::new(site, vec![], vec![], beacons.collect(), vec![]).unwrap()
    }

    fn heard(manufacturer: &[(u16, &str)], service: &[&str], address: Option<&str>) -> Advertisement {
        Advertisement {
            time: Timestamp::from_millis(0),
            receiver: ReceiverId::new("r").unwrap(),
            address: address.map(|address| address.parse::<Address>().unwrap()),
            rssi: Rssi::new(-60.0).unwrap(),
            data: AdvertisingData {
                manufacturer_data: manufacturer.iter().map(|(id, hex)| (*id, hex::decode(hex).unwrap())).collect(),
                service_data: service.iter().map(|hex| (full_uuid(0xfeaa), hex::decode(hex).unwrap())).collect(),
            },
        }
    }

    #[test]
    fn a_beacon_is_recognised_by_each_kind_of_identity() {
        let registry = registry();
        let ibeacon = (0x4c, "02154142434445464748494041424344454600010002f8");
        let altbeacon = (0x118, "beac2f234454cf6d4a0fadf2f4911ba9ffa600010002c509");
        let uid = "00e312345678901234678901000000000001";
        let mac = Some("c0:ff:ee:00:00:01");
        for (heard, index) in [
            (heard(&[ibeacon], &[], None), Some(0)),
            (heard(&[], &[uid], None), Some(1)),
            (heard(&[altbeacon], &[], None), Some(2)),
            (heard(&[], &[], mac), Some(3)),
            // A frame comes before an address, and a stranger's frame before neither.
            (heard(&[ibeacon], &[], mac), Some(0)),
            (heard(&[(0x4c, "0215000000000000000000000000000000000001000200")], &[uid], mac), Some(1)),
            (heard(&[(0x4c, "0215")], &["10e70261"], mac), Some(3)),
            (heard(&[], &[], Some("c0:ff:ee:00:00:02")), None),
            (heard(&[], &[], None), None),
        ] {
            assert_eq!(registry.resolve(&heard), index.map(BeaconIndex), "{heard:?}");
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::registry::fixture;
use crate::registry::{DeviceKind, Identity, Shape};

/// One step of a random edit, over few ids, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    PutDevice(u8, bool),
    PutBeacon(u8, u8, Option<u8>),
    PutZone(u8, u8),
    RemoveDevice(u8),
    RemoveBeacon(u8),
    RemoveZone(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6_u8, any::<bool>()).prop_map(|(id, staff)| Step::PutDevice(id, staff)),
        (0..8_u8, 0..8_u8, proptest::option::of(0..6_u8)).prop_map(|(id, mac, of)| Step::PutBeacon(id, mac, of)),
        (0..5_u8, 1..5_u8).prop_map(|(id, wide)| Step::PutZone(id, wide)),
        (0..6_u8).prop_map(Step::RemoveDevice),
        (0..8_u8).prop_map(Step::RemoveBeacon),
        (0..5_u8).prop_map(Step::RemoveZone),
    ]
}

fn edit(steps: &[Step]) -> Edit {
    let mut edit = Edit::default();
    let device = |id: u8| DeviceId::new(&format!("d{id}")).unwrap();
    let beacon = |id: u8| BeaconId::new(&format!("b{id}")).unwrap();
    let zone = |id: u8| ZoneId::new(&format!("z{id}")).unwrap();
    for step in steps {
        match step {
            Step::PutDevice(id, staff) => edit.put.push(Record::Device(Arc::new(Device {
                id: device(*id),
                kind: if *staff { DeviceKind::Staff } else { DeviceKind::Customer },
                consent: crate::registry::Consent::default(),
                labels: crate::registry::Labels::new(),
            }))),
            Step::PutBeacon(id, mac, of) => edit.put.push(Record::Beacon(Arc::new(Beacon {
                id: beacon(*id),
                identity: Identity::Mac([0xc0, 0, 0, 0, 1, *mac]),
                device: of.map(device),
                fixed: None,
                measured_power: None,
            }))),
            Step::PutZone(id, wide) => {
                let shape = Shape::Polygons(vec![(fixture::rectangle(0.0, 0.0, f64::from(*wide), 2.0), Vec::new())]);
                let zone = fixture::zone(zone(*id).as_str(), shape, fixture::settings());
                edit.put.push(Record::Zone(Arc::new(zone)));
            }
            Step::RemoveDevice(id) => edit.remove.push(Key::Device(device(*id))),
            Step::RemoveBeacon(id) => edit.remove.push(Key::Beacon(beacon(*id))),
            Step::RemoveZone(id) => edit.remove.push(Key::Zone(zone(*id))),
        }
    }
    let put: BTreeSet<Key> = edit.put.iter().map(Record::key).collect();
    edit.remove.retain(|key| !put.contains(key));
    edit
}

/// The plain way: lists of records, changed one after the other, and a registry made from them.
fn naive(before: &Registry, edit: &Edit) -> Result<Registry, Vec<RegistryError>> {
    let mut lists: Vec<Record> = before.zones.iter().cloned().map(Record::Zone).collect();
    lists.extend(before.beacons.iter().cloned().map(Record::Beacon));
    lists.extend(before.devices.iter().cloned().map(Record::Device));
    lists.retain(|record| !edit.remove.contains(&record.key()));
    for record in &edit.put {
        match lists.iter_mut().find(|known| known.key() == record.key()) {
            Some(known) => *known = record.clone(),
            None => lists.push(record.clone()),
        }
    }
    let (mut zones, mut beacons, mut devices) = (Vec::new(), Vec::new(), Vec::new());
    for record in lists {
        match record {
            Record::Zone(zone) => zones.push(zone.as_ref().clone()),
            Record::Beacon(beacon) => beacons.push(beacon.as_ref().clone()),
            Record::Device(device) => devices.push(device.as_ref().clone()),
            _ => {}
        }
    }
    let receivers = before.receivers.iter().map(|receiver| receiver.as_ref().clone()).collect();
    Registry::new(before.site.clone(), receivers, zones, beacons, devices)
}

fn assert_same(found: &Registry, wanted: &Registry) {
    assert_eq!(found.site, wanted.site);
    assert_eq!(found.receivers, wanted.receivers);
    assert_eq!(found.zones, wanted.zones);
    assert_eq!(found.beacons, wanted.beacons);
    assert_eq!(found.devices, wanted.devices);
    assert_eq!(found.receiver_index, wanted.receiver_index);
    assert_eq!(found.zone_index, wanted.zone_index);
    assert_eq!(found.beacon_index, wanted.beacon_index);
    assert_eq!(found.device_index, wanted.device_index);
    assert_eq!(found.identity_index, wanted.identity_index);
    assert_eq!(found.device_of_beacon, wanted.device_of_beacon);
}

/// Where things are said to be in the next registry, against a search for each; and what is said to be untouched is.
fn assert_renumbered(before: &Registry, next: &Registry) {
    let to = next.renumbering_of(before);
    for (at, device) in before.devices.iter().enumerate() {
        let at = DeviceIndex(at as u32);
        assert_eq!(to.devices.to(at), next.device(&device.id));
        let is_same = |to: DeviceIndex| next.devices[to.get()] == *device;
        assert!(to.touched.contains(&at) || to.devices.to(at).is_some_and(is_same), "{}", device.id);
    }
    for (at, beacon) in before.beacons.iter().enumerate() {
        assert_eq!(to.beacons.to(BeaconIndex(at as u32)), next.beacon(&beacon.id));
    }
    for (at, zone) in before.zones.iter().enumerate() {
        assert_eq!(to.zones.to(ZoneIndex(at as u32)), next.zone(&zone.id));
    }
    if let Some(touched) = next.beacons_touched_since(before) {
        for (at, beacon) in next.beacons.iter().enumerate() {
            let is_same = before.beacons.get(at) == Some(beacon);
            assert!(is_same || touched.contains(&BeaconIndex(at as u32)), "{}", beacon.id);
        }
    }
    assert!(!next.shares_zones_with(before) || next.zones == before.zones);
}

proptest! {
    #[test]
    fn edits_one_after_the_other_give_what_a_registry_made_anew_gives(
        edits in proptest::collection::vec(proptest::collection::vec(step(), 1..6), 1..12)
    ) {
        let mut registry = fixture::registry(&fixture::settings());
        for steps in &edits {
            let edit = edit(steps);
            match (registry.edited(&edit), naive(&registry, &edit)) {
                (Ok(next), Ok(wanted)) => {
                    assert_same(&next, &wanted);
                    assert_renumbered(&registry, &next);
                    assert_renumbered(&next, &registry);
                    let way = registry.difference(&next);
                    assert_same(&registry.edited(&way).unwrap(), &next);
                    assert!(next.difference(&wanted).is_empty());
                    registry = next;
                }
                (Err(_), Err(_)) => {}
                (found, wanted) => panic!("{edit:?}: {found:?} instead of {wanted:?}"),
            }
        }
    }
}

#[test]
fn two_beacons_exchange_their_identities_in_one_edit() {
    let registry = fixture::registry(&fixture::settings());
    let [one, other] = [&registry.beacons[0], &registry.beacons[1]];
    let put = [(one, other.identity), (other, one.identity)]
        .map(|(beacon, identity)| Record::Beacon(Arc::new(Beacon { identity, ..beacon.as_ref().clone() })));
    let next = registry.edited(&Edit { put: put.to_vec(), ..Edit::default() }).unwrap();
    assert_eq!(next.beacon_of(&one.identity), registry.beacon(&other.id));
    assert_eq!(next.beacon_of(&other.identity), registry.beacon(&one.id));
}

#[test]
fn a_level_with_something_on_it_is_not_removed() {
    let registry = fixture::registry(&fixture::settings());
    let errors = registry.edited(&Edit { remove: vec![Key::Level(LevelOrdinal(0))], ..Edit::default() }).unwrap_err();
    assert!(matches!(errors[0], RegistryError::UnknownLevel { kind: "receiver", .. }), "{errors:?}");
}

#[test]
fn only_an_edit_of_this_very_registry_is_taken_for_one_of_it() {
    let registry = fixture::registry(&fixture::settings());
    let device = |id: &str| Device { id: DeviceId::new(id).unwrap(), ..registry.devices[0].as_ref().clone() };
    let with = |registry: &Registry, id: &str| {
        registry.edited(&Edit { put: vec![Record::Device(Arc::new(device(id)))], ..Edit::default() }).unwrap()
    };
    let (one, other) = (with(&registry, "one"), with(&registry, "other"));
    let further = with(&one, "further");
    assert_renumbered(&registry, &further);
    assert_renumbered(&one, &other);
    assert_eq!(other.renumbering_of(&one).devices.to(DeviceIndex(registry.devices.len() as u32)), None);
    assert!(other.beacons_touched_since(&one).is_none());
    assert!(one.renumbering_of(&registry).touched.is_empty());
}

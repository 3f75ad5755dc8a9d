use std::collections::BTreeMap;

use super::*;
use crate::cli::demo::store::STORE;
use crate::config::{BundledSite, load_bundled_site};
use crate::model::{Point, ZoneId};
use crate::registry::Identity;

fn store() -> Registry {
    load_bundled_site(&STORE).unwrap().0
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn truthful(seed: u64) -> SimulationConfig {
    SimulationConfig {
        seed,
        duration: Some(minutes(5)),
        truth_interval: Some(Duration::from_millis(500)),
        ..SimulationConfig::default()
    }
}

fn steps(config: SimulationConfig) -> Vec<Step> {
    Simulation::new(&store(), config).unwrap().collect()
}

#[test]
fn the_same_seed_gives_the_same_steps_and_another_seed_others() {
    let config = |seed| SimulationConfig { strangers: 5, duration: Some(minutes(1)), ..truthful(seed) };
    let first = steps(config(7));
    assert!(first.len() > 10_000, "{}", first.len());
    assert!(first == steps(config(7)));
    assert!(first != steps(config(8)));
}

#[test]
fn steps_come_in_the_order_of_time_and_end_in_time() {
    let config = truthful(1);
    let end = config.start + config.duration.unwrap();
    let steps = steps(config);
    assert!(steps.windows(2).all(|pair| pair[0].time <= pair[1].time));
    assert!(steps.iter().all(|step| step.time <= end));
}

#[test]
fn one_more_shopper_does_not_change_the_others() {
    let path = |shoppers| -> Vec<Step> {
        let config = SimulationConfig { shoppers: Some(shoppers), standing: 3, company: false, ..truthful(3) };
        let of_first = |step: &Step| matches!(&step.what, What::Position(p) if p.device.as_str() == "shopper-01");
        steps(config).into_iter().filter(of_first).collect()
    };
    assert!(!path(4).is_empty() && path(4) == path(20));
}

#[test]
fn shoppers_stay_within_the_outline_and_walk_at_a_walking_pace() {
    let registry = store();
    let mut last: BTreeMap<DeviceId, (Timestamp, TruePosition)> = BTreeMap::new();
    for step in steps(SimulationConfig { duration: Some(minutes(8)), ..truthful(5) }) {
        let What::Position(here) = step.what else { continue };
        let level = registry.site().levels.iter().find(|level| level.ordinal == here.level).unwrap();
        assert!(crate::registry::ring_holds(level.outline.as_ref().unwrap(), here.point), "{here:?}");
        if let Some((time, before)) = last.insert(here.device.clone(), (step.time, here.clone()))
            && step.time.since(time) <= Duration::from_millis(500)
        {
            assert!(before.point.distance(here.point) < 0.75, "{before:?} {here:?}");
        }
    }
    let levels: std::collections::BTreeSet<_> = last.values().map(|(_, here)| here.level).collect();
    assert_eq!(levels.len(), 2, "both levels are walked on");
}

#[test]
fn every_true_entry_is_followed_by_an_exit_or_ends_inside() {
    let mut open: BTreeMap<(DeviceId, ZoneId), bool> = BTreeMap::new();
    let (mut entered, mut exited, mut ended) = (0, 0, 0);
    for step in steps(truthful(2)) {
        let What::Crossing(Crossing { device, zone, kind }) = step.what else { continue };
        let key = (device, zone);
        match kind {
            CrossingKind::InitialInside => assert_eq!(open.insert(key, true), None),
            CrossingKind::InitialOutside => assert_eq!(open.insert(key, false), None),
            CrossingKind::Entered => {
                entered += 1;
                assert_eq!(open.insert(key, true), Some(false));
            }
            CrossingKind::Exited => {
                exited += 1;
                assert_eq!(open.insert(key, false), Some(true));
            }
            CrossingKind::End => {
                ended += 1;
                assert!(open.remove(&key).is_some());
            }
        }
    }
    assert!(entered > 50 && exited > 50, "{entered} {exited}");
    // 40 customers, two of staff, one trolley; ten zones.
    assert_eq!((ended, open.len()), (430, 0));
}

#[test]
fn mean_rssi_follows_the_law_and_the_share_of_lost_packets_is_right() {
    let registry = store();
    let config = SimulationConfig {
        shoppers: Some(12),
        standing: 12,
        company: false,
        shadowing_db: 0.0,
        transmit_db: 0.0,
        floor_loss_db: 0.0,
        sensitivity_dbm: -127.0,
        ..truthful(4)
    };
    let mut heard: BTreeMap<(String, String), Vec<f64>> = BTreeMap::new();
    let mut at: BTreeMap<String, (Point, i16)> = BTreeMap::new();
    let mut transmissions: BTreeMap<(String, Timestamp), usize> = BTreeMap::new();
    for step in steps(config) {
        match step.what {
            What::Position(here) => {
                at.insert(here.device.to_string(), (here.point, here.level.0));
            }
            What::Heard(packet) => {
                let device = device_of(&registry, &packet);
                *transmissions.entry((device.clone(), step.time)).or_default() += 1;
                heard.entry((device, packet.receiver.to_string())).or_default().push(packet.rssi.get());
            }
            _ => {}
        }
    }
    for ((device, receiver), values) in &heard {
        let ear = &registry.receivers()[registry.receiver(&receiver.parse().unwrap()).unwrap().get()];
        let (point, level) = at[device];
        let height = |level: i16| f64::from(level) * 4.5;
        let distance = ear.point.distance(point).hypot(height(ear.level.0) + ear.z - height(level) - 1.1);
        let power = registry
            .beacons()
            .iter()
            .find(|b| b.device.as_ref().is_some_and(|id| id.as_str() == device))
            .and_then(|b| b.measured_power)
            .map_or(-59.0, crate::model::MeasuredPower::get);
        let law = power - 25.0 * distance.log10();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!((mean - law).abs() < 0.5, "{device} {receiver}: {mean} at {distance} m, by the law {law}");
    }
    // Seen by at least one receiver: 1 - 0.2^5 of all; each receiver missed a fifth.
    let pairs: usize = heard.values().map(Vec::len).sum();
    let sent = 12.0 * 300.0 / 0.205;
    let share = pairs as f64 / (5.0 * sent);
    assert!((share - 0.8).abs() < 0.01, "{share}");
}

#[test]
fn who_is_away_is_silent() {
    let registry = store();
    let mut last_seen: BTreeMap<String, Timestamp> = BTreeMap::new();
    for step in
        steps(SimulationConfig { company: false, shoppers: Some(12), duration: Some(minutes(12)), ..truthful(6) })
    {
        match step.what {
            What::Position(here) => {
                last_seen.insert(here.device.to_string(), step.time);
            }
            What::Heard(packet) => {
                let seen = last_seen.get(&device_of(&registry, &packet));
                // Truth is given twice a second; an arrival may be heard before it.
                let ago = seen.map_or(Duration::ZERO, |&seen| step.time.since(seen));
                assert!(ago <= Duration::from_millis(500) || ago > Duration::from_secs(100), "{ago:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_receiver_that_is_out_hears_nothing_and_says_so() {
    let receiver: ReceiverId = "upper-west".parse().unwrap();
    let (from, to) = (Duration::from_secs(10), Duration::from_secs(30));
    let config = SimulationConfig {
        outages: vec![Outage { receiver: receiver.clone(), from, to }],
        duration: Some(minutes(1)),
        ..SimulationConfig::default()
    };
    let plain = steps(SimulationConfig { outages: Vec::new(), ..config.clone() });
    let (start, steps) = (config.start, steps(config));
    let states: Vec<_> = steps.iter().filter(|step| matches!(step.what, What::Receiver(..))).collect();
    assert_eq!(states.len(), 2);
    assert_eq!(states[0], &Step { time: start + from, what: What::Receiver(receiver.clone(), ReceiverState::Down) });
    assert_eq!(states[1], &Step { time: start + to, what: What::Receiver(receiver.clone(), ReceiverState::Up) });
    let missing = |step: &Step| {
        (start + from..start + to).contains(&step.time)
            && matches!(&step.what, What::Heard(packet) if packet.receiver == receiver)
    };
    assert!(!steps.iter().any(missing));
    // Nothing else changes.
    let rest: Vec<_> = plain.into_iter().filter(|step| !missing(step)).collect();
    let heard: Vec<_> = steps.iter().filter(|step| !matches!(step.what, What::Receiver(..))).cloned().collect();
    assert!(rest == heard);
}

#[test]
fn the_cast_is_everyone_and_strangers_are_nobody_registered() {
    let registry = store();
    let config = SimulationConfig { strangers: 9, duration: Some(minutes(2)), ..SimulationConfig::default() };
    let simulation = Simulation::new(&registry, config).unwrap();
    let cast = Cast { shoppers: 40, without_consent: 5, staff: 2, assets: 1, fixed: 4, strangers: 9 };
    assert_eq!(simulation.cast(), cast);
    let strange = simulation
        .filter(|step| matches!(&step.what, What::Heard(packet) if identity(&registry, packet).is_none()))
        .count();
    assert!(strange > 1_000, "{strange}");
}

#[test]
fn what_cannot_be_simulated_is_refused_with_its_reason() {
    let registry = store();
    let refused = |config| Simulation::new(&registry, config).err().map(|error| error.to_string()).unwrap_or_default();
    let usual = SimulationConfig::default;
    assert!(refused(SimulationConfig { shoppers: Some(41), ..usual() }).contains("41 shoppers wanted"));
    assert!(refused(SimulationConfig { packet_loss: 1.5, ..usual() }).contains("packet loss is 1.5"));
    assert!(refused(SimulationConfig { interval: Duration::ZERO, ..usual() }).contains("interval"));
    let outage = |receiver: &str, from, to| Outage {
        receiver: receiver.parse().unwrap(),
        from: Duration::from_secs(from),
        to: Duration::from_secs(to),
    };
    assert!(refused(SimulationConfig { outages: vec![outage("nobody", 1, 2)], ..usual() }).contains("nobody"));
    let overlapping = vec![outage("ground-west", 1, 5), outage("ground-west", 4, 6)];
    assert!(refused(SimulationConfig { outages: overlapping, ..usual() }).contains("overlap"));
    let empty = BundledSite { triggers: "", zones: "{\"type\":\"FeatureCollection\",\"features\":[]}", ..STORE };
    let no_zones = Simulation::new(&load_bundled_site(&empty).unwrap().0, usual()).err();
    assert_eq!(no_zones, Some(SimulationError::NoZones));
}

fn identity(registry: &Registry, packet: &Advertisement) -> Option<Identity> {
    registry.resolve(packet).map(|beacon| registry.beacons()[beacon.get()].identity)
}

fn device_of(registry: &Registry, packet: &Advertisement) -> String {
    let identity = identity(registry, packet).unwrap();
    let beacon = registry.beacon_of(&identity).unwrap();
    registry.devices()[registry.device_of(beacon).unwrap().get()].id.to_string()
}

/// The store, with a fixed beacon at the place of each receiver and no other.
fn store_with_beacons_at_receivers() -> Registry {
    let store = store();
    let mut beacons: Vec<_> = store.beacons().iter().filter(|b| b.device.is_some()).map(|b| (**b).clone()).collect();
    beacons.extend(store.receivers().iter().enumerate().map(|(at, receiver)| crate::registry::Beacon {
        id: format!("at-{}", receiver.id).parse().unwrap(),
        identity: format!("mac:C0:FF:EE:00:01:{at:02X}").parse().unwrap(),
        device: None,
        fixed: Some((receiver.point, receiver.level)),
        measured_power: None,
    }));
    Registry::new(
        store.site().clone(),
        store.receivers().iter().map(|receiver| (**receiver).clone()).collect(),
        store.zones().iter().map(|zone| (**zone).clone()).collect(),
        beacons,
        store.devices().iter().map(|device| (**device).clone()).collect(),
    )
    .unwrap()
}

/// Mean error of the estimated positions in metres, and the share of them on the right level.
fn accuracy(registry: &Arc<Registry>, config: SimulationConfig) -> (f64, f64) {
    use crate::engine::{Engine, Output};
    let mut engine = Engine::new(Arc::clone(registry), "e");
    let mut truth: BTreeMap<DeviceId, (Timestamp, TruePosition)> = BTreeMap::new();
    let (mut sum, mut right, mut count) = (0.0, 0.0, 0.0);
    let begin = config.start + Duration::from_secs(20);
    for step in Simulation::new(registry, config).unwrap() {
        if let What::Position(at) = &step.what {
            truth.insert(at.device.clone(), (step.time, at.clone()));
        }
        let time = step.time;
        let Some(input) = step.into_input() else { continue };
        engine.handle(input, time);
        while let Some(output) = engine.poll_output() {
            let Output::Position(device, found) = output else { continue };
            let Some((at, here)) = truth.get(&device.id) else { continue };
            if found.time > begin && found.time.since(*at) <= Duration::from_millis(600) {
                count += 1.0;
                right += f64::from(u8::from(here.level == found.level));
                sum += here.point.distance(found.point);
            }
        }
    }
    assert!(count > 1_000.0, "{count}");
    (sum / count, right / count)
}

#[test]
fn phones_that_hear_beacons_are_located_about_as_well_as_beacons_heard_by_receivers_at_the_same_places() {
    let registry = Arc::new(store_with_beacons_at_receivers());
    let config = |seed, reported_by_devices| SimulationConfig {
        shoppers: Some(12),
        company: false,
        reported_by_devices,
        duration: Some(minutes(4)),
        ..truthful(seed)
    };
    let (mut by_receivers, mut by_devices) = ((0.0, 0.0), (0.0, 0.0));
    for seed in [11, 12, 13] {
        let (error, level) = accuracy(&registry, config(seed, false));
        by_receivers = (by_receivers.0 + error / 3.0, by_receivers.1 + level / 3.0);
        let (error, level) = accuracy(&registry, config(seed, true));
        by_devices = (by_devices.0 + error / 3.0, by_devices.1 + level / 3.0);
    }
    println!("by receivers {by_receivers:?}, by devices {by_devices:?}");
    assert!(by_devices.0 < 1.25 * by_receivers.0 + 0.3, "{by_devices:?}, by receivers {by_receivers:?}");
    assert!(by_devices.1 > by_receivers.1 - 0.05, "{by_devices:?}, by receivers {by_receivers:?}");
}

#[test]
fn with_roles_exchanged_only_phones_hear_and_only_fixed_beacons() {
    let registry = store();
    let config = SimulationConfig { reported_by_devices: true, duration: Some(minutes(1)), ..truthful(9) };
    let mut heard = 0;
    for step in Simulation::new(&registry, config.clone()).unwrap() {
        match step.what {
            What::Heard(packet) => panic!("{packet:?}"),
            What::HeardByDevice(packet) => {
                heard += 1;
                let beacon = registry.sender(&packet.data, packet.address).unwrap();
                assert!(registry.beacons()[beacon.get()].fixed.is_some());
                assert!(registry.devices()[registry.device(&packet.device).unwrap().get()].may_be_tracked());
            }
            _ => {}
        }
    }
    assert!(heard > 5_000, "{heard}");
    let beacons = "id,identity,device,x,y,level,measured_power\nb,mac:C0:00:00:00:00:01,shopper-01,,,,\n";
    let none = BundledSite { beacons, ..STORE };
    let none = Simulation::new(&load_bundled_site(&none).unwrap().0, config).err();
    assert_eq!(none, Some(SimulationError::NoFixedBeacons));
}

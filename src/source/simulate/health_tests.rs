//! Receivers that fall silent without anybody saying so, on the simulated store: five receivers, four fixed beacons.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::cli::demo::store::STORE;
use crate::config::load_bundled_site;
use crate::engine::{Engine, Output};
use crate::model::ZoneId;
use crate::presence::{EventKind, Health, Reason, ReceiverHealth, Witness};
use crate::registry::{ReceiverIndex, shape_bounds};

fn store() -> Arc<Registry> {
    Arc::new(load_bundled_site(&STORE).unwrap().0)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn outage(receiver: &str, from: u64, to: u64) -> Outage {
    Outage { receiver: receiver.parse().unwrap(), from: seconds(from), to: seconds(to) }
}

/// What health alone makes of a simulation: receiver, seconds since the start, whether it was silence.
fn health(config: SimulationConfig, passes: impl Fn(f64, &Advertisement) -> bool) -> Vec<(String, f64, bool)> {
    let registry = store();
    let start = config.start;
    let mut health = Health::new(registry.receivers().len());
    let mut told = Vec::new();
    for step in Simulation::new(&registry, config).unwrap() {
        let What::Heard(heard) = step.what else { continue };
        let at = step.time.since(start).as_secs_f64();
        if !passes(at, &heard) {
            continue;
        }
        let name = |receiver: ReceiverIndex| registry.receivers()[receiver.get()].id.to_string();
        let receiver = registry.receiver(&heard.receiver).unwrap();
        if health.hears(receiver, heard.rssi.get(), step.time) {
            told.push((name(receiver), at, false));
        }
        let Some(beacon) = registry.resolve(&heard) else { continue };
        let who = registry.device_of(beacon).map_or(Witness::Fixed(beacon), Witness::Device);
        for silent in health.sighting(receiver, who, heard.rssi.get(), step.time) {
            told.push((name(silent), at, true));
        }
    }
    told
}

fn is_carried(registry: &Registry, heard: &Advertisement) -> bool {
    registry.resolve(heard).is_some_and(|beacon| registry.device_of(beacon).is_some())
}

fn config(seed: u64, shoppers: usize, packet_loss: f64, company: bool, duration: u64) -> SimulationConfig {
    SimulationConfig {
        seed,
        shoppers: Some(shoppers),
        packet_loss,
        company,
        duration: Some(seconds(duration)),
        ..SimulationConfig::default()
    }
}

#[test]
fn an_hour_without_an_outage_is_an_hour_without_alarm() {
    for (at, shoppers) in [1, 5, 40].into_iter().enumerate() {
        for (loss, company) in [(0.2, true), (0.2, false), (0.5, true), (0.5, false), (0.7, true)] {
            let duration = if shoppers == 40 && !company { 1_200 } else { 3_600 };
            let told = health(config(at as u64, shoppers, loss, company, duration), |_, _| true);
            assert!(told.is_empty(), "{shoppers} {loss} {company}: {told:?}");
        }
    }
}

#[test]
fn a_receiver_that_dies_is_noticed_in_time_and_heard_again_at_once() {
    for (shoppers, loss, company, within) in [
        (40, 0.2, true, 10.0),
        (40, 0.5, false, 12.0),
        (40, 0.7, true, 15.0),
        (3, 0.2, true, 25.0),
        (3, 0.7, true, 60.0),
    ] {
        for receiver in ["ground-west", "upper-west"] {
            let outages = vec![outage(receiver, 300, 900)];
            let told = health(SimulationConfig { outages, ..config(21, shoppers, loss, company, 960) }, |_, _| true);
            assert_eq!(told.len(), 2, "{shoppers} {loss} {company}: {told:?}");
            assert!(told[0].0 == receiver && told[0].2 && told[0].1 < 300.0 + within, "{shoppers} {loss}: {told:?}");
            assert!(told[1].0 == receiver && !told[1].2 && (900.0..903.0).contains(&told[1].1), "{told:?}");
        }
    }
}

#[test]
fn a_store_that_closes_is_no_alarm() {
    // At 600 s the last go: one receiver after the other has nothing more to hear, with and without fixed beacons.
    let registry = store();
    let carried = |heard: &Advertisement| is_carried(&registry, heard);
    for company in [true, false] {
        let told = health(config(31, 20, 0.3, company, 1_200), |at, _| at < 600.0);
        assert!(told.is_empty(), "{told:?}");
        let told = health(config(32, 6, 0.3, company, 700), |at, heard| at < 600.0 || !carried(heard));
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn one_device_that_one_receiver_no_longer_hears_is_no_alarm() {
    let told =
        health(config(41, 1, 0.2, false, 1_800), |at, heard| at < 300.0 || heard.receiver.as_str() != "ground-west");
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn fixed_beacons_that_die_are_no_alarm_while_others_miss_them_too() {
    let registry = store();
    // ground-west hears nothing but fixed beacons, all of which die; the others go on hearing the rest.
    let told = health(config(51, 8, 0.3, true, 900), |at, heard| {
        let is_fixed = !is_carried(&registry, heard);
        if heard.receiver.as_str() == "ground-west" { is_fixed && at < 300.0 } else { !is_fixed || at < 300.0 }
    });
    assert!(told.is_empty(), "{told:?}");
}

/// Device, zone, what, seconds since the start.
type Lines = Vec<(String, ZoneId, &'static str, f64)>;

/// The engine on a simulation in which nobody says that a receiver is down: changes of shoppers who stand still, and silences.
fn changes(config: SimulationConfig) -> (Lines, Vec<f64>) {
    let registry = store();
    let (start, standing) = (config.start, config.standing);
    let mut engine = Engine::new(Arc::clone(&registry), "e");
    let (mut lines, mut silences) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<DeviceId, BTreeSet<String>> = BTreeMap::new();
    for step in Simulation::new(&registry, config).unwrap() {
        match &step.what {
            What::Receiver(..) => continue,
            What::Position(at) => {
                places.entry(at.device.clone()).or_default().insert(format!("{:.2} {:.2}", at.point.x, at.point.y));
            }
            _ => {}
        }
        let time = step.time;
        let Some(input) = step.into_input() else { continue };
        engine.handle(input, time);
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Receiver(_, ReceiverHealth::Silent(_)) => {
                    silences.push(engine.now().since(start).as_secs_f64());
                }
                Output::Event(e) if e.kind != EventKind::Dwelled => {
                    let what = e.reason.map_or("entered", Reason::as_str);
                    let at = e.decided_at.since(start).as_secs_f64();
                    lines.push((e.device.id.to_string(), e.zone.id.clone(), what, at));
                }
                _ => {}
            }
        }
    }
    let still: BTreeSet<String> =
        places.iter().filter(|(_, at)| at.len() == 1).map(|(device, _)| device.to_string()).collect();
    assert!(still.len() >= standing, "{still:?}");
    lines.retain(|(device, ..)| still.contains(device));
    (lines, silences)
}

#[test]
fn nobody_who_stands_in_the_zones_of_a_receiver_that_dies_leaves_them() {
    let registry = store();
    let receiver = "ground-west";
    let ear = &registry.receivers()[registry.receiver(&receiver.parse().unwrap()).unwrap().get()];
    let covered = |zone: &ZoneId| {
        let zone = &registry.zones()[registry.zone(zone).unwrap().get()];
        let Some((low, high)) = shape_bounds(&zone.shape) else { return true };
        let (dx, dy) =
            ((low.x - ear.point.x).max(ear.point.x - high.x), (low.y - ear.point.y).max(ear.point.y - high.y));
        zone.level == Some(ear.level) && dx.max(0.0).hypot(dy.max(0.0)) <= 10.0
    };
    let plain = SimulationConfig { standing: 30, truth_interval: Some(seconds(1)), ..config(61, 40, 0.2, true, 720) };
    let (before, none) = changes(plain.clone());
    assert!(none.is_empty() && !before.is_empty(), "{none:?}");
    let (lines, silences) = changes(SimulationConfig { outages: vec![outage(receiver, 120, 660)], ..plain });
    let during = |line: &&(String, ZoneId, &str, f64)| (120.0..660.0).contains(&line.3);
    assert!(silences.len() == 1 && silences[0] < 130.0, "{silences:?}");
    let left: Vec<_> = lines.iter().filter(during).filter(|line| line.2 != "entered" && covered(&line.1)).collect();
    assert!(left.is_empty(), "{left:?}");
}

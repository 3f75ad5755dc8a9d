use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::engine::ReceiverState;
use crate::model::Timestamp;
use crate::presence::{Event, EventKind, Reason};
use crate::registry::{Shape, Zone};
use crate::source::simulate::What;

fn args(seed: u64, seconds: u64, speed: &str) -> Args {
    Args {
        duration: Some(Duration::from_secs(seconds)),
        seed,
        speed: speed.parse().unwrap(),
        quiet: false,
        shoppers: 40,
        port: None,
        http_port: None,
    }
}

/// What is printed, and the events.
fn play(args: &Args, stop: impl Future<Output = ()>) -> (String, Vec<Event>) {
    let registry = Arc::new(demo_registry().unwrap());
    let simulation = Simulation::new(&registry, config(args)).unwrap();
    let (mut out, mut events) = (Vec::new(), Vec::new());
    let mut publish = |published: Published<'_>, _at| {
        if let Published::Output(Output::Event(event)) = published {
            events.push(event.clone());
        }
    };
    let show = Show { args, registry: &registry, colour: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(show.play(show.drive(simulation), &mut out, &mut publish, None, stop)).unwrap();
    (String::from_utf8(out).unwrap(), events)
}

#[test]
fn the_first_minute_shows_every_kind_of_event_and_the_first_within_15_seconds() {
    let (text, events) = play(&args(1, 60, "100000"), std::future::pending());
    let start = SimulationConfig::default().start;
    let first = |kind| {
        let at = events.iter().find(|e| e.kind == kind && e.reason != Some(Reason::Stopped)).unwrap().decided_at;
        at.since(start)
    };
    assert!(first(EventKind::Entered) < Duration::from_secs(15));
    assert!(first(EventKind::Dwelled) < Duration::from_secs(60) && first(EventKind::Exited) < Duration::from_secs(60));
    assert!(text.contains("all zones"), "{text}");
    assert!(!text.contains("guest-"), "who has not agreed is never shown");
}

#[test]
fn the_pace_changes_nothing_of_what_is_printed() {
    let few = |seed, speed| play(&Args { shoppers: 6, ..args(seed, 12, speed) }, std::future::pending()).0;
    assert_eq!(few(3, "100000"), few(3, "20"));
    assert_ne!(few(3, "100000"), few(4, "100000"));
}

#[test]
fn who_stays_in_a_zone_is_mostly_found_there() {
    let registry = Arc::new(demo_registry().unwrap());
    let config = SimulationConfig {
        shoppers: Some(14),
        company: false,
        strangers: 0,
        inside_at_start: 1.0,
        truth_interval: Some(Duration::from_secs(1)),
        ..config(&args(1, 150, "1"))
    };
    let mut engine = Engine::new(Arc::clone(&registry), "test");
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut true_zone: BTreeMap<String, (String, Timestamp)> = BTreeMap::new();
    let mut levels: BTreeMap<String, (i16, crate::model::Point)> = BTreeMap::new();
    let mut scores: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    let (mut errors, mut right_level) = (Vec::new(), 0);
    for step in Simulation::new(&registry, config).unwrap() {
        match &step.what {
            What::Crossing(crossing) => {
                use crate::source::simulate::CrossingKind::{Entered, Exited, InitialInside};
                let device = crossing.device.to_string();
                match crossing.kind {
                    Entered | InitialInside => drop(true_zone.insert(device, (crossing.zone.to_string(), step.time))),
                    Exited => drop(true_zone.remove(&device)),
                    _ => {}
                }
            }
            What::Position(truth) => {
                let device = truth.device.as_str();
                if let Some((level, point)) = levels.get(device) {
                    errors.push(point.distance(truth.point));
                    right_level += u32::from(*level == truth.level.0);
                }
                // Those who have been there for as long as it takes to be sure.
                if let Some((zone, since)) = true_zone.get(device)
                    && step.time.since(*since) > Duration::from_secs(12)
                {
                    let score = scores.entry(zone.clone()).or_default();
                    score.0 += u32::from(found.get(device).is_some_and(|zones| zones.contains(zone)));
                    score.1 += 1;
                }
            }
            _ => {}
        }
        let time = step.time;
        if let Some(input) = step.into_input() {
            engine.handle(input, time);
        }
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Event(e) if e.kind == EventKind::Entered => {
                    found.entry(e.device.id.to_string()).or_default().insert(e.zone.id.to_string());
                }
                Output::Event(e) if e.kind == EventKind::Exited => {
                    found.entry(e.device.id.to_string()).or_default().remove(e.zone.id.as_str());
                }
                Output::Position(device, at) => {
                    levels.insert(device.id.to_string(), (at.level.0, at.point));
                }
                _ => {}
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let (right, all) = scores.values().fold((0, 0), |(r, a), s| (r + s.0, a + s.1));
    let level = f64::from(right_level) / errors.len() as f64;
    let report = format!(
        "{right} of {all} s in the true zone, median error {:.1} m, level {level:.2}, {scores:?}",
        errors[errors.len() / 2]
    );
    println!("{report}");
    assert!(f64::from(right) > 0.6 * f64::from(all) && level > 0.9, "{report}");
}

#[test]
fn every_visit_is_closed_at_the_end() {
    let (_, events) = play(&Args { shoppers: 10, ..args(1, 45, "100000") }, std::future::pending());
    let mut open = BTreeSet::new();
    for event in &events {
        match event.kind {
            EventKind::Entered => assert!(open.insert(event.visit_id)),
            EventKind::Dwelled => assert!(open.contains(&event.visit_id)),
            EventKind::Exited => assert!(open.remove(&event.visit_id)),
        }
    }
    assert!(open.is_empty());
    assert!(events.iter().any(|event| event.reason == Some(Reason::Stopped)));
}

#[test]
fn a_signal_ends_an_endless_demo_with_its_table() {
    let endless = Args { duration: None, quiet: true, shoppers: 8, ..args(1, 0, "10") };
    let began = Instant::now();
    let (text, events) = play(&endless, async { tokio::time::sleep(Duration::from_millis(800)).await });
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(events.iter().any(|event| event.reason == Some(Reason::Stopped)));
    assert!(text.trim_start().starts_with("zone "), "{text}");
}

#[test]
fn the_header_says_how_to_listen() {
    let registry = demo_registry().unwrap();
    let simulation = Simulation::new(&registry, config(&args(1, 1, "1"))).unwrap();
    let header = header(
        &registry,
        simulation.cast(),
        1,
        SocketAddr::from(([127, 0, 0, 1], 40_123)),
        "http://127.0.0.1:40124/#code=x",
    );
    assert!(header.contains("mosquitto_sub -h 127.0.0.1 -p 40123 -v -t 'beaconfence/v1/#'"), "{header}");
    assert!(header.contains("40 simulated shoppers in Market Hall (10 zones on 2 levels, 5 receivers)"), "{header}");
}

#[test]
fn the_zones_of_the_store_lie_within_their_level_and_apart_from_each_other() {
    let registry = demo_registry().unwrap();
    let corners = |zone: &Zone| match &zone.shape {
        Shape::Polygons(parts) => parts[0].0.clone(),
        _ => Vec::new(),
    };
    let zones: Vec<_> = registry.zones().iter().filter(|zone| !zone.id.is_site()).collect();
    assert_eq!(zones.len(), 10);
    for zone in &zones {
        let ring = corners(zone);
        let level = registry.site().levels.iter().find(|level| Some(level.ordinal) == zone.level).unwrap();
        let outline = level.outline.as_ref().unwrap();
        let (xs, ys): (Vec<f64>, Vec<f64>) = outline.iter().map(|p| (p.x, p.y)).unzip();
        let within = |v: f64, all: &[f64]| {
            all.iter().copied().fold(f64::INFINITY, f64::min) < v
                && v < all.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        };
        assert!(ring.iter().all(|p| within(p.x, &xs) && within(p.y, &ys)), "{}", zone.id);
        let extent = |of: fn(&crate::model::Point) -> f64| {
            let all: Vec<f64> = ring.iter().map(of).collect();
            all.iter().copied().fold(f64::NEG_INFINITY, f64::max) - all.iter().copied().fold(f64::INFINITY, f64::min)
        };
        assert!(extent(|p| p.x) > 5.9 && extent(|p| p.y) > 5.9, "{} is too small", zone.id);
        // The upper floor has no south side in the middle.
        let terrace = |p: &crate::model::Point| (14.0..26.0).contains(&p.x) && p.y < 8.0;
        assert!(level.ordinal.0 == 0 || !ring.iter().any(terrace), "{}", zone.id);
    }
    for (at, a) in zones.iter().enumerate() {
        for b in zones[..at].iter().filter(|b| b.level == a.level) {
            let gap = corners(a)
                .iter()
                .flat_map(|p| corners(b).into_iter().map(move |q| (p.x - q.x).abs().max((p.y - q.y).abs())))
                .fold(f64::INFINITY, f64::min);
            assert!(gap > 1.0, "{} and {} are {gap} m apart", a.id, b.id);
        }
    }
}

#[test]
fn a_truth_step_is_no_input() {
    let down = What::Receiver("ground-west".parse().unwrap(), ReceiverState::Down);
    let time = Timestamp::from_millis(0);
    assert!(crate::source::simulate::Step { time, what: down }.into_input().is_some());
}

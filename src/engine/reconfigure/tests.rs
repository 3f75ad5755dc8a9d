use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::engine::Input;
use crate::model::{BeaconId, DeviceId, Point};
use crate::position::PositionReport;
use crate::presence::{EventKind, Reason};
use crate::registry::{Beacon, Consent, Device, Edit, Identity, Key, Record, Shape, Zone, fixture};

const START: i64 = 1_767_261_600_000;

/// An engine that is told where devices are, and whose registry is edited.
struct Timeline {
    engine: Engine,
    seconds: i64,
    said: Vec<(String, Option<Reason>, bool)>,
    open: BTreeMap<uuid::Uuid, String>,
    occupancy: BTreeMap<String, u32>,
}

impl Timeline {
    fn new() -> Self {
        let registry = Arc::new(fixture::registry(&fixture::settings()));
        let engine = Engine::new(registry, "e");
        // Well after the beginning, who is seen is not there from the start.
        Self { engine, seconds: 100, said: Vec::new(), open: BTreeMap::new(), occupancy: BTreeMap::new() }.begun()
    }

    fn begun(mut self) -> Self {
        self.engine.begin(Timestamp::from_millis(START));
        self
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(START + self.seconds * 1_000)
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Event(event) => {
                    match event.kind {
                        EventKind::Entered => {
                            let zone = event.zone.id.to_string();
                            assert!(self.open.insert(event.visit_id, zone).is_none(), "entered twice");
                        }
                        EventKind::Exited => {
                            assert!(self.open.remove(&event.visit_id).is_some(), "left without having entered");
                        }
                        EventKind::Dwelled => assert!(self.open.contains_key(&event.visit_id)),
                    }
                    let words = format!("{} {} {}", event.kind.as_str(), event.device.id, event.zone.name);
                    self.said.push((words, event.reason, event.initial));
                }
                Output::Occupancy(zone, inside) => drop(self.occupancy.insert(zone.to_string(), inside)),
                _ => {}
            }
        }
    }

    /// A device reports that it is at (x, 5), each second for so many.
    fn is_at(&mut self, device: &str, x: f64, seconds: i64) -> &mut Self {
        for _ in 0..seconds {
            self.seconds += 1;
            let at = self.engine.registry().frame().to_geodetic(Point { x, y: 5.0 });
            let report = PositionReport {
                time: self.now(),
                device: DeviceId::new(device).unwrap(),
                at,
                accuracy: 0.5,
                level: None,
            };
            self.engine.handle(Input::PositionReport(report), self.now());
            self.drain();
        }
        self
    }

    fn edit(&mut self, edit: Edit) -> &mut Self {
        let next = Arc::new(self.engine.registry().edited(&edit).unwrap());
        let prepared = self.engine.tables().prepare(next);
        assert!(self.engine.reconfigure(prepared, self.now()));
        self.drain();
        self
    }

    fn put(&mut self, record: Record) -> &mut Self {
        self.edit(Edit { put: vec![record], ..Edit::default() })
    }

    fn remove(&mut self, key: Key) -> &mut Self {
        self.edit(Edit { remove: vec![key], ..Edit::default() })
    }

    /// What was said since this was last asked, without the whole site.
    #[track_caller]
    fn said(&mut self, wanted: &[(&str, Option<Reason>)]) -> &mut Self {
        let said: Vec<_> = std::mem::take(&mut self.said);
        let said: Vec<_> = said.iter().filter(|(words, ..)| !words.ends_with("Test")).collect();
        let said: Vec<(&str, Option<Reason>)> =
            said.iter().map(|(words, reason, _)| (words.as_str(), *reason)).collect();
        assert_eq!(said, wanted);
        self
    }

    fn zone(&self, id: &str) -> Zone {
        let registry = self.engine.registry();
        registry.zones()[registry.zone(&ZoneId::new(id).unwrap()).unwrap().get()].as_ref().clone()
    }
}

fn between(x0: f64, x1: f64) -> Shape {
    Shape::Polygons(vec![(fixture::rectangle(x0, 0.0, x1, 10.0), Vec::new())])
}

fn zone_record(zone: Zone) -> Record {
    Record::Zone(Arc::new(zone))
}

#[test]
fn a_visit_carries_on_where_its_zone_is_renamed_or_grows_and_the_exit_has_the_new_name() {
    let mut line = Timeline::new();
    line.is_at("d1", 5.0, 6).said(&[("entered d1 A", None)]);
    let zone = Zone { name: "Anew".to_owned(), ..line.zone("a") };
    line.put(zone_record(zone)).said(&[]);
    let zone = Zone { shape: between(0.0, 12.0), ..line.zone("a") };
    line.put(zone_record(zone)).said(&[]);
    line.is_at("d1", 25.0, 12).said(&[("exited d1 Anew", Some(Reason::Left)), ("entered d1 B", None)]);
}

#[test]
fn a_visit_ends_at_once_where_its_zone_moves_away_and_says_so() {
    let mut line = Timeline::new();
    line.is_at("d1", 5.0, 6).said(&[("entered d1 A", None)]);
    let zone = Zone { shape: between(12.0, 18.0), ..line.zone("a") };
    line.put(zone_record(zone)).said(&[("exited d1 A", Some(Reason::ZoneChanged))]);
    assert_eq!(line.occupancy["a"], 0);
    line.is_at("d1", 5.0, 20).said(&[]);
}

#[test]
fn visits_end_with_their_zone_their_device_and_their_consent() {
    let mut line = Timeline::new();
    line.is_at("d1", 5.0, 6).is_at("d2", 25.0, 6).said(&[("entered d1 A", None), ("entered d2 B", None)]);
    line.remove(Key::Zone(ZoneId::new("a").unwrap())).said(&[("exited d1 A", Some(Reason::ZoneRemoved))]);
    let d2 = Device {
        id: DeviceId::new("d2").unwrap(),
        kind: crate::registry::DeviceKind::Customer,
        consent: Consent::default(),
        labels: crate::registry::Labels::new(),
    };
    line.put(Record::Device(Arc::new(d2))).said(&[("exited d2 B", Some(Reason::ConsentWithdrawn))]);
    assert_eq!(line.engine.take_gone(), [DeviceId::new("d2").unwrap()]);
    line.is_at("d2", 25.0, 6).said(&[]);
    line.edit(Edit {
        remove: vec![Key::Device(DeviceId::new("d1").unwrap()), Key::Beacon(BeaconId::new("b1").unwrap())],
        ..Edit::default()
    });
    assert_eq!(line.engine.take_gone(), [DeviceId::new("d1").unwrap()]);
    assert!(line.open.is_empty(), "of the whole site, too: {:?}", line.open);
}

#[test]
fn who_stands_where_a_zone_is_drawn_enters_it_as_having_been_there() {
    let mut line = Timeline::new();
    line.is_at("d1", 15.0, 6).said(&[]);
    let zone = fixture::zone("c", between(11.0, 19.0), fixture::settings());
    line.put(zone_record(zone)).is_at("d1", 15.0, 6);
    assert_eq!(line.said, [("entered d1 C".to_owned(), None, true)]);
    // Who comes later has not been there.
    line.said.clear();
    line.is_at("d2", 25.0, 6).is_at("d1", 15.0, 10).said.clear();
    line.is_at("d2", 15.0, 6);
    assert!(line.said.contains(&("entered d2 C".to_owned(), None, false)), "{:?}", line.said);
}

#[test]
fn a_threshold_that_was_passed_before_it_was_set_is_not_told_late() {
    let mut line = Timeline::new();
    line.is_at("d1", 5.0, 30).said(&[("entered d1 A", None)]);
    let mut zone = line.zone("a");
    zone.presence.dwell = vec![std::time::Duration::from_secs(10), std::time::Duration::from_secs(40)];
    line.put(zone_record(zone)).is_at("d1", 5.0, 5).said(&[]);
    line.is_at("d1", 5.0, 15).said(&[("dwelled d1 A", None)]);
}

#[test]
fn a_registry_that_was_prepared_from_another_one_is_refused() {
    let mut line = Timeline::new();
    let old = line.engine.tables();
    line.remove(Key::Zone(ZoneId::new("a").unwrap()));
    let prepared = old.prepare(Arc::clone(old.registry()));
    assert!(!line.engine.reconfigure(prepared, line.now()));
    assert!(line.engine.registry().zone(&ZoneId::new("a").unwrap()).is_none());
}

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Walk(u8, u8, u8),
    Zone(u8, u8, u8),
    NoZone(u8),
    Device(u8, bool),
    NoDevice(u8),
    Stranger(u8),
    NoStranger(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, 0..30_u8, 1..15_u8).prop_map(|(device, x, seconds)| Step::Walk(device, x, seconds)),
        1 => (0..4_u8, 0..25_u8, 3..10_u8).prop_map(|(zone, x, wide)| Step::Zone(zone, x, wide)),
        1 => (0..4_u8).prop_map(Step::NoZone),
        1 => (0..3_u8, any::<bool>()).prop_map(|(device, agrees)| Step::Device(device, agrees)),
        1 => (0..3_u8).prop_map(Step::NoDevice),
        1 => (0..3_u8).prop_map(Step::Stranger),
        1 => (0..3_u8).prop_map(Step::NoStranger),
    ]
}

fn device(id: &str, consent: bool) -> Record {
    Record::Device(Arc::new(Device {
        id: DeviceId::new(id).unwrap(),
        kind: crate::registry::DeviceKind::Customer,
        consent: Consent(if consent { vec![Consent::PRESENCE.to_owned()] } else { Vec::new() }),
        labels: crate::registry::Labels::new(),
    }))
}

impl Timeline {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Walk(device, x, seconds) => {
                self.is_at(&format!("w{device}"), f64::from(*x), i64::from(*seconds));
            }
            Step::Zone(zone, x, wide) => {
                let shape = between(f64::from(*x), f64::from(x + wide));
                self.put(zone_record(fixture::zone(&format!("z{zone}"), shape, fixture::settings())));
            }
            Step::NoZone(zone) => drop(self.remove(Key::Zone(ZoneId::new(&format!("z{zone}")).unwrap()))),
            Step::Device(id, agrees) => drop(self.put(device(&format!("w{id}"), *agrees))),
            Step::NoDevice(id) => drop(self.remove(Key::Device(DeviceId::new(&format!("w{id}")).unwrap()))),
            Step::Stranger(id) => {
                let beacon = Beacon {
                    id: BeaconId::new(&format!("s{id}")).unwrap(),
                    identity: Identity::Mac([0xc0, 1, 1, 1, 1, *id]),
                    device: None,
                    fixed: None,
                    measured_power: None,
                };
                self.put(Record::Beacon(Arc::new(beacon)));
            }
            Step::NoStranger(id) => drop(self.remove(Key::Beacon(BeaconId::new(&format!("s{id}")).unwrap()))),
        }
        // What is said of occupancy is what is open.
        for zone in self.engine.registry().zones() {
            let open = self.open.values().filter(|id| id.as_str() == zone.id.as_str()).count() as u32;
            let at = self.engine.registry().zone(&zone.id).unwrap();
            assert_eq!(self.engine.presence.occupancy(at), open, "{}", zone.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// `drain` and `take` look after the pairs and the counts.
    #[test]
    fn whatever_is_edited_every_visit_begins_once_and_ends_once(steps in proptest::collection::vec(step(), 1..60)) {
        let mut line = Timeline::new();
        for id in 0..3 {
            line.put(device(&format!("w{id}"), true));
        }
        steps.iter().for_each(|step| line.take(step));
        line.engine.stop(line.now());
        line.drain();
        prop_assert!(line.open.is_empty(), "{:?}", line.open);
    }

    #[test]
    fn who_registers_what_concerns_nobody_changes_nothing(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut plain, mut edited) = (Timeline::new(), Timeline::new());
        for line in [&mut plain, &mut edited] {
            for id in 0..3 {
                line.put(device(&format!("w{id}"), true));
            }
            line.put(zone_record(fixture::zone("z1", between(11.0, 19.0), fixture::settings())));
        }
        for step in &steps {
            match step {
                Step::Walk(..) => {
                    plain.take(step);
                    edited.take(step);
                }
                Step::Stranger(_) | Step::NoStranger(_) => edited.take(step),
                _ => {}
            }
        }
        prop_assert_eq!(plain.said, edited.said);
    }
}

fn rectangle() -> impl Strategy<Value = (u8, [f64; 4], f64)> {
    let corner = (0.0..26.0_f64, 0.0..8.0_f64, 0.1..9.0_f64, 0.1..5.0_f64);
    let margin = prop_oneof![Just(0.0), Just(0.7), Just(-0.4)];
    (0..6_u8, corner, margin).prop_map(|(id, (x, y, width, height), margin)| {
        (id, [x, y, (x + width).min(30.0), (y + height).min(10.0)], margin)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is worked out only where zones were drawn is what would be worked out for the whole site.
    #[test]
    fn zones_that_are_redrawn_one_after_the_other_are_where_they_would_be_in_a_site_made_anew(
        edits in proptest::collection::vec((proptest::collection::vec(rectangle(), 1..4), 0..12_u8), 1..8)
    ) {
        let plain = fixture::registry(&fixture::settings());
        let margins = crate::registry::KindMargins { asset: 1.1, ..plain.site().margins };
        let site = crate::registry::Site { margins, ..plain.site().clone() };
        let wider = Edit { put: vec![Record::Site(Box::new(site))], ..Edit::default() };
        let mut tables = Engine::new(Arc::new(plain.edited(&wider).unwrap()), "e").tables();
        for (zones, gone) in edits {
            let mut edit = Edit::default();
            for (id, [x0, y0, x1, y1], margin) in zones {
                let presence = crate::registry::PresenceSettings { margin, ..fixture::settings() };
                let shape = Shape::Polygons(vec![(fixture::rectangle(x0, y0, x1, y1), Vec::new())]);
                let zone = Record::Zone(Arc::new(fixture::zone(&format!("z{id}"), shape, presence)));
                edit.put.retain(|known| known.key() != zone.key());
                edit.put.push(zone);
            }
            let gone = Key::Zone(ZoneId::new(&format!("z{gone}")).unwrap());
            if edit.put.iter().all(|record| record.key() != gone) {
                edit.remove.push(gone);
            }
            let next = Arc::new(tables.registry.edited(&edit).unwrap());
            tables = tables.prepare(Arc::clone(&next)).tables().clone();
            let grid = crate::position::Grid::new(&next);
            let anew = CellShares::new(&ZoneTree::new(&next), &grid, &next.site().margins, next.zones().len());
            prop_assert_eq!(&*tables.shares, &anew);
        }
    }
}

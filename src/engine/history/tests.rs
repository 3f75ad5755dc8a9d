//! What is said of a device, along a timeline.

use super::*;
use crate::advert::{Address, Advertisement, AdvertisingData};
use crate::model::{LatLon, Point, Rssi};
use crate::position::PositionReport;
use crate::presence::ZonePhase;
use crate::registry::fixture;

struct Timeline {
    engine: Engine,
    history: History,
    now: Timestamp,
    events: Vec<EventExplanation>,
}

const START: Timestamp = Timestamp::from_millis(1_767_261_600_000);

fn timeline(device: u32) -> Timeline {
    let registry = Arc::new(fixture::registry(&fixture::settings()));
    let mut engine = Engine::new(Arc::clone(&registry), "e");
    engine.begin(START - Duration::from_secs(60));
    Timeline { engine, history: History::new(&registry, DeviceIndex(device)), now: START, events: Vec::new() }
}

impl Timeline {
    fn put(&mut self, input: Input) -> &mut Self {
        self.events.extend(self.history.handle(&mut self.engine, input, self.now));
        self
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = START.shifted((seconds * 1_000.0) as i64);
        self.events.extend(self.history.advance(&mut self.engine, self.now));
        self
    }

    /// Device `d{beacon}` is heard by a receiver.
    fn heard(&mut self, beacon: u8, receiver: &str, rssi: f64, time: Timestamp) -> &mut Self {
        let address = Address { bytes: [0xc0, 0, 0, 0, 0, beacon], random: Some(true) };
        self.put(Input::Advertisement(Advertisement {
            time,
            receiver: receiver.parse().unwrap(),
            address: Some(address),
            rssi: Rssi::new(rssi).unwrap(),
            data: AdvertisingData::default(),
        }))
    }

    /// The first device reports that it is at x metres along the middle of the store.
    fn reported(&mut self, x: f64) -> &mut Self {
        let at: LatLon = self.engine.registry().frame().to_geodetic(Point { x, y: 5.0 });
        let device = self.engine.registry().devices()[0].id.clone();
        self.put(Input::PositionReport(PositionReport { time: self.now, device, at, accuracy: 1.0, level: None }))
    }

    fn zone(&self, id: &str) -> Option<crate::engine::explain::ZoneExplanation> {
        let explained = self.engine.explain(DeviceIndex(0));
        explained.zones.into_iter().find(|zone| zone.zone.id.as_str() == id)
    }
}

#[test]
fn an_entry_is_explained_by_its_hold() {
    let mut timeline = timeline(0);
    for second in 0..=4 {
        timeline.at(f64::from(second)).reported(5.0);
    }
    let [site, zone] = &timeline.events[..] else { panic!("{:?}", timeline.events) };
    assert!(site.course.is_none() && site.words().contains("the first sighting"));
    assert_eq!((zone.event.observed_at, zone.event.decided_at), (START, START.shifted(3_000)));
    let course = zone.course.unwrap();
    assert_eq!(course.positions, 3, "what comes at the very end of the hold comes after it");
    assert!(course.least > 0.6 && course.greatest <= 1.0);
    assert_eq!((zone.heard[0].receiver.as_ref(), zone.heard[0].count), (None, 3));
    assert!(zone.words().contains("at least enter_probability 0.6 for enter_after 3s"), "{}", zone.words());
}

#[test]
fn each_phase_says_what_the_next_step_waits_for() {
    let mut timeline = timeline(0);
    assert_eq!(timeline.engine.explain(DeviceIndex(0)).obstacles().len(), 1, "nothing was taken in of it");
    timeline.at(0.0).reported(5.0).at(1.2);
    let words = |timeline: &Timeline, zone| timeline.zone(zone).unwrap().words(timeline.now);
    assert!(words(&timeline, "a").starts_with("entering since 1.2 s of 3 s: "), "{}", words(&timeline, "a"));
    assert!(timeline.zone("b").is_none(), "less than 1 %");
    timeline.at(2.0).reported(5.0).at(4.0).reported(5.0);
    assert!(words(&timeline, "a").contains("inside for 4.0 s: exit needs a probability below 0.3, it is 1"));
    assert!(words(&timeline, "site").contains("left only by silence"));
    timeline.at(10.0).reported(19.8).at(14.0);
    assert!(words(&timeline, "a").contains("leaving since 4.0 s of 10 s: 0.000 is below exit_probability 0.3"));
    let outside = words(&timeline, "b");
    assert!(outside.starts_with("outside: 0.4") && outside.ends_with("is below enter_probability 0.6"), "{outside}");
    let silence = timeline.engine.explain(DeviceIndex(0)).obstacles();
    assert_eq!(silence, ["silent for 4.0 s of lost_after 60 s"]);
    timeline.at(100.0);
    assert!(timeline.zone("site").is_none(), "it was lost");
    assert!(timeline.engine.explain(DeviceIndex(0)).obstacles()[0].starts_with("it was lost: silent for 1m30s"));
}

#[test]
fn what_was_heard_is_told_by_receiver_and_what_holds_by_name() {
    let mut timeline = timeline(0);
    for tenth in 0..40 {
        timeline.at(f64::from(tenth) / 10.0);
        let now = timeline.now;
        timeline.heard(1, "r1", -50.0, now).heard(1, "r2", -80.0 - f64::from(tenth % 2), now);
    }
    timeline.at(4.0).put(Input::Receiver("r1".parse().unwrap(), ReceiverState::Down)).at(30.0);
    let heard = timeline.history.lately();
    let told: Vec<(String, u64, f64)> =
        heard.iter().map(|by| (by.receiver.as_ref().unwrap().to_string(), by.count, by.mean)).collect();
    assert_eq!(told, [("r1".to_owned(), 40, -50.0), ("r2".to_owned(), 40, -80.5)]);
    assert!(matches!(timeline.zone("a").unwrap().phase, ZonePhase::Inside { .. }));
    let words = timeline.zone("a").unwrap().words(timeline.now);
    assert!(words.contains("; held until ") && words.ends_with("for r1 is down"), "{words}");
    // It is silent for long, and presence is held; what was heard last is still known when that ends.
    timeline.at(2_000.0);
    let lost = timeline.events.iter().find(|event| event.event.reason == Some(Reason::ReceiverLost)).unwrap();
    assert_eq!((lost.heard.len(), lost.outages.len()), (2, 1));
    assert_eq!(lost.outages[0].until, None);
}

#[test]
fn what_led_to_nothing_is_counted_by_cause() {
    let mut timeline = timeline(2);
    timeline.at(700.0);
    let now = timeline.now;
    timeline.heard(3, "r1", -60.0, now);
    timeline.heard(3, "elsewhere", -60.0, now);
    timeline.heard(3, "r1", -60.0, now - Duration::from_secs(601));
    // Somebody else's are not its.
    timeline.heard(1, "elsewhere", -60.0, now);
    let refused = timeline.history.refused();
    assert_eq!((refused.without_consent, refused.behind, refused.unknown_receivers.len()), (1, 1, 1));
    assert_eq!(refused.words().len(), 3, "{:?}", refused.words());
    let obstacles = timeline.engine.explain(DeviceIndex(2)).obstacles();
    assert!(obstacles[0].contains("has not given consent"), "{obstacles:?}");
}

#[test]
fn memory_is_bounded_and_says_where_it_was_too_small() {
    let mut timeline = timeline(0);
    for step in 0..30_000 {
        timeline.at(f64::from(step) / 1_000.0);
        let now = timeline.now;
        timeline.heard(1, "r1", -50.0, now);
    }
    assert!(timeline.history.sightings.len() <= MOST && timeline.history.courses.len() <= MOST);
    assert!(timeline.history.forgotten.is_some());
    let registry = Arc::clone(timeline.engine.registry());
    assert_eq!(History::new(&registry, DeviceIndex(0)).keep, Duration::from_secs(30));
}

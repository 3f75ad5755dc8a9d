//! Rules at work, through the whole engine.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{DeviceRecord, Engine, Input, Memory, Output, ReceiverState};
use crate::model::{DeviceId, LevelOrdinal, Point, Timestamp};
use crate::position::PositionReport;
use crate::registry::{Consent, Device, Edit, Key, Record, Registry, Rules, Trigger, TriggerSettings, fixture};
use crate::trigger::{Fired, Outcome};

/// Thursday 2026-01-01, 11:00 in Paris.
const START: &str = "2026-01-01T10:00:00Z";

fn rules(settings: Value, triggers: Value) -> Arc<Rules> {
    let settings: TriggerSettings = serde_json::from_value(settings).unwrap();
    let triggers: Vec<Arc<Trigger>> = triggers
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let mut rule = rule.clone();
            rule["name"] = rule["id"].clone();
            if rule["campaign"].is_null() {
                rule["campaign"] = rule["id"].clone();
            }
            Arc::new(serde_json::from_value(rule).unwrap())
        })
        .collect();
    Arc::new(Rules { settings: Arc::new(settings), triggers })
}

/// The fixture, whose customers agree to marketing.
fn registry(rules: Arc<Rules>) -> Registry {
    let plain = fixture::registry(&fixture::settings());
    let consent = Consent(vec!["marketing".to_owned(), "presence".to_owned()]);
    let devices = plain.devices().iter().map(|device| Device { consent: consent.clone(), ..device.as_ref().clone() });
    let mut zones: Vec<_> = plain.zones().iter().map(|zone| zone.as_ref().clone()).collect();
    for zone in zones.iter_mut().filter(|zone| !zone.id.is_site()) {
        zone.labels.insert("kind".to_owned(), "shelf".to_owned());
        zone.metadata.insert("link".to_owned(), json!(format!("app://{}", zone.id)));
    }
    let receivers = plain.receivers().iter().map(|receiver| receiver.as_ref().clone()).collect();
    let beacons = plain.beacons().iter().map(|beacon| beacon.as_ref().clone()).collect();
    let registry = Registry::new(plain.site().clone(), receivers, zones, beacons, devices.collect());
    registry.unwrap().with_rules(rules).unwrap()
}

struct Shop {
    engine: Engine,
    now: Timestamp,
    fired: Vec<Fired>,
    sequences: Vec<u64>,
    cards_ended: Vec<String>,
}

const A: f64 = 5.0;
const B: f64 = 25.0;
/// In no zone but the site.
const HALL: f64 = 15.0;

impl Shop {
    fn new(settings: Value, triggers: Value) -> Self {
        Self::of(Engine::new(Arc::new(registry(rules(settings, triggers))), "e"))
    }

    fn of(engine: Engine) -> Self {
        let now = START.parse().unwrap();
        Self { engine, now, fired: Vec::new(), sequences: Vec::new(), cards_ended: Vec::new() }
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Event(event) => self.sequences.push(event.sequence),
                Output::Trigger(fired) => {
                    self.sequences.push(fired.sequence);
                    self.fired.push(*fired);
                }
                Output::CardEnded(device, trigger) => self.cards_ended.push(format!("{device}/{trigger}")),
                _ => {}
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.engine.advance(self.now);
        self.drain();
    }

    /// The device is there for so many seconds.
    fn be(&mut self, device: &str, x: f64, seconds: u64) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            let at = self.engine.registry().frame().to_geodetic(Point { x, y: 5.0 });
            let device = DeviceId::new(device).unwrap();
            let level = Some(LevelOrdinal(0));
            let report = PositionReport { time: self.now, device, at, accuracy: 0.8, level };
            self.engine.handle(Input::PositionReport(report), self.now);
            self.drain();
        }
    }

    /// A visit to these places, and gone.
    fn visit(&mut self, device: &str, places: &[f64]) {
        for place in places {
            self.be(device, *place, 20);
        }
        self.wait(120);
    }

    fn said(&mut self) -> Vec<String> {
        let fired = std::mem::take(&mut self.fired);
        let who = |fired: &Fired| fired.device.as_ref().map_or("-".to_owned(), |device| device.id.to_string());
        fired.iter().map(|fired| format!("{} {}", fired.rule.id, who(fired))).collect()
    }

    fn attributes(&mut self, device: &str, said: Value) {
        let Value::Object(said) = said else { panic!("an object") };
        self.engine.handle(Input::Attributes(DeviceId::new(device).unwrap(), said), self.now);
        self.drain();
    }

    fn decisions(&self, device: &str) -> Vec<String> {
        let at = self.engine.registry().device(&DeviceId::new(device).unwrap()).unwrap();
        let history = self.engine.history(at).unwrap();
        let words = |decision: &crate::trigger::Decision| {
            let detail = decision.detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
            format!("{} {}{detail} x{}", decision.trigger, decision.outcome.as_str(), decision.times)
        };
        history.decisions().map(words).collect()
    }

    /// As after a restart, so many seconds later.
    fn restart(mut self, seconds: u64) -> Self {
        let changed = self.engine.take_changed();
        let json = serde_json::to_string(&changed).unwrap();
        let devices: Vec<DeviceRecord> = serde_json::from_str(&json).unwrap();
        assert_eq!(changed, devices);
        let site = self.engine.take_site_changed().cloned().unwrap_or_default();
        let (sequence, alive_at) = (self.engine.sequence(), self.now);
        let began = START.parse().unwrap();
        let mut next = Self { engine: Engine::new(Arc::clone(self.engine.registry()), "e"), ..self };
        next.now = next.now + Duration::from_secs(seconds);
        next.engine.restore(Memory { began, sequence, alive_at, devices, site }, next.now);
        next.drain();
        next
    }
}

#[test]
fn entered_exited_and_dwelled_fire_once_a_visit_and_say_what_they_know() {
    let mut shop = Shop::new(
        json!({}),
        json!([
            {"id": "in", "when": {"entered": "a"},
             "then": {"channels": ["push"], "priority": 7, "data": {"link": "{{ zone.metadata.link }}?n={{ visit.count }}"}}},
            {"id": "out", "when": {"exited": ["a", "b"]}},
            {"id": "long", "when": {"dwelled": "30s", "in": "kind=shelf"}},
            {"id": "off", "enabled": false, "when": {"entered": "*"}},
        ]),
    );
    shop.be("d1", A, 20);
    let welcome = shop.fired[0].clone();
    assert_eq!(shop.said(), ["in d1"]);
    assert_eq!(welcome.data, json!({"link": "app://a?n=1"}));
    assert_eq!(welcome.facts["zone"]["id"], "a");
    assert_eq!(welcome.facts["visit"]["count"], 1);
    assert_eq!(welcome.facts["local"]["weekday"], "thursday");
    assert_eq!(welcome.facts["local"]["hour"], 11);
    assert_eq!(welcome.channels, ["push"]);
    assert_eq!(welcome.cause.len(), 1);
    assert!(welcome.deduplication_key.starts_with("test:in:d1:"), "{}", welcome.deduplication_key);
    assert_eq!(welcome.expires_at, welcome.decided_at + Duration::from_secs(900));
    shop.be("d1", A, 30);
    assert_eq!(shop.said(), ["long d1"]);
    shop.be("d1", HALL, 30);
    assert_eq!(shop.said(), ["out d1"]);
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), ["in d1"]);
    shop.wait(120);
    assert_eq!(shop.said(), ["out d1"]);
    // Events and triggers share their numbers, in order and without a gap.
    assert!(shop.sequences.iter().copied().eq(0..shop.sequences.len() as u64), "{:?}", shop.sequences);
}

#[test]
fn first_visits_and_returns_count_what_is_remembered() {
    let mut shop = Shop::new(
        json!({}),
        json!([
            {"id": "first", "when": {"first_visit": "site"}},
            {"id": "shelf", "when": {"first_visit": "kind=shelf"}},
            {"id": "back", "when": {"returned": "site", "after": "1h"},
             "then": {"data": {"away": "{{ event.away_s > 3600 }}"}}},
        ]),
    );
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), ["first d1", "shelf d1"]);
    shop.visit("d1", &[B]);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.wait(2 * 3_600);
    shop.visit("d1", &[A]);
    assert_eq!(shop.fired[0].data, json!({"away": true}));
    assert_eq!(shop.said(), ["back d1"]);
    shop.visit("d2", &[B]);
    assert_eq!(shop.said(), ["first d2", "shelf d2"]);
}

#[test]
fn sequences_missed_places_and_time_in_several_places() {
    let mut shop = Shop::new(
        json!({}),
        json!([
            {"id": "both", "when": {"sequence": ["a", "b"], "within": "10m"}},
            {"id": "left", "when": {"missed": "b", "was_in": "a"}},
            {"id": "browsed", "when": {"dwelled": "40s", "in": "kind=shelf", "total": true}},
        ]),
    );
    shop.visit("d1", &[A, HALL]);
    assert_eq!(shop.said(), ["left d1"]);
    shop.visit("d1", &[A, HALL, B, HALL]);
    assert_eq!(shop.fired[0].cause.len(), 2);
    assert_eq!(shop.said(), ["both d1"]);
    // 20 s here, 30 s there: together it is long enough.
    shop.be("d2", B, 25);
    shop.be("d2", HALL, 20);
    shop.be("d2", A, 40);
    assert_eq!(shop.said(), ["browsed d2"]);
    shop.be("d2", HALL, 20);
    shop.be("d2", A, 60);
    assert_eq!(shop.said(), Vec::<String>::new());
}

#[test]
fn who_stays_away_is_noticed_but_not_while_nobody_looks() {
    let rules = json!([{"id": "miss", "when": {"absent": "2h"}, "unless": {"quiet_hours": false}}]);
    let mut shop = Shop::new(json!({}), rules.clone());
    shop.visit("d1", &[A]);
    shop.wait(3_600);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.wait(3_600);
    assert_eq!(shop.said(), ["miss d1"]);
    shop.wait(86_400);
    assert_eq!(shop.said(), Vec::<String>::new());
    // The gateway is off for three hours of the absence.
    shop.visit("d1", &[A]);
    shop.wait(3_600);
    let mut shop = shop.restart(3 * 3_600);
    shop.wait(1_800);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.wait(2_000);
    assert_eq!(shop.said(), ["miss d1"]);
    // No receiver hears for three hours.
    shop.visit("d2", &[A]);
    for (state, then) in [(ReceiverState::Down, 3 * 3_600), (ReceiverState::Up, 6_000)] {
        for receiver in ["r1", "r2"] {
            shop.engine.handle(Input::Receiver(receiver.parse().unwrap(), state), shop.now);
        }
        shop.wait(then);
        assert_eq!(shop.said(), Vec::<String>::new(), "{state:?}");
    }
    shop.wait(1_500);
    assert_eq!(shop.said(), ["miss d2"]);
}

#[test]
fn an_absence_is_unusual_for_who_comes_every_day_and_waits_for_the_morning() {
    let mut shop = Shop::new(
        json!({"quiet_hours": {"monday": ["22:00-08:00"], "tuesday": ["22:00-08:00"], "wednesday": ["22:00-08:00"],
               "thursday": ["22:00-08:00"], "friday": ["22:00-08:00"], "saturday": ["22:00-08:00"], "sunday": ["22:00-08:00"]}}),
        json!([{"id": "miss", "when": {"absent": "usual", "factor": 1.5, "min_visits": 4}}]),
    );
    for _ in 0..3 {
        shop.visit("d1", &[A]);
        shop.wait(86_400 - 140);
    }
    // Three visits are too few to know.
    shop.wait(86_400);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.visit("d1", &[A]);
    shop.wait(86_400);
    assert_eq!(shop.said(), Vec::<String>::new());
    // A day and a half later it is eleven at night; it is said at eight.
    shop.wait(86_400);
    let said = shop.fired[0].clone();
    assert_eq!(shop.said(), ["miss d1"]);
    assert_eq!(said.facts["local"]["time"], "08:00");
    assert!(shop.decisions("d1").contains(&"miss quiet_hours: waits for the hours x1".to_owned()));
}

#[test]
fn who_comes_near_is_noticed_once_until_far_again() {
    let mut shop = Shop::new(json!({}), json!([{"id": "near", "when": {"approach": "near", "to_zone": "a"}}]));
    shop.be("d1", 12.0, 5);
    shop.be("d1", 8.0, 5);
    let near = shop.fired[0].clone();
    assert_eq!(shop.said(), ["near d1"]);
    assert_eq!(near.facts["event"]["distance_m"], 3.0);
    // Hysteresis: not yet far.
    shop.be("d1", 10.5, 5);
    shop.be("d1", 8.0, 5);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.be("d1", 12.0, 5);
    shop.be("d1", 8.0, 5);
    assert_eq!(shop.said(), ["near d1"]);
}

#[test]
fn occupancy_fires_when_a_bound_is_passed_and_again_after_it_was_back() {
    let mut shop = Shop::new(
        json!({}),
        json!([{"id": "full", "when": {"occupancy": "a", "above": 1, "until": 0}},
               {"id": "calm", "when": {"occupancy": "a", "below": 1, "until": 2}}]),
    );
    for _ in 0..2 {
        shop.be("d1", A, 6);
        assert_eq!(shop.said(), Vec::<String>::new());
        for _ in 0..6 {
            shop.be("d2", A, 1);
            shop.be("d1", A, 1);
        }
        assert_eq!(shop.fired[0].facts["event"]["occupancy"], 2);
        assert!(shop.fired[0].device.is_none());
        assert_eq!(shop.said(), ["full -"]);
        shop.wait(200);
        assert_eq!(shop.said(), ["calm -"]);
    }
}

#[test]
fn caps_cool_downs_and_campaigns_hold_back_and_say_so() {
    let mut shop = Shop::new(
        json!({"caps": [{"cap": "3 per day"}, {"cap": "1 per day", "campaign": "sale"}]}),
        json!([
            {"id": "one", "campaign": "sale", "when": {"entered": "a"}},
            {"id": "two", "campaign": "sale", "when": {"entered": "a"}},
            {"id": "three", "when": {"entered": "a"}, "unless": {"caps": ["1 per visit"], "cool_down": "5m"}},
            {"id": "four", "when": {"entered": "b"}, "unless": {"site_caps": ["1 ever"]}},
        ]),
    );
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), ["one d1", "three d1"]);
    shop.be("d1", HALL, 30);
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), Vec::<String>::new());
    assert_eq!(
        shop.decisions("d1"),
        ["one fired x1", "two shared_cap: sale x2", "three fired x1", "one shared_cap: sale x1", "three cool_down x1"]
    );
    shop.wait(400);
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), ["three d1"]);
    shop.wait(400);
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), Vec::<String>::new());
    assert!(shop.decisions("d1").contains(&"three shared_cap x1".to_owned()));
    shop.be("d1", B, 30);
    shop.be("d2", B, 10);
    assert_eq!(shop.said(), ["four d2"]);
    shop.wait(86_400);
    shop.visit("d1", &[B]);
    assert!(shop.decisions("d1").contains(&"four site_cap x1".to_owned()), "{:?}", shop.decisions("d1"));
    let count = |rule: &str, outcome| shop.engine.trigger_counts()[rule].get(&outcome).copied();
    assert_eq!(count("one", Outcome::Fired), Some(1));
    assert_eq!(count("four", Outcome::SiteCap), Some(1));
}

#[test]
fn conditions_see_what_the_back_end_says_and_missing_facts_are_named() {
    let mut shop = Shop::new(
        json!({"attributes": {"cart": "number"}}),
        json!([{"id": "cart", "when": {"entered": "a"}, "if": "attributes.cart > 50",
                "then": {"data": {"cart": "{{ attributes.cart }}"}}}]),
    );
    shop.be("d1", A, 10);
    assert_eq!(shop.decisions("d1"), ["cart missing: \"cart\" is not known x1"]);
    shop.attributes("d1", json!({"cart": "much", "other": 1}));
    shop.be("d1", HALL, 20);
    shop.be("d1", A, 10);
    assert_eq!(shop.decisions("d1"), ["cart missing: \"cart\" is not known x2"]);
    shop.attributes("d1", json!({"cart": 10}));
    shop.be("d1", HALL, 20);
    shop.be("d1", A, 10);
    shop.attributes("d1", json!({"cart": 62.5}));
    shop.be("d1", HALL, 20);
    assert_eq!(shop.decisions("d1").last().unwrap(), "cart condition x1");
    let mut shop = shop.restart(5);
    shop.be("d1", A, 10);
    assert_eq!(shop.fired[0].data, json!({"cart": 62.5}));
}

#[test]
fn consent_is_by_purpose_and_channel_and_some_are_held_out() {
    let rules = rules(
        json!({}),
        json!([
            {"id": "all", "when": {"entered": "a"}, "then": {"channels": ["push", "sms"]}},
            {"id": "any", "when": {"entered": "a"}},
            {"id": "sms", "when": {"entered": "a"}, "then": {"channels": ["sms"]}},
            {"id": "ops", "when": {"entered": "a"}, "unless": {"consent": ""}},
            {"id": "half", "when": {"entered": "b"}, "unless": {"holdout": 50, "consent": ""}},
        ]),
    );
    let registry = registry(rules);
    let consent = |id: &str, purposes: &[&str]| {
        let device = registry.devices()[registry.device(&id.parse().unwrap()).unwrap().get()].as_ref().clone();
        let consent = Consent(purposes.iter().map(|purpose| (*purpose).to_owned()).collect());
        Record::Device(Arc::new(Device { consent, ..device }))
    };
    let mut put = vec![consent("d1", &["marketing:push", "presence"]), consent("d2", &["presence"])];
    for number in 0..200 {
        let id = format!("x{number}").parse().unwrap();
        let consent = Consent(vec!["presence".to_owned()]);
        put.push(Record::Device(Arc::new(Device { id, consent, ..registry.devices()[0].as_ref().clone() })));
    }
    let registry = registry.edited(&Edit { put, ..Edit::default() }).unwrap();
    let mut shop = Shop::of(Engine::new(Arc::new(registry), "e"));
    shop.be("d1", A, 10);
    let channels: Vec<Vec<String>> = shop.fired.iter().map(|fired| fired.channels.clone()).collect();
    assert_eq!(shop.said(), ["all d1", "any d1", "ops d1"]);
    assert_eq!(channels, [vec!["push".to_owned()], vec!["push".to_owned()], vec![]]);
    shop.be("d2", A, 10);
    assert_eq!(shop.said(), ["ops d2"]);
    assert_eq!(shop.decisions("d2")[0], "all no_consent x1");
    for _ in 0..8 {
        for number in 0..200 {
            shop.be(&format!("x{number}"), B, 1);
            shop.now = Timestamp::from_millis(shop.now.as_millis() - 995);
        }
    }
    let got = shop.said().len();
    assert!((70..130).contains(&got), "{got} of 200");
}

#[test]
fn cards_end_with_the_visit_and_with_their_rule() {
    let mut shop = Shop::new(
        json!({}),
        json!([{"id": "card", "when": {"entered": "a"}, "then": {"card": true}},
               {"id": "other", "when": {"entered": "a"}, "then": {"card": true}}]),
    );
    shop.be("d1", A, 10);
    assert_eq!(shop.said(), ["card d1", "other d1"]);
    let edit = Edit { remove: vec![Key::Trigger("other".parse().unwrap())], ..Edit::default() };
    let next = Arc::new(shop.engine.registry().edited(&edit).unwrap());
    let prepared = shop.engine.tables().prepare(next);
    assert!(shop.engine.reconfigure(prepared, shop.now));
    shop.drain();
    assert_eq!(shop.cards_ended, ["d1/other"]);
    shop.wait(120);
    assert_eq!(shop.cards_ended, ["d1/other", "d1/card"]);
}

#[test]
fn visits_end_for_rules_when_the_last_rule_goes() {
    let mut shop = Shop::new(json!({}), json!([{"id": "back", "when": {"returned": "a", "after": "1h"}}]));
    shop.be("d1", A, 20);
    let rules = Arc::clone(shop.engine.registry().rules());
    for enabled in [false, true] {
        let rule = Trigger { enabled, ..rules.triggers[0].as_ref().clone() };
        let edit = Edit { put: vec![Record::Trigger(Arc::new(rule))], ..Edit::default() };
        let next = Arc::new(shop.engine.registry().edited(&edit).unwrap());
        let prepared = shop.engine.tables().prepare(next);
        assert!(shop.engine.reconfigure(prepared, shop.now));
        shop.wait(4_000);
    }
    shop.be("d1", A, 20);
    assert_eq!(shop.said(), ["back d1"]);
}

#[test]
fn what_is_old_is_forgotten() {
    let mut shop = Shop::new(
        json!({"retention": "2d"}),
        json!([{"id": "first", "when": {"first_visit": "site"}, "unless": {"caps": ["1 ever"]}}]),
    );
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), ["first d1"]);
    shop.wait(86_400);
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), Vec::<String>::new());
    shop.wait(4 * 86_400);
    let d1 = shop.engine.registry().device(&"d1".parse().unwrap()).unwrap();
    assert!(shop.engine.history(d1).is_none());
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), ["first d1"]);
}

#[test]
fn the_same_input_gives_the_same_triggers_whether_restarted_or_not() {
    let rules = json!([
        {"id": "in", "when": {"entered": "*"}, "unless": {"caps": ["2 per day"]}},
        {"id": "seq", "when": {"sequence": ["a", "b"], "within": "1h"}},
    ]);
    let play = |restarts: bool| {
        let mut shop = Shop::new(json!({}), rules.clone());
        shop.be("d1", A, 10);
        let mut shop = if restarts { shop.restart(0) } else { shop };
        shop.be("d1", HALL, 20);
        shop.be("d1", B, 10);
        let mut shop = if restarts { shop.restart(0) } else { shop };
        shop.be("d1", HALL, 20);
        shop.be("d1", A, 10);
        let ids: Vec<String> = shop.fired.iter().map(|f| format!("{} {} {}", f.id, f.sequence, f.rule.id)).collect();
        ids
    };
    let ids = play(false);
    assert_eq!(ids.len(), 3);
    assert_eq!(ids, play(false));
    assert_eq!(ids, play(true));
}

#[test]
fn who_is_lost_within_a_zone_has_left_it_in_the_same_visit() {
    let mut shop = Shop::new(
        json!({}),
        json!([
            {"id": "bye", "when": {"exited": "a"}, "unless": {"caps": ["1 per visit"]}, "then": {"card": true}},
            {"id": "out", "when": {"exited": "site"}},
        ]),
    );
    shop.be("d1", A, 20);
    shop.be("d1", HALL, 20);
    assert_eq!(shop.said(), ["bye d1"]);
    shop.be("d1", A, 20);
    shop.wait(120);
    let out = shop.fired[0].clone();
    assert_eq!(out.facts["site_visit"]["duration_s"], out.facts["visit"]["duration_s"]);
    assert_eq!(shop.said(), ["out d1"]);
    assert_eq!(shop.cards_ended, ["d1/bye"]);
    // Lost in the zone: the site is left first, and no card stays.
    shop.be("d1", A, 20);
    shop.wait(120);
    assert_eq!(shop.said(), ["out d1", "bye d1"]);
    assert_eq!(shop.cards_ended, ["d1/bye", "d1/bye"]);
}

#[test]
fn what_is_usual_goes_by_visits_not_by_steps_from_shelf_to_shelf() {
    let mut shop = Shop::new(json!({}), json!([{"id": "miss", "when": {"absent": "usual", "from": "kind=shelf"}}]));
    for _ in 0..3 {
        shop.be("d1", A, 20);
        shop.be("d1", B, 20);
    }
    shop.visit("d1", &[A, HALL]);
    assert_eq!(shop.said(), Vec::<String>::new());
}

#[test]
fn a_rule_that_is_switched_off_for_a_while_remembers_when_it_fired() {
    let mut shop = Shop::new(
        json!({}),
        json!([{"id": "once", "when": {"entered": "a"}, "unless": {"caps": ["1 ever"]}}, {"id": "other", "when": {"entered": "b"}}]),
    );
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), ["once d1"]);
    for enabled in [false, true] {
        let rules = Arc::clone(shop.engine.registry().rules());
        let rule = rules.triggers.iter().find(|rule| rule.id.as_str() == "once").unwrap();
        let put = vec![Record::Trigger(Arc::new(Trigger { enabled, ..rule.as_ref().clone() }))];
        let next = Arc::new(shop.engine.registry().edited(&Edit { put, ..Edit::default() }).unwrap());
        let prepared = shop.engine.tables().prepare(next);
        assert!(shop.engine.reconfigure(prepared, shop.now));
        shop.wait(2 * 3_600);
    }
    shop.visit("d1", &[A]);
    assert_eq!(shop.said(), Vec::<String>::new());
}

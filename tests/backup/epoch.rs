//! What a new epoch means for subscribers, for rules, and for what waited.

use std::collections::BTreeSet;

use beaconfence::model::{SiteId, Timestamp};
use beaconfence::store::{Limits, Opened, Options, Store};
use serde_json::Value;

use crate::gateway::Gateway;

fn open(gateway: &Gateway) -> Opened {
    let limits = Limits {
        max_age: std::time::Duration::from_secs(86_400),
        max_bytes: 1 << 30,
        tail_age: std::time::Duration::from_secs(86_400),
        tail_bytes: 1 << 30,
        memory_bytes: 1 << 20,
    };
    let options = Options {
        dir: gateway.data(),
        site: SiteId::new("market-hall").unwrap(),
        limits,
        dictionary: Vec::new(),
        now: Timestamp::from_millis(0),
    };
    Store::open(options).unwrap()
}

/// The events and triggers of a store, and its epoch.
fn published(gateway: &Gateway) -> (String, Vec<Value>) {
    let opened = open(gateway);
    let page = opened.store.page(0, u64::MAX, 1_000);
    let events = page.entries.iter().map(|entry| serde_json::from_slice(&entry.payload).unwrap()).collect();
    assert_eq!(opened.store.close(std::time::Duration::from_secs(5)), 0);
    (opened.head.epoch, events)
}

fn of_kind<'v>(events: &'v [Value], kind: &str) -> Vec<&'v Value> {
    events.iter().filter(|event| event["type"].as_str().unwrap().ends_with(kind)).collect()
}

fn visits_to_site(record: &Value) -> u64 {
    record["rules"]["zones"]["site"]["count"].as_u64().unwrap()
}

#[test]
fn what_is_put_back_begins_a_new_epoch_and_rules_remember() {
    let mut gateway = Gateway::new();
    gateway.start();
    gateway.feed();
    // Three have entered the store, and the two who have agreed to it have been greeted.
    gateway.wait_for_sequence(5);
    gateway.out(&["backup", "--output", "one.zip"]);
    // After the backup more is said under the old epoch: a shopper is removed, and their visit ends.
    let before_removal = gateway.sequence();
    gateway.out(&["device", "remove", "--with-beacons", "shopper-03"]);
    gateway.wait_for_sequence(before_removal + 1);
    gateway.stop();
    let (old_epoch, old) = published(&gateway);
    assert_eq!(of_kind(&old, "trigger.fired").len(), 2);

    let mut other = Gateway::beside(&gateway, "other");
    let out = other.out(&["restore", "one.zip", "--config", &other.settings]);
    assert!(out.contains(&format!("{old_epoch} ended at sequence ")), "{out}");
    assert!(out.contains("that waited will not be sent"), "{out}");
    let opened = open(&other);
    assert!(!opened.is_new && opened.set_aside.is_none());
    assert_ne!(opened.head.epoch, old_epoch);
    assert_eq!((opened.head.sequence, opened.waiting.len()), (0, 0), "what waited is dropped");
    assert_eq!(opened.store.page(0, u64::MAX, 10).entries, [], "nothing of the old epoch can be asked for");
    let status = opened.store.status();
    assert_eq!((status.acknowledged, status.dropped_full), (0, 0), "counters are of the epoch");
    let records: Vec<Value> =
        opened.devices.iter().map(|(_, record)| serde_json::from_slice(record).unwrap()).collect();
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(record.get("visits"), None, "{record}");
        assert_eq!(record["rules"]["zones"]["site"].get("open"), None, "{record}");
        assert_eq!(visits_to_site(record), 1, "{record}");
    }
    let greeted = records.iter().filter(|record| !record["rules"]["fired"]["hello"].is_null()).count();
    assert_eq!(greeted, 2, "who was greeted is remembered: {records:?}");
    assert_eq!(opened.store.close(std::time::Duration::from_secs(5)), 0);

    other.start();
    other.feed();
    other.wait_for_sequence(3);
    std::thread::sleep(std::time::Duration::from_secs(1));
    other.stop();
    let (epoch, new) = published(&other);
    assert_ne!(epoch, old_epoch);
    let entered: Vec<&Value> =
        of_kind(&new, "presence.entered").into_iter().filter(|event| event["data"]["zone"]["id"] == "site").collect();
    assert_eq!(entered.len(), 3, "who is there enters anew");
    assert!(entered.iter().all(|event| event["data"]["initial"] == true), "{entered:?}");
    assert!(new.iter().all(|event| event["data"]["epoch"] == epoch.as_str()));
    let sequences: Vec<u64> = new.iter().map(|event| event["data"]["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..new.len() as u64).collect::<Vec<_>>());
    // The cap of one in thirty days holds: nobody is greeted again.
    assert_eq!(of_kind(&new, "trigger.fired").len(), 0, "{new:?}");
    assert_eq!(of_kind(&new, "presence.exited").len(), 0, "no visit of the old epoch is ended in the new one");
    let ids = |events: &[Value], member: &str| -> BTreeSet<String> {
        events.iter().filter_map(|event| event.pointer(member)?.as_str().map(str::to_owned)).collect()
    };
    for member in ["/id", "/data/visit_id"] {
        let (old, new) = (ids(&old, member), ids(&new, member));
        assert!(!old.is_empty() && !new.is_empty());
        assert!(old.is_disjoint(&new), "{member} comes twice");
    }
    let opened = open(&other);
    let records: Vec<Value> =
        opened.devices.iter().map(|(_, record)| serde_json::from_slice(record).unwrap()).collect();
    assert!(records.iter().all(|record| visits_to_site(record) == 2), "visits are counted on: {records:?}");
}

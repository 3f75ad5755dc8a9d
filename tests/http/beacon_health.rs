//! How beacons fare.

use std::sync::Arc;
use std::time::Duration;

use beaconfence::advert::{AdvertisingData, full_uuid};
use beaconfence::health::{Beacons, Heard};
use beaconfence::model::{Rssi, Timestamp};
use beaconfence::registry::ReceiverIndex;
use serde_json::Value;

use crate::api::{Api, NOW};
use crate::document::validator;

/// An API whose `shelf-wine` and `phone-01` were heard; the former has a low battery.
async fn heard() -> Api {
    let api = Api::new().await;
    let registry = api.services.registrar.view().registry;
    let mut beacons = Beacons::new(Arc::clone(&registry));
    let mut now = Timestamp::from_millis(NOW);
    for _ in 0..4 {
        for (id, percent) in [("shelf-wine", 4), ("phone-01", 90)] {
            let beacon = registry.beacon(&id.parse().unwrap()).unwrap();
            let data = AdvertisingData {
                service_data: vec![(full_uuid(0x180f), vec![percent])],
                ..AdvertisingData::default()
            };
            let heard = Heard { time: now, address: None, data: &data };
            beacons.heard(beacon, ReceiverIndex(0), Rssi::new(-60.0).unwrap(), &heard, now);
        }
        now = now + Duration::from_secs(60);
    }
    for (id, health) in beacons.take_changed() {
        api.services.live.beacon(&id, health.map(|health| Arc::new(*health)));
    }
    api
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().unwrap().iter().map(|item| item["beacon"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn beacons_are_listed_by_state_and_counted() {
    let api = heard().await;
    let get =
        async |query: &str| api.call("GET", &format!("/api/v1/beacon-health{query}"), &api.viewer, "").await.json();
    let all = get("?limit=1000").await;
    assert!(validator("BeaconHealthList").is_valid(&all), "{all}");
    let count = |state: &str| all["counts"][state].as_u64().unwrap();
    assert_eq!((count("low_battery"), count("ok"), count("never_heard"), count("missing")), (1, 1, 3, 0));
    assert_eq!(all["total"].as_u64().unwrap(), 5 + count("not_heard"));
    assert_eq!(ids(&get("?state=problem").await), ["shelf-wine"]);
    assert_eq!(ids(&get("?state=never_heard").await), ["shelf-bakery", "shelf-cafe", "shelf-toys"]);
    assert_eq!(ids(&get("?state=not_heard&q=SHOPPER-02").await), ["phone-02"]);
    // A page at a time.
    let first = get("?state=never_heard&limit=2").await;
    assert_eq!((ids(&first), &first["total"]), (vec!["shelf-bakery", "shelf-cafe"], &3.into()));
    let next = format!("?state=never_heard&limit=2&cursor={}", first["next"].as_str().unwrap());
    let last = get(&next).await;
    assert_eq!((ids(&last), &last["next"]), (vec!["shelf-toys"], &Value::Null));
}

#[tokio::test]
async fn one_beacon_says_how_it_fares() {
    let api = heard().await;
    let get = async |id: &str| api.call("GET", &format!("/api/v1/beacons/{id}/health"), &api.viewer, "").await;
    let low = get("shelf-wine").await.json();
    assert!(validator("BeaconHealth").is_valid(&low), "{low}");
    assert_eq!(
        (&low["state"], &low["battery"]["percent"], &low["level"]),
        (&"low_battery".into(), &4.into(), &0.into())
    );
    assert_eq!(low["since"], "2026-01-01T10:02:00.000Z");
    let carried = get("phone-01").await.json();
    assert_eq!((&carried["state"], &carried["device"]), (&"ok".into(), &"shopper-01".into()));
    let unheard = get("shelf-toys").await.json();
    assert!(validator("BeaconHealth").is_valid(&unheard), "{unheard}");
    assert_eq!((&unheard["state"], &unheard["last_heard"]), (&"never_heard".into(), &Value::Null));
    assert_eq!(get("nobody").await.problem(), "not-found");
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused() {
    let api = heard().await;
    for query in ["?state=tired", "?limit=0", "?cursor=x", "?colour=red"] {
        let answer = api.call("GET", &format!("/api/v1/beacon-health{query}"), &api.viewer, "").await;
        assert_eq!(answer.problem(), "malformed", "{query}");
    }
    assert_eq!(api.with("GET", "/api/v1/beacon-health", &[], "").await.problem(), "unauthenticated");
}

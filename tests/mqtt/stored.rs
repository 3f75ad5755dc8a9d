//! A publisher in front of a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use beaconfence::config::MqttVersion;
use beaconfence::model::Timestamp;
use beaconfence::store::{Class, Dropped, Settled};

use crate::helpers::{BOTH, EVENTS, offline, receive_all, wait};
use crate::mqtt_support::mosquitto::{Mosquitto, Subscriber, config, eventually, free_port};
use crate::mqtt_support::shelf::{Shelf, waiting};

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    beaconfence::clock::wall_clock()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_at_the_start_is_read_from_the_store_and_each_is_settled() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &[]);
        let shelf = Arc::new(Shelf::default());
        let old = now() - 60 * MINUTE;
        let backlog: Vec<_> = (0..3_000).map(|at| shelf.add(at, 50, Class::Event, old)).collect();
        let publisher = shelf.publisher(&broker.config(version), 3_000);
        shelf.remove(2_999);
        publisher.restore(backlog.iter().map(waiting).collect());
        assert!(publisher.status().oldest_s >= 3_600);
        receive_all(&subscriber, 2_999);
        let status = wait(&publisher, "the acknowledgements", |status| status.queued == 0);
        assert_eq!((status.acknowledged, status.dropped, status.dropped_damaged), (2_999, 1, 1), "{status:?}");
        let settled = eventually("the store knows", || Some(shelf.settled()).filter(|settled| settled.len() == 3_000));
        assert_eq!(settled[&2_999], Settled::Dropped(Dropped::Damaged));
        assert!((0..2_999).all(|at| settled[&at] == Settled::Acknowledged));
        assert_eq!(status.oldest_s, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_do_not_wait_behind_a_backlog() {
    let broker = Mosquitto::open();
    let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &[]);
    let shelf = Arc::new(Shelf::default());
    let old = now() - 60 * MINUTE;
    let backlog: Vec<_> = (0..30_000).map(|at| shelf.add(at, 1_000, Class::Event, old)).collect();
    let publisher = shelf.publisher(&broker.config(MqttVersion::V5), 30_000);
    publisher.restore(backlog.iter().map(waiting).collect());
    let (mut sequence, mut live, mut longest) = (30_000_u64, 0, 0);
    for received in 0_u64..12_000 {
        if received % 100 == 0 {
            // Of a device of its own.
            publisher.intake().queue(vec![shelf.add(sequence, u64::MAX, Class::Event, now())]);
            sequence += 1;
        }
        let event: serde_json::Value = serde_json::from_str(&subscriber.next().payload).unwrap();
        let got = event["data"]["sequence"].as_u64().unwrap();
        if got >= 30_000 {
            live += 1;
            longest = longest.max(received - 100 * (got - 30_000));
        }
    }
    // What was under way already, at the broker and in the subscriber's pipe, comes before it.
    println!("{live} live events; the slowest came after {longest} of the backlog");
    assert!(live > 60, "{live}");
    assert!(publisher.status().queued > 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_waits_for_somebody_to_hear_it_and_is_never_late() {
    let broker = Mosquitto::open();
    let shelf = Arc::new(Shelf::default());
    let publisher = shelf.publisher(&broker.config(MqttVersion::V5), 0);
    let trigger = |after: Duration| Class::Trigger { expires: now() + after };
    // The order of the device: a trigger, one that has expired, an event.
    publisher.queue(vec![
        shelf.add(0, 1, trigger(2 * MINUTE), now()),
        shelf.add(1, 1, Class::Trigger { expires: now() }, now()),
        shelf.add(2, 1, Class::Event, now()),
    ]);
    let status = wait(&publisher, "the trigger waits", |status| status.waiting_unheard == 1 && status.queued == 1);
    assert_eq!((status.acknowledged, status.unheard, status.dropped_expired), (1, 1, 1), "{status:?}");
    let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &["-V", "mqttv5"]);
    let line = subscriber.next();
    assert!(line.payload.contains("\"sequence\":0,"), "{line:?}");
    let left: u32 = line.expiry.parse().unwrap();
    assert!((60..=120).contains(&left), "{left}");
    wait(&publisher, "the end", |status| status.queued == 0);
    let settled = eventually("the store knows", || Some(shelf.settled()).filter(|settled| settled.len() == 3));
    let expected = [Settled::Acknowledged, Settled::Dropped(Dropped::Expired), Settled::Unheard];
    assert_eq!(settled.into_values().collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_at_the_end_stays_in_the_store() {
    let shelf = Arc::new(Shelf::default());
    let publisher = shelf.publisher(&config(&format!("mqtt://127.0.0.1:{}", free_port()), MqttVersion::V5), 0);
    let expires = now() + Duration::from_millis(200);
    publisher.queue(vec![shelf.add(0, 1, Class::Event, now()), shelf.add(1, 2, Class::Trigger { expires }, now())]);
    wait(&publisher, "the trigger expires without a connection", |status| status.dropped_expired == 1);
    let began = Instant::now();
    let status = publisher.shutdown(offline(), Duration::from_millis(300)).await;
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(status.queued, 1);
    assert_eq!(shelf.settled().into_iter().collect::<Vec<_>>(), [(1, Settled::Dropped(Dropped::Expired))]);
}

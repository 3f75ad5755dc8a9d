//! What is published, and what a subscriber sees of it.

use beaconfence::config::MqttVersion;
use beaconfence::mqtt::broker::EmbeddedBroker;
use beaconfence::mqtt::wire;

use crate::helpers::{BOTH, EVENTS, STATUS, offline, online, publish, publisher, receive_all, wait};
use crate::mqtt_support::mosquitto::{LIMIT, Line, Mosquitto, Subscriber, config, eventually};
use crate::mqtt_support::{context, instant, validate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_delivered_with_their_properties_in_both_versions() {
    let broker = Mosquitto::open();
    for (version, flag) in [(MqttVersion::V3, "mqttv311"), (MqttVersion::V5, "mqttv5")] {
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &["-V", flag]);
        let publisher = publisher(&broker.config(version));
        let message = publish(&publisher, 0, 1);
        let Line { topic, retained, content_type, user_properties, payload, .. } = subscriber.next();
        assert_eq!(topic, format!("beaconfence/v1/{}", message.topic));
        assert_eq!(payload.as_bytes(), message.payload);
        validate("presence-event", payload.as_bytes());
        assert!(!retained);
        if version == MqttVersion::V5 {
            assert_eq!(content_type, "application/cloudevents+json; charset=utf-8");
            assert!(user_properties.starts_with("sent_at:20"), "{user_properties}");
        }
        let status = wait(&publisher, "the acknowledgement", |status| status.acknowledged == 1);
        assert!(status.connected && status.queued == 0 && status.unheard == 0, "{status:?}");
        publisher.shutdown(offline(), LIMIT).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_nobody_subscribes_to_is_counted_as_unheard() {
    let broker = Mosquitto::open();
    let publisher = publisher(&broker.config(MqttVersion::V5));
    publish(&publisher, 0, 1);
    wait(&publisher, "the acknowledgement", |status| status.unheard == 1 && status.acknowledged == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_retained_and_published_again_by_every_connection() {
    for version in BOTH {
        let mut broker = Mosquitto::open();
        let publisher = publisher(&broker.config(version));
        publisher.state(online());
        let door = "door".parse().unwrap();
        for inside in 0..100 {
            publisher.state(wire::occupancy(&context(), &door, inside, instant("2026-01-01T10:00:00.000Z")).unwrap());
        }
        wait(&publisher, "the states", |status| status.connected && status.states_pending == 0);
        // Nothing is kept on disk: after this the broker knows nothing.
        broker.kill();
        broker.start();
        wait(&publisher, "the second connection", |status| status.connects == 2 && status.states_pending == 0);

        let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/store-1/+/+/+", &[]);
        let mut got: Vec<_> = (0..2).map(|_| subscriber.next()).collect();
        got.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert!(got.iter().all(|line| line.retained), "{got:?}");
        assert_eq!(got[0].topic, STATUS);
        validate("status", got[0].payload.as_bytes());
        validate("occupancy", got[1].payload.as_bytes());
        assert!(got[1].payload.contains("\"inside\":99"), "{}", got[1].payload);

        publisher.clear_state(&wire::occupancy_topic(&context().site, &door));
        assert_eq!(subscriber.next().payload, "");
        wait(&publisher, "the cleared state", |status| status.states == 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_will_says_offline_when_the_gateway_is_gone_without_a_word() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let subscriber = Subscriber::start(broker.host, broker.port, STATUS, &[]);
        let publisher = publisher(&broker.config(version));
        publisher.state(online());
        assert!(subscriber.next().payload.contains("\"state\":\"online\""));
        drop(publisher);
        let will = subscriber.next();
        assert!(will.payload.contains("\"state\":\"offline\""), "{will:?}");
        validate("status", will.payload.as_bytes());
        let later = Subscriber::start(broker.host, broker.port, STATUS, &[]);
        assert!(later.next().retained);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_publishes_what_is_left_and_says_offline_once() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let subscriber = Subscriber::start(broker.host, broker.port, "beaconfence/v1/#", &[]);
        let publisher = publisher(&broker.config(version));
        publisher.state(online());
        for sequence in 0..1_000 {
            publish(&publisher, sequence, 7);
        }
        let status = publisher.shutdown(offline(), LIMIT).await;
        assert_eq!((status.queued, status.acknowledged), (0, 1_000));
        let lines: Vec<_> = (0..1_002).map(|_| subscriber.next()).collect();
        assert!(lines[1_001].payload.contains("\"state\":\"offline\""), "{:?}", lines[1_001]);
        broker.publish("beaconfence/v1/end", "end", &[]);
        assert_eq!(subscriber.next().payload, "end", "there was a will");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_addresses_work() {
    let broker = Mosquitto::with("::1", "allow_anonymous true\n");
    for version in BOTH {
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &[]);
        let publisher = publisher(&broker.config(version));
        publish(&publisher, 0, 1);
        validate("presence-event", subscriber.next().payload.as_bytes());
        publisher.shutdown(offline(), LIMIT).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_broker_serves_both_versions_and_stops() {
    let broker = EmbeddedBroker::start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = broker.address().port();
    assert_ne!(port, 0);
    for (version, flag) in [(MqttVersion::V3, "mqttv311"), (MqttVersion::V5, "mqttv5")] {
        let publisher = publisher(&config(broker.url().unwrap().as_str(), version));
        publisher.state(online());
        wait(&publisher, "the state", |status| status.connected && status.states_pending == 0);
        let subscriber = Subscriber::start("127.0.0.1", port, "beaconfence/v1/#", &["-V", flag]);
        let status = subscriber.next();
        assert!(status.retained && status.topic == STATUS, "{status:?}");
        for sequence in 0..2_000 {
            publish(&publisher, sequence, 13);
        }
        let lines = receive_all(&subscriber, 2_000);
        assert_eq!(lines, 2_000);
        drop(publisher);
        assert!(subscriber.next().payload.contains("\"state\":\"offline\""));
    }
    let start = std::time::Instant::now();
    broker.stop().await;
    println!("stopped in {:?}", start.elapsed());
    eventually("the port is free", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
}

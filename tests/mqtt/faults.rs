//! What happens when brokers and connections fail, or refuse.

use std::net::SocketAddr;
use std::time::Duration;

use beaconfence::config::MqttVersion;
use beaconfence::mqtt::wire;
use beaconfence::mqtt::{Limits, Publisher, PublisherStatus};

use crate::helpers::{BOTH, EVENTS, offline, online, publish, publisher, receive_all, settings, wait};
use crate::mqtt_support::mosquitto::{Mosquitto, Subscriber, config, eventually, free_port};
use crate::mqtt_support::{context, device, entered, zone};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_order_is_kept_when_the_broker_restarts_again_and_again() {
    for version in BOTH {
        let mut broker =
            Mosquitto::with("127.0.0.1", "allow_anonymous true\npersistence true\npersistence_location {dir}/\n");
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &["-c", "-i", "backend"]);
        let publisher = publisher(&broker.config(version));
        let mut sequence = 0;
        for round in 0..4 {
            for _ in 0..1_000 {
                publish(&publisher, sequence, 17);
                sequence += 1;
            }
            if round < 3 {
                broker.stop();
                publish(&publisher, sequence, 17);
                sequence += 1;
                broker.start();
            }
        }
        let lines = receive_all(&subscriber, sequence);
        let status = wait(&publisher, "the acknowledgements", |status| status.queued == 0);
        assert_eq!((status.acknowledged, status.dropped, status.parked), (sequence, 0, 0), "{status:?}");
        println!("{version:?}: {sequence} events, {} delivered twice", lines as u64 - sequence);
    }
}

/// Passes bytes on, and cuts every connection after some of them.
pub async fn cutting_proxy(to: SocketAddr, cuts: u32) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            number += 1;
            let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
            if number > cuts {
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
                continue;
            }
            // Cut in either direction: with messages that the broker has not seen, or answers that the client has not.
            let (limit_up, limit_down) = if number % 2 == 0 { (40_000, u64::MAX) } else { (u64::MAX, 200) };
            tokio::spawn(async move {
                use tokio::io::AsyncReadExt as _;
                let ((from_client, mut to_client), (from_server, mut to_server)) = (client.split(), server.split());
                let (mut up, mut down) = (from_client.take(limit_up), from_server.take(limit_down));
                tokio::select! {
                    _ = tokio::io::copy(&mut up, &mut to_server) => {}
                    _ = tokio::io::copy(&mut down, &mut to_client) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_order_is_kept_when_connections_are_cut() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let proxy = cutting_proxy(format!("{}:{}", broker.host, broker.port).parse().unwrap(), 4).await;
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &[]);
        let publisher = publisher(&config(&format!("mqtt://{proxy}"), version));
        for sequence in 0..2_000 {
            publish(&publisher, sequence, 50);
        }
        let lines = receive_all(&subscriber, 2_000);
        let status = wait(&publisher, "the acknowledgements", |status| status.queued == 0);
        assert_eq!((status.acknowledged, status.dropped), (2_000, 0), "{status:?}");
        assert_eq!(status.connects, 5, "{status:?}");
        println!("{version:?}: 2000 events over 5 connections, {} delivered twice", lines - 2_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_broker_is_tried_when_one_does_not_answer() {
    let broker = Mosquitto::open();
    let mut config = broker.config(MqttVersion::V5);
    config.brokers.insert(0, format!("mqtt://127.0.0.1:{}", free_port()).parse().unwrap());
    let publisher = publisher(&config);
    let status = wait(&publisher, "the second broker", |status| status.connected);
    assert_eq!(status.broker, Some(format!("127.0.0.1:{}", broker.port)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_broker_is_tried_when_one_takes_the_connection_and_says_nothing() {
    let broker = Mosquitto::open();
    // The system takes connections for it; nobody ever reads from them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let publishers = BOTH.map(|version| {
        let mut config = broker.config(version);
        config.client_id = Some(format!("gateway-{version:?}"));
        config.brokers.insert(0, format!("mqtt://{}", silent.local_addr().unwrap()).parse().unwrap());
        publisher(&config)
    });
    for publisher in &publishers {
        let status =
            wait(publisher, "the trouble with the first", |status| status.last_error.is_some() || status.connected);
        assert!(status.last_error.is_none_or(|error| error.contains("did not answer in time")));
        let status = wait(publisher, "the second broker", |status| status.connected);
        assert_eq!(status.broker, Some(format!("127.0.0.1:{}", broker.port)));
    }
}

/// Speaks just enough MQTT 5 to let a client in, and to say that another one has come.
async fn broker_that_says_why() -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_u8().await.unwrap();
            stream.write_all(&[0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0]).await.unwrap();
            // Until the client has gone: closed at once, what was sent could be lost.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_with_one_client_id_are_told_so() {
    let mosquitto = Mosquitto::open();
    let telling = broker_that_says_why().await;
    // Mosquitto 2.0 closes without a word in either version; others say why.
    for (config, words) in [
        (mosquitto.config(MqttVersion::V3), "likely another client"),
        (mosquitto.config(MqttVersion::V5), "likely another client"),
        (config(&format!("mqtt://{telling}"), MqttVersion::V5), "another client connected with"),
    ] {
        let publishers = [publisher(&config), publisher(&config)];
        for sequence in 0..20 {
            publish(&publishers[0], sequence, 20);
        }
        let named = |status: &PublisherStatus| status.last_error.as_ref().is_some_and(|error| error.contains(words));
        eventually("the quarrel is named", || {
            let status = publishers.iter().map(Publisher::status).find(named)?;
            assert!(status.last_error.unwrap().contains("beaconfence-store-1-gw-1"));
            Some(())
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trouble_is_named() {
    for (url, words) in [
        (format!("mqtt://127.0.0.1:{}", free_port()), "refuses connections"),
        ("mqtt://no-such-host.invalid".to_owned(), "the name no-such-host.invalid cannot be resolved"),
    ] {
        for version in BOTH {
            let publisher = publisher(&config(&url, version));
            let status = wait(&publisher, "an error", |status| status.last_error.is_some());
            assert!(status.last_error.as_ref().unwrap().contains(words), "{status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_blocks_only_its_device_and_is_parked() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "topic write beaconfence/v1/store-1/events/door/#\ntopic write beaconfence/v1/store-1/gateways/#\n\
                 topic read #\ntopic readwrite test/#\n";
    std::fs::write(dir.path().join("acl"), rules).unwrap();
    let broker = Mosquitto::prepared("127.0.0.1", dir, "allow_anonymous true\nacl_file {dir}/acl\n");
    let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &[]);
    let limits = Limits { tries: 3, first_retry: Duration::from_millis(50), ..Limits::default() };
    let publisher = Publisher::start(settings(&broker.config(MqttVersion::V5)), offline(), limits, None);
    let (one, other) = (device("d1"), device("d2"));
    let say = |sequence, device: &_, at| {
        let event = entered(sequence, device, &zone(at));
        publisher.event(&device.id, wire::event(&context(), &event).unwrap());
    };
    say(0, &one, "secret");
    say(1, &one, "door");
    say(2, &other, "door");
    assert!(subscriber.next().payload.contains("\"sequence\":2"));
    assert!(subscriber.next().payload.contains("\"sequence\":1"), "after the refused one was parked");
    let status = wait(&publisher, "the end", |status| status.queued == 0);
    assert_eq!((status.refused, status.parked, status.acknowledged), (3, 1, 2), "{status:?}");
    assert_eq!(status.last_refusal.as_deref(), Some("not authorized"));
}

/// Speaks just enough MQTT 3.1.1 to take messages, and ends the connection over those that hold "poison".
async fn broker_that_dislikes_poison() -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            while let Ok(kind) = stream.read_u8().await {
                let (mut length, mut shift) = (0_usize, 0);
                loop {
                    let byte = stream.read_u8().await.unwrap();
                    length |= usize::from(byte & 127) << shift;
                    shift += 7;
                    if byte < 128 {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let answer = match kind >> 4 {
                    1 => vec![0x20, 2, 0, 0],
                    3 if body.windows(6).any(|part| part == b"poison") => break,
                    3 => {
                        let topic = usize::from(body[0]) << 8 | usize::from(body[1]);
                        vec![0x40, 2, body[topic + 2], body[topic + 3]]
                    }
                    12 => vec![0xd0, 0],
                    _ => break,
                };
                stream.write_all(&answer).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_over_which_a_broker_ends_the_connection_is_found_and_parked() {
    let address = broker_that_dislikes_poison().await;
    let limits = Limits { tries: 2, first_retry: Duration::from_millis(50), ..Limits::default() };
    let config = config(&format!("mqtt://{address}"), MqttVersion::V3);
    let publisher = Publisher::start(settings(&config), offline(), limits, None);
    publisher.state(online());
    for sequence in 0..20 {
        publish(&publisher, sequence, 5);
    }
    let device = device("d3");
    let poison = wire::event(&context(), &entered(20, &device, &zone("poison"))).unwrap();
    publisher.event(&device.id, poison);
    for sequence in 21..40 {
        publish(&publisher, sequence, 5);
    }
    let status = wait(&publisher, "the end", |status| status.queued == 0);
    assert_eq!((status.acknowledged, status.parked, status.dropped), (39, 1, 0), "{status:?}");
    assert!(status.last_refusal.unwrap().contains("the connection ended over it"));
}

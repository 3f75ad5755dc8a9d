//! The MQTT side against a real Mosquitto.

#![allow(clippy::unwrap_used)]

mod mqtt_support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use beaconfence::config::{MqttConfig, MqttVersion};
use beaconfence::mqtt::broker::EmbeddedBroker;
use beaconfence::mqtt::wire::{self, Message, Status};
use beaconfence::mqtt::{Inbound, Limits, Publisher, PublisherStatus, Settings, client_id};
use mqtt_support::mosquitto::{LIMIT, Line, Mosquitto, Subscriber, config, eventually, free_port};
use mqtt_support::{context, device, entered, instant, validate, zone};

const BOTH: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];
const EVENTS: &str = "beaconfence/v1/store-1/events/#";
const STATUS: &str = "beaconfence/v1/store-1/gateways/gw-1/status";

fn settings(config: &MqttConfig) -> Settings {
    let context = context();
    Settings::new(config, client_id(&context.site, &context.gateway)).unwrap()
}

fn offline() -> Message {
    Status::offline(instant("2026-01-01T09:00:00.000Z")).message(&context()).unwrap()
}

fn online() -> Message {
    Status::online(instant("2026-01-01T09:00:00.000Z")).message(&context()).unwrap()
}

fn publisher(config: &MqttConfig) -> Publisher {
    Publisher::start(settings(config), offline(), Limits::default())
}

/// An event of device `d{sequence % devices}`.
fn publish(publisher: &Publisher, sequence: u64, devices: u64) -> Message {
    let device = device(&format!("d{}", sequence % devices));
    let message = wire::event(&context(), &entered(sequence, &device, &zone("door"))).unwrap();
    publisher.event(&device.id, message.clone());
    message
}

fn wait(publisher: &Publisher, what: &str, holds: impl Fn(&PublisherStatus) -> bool) -> PublisherStatus {
    eventually(what, || {
        let status = publisher.status();
        let found = holds(&status).then_some(status);
        if found.is_none() && std::env::var_os("BEACONFENCE_TEST_VERBOSE").is_some() {
            eprintln!("{:?}", publisher.status());
        }
        found
    })
}

/// Receives until every sequence below `count` has come; checks the schema and that the order of each device is kept,
/// where a repetition does not count.
fn receive_all(subscriber: &Subscriber, count: u64) -> usize {
    let (mut seen, mut last, mut lines) = (BTreeSet::new(), BTreeMap::new(), 0);
    while (seen.len() as u64) < count {
        let line = subscriber.next();
        lines += 1;
        let event: serde_json::Value = serde_json::from_str(&line.payload).unwrap();
        let sequence = event["data"]["sequence"].as_u64().unwrap();
        let device = event["subject"].as_str().unwrap().to_owned();
        if seen.insert(sequence)
            && let Some(before) = last.insert(device, sequence)
        {
            assert!(before < sequence, "{sequence} after {before}");
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_delivered_with_their_properties_in_both_versions() {
    let broker = Mosquitto::open();
    for (version, flag) in [(MqttVersion::V3, "mqttv311"), (MqttVersion::V5, "mqttv5")] {
        let subscriber = Subscriber::start(broker.host, broker.port, EVENTS, &["-V", flag]);
        let publisher = publisher(&broker.config(version));
        let message = publish(&publisher, 0, 1);
        let Line { topic, retained, content_type, user_properties, payload } = subscriber.next();
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
async fn cutting_proxy(to: SocketAddr, cuts: u32) -> SocketAddr {
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
    let publisher = Publisher::start(settings(&broker.config(MqttVersion::V5)), offline(), limits);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_reports_come_in_and_what_is_none_is_counted() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let (inbound, mut reports) = Inbound::start(settings(&broker.config(version)), &context().site);
        eventually("the subscription", || inbound.status().connected.then_some(()));
        let topic = "beaconfence/v1/store-1/positions/d1";
        let good = r#"{"time":"2026-01-01T10:00:00.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}"#;
        broker.publish(topic, "nonsense", &[]);
        broker.publish(topic, r#"{"time":"2026-01-01T10:00:00.000Z"}"#, &[]);
        broker.publish("beaconfence/v1/store-1/positions/-", good, &[]);
        let large = broker.dir.path().join("large");
        std::fs::write(&large, " ".repeat(70_000)).unwrap();
        let port = broker.port.to_string();
        mqtt_support::mosquitto::call(
            "mosquitto_pub",
            "mosquitto-clients",
            &["-h", broker.host, "-p", &port, "-q", "1", "-t", topic, "-f", &large.display().to_string()],
        );
        broker.publish(topic, r#"{"_type":"location","tst":1767261600,"lat":48.5,"lon":2.5,"acc":15}"#, &[]);
        broker.publish(topic, good, &["-q", "0"]);
        for _ in 0..2 {
            let report = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
            assert_eq!(report.report.device.as_str(), "d1");
            assert_eq!(report.report.time, instant("2026-01-01T10:00:00.000Z"));
            report.token.acknowledge();
        }
        let status = inbound.status();
        let refused = [("device_id", 1), ("missing_field", 1), ("not_json", 1), ("too_large", 1)];
        assert_eq!(status.refused, BTreeMap::from(refused), "{status:?}");
        assert_eq!((status.reports, status.shed), (2, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_was_not_acknowledged_comes_again_after_a_lost_connection() {
    let broker = Mosquitto::open();
    // The first connection is cut after the report; the subscriber goes on where it was.
    let proxy = cutting_proxy(format!("{}:{}", broker.host, broker.port).parse().unwrap(), 1).await;
    let (inbound, mut reports) =
        Inbound::start(settings(&config(&format!("mqtt://{proxy}"), MqttVersion::V5)), &context().site);
    eventually("the subscription", || inbound.status().connected.then_some(()));
    let topic = "beaconfence/v1/store-1/positions/d1";
    let report = |second: u32| {
        format!(r#"{{"time":"2026-01-01T10:00:{second:02}.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}}"#)
    };
    broker.publish(topic, &report(0), &[]);
    let first = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
    // With these the 200 bytes that the proxy lets through are used up.
    broker.publish(topic, &report(1), &[]);
    broker.publish(topic, &report(2), &[]);
    let mut times = Vec::new();
    while times.len() < 3 {
        let report = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
        if !times.contains(&report.report.time) {
            times.push(report.report.time);
        }
        report.token.acknowledge();
    }
    assert!(times.contains(&first.report.time), "{times:?}");
    first.token.acknowledge();
    drop(inbound);
}

/// Makes two authorities, and certificates for a broker on loopback and for a client, with openssl.
fn certificates(dir: &std::path::Path) {
    let openssl = |line: &str| {
        let text = line.replace("{dir}", &dir.display().to_string());
        mqtt_support::mosquitto::call("openssl", "openssl", &text.split(' ').collect::<Vec<_>>());
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for name in ["ca", "other"] {
        openssl(&format!("req -x509 {key} -keyout {{dir}}/{name}.key -out {{dir}}/{name}.pem -subj /CN={name}"));
    }
    std::fs::write(dir.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(dir.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for name in ["server", "client"] {
        openssl(&format!("req {key} -keyout {{dir}}/{name}.key -out {{dir}}/{name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {{dir}}/{name}.csr -CA {{dir}}/ca.pem -CAkey {{dir}}/ca.key -CAcreateserial -days 2 \
             -extfile {{dir}}/{name}.ext -out {{dir}}/{name}.pem"
        ));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_an_own_authority_a_client_certificate_and_a_password_works_and_its_troubles_are_named() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let at = |name: &str| dir.path().join(name);
    let (ca, other, certificate, key) = (at("ca.pem"), at("other.pem"), at("client.pem"), at("client.key"));
    let (password, wrong) = (at("password"), at("wrong"));
    std::fs::write(&password, "correct horse\n").unwrap();
    std::fs::write(&wrong, "battery staple\n").unwrap();
    let users = at("users").display().to_string();
    mqtt_support::mosquitto::call("mosquitto_passwd", "mosquitto", &["-b", "-c", &users, "gateway", "correct horse"]);
    let broker = Mosquitto::prepared(
        "127.0.0.1",
        dir,
        "allow_anonymous false\npassword_file {dir}/users\ncafile {dir}/ca.pem\ncertfile {dir}/server.pem\n\
         keyfile {dir}/server.key\nrequire_certificate true\n",
    );
    let url = format!("mqtts://127.0.0.1:{}", broker.port);
    for version in BOTH {
        let good = MqttConfig {
            username: Some("gateway".to_owned()),
            password_file: Some(password.clone()),
            ca_file: Some(ca.clone()),
            certificate_file: Some(certificate.clone()),
            key_file: Some(key.clone()),
            ..config(&url, version)
        };
        let publisher = publisher(&good);
        publish(&publisher, 0, 1);
        wait(&publisher, "the acknowledgement", |status| status.acknowledged == 1);

        for (bad, words) in [
            (MqttConfig { ca_file: Some(other.clone()), ..good.clone() }, "no authority that is trusted here"),
            (MqttConfig { ca_file: None, ..good.clone() }, "no authority that is trusted here"),
            (MqttConfig { certificate_file: None, key_file: None, ..good.clone() }, "asks for a client certificate"),
            (
                MqttConfig { brokers: vec![url.replace("127.0.0.1", "localhost").parse().unwrap()], ..good.clone() },
                "made out to another name",
            ),
            (
                MqttConfig { brokers: vec![url.replace("mqtts", "mqtt").parse().unwrap()], ..good.clone() },
                "TLS expected on this port",
            ),
            (
                MqttConfig { password_file: Some(wrong.clone()), ..good.clone() },
                match version {
                    MqttVersion::V3 => "not authorised",
                    MqttVersion::V5 => "not authorised",
                },
            ),
        ] {
            let context = context();
            let settings = Settings::new(&bad, client_id(&context.site, &context.gateway) + "-bad");
            let publisher = Publisher::start(settings.unwrap(), offline(), Limits::default());
            let status = wait(&publisher, words, |status| status.last_error.is_some());
            assert!(status.last_error.as_ref().unwrap().contains(words), "{words}: {status:?}");
        }
    }
}

fn events_command(broker: &Mosquitto, more: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_beaconfence"));
    command.args(["events", "--broker", &format!("mqtt://{}:{}", broker.host, broker.port)]).args(more);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_command_prints_what_comes() {
    let broker = Mosquitto::open();
    let publisher = publisher(&broker.config(MqttVersion::V5));
    for (more, version) in [(["--json", "--site", "store-1"], "5"), (["--json", "--prefix", "beaconfence/v1"], "3.1.1")]
    {
        let mut command = events_command(&broker, &more);
        let child = command.args(["--follow", "--count", "2", "--mqtt-version", version]).spawn().unwrap();
        // Events that come before it is subscribed are not kept for it: publish until somebody hears them.
        let before = publisher.status();
        let heard = |status: &PublisherStatus| status.acknowledged - status.unheard;
        let mut message = publish(&publisher, 0, 1);
        eventually("two events are heard", || {
            if heard(&publisher.status()) >= heard(&before) + 2 {
                return Some(());
            }
            message = publish(&publisher, 0, 1);
            None
        });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, [std::str::from_utf8(&message.payload).unwrap(); 2]);
    }
}

#[test]
fn the_events_command_ends_by_itself_and_on_a_signal_and_names_trouble() {
    let broker = Mosquitto::open();
    let output = events_command(&broker, &[]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--follow"), "{output:?}");

    for signal in ["-TERM", "-INT"] {
        let child = events_command(&broker, &["--follow"]).spawn().unwrap();
        let before = broker.log().matches("bf-events-").count();
        eventually("it connects", || (broker.log().matches("bf-events-").count() > before).then_some(()));
        mqtt_support::mosquitto::call("kill", "procps", &[signal, &child.id().to_string()]);
        assert!(child.wait_with_output().unwrap().status.success(), "{signal}");
    }

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_beaconfence"))
        .args(["events", "--broker", &format!("mqtt://127.0.0.1:{}", free_port())])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refuses connections"), "{output:?}");
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
    let publisher = Publisher::start(settings(&config), offline(), limits);
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

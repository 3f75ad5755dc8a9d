//! Position reports.

use std::collections::BTreeMap;

use beaconfence::config::MqttVersion;
use beaconfence::mqtt::{Inbound, Report, Said};
use beaconfence::position::PositionReport;

use crate::faults::cutting_proxy;
use crate::helpers::{BOTH, settings};
use crate::mqtt_support::mosquitto::{LIMIT, Mosquitto, call, config, eventually};
use crate::mqtt_support::{context, instant};

fn report(second: usize) -> String {
    format!(r#"{{"time":"2026-01-01T10:00:{second:02}.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}}"#)
}

fn of(received: &Report) -> &PositionReport {
    let Said::Report(report) = &received.said else { panic!("{received:?} is no position report") };
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_reports_come_in_and_what_is_none_is_counted() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let (inbound, mut reports) =
            Inbound::start(settings(&broker.config(version)), &context().site, &context().gateway, None);
        eventually("the subscription", || inbound.status().connected.then_some(()));
        let topic = "beaconfence/v1/store-1/positions/d1";
        let good = r#"{"time":"2026-01-01T10:00:00.000Z","latitude":48.5,"longitude":2.5,"accuracy":5.0}"#;
        broker.publish(topic, "nonsense", &[]);
        broker.publish(topic, r#"{"time":"2026-01-01T10:00:00.000Z"}"#, &[]);
        broker.publish("beaconfence/v1/store-1/positions/-", good, &[]);
        let large = broker.dir.path().join("large");
        std::fs::write(&large, " ".repeat(70_000)).unwrap();
        let port = broker.port.to_string();
        call(
            "mosquitto_pub",
            "mosquitto-clients",
            &["-h", broker.host, "-p", &port, "-q", "1", "-t", topic, "-f", &large.display().to_string()],
        );
        broker.publish(topic, r#"{"_type":"location","tst":1767261600,"lat":48.5,"lon":2.5,"acc":15}"#, &[]);
        broker.publish(topic, good, &["-q", "0"]);
        for _ in 0..2 {
            let report = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
            assert_eq!(of(&report).device.as_str(), "d1");
            assert_eq!(of(&report).time, instant("2026-01-01T10:00:00.000Z"));
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
    let (inbound, mut reports) = Inbound::start(
        settings(&config(&format!("mqtt://{proxy}"), MqttVersion::V5)),
        &context().site,
        &context().gateway,
        None,
    );
    eventually("the subscription", || inbound.status().connected.then_some(()));
    let topic = "beaconfence/v1/store-1/positions/d1";
    broker.publish(topic, &report(0), &[]);
    let first = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
    // With these the 200 bytes that the proxy lets through are used up.
    broker.publish(topic, &report(1), &[]);
    broker.publish(topic, &report(2), &[]);
    let mut times = Vec::new();
    while times.len() < 3 {
        let report = tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap();
        if !times.contains(&of(&report).time) {
            times.push(of(&report).time);
        }
        report.token.acknowledge();
    }
    assert!(times.contains(&of(&first).time), "{times:?}");
    first.token.acknowledge();
    drop(inbound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_a_process_left_unacknowledged_come_again_to_the_next_in_order() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let topic = "beaconfence/v1/store-1/positions/d1";
        let start = || Inbound::start(settings(&broker.config(version)), &context().site, &context().gateway, None);
        let receive = async |reports: &mut tokio::sync::mpsc::Receiver<Report>| {
            tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap()
        };
        let (inbound, mut reports) = start();
        eventually("the subscription", || inbound.status().connected.then_some(()));
        for second in 0..5 {
            broker.publish(topic, &report(second), &[]);
        }
        receive(&mut reports).await.token.acknowledge();
        // What the broker has seen of the first is known when the next process gets no more than four.
        eventually("the acknowledgement", || {
            broker.log().contains("Received PUBACK from beaconfence-store-1-gw-1-in").then_some(())
        });
        let mut held = Vec::new();
        for _ in 1..5 {
            held.push(receive(&mut reports).await);
        }
        drop((inbound, reports, held));
        for second in 5..8 {
            broker.publish(topic, &report(second), &[]);
        }
        let (inbound, mut reports) = start();
        for second in 1..8 {
            let report = receive(&mut reports).await;
            assert_eq!(of(&report).time, instant(&format!("2026-01-01T10:00:{second:02}.000Z")), "{version:?}");
            report.token.acknowledge();
        }
        let status = inbound.status();
        assert_eq!((status.reports, status.shed), (7, 0), "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_nobody_takes_stay_with_the_broker() {
    let broker = Mosquitto::open();
    let (inbound, mut reports) =
        Inbound::start(settings(&broker.config(MqttVersion::V5)), &context().site, &context().gateway, None);
    eventually("the subscription", || inbound.status().connected.then_some(()));
    let lines = broker.dir.path().join("lines");
    std::fs::write(&lines, (0..2_000).map(|at| report(at % 60) + "\n").collect::<String>()).unwrap();
    broker.publish_lines("beaconfence/v1/store-1/positions/d1", &lines);
    eventually("a window of reports", || (inbound.status().reports == 256).then_some(()));
    for _ in 0..2_000 {
        tokio::time::timeout(LIMIT, reports.recv()).await.unwrap().unwrap().token.acknowledge();
    }
    assert_eq!((inbound.status().reports, inbound.status().shed), (2_000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_devices_come_in_and_those_that_the_broker_kept_are_known_as_such() {
    for version in BOTH {
        let broker = Mosquitto::open();
        let topic = "beaconfence/v1/store-1/devices/d1/attributes";
        broker.publish(topic, r#"{"cart":62.5,"consent":["presence"]}"#, &["-r"]);
        let (inbound, mut received) =
            Inbound::start(settings(&broker.config(version)), &context().site, &context().gateway, None);
        let mut next = async || {
            let report = tokio::time::timeout(LIMIT, received.recv()).await.unwrap().unwrap();
            report.token.acknowledge();
            report.said
        };
        let Said::Facts { device, facts, is_old } = next().await else { panic!("no facts") };
        assert_eq!((device.as_str(), is_old), ("d1", true));
        assert_eq!(facts.attributes["cart"], 62.5);
        assert_eq!(facts.consent.unwrap(), ["presence"]);
        broker.publish(topic, "[]", &[]);
        broker.publish(topic, r#"{"cart":null}"#, &["-r"]);
        let Said::Facts { facts, is_old, .. } = next().await else { panic!("no facts") };
        assert!(!is_old && facts.attributes.is_empty());
        let status = inbound.status();
        assert_eq!((status.facts, status.refused.get("not_an_object")), (2, Some(&1)), "{version:?}");
    }
}

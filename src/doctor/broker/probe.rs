//! Connects to the brokers, and tries what the gateway would do there.
//!
//! What is published on trial is under ids that begin with `_`, which no zone, device or rule can have. Where the
//! contract knows states, it is an empty retained message, which clears what was never there; among events and triggers
//! it is a `CloudEvent` of a type of its own. The gateway's status is tried only where no gateway runs, with an empty
//! message that is not retained. Nothing of it stays at the broker.

use std::time::Instant;

use serde_json::json;

use super::{Connection, Right, Rights};
use crate::clock::wall_clock;
use crate::config::MqttVersion;
use crate::model::{GatewayId, SiteId};
use crate::mqtt::probe::{Answer, Probe, Trial};
use crate::mqtt::wire::status_topic;
use crate::mqtt::{Endpoint, Failure, Settings};

/// The id under which is published on trial; ids of the registry begin with a letter or a digit.
const NOBODY: &str = "_doctor";
/// The type of what is said where the contract has `CloudEvents`.
const TYPE: &str = "io.beaconfence.doctor.probe";

/// Connects to each broker once.
pub async fn connections(settings: &Settings, brokers: &[url::Url]) -> Vec<Connection> {
    let tried = settings.endpoints().iter().zip(brokers).map(async |(endpoint, broker)| {
        let began = Instant::now();
        let outcome = match Probe::connect(settings, endpoint).await {
            Ok(probe) => {
                let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                probe.close().await;
                Ok(took)
            }
            Err(failure) => Err(failure),
        };
        let broker = broker.as_str().trim_end_matches('/').to_owned();
        Connection { broker, host: endpoint.to_string(), tls: endpoint.tls, outcome }
    });
    // One after the other: they may be names of one broker, where a second connection with this client id ends the
    // first.
    let mut connections = Vec::new();
    for connection in tried {
        connections.push(connection.await);
    }
    connections
}

/// What a gateway publishes: the rule that it needs, and what is tried in its place.
fn trials(site: &SiteId, gateway: &GatewayId) -> Vec<(String, Trial)> {
    let event = json!({
        "specversion": "1.0",
        "id": uuid::Uuid::new_v4().to_string(),
        "source": format!("/beaconfence/{site}"),
        "type": TYPE,
        "time": wall_clock().to_string(),
        "datacontenttype": "application/json",
        "data": {"site": site, "gateway": gateway, "about": "a trial of access rights; nothing has happened"},
    });
    let said = bytes::Bytes::from(event.to_string());
    let trial = |topic: String, retain: bool| Trial {
        topic: format!("{site}/{topic}"),
        payload: if retain { bytes::Bytes::new() } else { said.clone() },
        retain,
    };
    [
        ("events/#", trial(format!("events/{NOBODY}/probe"), false)),
        ("triggers/#", trial(format!("triggers/{NOBODY}/probe"), false)),
        ("replays/#", trial(format!("replays/{NOBODY}"), false)),
        ("cards/#", trial(format!("cards/{NOBODY}/probe"), true)),
        ("presence/#", trial(format!("presence/{NOBODY}"), true)),
        ("zones/#", trial(format!("zones/{NOBODY}/occupancy"), true)),
        ("beacons/#", trial(format!("beacons/{NOBODY}/health"), true)),
    ]
    .map(|(rule, trial)| (format!("{site}/{rule}"), trial))
    .into()
}

/// The topic of the status, with nothing said. It is not retained, so that the last status stays at the broker; who
/// listens at this moment takes it for cleared, as that of a gateway that is not there.
fn of_status(site: &SiteId, gateway: &GatewayId) -> (String, Trial) {
    let topic = status_topic(site, gateway);
    (topic.clone(), Trial { topic, payload: bytes::Bytes::new(), retain: false })
}

/// What is known of the gateway's own status at this broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnStatus {
    /// No gateway runs: it may be tried.
    Free,
    /// A gateway runs and is connected there, and so many of its states were refused.
    Published(u64),
    /// A gateway runs, or may run, and is not known to be connected there: its status is left alone.
    Unknown,
}

/// Tries everything at one broker.
///
/// # Errors
/// Where there is no connection any more.
pub async fn rights(
    settings: &Settings,
    endpoint: &Endpoint,
    broker: &str,
    (site, gateway): (&SiteId, &GatewayId),
    own_status: OwnStatus,
) -> Result<Rights, Failure> {
    // Only MQTT 5 has a word for a refusal, and rules are the same in either version.
    let mut settings = settings.clone().with_version(MqttVersion::V5);
    let mut probe = if let Ok(probe) = Probe::connect(&settings, endpoint).await {
        probe
    } else {
        settings = settings.with_version(MqttVersion::V3);
        Probe::connect(&settings, endpoint).await?
    };
    let (mut publish, mut subscribe) = (Vec::new(), Vec::new());
    let status = (own_status == OwnStatus::Free).then(|| of_status(site, gateway));
    for (rule, trial) in trials(site, gateway).into_iter().chain(status) {
        let answer = probe.publish(&settings, &trial).await;
        if matches!(answer, Answer::Ended(_) | Answer::Silent) {
            probe.close().await;
            probe = Probe::connect(&settings, endpoint).await?;
        }
        publish.push(Right { rule: settings.full_topic(&rule), answer });
    }
    if let OwnStatus::Published(refused) = own_status {
        let status = settings.full_topic(&status_topic(site, gateway));
        let others = publish.iter().any(|right| right.answer != Answer::Allowed);
        let answer = if refused == 0 || others {
            Answer::Allowed
        } else {
            Answer::Refused("the gateway that runs counts states that were refused".to_owned())
        };
        publish.push(Right { rule: status, answer });
    }
    let replay = format!("{site}/gateways/{gateway}/replay");
    for filter in [format!("{site}/positions/+"), format!("{site}/devices/+/attributes"), replay] {
        let answer = probe.subscribe(&settings, &filter).await;
        // What is retained there comes at once, and is not wanted: each filter gets a connection that ends.
        probe.close().await;
        probe = Probe::connect(&settings, endpoint).await?;
        subscribe.push(Right { rule: settings.full_topic(&filter), answer });
    }
    probe.close().await;
    Ok(Rights {
        root: settings.full_topic(&format!("{site}/")),
        broker: broker.to_owned(),
        asked_in: settings.version(),
        publish,
        subscribe,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_can_be_nobodys_and_leaves_nothing() {
        let (site, gateway) = ("s".parse().unwrap(), "g".parse().unwrap());
        let trials = trials(&site, &gateway);
        assert_eq!(trials.len(), 7);
        for (rule, trial) in trials {
            let tree = rule.strip_suffix('#').unwrap();
            let below = trial.topic.strip_prefix(tree).unwrap();
            let first = below.split('/').next().unwrap();
            assert!(first.parse::<crate::model::DeviceId>().is_err(), "{first} could be somebody's");
            assert_eq!(trial.retain, trial.payload.is_empty(), "{}: only nothing is retained", trial.topic);
            if !trial.retain {
                let event: serde_json::Value = serde_json::from_slice(&trial.payload).unwrap();
                assert_eq!((event["type"].as_str(), event["specversion"].as_str()), (Some(TYPE), Some("1.0")));
                assert!(event["data"]["epoch"].is_null(), "it belongs to no epoch");
            }
        }
    }
}

//! One connection to one broker, in either version of the protocol.
//!
//! This is the thin adapter over the two client crates, which are alike but for their types: everything that decides
//! something stands elsewhere, once. A [`Client`] asks, a [`Driver`] must be polled in a task of its own and ends with the
//! connection; it is never polled again after a failure, so nothing of a lost connection is replayed behind our back.

use std::time::Duration;

use bytes::Bytes;
use rumqttc_v4 as v4;
use rumqttc_v5 as v5;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::connect::{Endpoint, Settings};
use super::failure::{Failure, words};
use super::session::NothingUnderWay;
use super::wire::{ContentType, Message};
use crate::config::MqttVersion;
use crate::model::Timestamp;

/// Messages handed to the client and not yet acknowledged. The crate's default of 65,535 makes it scan its tables; 256
/// keep a broker on the other side of the world busy (256 in 100 ms are 2,560 a second).
pub(super) const WINDOW: usize = 256;

/// Greatest packet that is read, in bytes. Well above the greatest payload, so that one that is too great is refused
/// and counted by us; beyond, MQTT 5 brokers keep it back, and a 3.1.1 connection is ended.
const MAX_INCOMING: u32 = 1024 * 1024;

/// Time to resolve, connect, shake hands and be accepted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the broker keeps while a subscriber is away (MQTT 5), in seconds: position reports that are older are refused
/// anyway.
const SESSION_EXPIRY: u32 = 600;

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// The broker forgets what it knew of this client, and again when the connection ends.
    Clean,
    /// The broker goes on where the last connection ended, of this process or an earlier one, and keeps what comes until the
    /// next.
    Resume,
}

/// What a connection tells.
#[derive(Debug)]
pub(super) enum Incoming {
    /// The broker let us in.
    Connected {
        /// Greatest packet that it takes, where it says so, in bytes.
        max_packet_size: Option<usize>,
    },
    /// A message for a subscription.
    Message(Received),
    /// The subscriptions stand; or that one, by its place among those asked for, was refused for that reason.
    Subscribed(Result<(), (usize, String)>),
    /// The connection could not be made, or is lost. Nothing comes after it.
    Failed(Failure),
}

/// A message for a subscription.
#[derive(Debug)]
pub struct Received {
    /// The full topic.
    pub topic: String,
    /// The payload.
    pub payload: Bytes,
    /// Whether the broker had kept it.
    pub retained: bool,
    /// To acknowledge it with; none at `QoS` 0.
    pub(super) ack: Option<Ack>,
}

/// An acknowledgement to be given.
#[derive(Debug, Clone)]
pub(super) enum Ack {
    V3(v4::ManualAck),
    V5(v5::ManualAck),
}

/// What became of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The broker has it.
    Accepted,
    /// The broker has it, and nobody subscribes to it (MQTT 5 only).
    Unheard,
    /// The broker does not want it, and the connection goes on.
    Refused(String),
    /// The connection ended before an answer.
    Lost,
}

/// To ask for things on a connection.
#[derive(Clone)]
pub(super) enum Client {
    V3(v4::AsyncClient),
    V5(v5::AsyncClient),
}

/// To be polled for a connection to live.
pub(super) enum Driver {
    V3(Box<v4::EventLoop>, v4::AsyncClient),
    V5(Box<v5::EventLoop>, v5::AsyncClient, String),
}

/// A driver at work; it ends when this is dropped, and the connection with it.
pub(super) struct Driving(JoinHandle<()>);

impl Driving {
    pub(super) fn start(driver: Driver, tell: mpsc::Sender<Incoming>) -> Self {
        Self(tokio::spawn(driver.run(tell)))
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) {
        // An error is a panic in it, which is logged where it happens.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A message to publish.
pub(super) struct Publish {
    /// The full topic.
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) content_type: ContentType,
    pub(super) retain: bool,
    pub(super) sent_at: Option<Timestamp>,
    /// Seconds after which the broker is to forget it (MQTT 5 only).
    pub(super) expiry_s: Option<u32>,
}

/// A connection to `endpoint`, not yet made: that begins when the driver runs.
pub(super) fn open(
    settings: &Settings,
    endpoint: &Endpoint,
    will: Option<&Message>,
    session: Session,
    manual_ack: bool,
) -> Result<(Client, Driver), Failure> {
    let dial = endpoint.clone();
    let tls = if endpoint.tls { settings.tls.clone() } else { None };
    let will = will.map(|will| (settings.topic(&will.topic), will.payload.clone(), will.content_type));
    match settings.version {
        MqttVersion::V3 => {
            let mut options = v4::MqttOptions::new(&settings.client_id, (endpoint.host.as_str(), endpoint.port));
            options.set_keep_alive(settings.keep_alive);
            options.set_max_packet_size(MAX_INCOMING as usize, MAX_INCOMING as usize);
            options.set_inflight(WINDOW as u16);
            options.set_request_channel_capacity(WINDOW);
            options.set_socket_connector(move |_, _| dial.clone().connect());
            if let Some(tls) = tls {
                options.set_transport(v4::Transport::tls_with_config(v4::TlsConfiguration::Rustls(tls)));
            }
            if let Some(username) = &settings.username {
                options.set_credentials(username.clone(), settings.password.clone());
            }
            if let Some((topic, payload, _)) = will {
                options.set_last_will(v4::LastWill::new(topic, payload, v4::QoS::AtLeastOnce, true));
            }
            options.set_clean_session(session == Session::Clean);
            if manual_ack {
                options.set_ack_mode(v4::AckMode::Manual);
            }
            let (client, mut events) =
                v4::AsyncClient::builder(options).try_build().map_err(|e| Failure::Configuration(e.to_string()))?;
            events.network_options.set_connection_timeout(CONNECT_TIMEOUT.as_secs());
            Ok((Client::V3(client.clone()), Driver::V3(Box::new(events), client)))
        }
        MqttVersion::V5 => {
            let mut options = v5::MqttOptions::new(&settings.client_id, (endpoint.host.as_str(), endpoint.port));
            options.set_keep_alive(settings.keep_alive);
            options.set_connect_timeout(CONNECT_TIMEOUT);
            options.set_max_packet_size(Some(MAX_INCOMING));
            options.set_outgoing_inflight_upper_limit(WINDOW as u16);
            options.set_request_channel_capacity(WINDOW);
            options.set_socket_connector(move |_, _| dial.clone().connect());
            if let Some(tls) = tls {
                options.set_transport(v5::Transport::tls_with_config(v5::TlsConfiguration::Rustls(tls)));
            }
            if let Some(username) = &settings.username {
                options.set_credentials(username.clone(), settings.password.clone());
            }
            if let Some((topic, payload, content_type)) = will {
                let properties = v5::LastWillProperties {
                    delay_interval: None,
                    payload_format_indicator: Some(1),
                    message_expiry_interval: None,
                    content_type: Some(content_type.as_str().to_owned()),
                    response_topic: None,
                    correlation_data: None,
                    user_properties: Vec::new(),
                };
                let will = v5::LastWill::new(topic, payload, v5::QoS::AtLeastOnce, true, Some(properties));
                options.set_last_will(will);
            }
            if session != Session::Clean {
                options.set_session_expiry_interval(Some(SESSION_EXPIRY));
                options.set_clean_start(false);
                // The subscriber keeps no state of its own: what it did not acknowledge comes again, which is the point.
                options.set_session_store(NothingUnderWay {
                    session_expiry: SESSION_EXPIRY,
                    window: WINDOW as u16,
                    manual_ack,
                });
            }
            if manual_ack {
                options.set_receive_maximum(Some(WINDOW as u16));
                options.set_ack_mode(v5::AckMode::Manual);
            }
            let (client, events) =
                v5::AsyncClient::builder(options).try_build().map_err(|e| Failure::Configuration(e.to_string()))?;
            Ok((Client::V5(client.clone()), Driver::V5(Box::new(events), client, settings.client_id.clone())))
        }
    }
}

impl Client {
    /// Hands a message to the connection at `QoS` 1 and gives what becomes of it. Never waits: `None` where the connection
    /// has no room or is gone.
    pub(super) fn publish(&self, message: Publish) -> Option<impl Future<Output = Outcome> + Send + use<>> {
        let Publish { topic, payload, content_type, retain, sent_at, expiry_s } = message;
        let notice = match self {
            Self::V3(client) => {
                let options = v4::PublishOptions::at_least_once().retain(retain);
                Notice::V3(client.try_publish_tracked(topic, payload, options).ok()?)
            }
            Self::V5(client) => {
                let properties = v5::PublishProperties {
                    payload_format_indicator: Some(1),
                    message_expiry_interval: expiry_s,
                    content_type: Some(content_type.as_str().to_owned()),
                    user_properties: sent_at.map(|at| ("sent_at".to_owned(), at.to_string())).into_iter().collect(),
                    ..v5::PublishProperties::default()
                };
                let options = v5::PublishOptions::at_least_once().retain(retain).properties(properties);
                Notice::V5(client.try_publish_tracked(topic, payload, options).ok()?)
            }
        };
        Some(notice.outcome())
    }

    /// Asks for subscriptions at `QoS` 1; a refusal comes as [`Incoming::Subscribed`]. False where a filter is none.
    pub(super) async fn subscribe(&self, filters: &[String]) -> bool {
        // Other errors mean that the connection is gone, which the driver tells.
        match self {
            Self::V3(client) => {
                let filters =
                    filters.iter().map(|filter| v4::SubscribeFilter::new(filter.clone(), v4::QoS::AtLeastOnce));
                !matches!(client.subscribe_many(filters).await, Err(v4::ClientError::InvalidRequest(_)))
            }
            Self::V5(client) => {
                let filters =
                    filters.iter().map(|filter| v5::SubscribeFilter::new(filter.clone(), v5::QoS::AtLeastOnce));
                !matches!(client.subscribe_many(filters).await, Err(v5::ClientError::InvalidRequest(_)))
            }
        }
    }

    /// Acknowledges a message. One of another connection is ignored by the broker's side of the client.
    pub(super) async fn acknowledge(&self, ack: Ack) {
        match (self, ack) {
            (Self::V3(client), Ack::V3(ack)) => drop(client.manual_ack(ack).await),
            (Self::V5(client), Ack::V5(ack)) => drop(client.manual_ack(ack).await),
            (Self::V3(_), Ack::V5(_)) | (Self::V5(_), Ack::V3(_)) => {}
        }
    }

    /// Ends the connection in good order, after what is under way, within that time.
    pub(super) async fn disconnect(&self, within: Duration) {
        match self {
            Self::V3(client) => drop(client.disconnect_with_timeout(within).await),
            Self::V5(client) => drop(client.disconnect_with_timeout(within).await),
        }
    }
}

enum Notice {
    V3(v4::PublishNotice),
    V5(v5::PublishNotice),
}

impl Notice {
    async fn outcome(self) -> Outcome {
        match self {
            Self::V3(notice) => match notice.wait_async().await {
                Ok(_) => Outcome::Accepted,
                Err(v4::PublishNoticeError::Recv | v4::PublishNoticeError::SessionReset) => Outcome::Lost,
                Err(other) => Outcome::Refused(other.to_string()),
            },
            Self::V5(notice) => match notice.wait_async().await {
                Ok(v5::PublishResult::Qos1(ack)) => match ack.reason {
                    v5::PubAckReason::Success => Outcome::Accepted,
                    v5::PubAckReason::NoMatchingSubscribers => Outcome::Unheard,
                    reason => {
                        Outcome::Refused(ack.properties.and_then(|p| p.reason_string).unwrap_or_else(|| words(&reason)))
                    }
                },
                Ok(_) => Outcome::Accepted,
                Err(v5::PublishNoticeError::Recv | v5::PublishNoticeError::SessionReset) => Outcome::Lost,
                Err(other) => Outcome::Refused(other.to_string()),
            },
        }
    }
}

impl Driver {
    /// Keeps the connection going until it ends, and tells what comes in. Runs in a task of its own.
    pub(super) async fn run(mut self, tell: mpsc::Sender<Incoming>) {
        loop {
            let incoming = match &mut self {
                Self::V3(events, client) => match events.poll().await {
                    Ok(event) => from_v3(event, client),
                    Err(error) => Some(Incoming::Failed(Failure::from_v3(error))),
                },
                Self::V5(events, client, client_id) => match events.poll().await {
                    Ok(event) => from_v5(event, client),
                    Err(error) => Some(Incoming::Failed(Failure::from_v5(error, client_id))),
                },
            };
            let Some(incoming) = incoming else { continue };
            let last = matches!(incoming, Incoming::Failed(_));
            // Nobody listens any more: then nobody needs the connection.
            if tell.send(incoming).await.is_err() || last {
                return;
            }
        }
    }
}

fn from_v3(event: v4::Event, client: &v4::AsyncClient) -> Option<Incoming> {
    match event {
        v4::Event::Incoming(v4::Packet::ConnAck(_)) => Some(Incoming::Connected { max_packet_size: None }),
        v4::Event::Incoming(v4::Packet::Publish(publish)) => {
            let ack = client.prepare_ack(&publish).map(Ack::V3);
            Some(Incoming::Message(Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retained: publish.retain,
                ack,
            }))
        }
        v4::Event::Incoming(v4::Packet::SubAck(ack)) => {
            let refused = ack.return_codes.iter().position(|code| matches!(code, v4::SubscribeReasonCode::Failure));
            Some(Incoming::Subscribed(refused.map_or(Ok(()), |at| Err((at, "not authorized".to_owned())))))
        }
        _ => None,
    }
}

fn from_v5(event: v5::Event, client: &v5::AsyncClient) -> Option<Incoming> {
    match event {
        v5::Event::Incoming(v5::Packet::ConnAck(ack)) => Some(Incoming::Connected {
            max_packet_size: ack.properties.and_then(|properties| properties.max_packet_size).map(|size| size as usize),
        }),
        v5::Event::Incoming(v5::Packet::Publish(publish)) => {
            let ack = client.prepare_ack(&publish).map(Ack::V5);
            Some(Incoming::Message(Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                retained: publish.retain,
                ack,
            }))
        }
        v5::Event::Incoming(v5::Packet::SubAck(ack)) => {
            let mut codes = ack.return_codes.iter().enumerate();
            let refused = codes.find(|(_, code)| !matches!(code, v5::SubscribeReasonCode::Success(_)));
            Some(Incoming::Subscribed(refused.map_or(Ok(()), |(at, code)| Err((at, words(code))))))
        }
        _ => None,
    }
}

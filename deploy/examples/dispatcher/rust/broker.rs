//! One connection to the broker. It goes on with the session of the one before, and acknowledges by hand.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc_v5 as v5;
use tokio::sync::{mpsc, watch};
use v5::{PersistedAckMode, PersistedSession, SessionStore, SessionStoreKey};

/// So much is in our hands at once, and no more; the rest waits at the broker, for us or for the others of the group.
const WINDOW: u16 = 32;

/// Where to, and as whom.
pub struct Settings {
    pub url: url::Url,
    pub client_id: String,
    pub topic: String,
    pub session_expiry: u32,
    pub login: Option<(String, String)>,
    pub tls: Arc<rustls::ClientConfig>,
}

/// What a connection tells.
pub enum Incoming {
    Connected { session_present: bool },
    Refused(String),
    Message(Message),
    Lost(String),
}

pub struct Message {
    pub topic: String,
    pub payload: bytes::Bytes,
    ack: Option<v5::ManualAck>,
}

pub struct Broker {
    client: v5::AsyncClient,
    incoming: mpsc::Receiver<Incoming>,
    lost: watch::Receiver<bool>,
    driver: tokio::task::JoinHandle<()>,
}

impl Broker {
    pub fn connect(settings: &Settings) -> Result<Self> {
        let host = settings.url.host_str().context("the broker has no host")?;
        let (tls, usual) = match settings.url.scheme() {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            other => bail!("{other}:// is no broker; write mqtt://HOST:PORT or mqtts://HOST:PORT"),
        };
        let mut options = v5::MqttOptions::new(&settings.client_id, (host, settings.url.port().unwrap_or(usual)));
        options.set_keep_alive(30);
        options.set_connect_timeout(Duration::from_secs(10));
        options.set_clean_start(false);
        options.set_session_expiry_interval(Some(settings.session_expiry));
        options.set_session_store(NothingUnderWay { session_expiry: settings.session_expiry });
        options.set_outgoing_inflight_upper_limit(WINDOW);
        options.set_receive_maximum(Some(WINDOW));
        options.set_ack_mode(v5::AckMode::Manual);
        if let Some((name, password)) = &settings.login {
            options.set_credentials(name.clone(), password.clone().into_bytes());
        }
        if tls {
            let tls = v5::TlsConfiguration::Rustls(Arc::clone(&settings.tls));
            options.set_transport(v5::Transport::tls_with_config(tls));
        }
        let (client, mut events) = v5::AsyncClient::builder(options).try_build()?;
        let (tell, incoming) = mpsc::channel(usize::from(WINDOW) + 8);
        let (losing, lost) = watch::channel(false);
        let asking = client.clone();
        // Polled while a message is dealt with, too: else the broker would take us for dead.
        let driver = tokio::spawn(async move {
            loop {
                let told = match events.poll().await {
                    Ok(event) => told(event, &asking),
                    Err(error) => {
                        losing.send_replace(true);
                        let _ = tell.send(Incoming::Lost(error.to_string())).await;
                        return;
                    }
                };
                if let Some(told) = told
                    && tell.send(told).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { client, incoming, lost, driver })
    }

    pub async fn next(&mut self) -> Incoming {
        self.incoming.recv().await.unwrap_or_else(|| Incoming::Lost("it has ended".to_owned()))
    }

    /// Messages in hand.
    pub fn waiting(&self) -> usize {
        self.incoming.len()
    }

    /// Becomes true with the end of the connection.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    pub async fn subscribe(&self, topic: &str) {
        // Errors mean that the connection is gone, or that the broker refuses; both are told.
        let _ = self.client.subscribe(topic, v5::QoS::AtLeastOnce).await;
    }

    pub async fn acknowledge(&self, message: Message) {
        if let Some(ack) = message.ack {
            let _ = self.client.manual_ack(ack).await;
        }
    }

    /// Goes away; the session stays.
    pub async fn disconnect(mut self) {
        let _ = self.client.disconnect_with_timeout(Duration::from_secs(2)).await;
        // The driver ends when that is sent; what comes meanwhile comes again another time.
        let rest = async { while !matches!(self.next().await, Incoming::Lost(_)) {} };
        let _ = tokio::time::timeout(Duration::from_secs(3), rest).await;
        self.driver.abort();
    }
}

fn told(event: v5::Event, client: &v5::AsyncClient) -> Option<Incoming> {
    match event {
        v5::Event::Incoming(v5::Packet::ConnAck(ack)) => {
            Some(Incoming::Connected { session_present: ack.session_present })
        }
        v5::Event::Incoming(v5::Packet::Publish(publish)) => Some(Incoming::Message(Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            ack: client.prepare_ack(&publish),
            payload: publish.payload,
        })),
        v5::Event::Incoming(v5::Packet::SubAck(ack)) => ack
            .return_codes
            .iter()
            .find(|code| !matches!(code, v5::SubscribeReasonCode::Success(_)))
            .map(|code| Incoming::Refused(format!("{code:?}"))),
        _ => None,
    }
}

/// Our half of the session: a subscriber has nothing under way itself, all that its session holds is with the broker. Without
/// this, the client would not subscribe in a session that it goes on with.
#[derive(Debug)]
struct NothingUnderWay {
    session_expiry: u32,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

impl SessionStore for NothingUnderWay {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(self.session_expiry),
            outgoing_inflight_upper_limit: Some(WINDOW),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(async move { Ok(Some(session)) })
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}

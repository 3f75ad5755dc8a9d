//! Finds out what a broker lets this gateway do, with connections of their own that are soon ended.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::client::{self, Client, Driving, Incoming, Outcome, Publish, Session};
use super::connect::{Endpoint, Settings};
use super::failure::Failure;
use super::wire::ContentType;
use crate::config::MqttVersion;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// A message on trial is not kept for whoever is away (MQTT 5), in seconds.
const EXPIRY: u32 = 1;
const CAPACITY: usize = 64;

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may be done.
    Allowed,
    /// It may not, in the broker's words.
    Refused(String),
    /// The connection ended, which is how some brokers refuse.
    Ended(Failure),
    /// There was no answer.
    Silent,
}

/// A message on trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The topic under the prefix.
    pub topic: String,
    /// What is said there.
    pub payload: Bytes,
    /// Whether it is to be retained; with an empty payload nothing stays.
    pub retain: bool,
}

/// One connection.
pub struct Probe {
    client: Client,
    incoming: mpsc::Receiver<Incoming>,
    driving: Driving,
}

impl Settings {
    /// The brokers, in the order to try them.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The version that is spoken.
    pub fn version(&self) -> MqttVersion {
        self.version
    }

    /// The same in another version.
    #[must_use]
    pub fn with_version(mut self, version: MqttVersion) -> Self {
        self.version = version;
        self
    }

    /// The topic of one under the prefix, in full.
    pub fn full_topic(&self, under: &str) -> String {
        self.topic(under)
    }
}

impl Probe {
    /// Connects with a clean session and no last will.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect(settings: &Settings, endpoint: &Endpoint) -> Result<Self, Failure> {
        let (client, driver) = client::open(settings, endpoint, None, Session::Clean, false)?;
        let (tell, mut incoming) = mpsc::channel(CAPACITY);
        let driving = Driving::start(driver, tell);
        loop {
            match incoming.recv().await {
                Some(Incoming::Connected { .. }) => return Ok(Self { client, incoming, driving }),
                Some(Incoming::Failed(failure)) => return Err(failure),
                Some(_) => {}
                None => return Err(Failure::Protocol("the MQTT client stopped".to_owned())),
            }
        }
    }

    /// Publishes at `QoS` 1. In MQTT 3.1.1 a broker that says "allowed" may have dropped the message without a word.
    pub async fn publish(&mut self, settings: &Settings, trial: &Trial) -> Answer {
        let publish = Publish {
            topic: settings.topic(&trial.topic),
            payload: trial.payload.clone(),
            content_type: if trial.payload.is_empty() { ContentType::Json } else { ContentType::CloudEvent },
            retain: trial.retain,
            sent_at: None,
            expiry_s: Some(EXPIRY),
        };
        let Some(outcome) = self.client.publish(publish) else { return self.ended().await };
        let answered = async {
            let mut outcome = std::pin::pin!(outcome);
            loop {
                tokio::select! {
                    outcome = &mut outcome => return Ok(outcome),
                    // What comes in must be taken, or the connection stands still.
                    told = self.incoming.recv() => match told {
                        Some(Incoming::Failed(failure)) => return Err(failure),
                        Some(_) => {}
                        None => return Ok(Outcome::Lost),
                    },
                }
            }
        };
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(Outcome::Accepted | Outcome::Unheard)) => Answer::Allowed,
            Ok(Ok(Outcome::Refused(words))) => Answer::Refused(words),
            Ok(Ok(Outcome::Lost)) => self.ended().await,
            Ok(Err(failure)) => Answer::Ended(failure),
            Err(_) => Answer::Silent,
        }
    }

    /// Subscribes to a filter under the prefix.
    pub async fn subscribe(&mut self, settings: &Settings, filter: &str) -> Answer {
        let filters = [settings.topic(filter)];
        let answered = async {
            if !self.client.subscribe(&filters).await {
                return Answer::Refused("it is no topic filter; look at the prefix".to_owned());
            }
            loop {
                match self.incoming.recv().await {
                    Some(Incoming::Subscribed(Ok(()))) => return Answer::Allowed,
                    Some(Incoming::Subscribed(Err((_, words)))) => return Answer::Refused(words),
                    Some(Incoming::Failed(failure)) => return Answer::Ended(failure),
                    Some(_) => {}
                    None => return Answer::Ended(Failure::Closed),
                }
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Answer::Silent)
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) {
        let client = self.client.clone();
        let farewell = async {
            tokio::join!(client.disconnect(FAREWELL), async { while self.incoming.recv().await.is_some() {} });
            self.driving.ended().await;
        };
        let _ = tokio::time::timeout(FAREWELL * 2, farewell).await;
    }

    /// Why the connection has ended.
    async fn ended(&mut self) -> Answer {
        let told = async {
            loop {
                match self.incoming.recv().await {
                    Some(Incoming::Failed(failure)) => return failure,
                    Some(_) => {}
                    None => return Failure::Closed,
                }
            }
        };
        Answer::Ended(tokio::time::timeout(FAREWELL, told).await.unwrap_or(Failure::Closed))
    }
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

//! The way in: a subscription that outlives its connections.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::client::{self, Ack, Client, Incoming, Received, Session};
use super::connect::{Endpoint, Settings};
use super::failure::Failure;
use crate::config::MqttVersion;

/// Messages that wait to be looked at; with payloads of at most 64 KiB and a reader that keeps up, a few hundred kB.
const CAPACITY: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// What a subscription tells.
#[derive(Debug)]
pub enum Notice {
    /// It stands, at that broker.
    Subscribed(Endpoint),
    /// A message.
    Message(Delivered),
    /// There is no connection to that broker, or no longer. It will be tried again.
    Lost(Endpoint, Failure),
}

/// A message.
#[derive(Debug)]
pub struct Delivered {
    /// The full topic.
    pub topic: String,
    /// The payload; its size is only bounded by what the client reads.
    pub payload: Bytes,
    /// Whether the broker had kept it.
    pub retained: bool,
    /// To be acknowledged when done with.
    pub token: AckToken,
}

/// To acknowledge a message with, when it is safe. One that is dropped leaves the message with the broker, which delivers
/// no more than its window of such.
#[derive(Debug)]
#[must_use = "a message that is not acknowledged stays with the broker"]
pub struct AckToken(Option<(mpsc::UnboundedSender<Answer>, Answer)>);

/// Packet identifiers are used again on every connection: an answer belongs to the one that its message came on.
type Answer = (u64, Ack);

impl AckToken {
    /// Acknowledges. Never waits; without effect when the connection that brought the message is gone, for then it comes
    /// again or is lost.
    pub fn acknowledge(self) {
        if let Some((answers, answer)) = self.0 {
            // The subscription has ended.
            let _ = answers.send(answer);
        }
    }
}

/// What the broker keeps while the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// What comes within ten minutes (MQTT 5 only). What came while this was not running is not asked for.
    Messages,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Subscription(JoinHandle<()>);

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Subscription {
    /// Subscribes to `filter` under the prefix at `QoS` 1 and keeps at it.
    pub fn start(settings: Settings, filter: &str, keep: Keep) -> (Self, mpsc::Receiver<Notice>) {
        let filter = settings.topic(filter);
        let (tell, notices) = mpsc::channel(CAPACITY);
        (Self(tokio::spawn(run(settings, filter, keep, tell))), notices)
    }
}

async fn run(settings: Settings, filter: String, keep: Keep, tell: mpsc::Sender<Notice>) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    // Bounded by the messages that were handed out and not yet acknowledged.
    let (answer, mut answers) = mpsc::unbounded_channel::<Answer>();
    let mut session = Session::Begin;
    let mut connection = 0;
    loop {
        for (at, endpoint) in settings.endpoints.iter().enumerate() {
            connection += 1;
            let began = Instant::now();
            let asked =
                if keep == Keep::Nothing || settings.version == MqttVersion::V3 { Session::Clean } else { session };
            let link =
                Link { settings: &settings, endpoint, filter: &filter, tell: &tell, answer: &answer, connection };
            let (made, failure) = link.run(asked, &mut answers).await;
            if tell.send(Notice::Lost(endpoint.clone(), failure)).await.is_err() {
                return;
            }
            if made {
                session = Session::Resume;
                if began.elapsed() >= GOOD_CONNECTION {
                    backoff.reset();
                }
            }
            if made || at + 1 == settings.endpoints.len() {
                tokio::time::sleep(backoff.next()).await;
            }
            if made {
                // The first broker is the preferred one.
                break;
            }
        }
    }
}

/// One connection.
struct Link<'a> {
    settings: &'a Settings,
    endpoint: &'a Endpoint,
    filter: &'a str,
    tell: &'a mpsc::Sender<Notice>,
    answer: &'a mpsc::UnboundedSender<Answer>,
    connection: u64,
}

impl Link<'_> {
    /// Whether it was made, and why it ended.
    async fn run(&self, session: Session, answers: &mut mpsc::UnboundedReceiver<Answer>) -> (bool, Failure) {
        let (client, driver) = match client::open(self.settings, self.endpoint, None, session, true) {
            Ok(opened) => opened,
            Err(failure) => return (false, failure),
        };
        let (tell, mut incoming) = mpsc::channel(CAPACITY);
        // Ends with the receiver of what it tells.
        let driving = tokio::spawn(driver.run(tell));
        let mut made = false;
        let failure = loop {
            tokio::select! {
                told = incoming.recv() => match told {
                    Some(Incoming::Connected { session_present, .. }) => {
                        made = true;
                        if session_present {
                            self.tell(Notice::Subscribed(self.endpoint.clone())).await;
                        } else if !client.subscribe(self.filter).await {
                            break Failure::Configuration(format!("{} is no topic filter; look at the prefix", self.filter));
                        }
                    }
                    Some(Incoming::Subscribed(Ok(()))) => self.tell(Notice::Subscribed(self.endpoint.clone())).await,
                    Some(Incoming::Subscribed(Err(reason))) => {
                        break Failure::RefusedByBroker(format!("it does not let us subscribe to {}: {reason}", self.filter));
                    }
                    Some(Incoming::Message(received)) => self.message(received).await,
                    Some(Incoming::Failed(failure)) => break failure,
                    None => break Failure::Protocol("the MQTT client stopped".to_owned()),
                },
                Some((connection, ack)) = answers.recv() => self.acknowledge(&client, connection, ack).await,
                () = self.tell.closed() => break Failure::Ended("as asked".to_owned()),
            }
        };
        driving.abort();
        (made, failure)
    }

    async fn acknowledge(&self, client: &Client, connection: u64, ack: Ack) {
        if connection == self.connection {
            client.acknowledge(ack).await;
        }
    }

    async fn message(&self, received: Received) {
        let Received { topic, payload, retained, ack } = received;
        let token = AckToken(ack.map(|ack| (self.answer.clone(), (self.connection, ack))));
        self.tell(Notice::Message(Delivered { topic, payload, retained, token })).await;
    }

    async fn tell(&self, notice: Notice) {
        // Nobody listens: then the loop above ends.
        let _ = self.tell.send(notice).await;
    }
}

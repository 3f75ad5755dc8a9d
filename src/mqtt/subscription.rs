//! The way in: a subscription that outlives its connections.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use super::backoff::Backoff;
use super::client::{self, Ack, Client, Driving, Incoming, Received, Session};
use super::connect::{Endpoint, Settings};
use super::failure::{Closings, Failure};

/// Messages that wait to be looked at; with payloads of at most 64 KiB and a reader that keeps up, a few hundred kB.
const CAPACITY: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
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
    /// Whether the broker waits for it; not at `QoS` 0.
    pub fn is_awaited(&self) -> bool {
        self.0.is_some()
    }

    /// Acknowledges. Never waits; without effect when the connection that brought the message is gone, for then it comes
    /// again or is lost.
    pub fn acknowledge(self) {
        if let Some((answers, answer)) = self.0 {
            // The subscription has ended.
            let _ = answers.send(answer);
        }
    }
}

/// What the broker keeps while there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// What was not acknowledged and what comes, also while this is not running: for ten minutes with MQTT 5, for as long as
    /// the broker likes with 3.1.1.
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
    /// Subscribes to `filters` under the prefix at `QoS` 1 and keeps at it. Without the first it is nothing, and tries again;
    /// the others may be refused by a broker whose access rules are of an earlier version, and are done without.
    pub fn start(settings: Settings, filters: &[&str], keep: Keep) -> (Self, mpsc::Receiver<Notice>) {
        let filters = filters.iter().map(|filter| settings.topic(filter)).collect();
        let (tell, notices) = mpsc::channel(CAPACITY);
        (Self(tokio::spawn(run(settings, filters, keep, tell))), notices)
    }
}

async fn run(settings: Settings, filters: Vec<String>, keep: Keep, tell: mpsc::Sender<Notice>) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    let mut closings = Closings::default();
    // Bounded by the messages that were handed out and not yet acknowledged.
    let (answer, mut answers) = mpsc::unbounded_channel::<Answer>();
    // Also on the first connection: an earlier process may have left something unacknowledged.
    let session = if keep == Keep::Nothing { Session::Clean } else { Session::Resume };
    let mut connection = 0;
    loop {
        for (at, endpoint) in settings.endpoints.iter().enumerate() {
            connection += 1;
            let began = Instant::now();
            let link =
                Link { settings: &settings, endpoint, filters: &filters, tell: &tell, answer: &answer, connection };
            let (made, failure) = link.run(session, &mut answers).await;
            let failure = closings.judge(failure, made.then(|| began.elapsed()), &settings.client_id);
            if tell.send(Notice::Lost(endpoint.clone(), failure)).await.is_err() {
                return;
            }
            if made && began.elapsed() >= GOOD_CONNECTION {
                backoff.reset();
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
    filters: &'a [String],
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
        let _driving = Driving::start(driver, tell);
        let mut made = false;
        let failure = loop {
            tokio::select! {
                told = incoming.recv() => match told {
                    Some(Incoming::Connected { .. }) => {
                        made = true;
                        // Again where the broker kept the session: it may be of an earlier version, which asked for less.
                        if !client.subscribe(self.filters).await {
                            let filters = self.filters.join(", ");
                            break Failure::Configuration(format!("{filters}: no topic filters; look at the prefix"));
                        }
                    }
                    Some(Incoming::Subscribed(Ok(()))) => self.tell(Notice::Subscribed(self.endpoint.clone())).await,
                    Some(Incoming::Subscribed(Err((at, reason)))) => {
                        let filter = self.filters.get(at).map_or("", String::as_str);
                        if at > 0 {
                            warn!(broker = %self.endpoint, "the broker does not let us subscribe to {filter}: {reason}");
                            self.tell(Notice::Subscribed(self.endpoint.clone())).await;
                            continue;
                        }
                        break Failure::RefusedByBroker(format!("it does not let us subscribe to {filter}: {reason}"));
                    }
                    Some(Incoming::Message(received)) => self.message(received).await,
                    Some(Incoming::Failed(failure)) => break failure,
                    None => break Failure::Protocol("the MQTT client stopped".to_owned()),
                },
                Some((connection, ack)) = answers.recv() => self.acknowledge(&client, connection, ack).await,
                () = self.tell.closed() => break Failure::Ended("as asked".to_owned()),
            }
        };
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

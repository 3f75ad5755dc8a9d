//! The publisher's life on one connection.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, future};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::{Shared, Stop};
use crate::model::Timestamp;
use crate::mqtt::client::{self, Client, Incoming, Outcome, Session};
use crate::mqtt::connect::{Endpoint, Settings};
use crate::mqtt::failure::Failure;
use crate::mqtt::outbox::{Key, Refused};
use crate::mqtt::wire::Message;

/// Room for what an MQTT 5 packet holds beside topic and payload, in bytes.
const PACKET_OVERHEAD: usize = 256;
/// How long the last word and the farewell may take when the time to stop is used up already.
const FAREWELL: Duration = Duration::from_secs(2);

/// Connections in a row that ended with the same message as the first unanswered one, after which the broker is taken to
/// end them over it. Random cuts do not hit the same message that often; a message that is wrongly taken for the culprit
/// only waits, as a refused one does.
const PROOF: u32 = 3;

/// How a connection ended.
pub(super) enum End {
    /// As asked.
    Stopped,
    /// It could not be made, or was lost.
    Failed {
        /// Why.
        failure: Failure,
        /// How long it lasted; none where it was never made.
        lasted: Option<Duration>,
    },
}

/// What a message is to the books.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ticket {
    Event(Key),
    State(String, u64),
    LastWord,
}

/// The message over which a broker may end connections: some know no other way to refuse one (MQTT 3.1.1 has none). Brokers
/// answer in order, so it is the first of those without an answer, unless answers were lost as well; because few messages
/// are under way on a young connection, it comes first there soon.
#[derive(Debug, Default)]
pub(super) struct Suspect {
    first: Option<Ticket>,
    times: u32,
    /// Found guilty before: no further proof is needed.
    known: Option<Ticket>,
}

impl Suspect {
    /// Which of the unanswered messages the connection ended over, as far as can be known.
    fn among(&mut self, unanswered: &[(u64, Ticket)]) -> Option<usize> {
        let (_, first) = unanswered.first()?;
        let known = unanswered.iter().position(|(_, ticket)| self.known.as_ref() == Some(ticket));
        if known.is_some() {
            return known;
        }
        if self.first.as_ref() == Some(first) {
            self.times += 1;
        } else {
            (self.first, self.times) = (Some(first.clone()), 1);
        }
        if self.times < PROOF {
            return None;
        }
        self.known = self.first.take();
        Some(0)
    }
}

/// With the place of the message among those of the connection.
type Pending = Pin<Box<dyn Future<Output = (u64, Ticket, Outcome)> + Send>>;

/// Ends the driver with the connection.
struct Driving(JoinHandle<()>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Connection<'a> {
    shared: &'a Shared,
    settings: &'a Settings,
    /// None once the connection has ended: its queue would keep answers waiting that never come.
    client: Option<Client>,
    max_packet_size: Option<usize>,
    connected_at: Option<Instant>,
    under_way: FuturesUnordered<Pending>,
    /// How many messages may be under way: one at first, one more with every answer. So a connection that ends over a
    /// message takes few others with it, and a good one has its whole window after a few round trips.
    window: usize,
    sent: u64,
}

/// Connects, publishes until the connection ends or a stop is asked for.
pub(super) async fn run(
    shared: &Shared,
    settings: &Settings,
    endpoint: &Endpoint,
    will: &Message,
    suspect: &mut Suspect,
    stop: &mut watch::Receiver<Option<Stop>>,
) -> End {
    let (client, driver) = match client::open(settings, endpoint, Some(will), Session::Clean, false) {
        Ok(opened) => opened,
        Err(failure) => return End::Failed { failure, lasted: None },
    };
    let (tell, mut incoming) = mpsc::channel(16);
    let mut driving = Driving(tokio::spawn(driver.run(tell)));
    let mut connection = Connection {
        shared,
        settings,
        client: Some(client),
        max_packet_size: None,
        connected_at: None,
        under_way: FuturesUnordered::new(),
        window: 1,
        sent: 0,
    };
    let mut stopping: Option<Stop> = stop.borrow_and_update().clone();
    loop {
        if connection.connected_at.is_some() {
            if let Some(stop) = &stopping
                && (Instant::now() >= stop.deadline || connection.nothing_left())
            {
                connection.farewell(stop, &mut driving).await;
                return End::Stopped;
            }
            connection.fill();
        } else if stopping.as_ref().is_some_and(|stop| Instant::now() >= stop.deadline) {
            return End::Stopped;
        }
        let due = connection.due(stopping.as_ref());
        tokio::select! {
            told = incoming.recv() => match told {
                Some(Incoming::Connected { max_packet_size, .. }) => connection.begin(endpoint, max_packet_size),
                Some(Incoming::Failed(failure)) => return connection.end(failure, suspect).await,
                Some(Incoming::Message(_) | Incoming::Subscribed(_)) => {}
                // The driver says why it ends before it does, unless it panics.
                None => return connection.end(Failure::Protocol("the MQTT client stopped".to_owned()), suspect).await,
            },
            Some((_, ticket, outcome)) = connection.under_way.next() => connection.settle_all(ticket, outcome),
            () = shared.work.notified(), if connection.connected_at.is_some() => {}
            () = sleep_until(due) => {}
            Ok(()) = stop.changed(), if stopping.is_none() => stopping.clone_from(&stop.borrow_and_update()),
        }
    }
}

impl Connection<'_> {
    fn begin(&mut self, endpoint: &Endpoint, max_packet_size: Option<usize>) {
        self.connected_at = Some(Instant::now());
        self.max_packet_size = max_packet_size;
        let mut books = self.shared.books();
        books.states.again();
        books.status.connected = true;
        books.status.connects += 1;
        books.status.broker = Some(endpoint.to_string());
        books.status.last_error = None;
        info!(broker = %endpoint, queued = books.outbox.len(), "connected");
    }

    /// Hands over as much as may be under way.
    fn fill(&mut self) {
        let now = Instant::now();
        // States never crowd out events, nor events states: every fourth message is a state where there are both.
        while self.under_way.len() < self.window {
            let mut books = self.shared.books();
            let mut batch = Vec::new();
            let room = self.window - self.under_way.len();
            while batch.len() < room {
                let state_first = batch.len() % 4 == 3;
                let event = if state_first { None } else { books.outbox.next(now) };
                if let Some((key, message)) = event {
                    batch.push((Ticket::Event(key), message));
                } else if let Some((message, version)) = books.states.next() {
                    batch.push((Ticket::State(message.topic.clone(), version), message));
                } else if state_first && let Some((key, message)) = books.outbox.next(now) {
                    batch.push((Ticket::Event(key), message));
                } else {
                    break;
                }
            }
            drop(books);
            if batch.is_empty() {
                return;
            }
            for (ticket, message) in batch {
                self.publish(ticket, message);
            }
        }
    }

    fn publish(&mut self, ticket: Ticket, message: Message) {
        let topic = self.settings.topic(&message.topic);
        if self.max_packet_size.is_some_and(|max| topic.len() + message.payload.len() + PACKET_OVERHEAD > max) {
            let reason = "it is greater than the broker's greatest packet".to_owned();
            if let Ticket::Event(key) = ticket {
                // Another try would not make it smaller.
                warn!(topic, "an event is parked: {reason}");
                let mut books = self.shared.books();
                books.status.refused += 1;
                books.status.last_refusal = Some(reason);
                books.outbox.park(key);
            } else {
                self.settle(ticket, Outcome::Refused(reason));
            }
            return;
        }
        let (retain, sent_at) = match ticket {
            Ticket::Event(_) => (false, Some(now())),
            Ticket::State(..) | Ticket::LastWord => (true, None),
        };
        self.sent += 1;
        let (place, client) = (self.sent, self.client.as_ref());
        match client.and_then(|c| c.publish(topic, message.payload, message.content_type, retain, sent_at)) {
            Some(outcome) => self.under_way.push(Box::pin(outcome.map(move |outcome| (place, ticket, outcome)))),
            // The client has room for the whole window, so this is a connection that has just ended: the driver tells.
            None => self.under_way.push(Box::pin(future::ready((place, ticket, Outcome::Lost)))),
        }
    }

    /// Settles this answer and all others that are there.
    fn settle_all(&mut self, ticket: Ticket, outcome: Outcome) {
        self.settle(ticket, outcome);
        while let Some(Some((_, ticket, outcome))) = self.under_way.next().now_or_never() {
            self.settle(ticket, outcome);
        }
    }

    fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        if outcome != Outcome::Lost {
            self.window = (self.window + 1).min(client::WINDOW);
        }
        let mut books = self.shared.books();
        if let Outcome::Refused(reason) = &outcome {
            books.status.last_refusal = Some(reason.clone());
            if let Some(held_back) = books.refusals.pass(Instant::now()) {
                let what = if matches!(ticket, Ticket::Event(_)) { "an event" } else { "a state" };
                warn!(held_back, "the broker refuses {what}: {reason}");
            }
        }
        match (ticket, outcome) {
            (Ticket::Event(key), Outcome::Accepted) => {
                books.status.acknowledged += 1;
                books.outbox.accepted(key);
            }
            (Ticket::Event(key), Outcome::Unheard) => {
                books.status.acknowledged += 1;
                books.status.unheard += 1;
                books.outbox.accepted(key);
            }
            (Ticket::Event(key), Outcome::Refused(reason)) => {
                books.status.refused += 1;
                if books.outbox.refused(key, Instant::now()) == Refused::Parked {
                    warn!(parked = books.outbox.parked_total(), "an event is parked after the last try: {reason}");
                }
            }
            (Ticket::Event(key), Outcome::Lost) => books.outbox.lost(key),
            (Ticket::State(topic, version), outcome) => {
                // A refused state is tried again with its next value, or on the next connection.
                books.status.states_refused += u64::from(matches!(outcome, Outcome::Refused(_)));
                if outcome != Outcome::Lost {
                    books.states.settled(&topic, version);
                }
            }
            (Ticket::LastWord, _) => {}
        }
    }

    fn nothing_left(&self) -> bool {
        let books = self.shared.books();
        books.outbox.is_empty() && books.states.pending() == 0
    }

    /// When to look again without being told to.
    fn due(&self, stopping: Option<&Stop>) -> Option<Instant> {
        let retry = if self.connected_at.is_some() { self.shared.books().outbox.next_due() } else { None };
        match (retry, stopping.map(|stop| stop.deadline)) {
            (Some(retry), Some(deadline)) => Some(retry.min(deadline)),
            (one, other) => one.or(other),
        }
    }

    /// The connection is gone: what is under way goes back to the outbox.
    async fn end(mut self, failure: Failure, suspect: &mut Suspect) -> End {
        // With the driver and the last client goes every answer that is still awaited.
        self.client = None;
        let mut unanswered = Vec::new();
        while let Some((place, ticket, outcome)) = self.under_way.next().await {
            if outcome == Outcome::Lost {
                unanswered.push((place, ticket));
            } else {
                self.settle(ticket, outcome);
            }
        }
        unanswered.sort_unstable_by_key(|(place, _)| *place);
        let guilty = suspect.among(&unanswered);
        // Backwards, because each goes to the head of the queue.
        for (at, (_, ticket)) in unanswered.into_iter().enumerate().rev() {
            if guilty == Some(at) {
                if let Ticket::State(topic, version) = &ticket {
                    self.shared.books().states.refused(topic, *version);
                }
                self.settle(ticket, Outcome::Refused(format!("the connection ended over it: {failure}")));
            } else {
                self.settle(ticket, Outcome::Lost);
            }
        }
        End::Failed { failure, lasted: self.connected_at.map(|at| at.elapsed()) }
    }

    /// The last word, and an orderly end.
    async fn farewell(&mut self, stop: &Stop, driving: &mut Driving) {
        let until = stop.deadline.max(Instant::now() + FAREWELL);
        self.publish(Ticket::LastWord, stop.last_word.clone());
        let answers = async {
            while let Some((_, ticket, outcome)) = self.under_way.next().await {
                let last = matches!(ticket, Ticket::LastWord);
                self.settle(ticket, outcome);
                if last {
                    break;
                }
            }
        };
        // `under_way` is only polled here, so nothing is lost by giving up.
        let _ = tokio::time::timeout_at(until.into(), answers).await;
        if let Some(client) = &self.client {
            client.disconnect(FAREWELL).await;
        }
        let _ = tokio::time::timeout(FAREWELL, &mut driving.0).await;
        let mut books = self.shared.books();
        books.status.connected = false;
        books.status.broker = None;
        info!(queued = books.outbox.len(), "disconnected");
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

/// The wall clock, for `sent_at`.
fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

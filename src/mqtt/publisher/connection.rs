//! The publisher's life on one connection.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};
use futures::{FutureExt as _, future};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::replay::{Job, PAGE};
use super::{Shared, Stop};
use crate::clock::wall_clock;
use crate::model::Timestamp;
use crate::mqtt::client::{self, Client, Driving, Incoming, Outcome, Publish, Session};
use crate::mqtt::connect::{Endpoint, Settings};
use crate::mqtt::failure::Failure;
use crate::mqtt::outbox::{Fate, Going, Key};
use crate::mqtt::wire::{self, ContentType, Message};
use crate::store::{Entry, Page};

/// Room for what an MQTT 5 packet holds beside topic and payload, in bytes.
const PACKET_OVERHEAD: usize = 256;
/// How long the last word and the farewell may take when the time to stop is used up already.
const FAREWELL: Duration = Duration::from_secs(2);

/// What cannot be read from the store now is asked for again after this time.
const UNREADABLE: Duration = Duration::from_secs(1);

/// Connections in a row that ended with the same message as the first unanswered one, after which the broker is taken to
/// end them over it. Random cuts do not hit the same message that often; a message that is wrongly taken for the culprit
/// only waits, as a refused one does.
const PROOF: u32 = 3;

/// Answers to a replay that may be under way while nothing else is to be sent, and while there is: then live events have
/// the connection, but the replay still ends.
const REPLAY_WINDOW: usize = 64;
const REPLAY_TRICKLE: usize = 1;

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
    /// With when it expires.
    Event(Key, Option<Timestamp>),
    State(String, u64),
    /// An answer to a replay, and the word that it is at its end.
    Answer(Key),
    Answered,
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

/// What was read from the store. An error is a panic in it.
enum Read {
    Loaded(Vec<(Key, Option<Timestamp>)>, Option<Vec<Option<Entry>>>),
    Page(Option<Page>),
}

type Reading = Pin<Box<dyn Future<Output = Read> + Send>>;

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
    reads: FuturesUnordered<Reading>,
    /// Entries whose messages are to be read, and those that are being read; both count as under way.
    to_load: Vec<(Key, Option<Timestamp>)>,
    loading: Vec<Key>,
    replay: Option<Job>,
    page_asked: bool,
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
    let mut driving = Driving::start(driver, tell);
    let mut connection = Connection {
        shared,
        settings,
        client: Some(client),
        max_packet_size: None,
        connected_at: None,
        under_way: FuturesUnordered::new(),
        window: 1,
        sent: 0,
        reads: FuturesUnordered::new(),
        to_load: Vec::new(),
        loading: Vec::new(),
        replay: None,
        page_asked: false,
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
                Some(Incoming::Connected { max_packet_size }) => connection.begin(endpoint, max_packet_size),
                Some(Incoming::Failed(failure)) => return connection.end(failure, suspect).await,
                Some(Incoming::Message(_) | Incoming::Subscribed(_)) => {}
                // The driver says why it ends before it does, unless it panics.
                None => return connection.end(Failure::Protocol("the MQTT client stopped".to_owned()), suspect).await,
            },
            Some((_, ticket, outcome)) = connection.under_way.next() => connection.settle_all(ticket, outcome),
            Some(read) = connection.reads.next() => connection.take(read),
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
        let now = self.shared.clock.now();
        self.answer();
        // States never crowd out events, nor events states: every fourth message is a state where there are both.
        loop {
            let room = self.room();
            let mut books = self.shared.books();
            let mut batch = Vec::new();
            let mut taken = 0;
            while taken < room {
                let state_first = taken % 4 == 3;
                let event = if state_first { None } else { books.outbox.next(now) };
                let state = if event.is_none() { books.states.next() } else { None };
                let event = if state_first && state.is_none() { books.outbox.next(now) } else { event };
                match (event, state) {
                    (Some(Going { key, message: Some(message), expires }), _) => {
                        batch.push((Ticket::Event(key, expires), message));
                    }
                    (Some(Going { key, message: None, expires }), _) => self.to_load.push((key, expires)),
                    (None, Some((message, version))) => {
                        batch.push((Ticket::State(message.topic.clone(), version), message));
                    }
                    (None, None) => break,
                }
                taken += 1;
            }
            drop(books);
            self.load();
            if batch.is_empty() {
                return;
            }
            for (ticket, message) in batch {
                self.publish(ticket, message);
            }
        }
    }

    /// How many more messages may be under way.
    fn room(&self) -> usize {
        self.window.saturating_sub(self.under_way.len() + self.to_load.len() + self.loading.len())
    }

    /// Reads what is to be read, all that has come together in the meantime at once.
    fn load(&mut self) {
        if self.shared.backing.is_none() || !self.loading.is_empty() || self.to_load.is_empty() {
            return;
        }
        let wanted = std::mem::take(&mut self.to_load);
        self.loading = wanted.iter().map(|(key, _)| *key).collect();
        self.read(wanted, Duration::ZERO);
    }

    fn read(&self, wanted: Vec<(Key, Option<Timestamp>)>, after: Duration) {
        let Some(backing) = &self.shared.backing else { return };
        let keys: Vec<Key> = wanted.iter().map(|(key, _)| *key).collect();
        let store = std::sync::Arc::clone(&backing.store);
        let read = async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let read = tokio::task::spawn_blocking(move || store.load(&keys)).await;
            Read::Loaded(wanted, read.ok().and_then(Result::ok))
        };
        self.reads.push(Box::pin(read));
    }

    fn take(&mut self, read: Read) {
        match read {
            Read::Loaded(wanted, Some(entries)) => {
                self.loading.clear();
                let mut entries = entries.into_iter();
                for (key, expires) in wanted {
                    match entries.next().flatten() {
                        Some(entry) => self.publish(Ticket::Event(key, expires), event_message(entry)),
                        None => self.shared.books().outbox.damaged(key),
                    }
                }
            }
            Read::Loaded(wanted, None) => {
                // The disk is in trouble, and nothing new is committed either: it is asked again until it can be read.
                self.read(wanted, UNREADABLE);
            }
            Read::Page(page) => {
                self.page_asked = false;
                match (page, self.replay.as_mut()) {
                    (Some(page), Some(job)) if job.to_read().is_some_and(|(from, _)| page.next == Some(from)) => {
                        self.give_up_replay("the store cannot be read at present");
                    }
                    (Some(page), Some(job)) => job.take(page),
                    (None, Some(_)) => self.give_up_replay("the store could not be read"),
                    (_, None) => {}
                }
            }
        }
    }

    /// Goes on with a replay, as far as it may.
    fn answer(&mut self) {
        let Some(backing) = &self.shared.backing else { return };
        if self.replay.is_none() {
            let mut books = self.shared.books();
            let next_sequence = books.next_key;
            let request = books.replays.pop_front();
            self.replay = request.map(|request| Job::new(request, &backing.context.epoch, next_sequence));
        }
        let most = if self.shared.books().outbox.is_ready() { REPLAY_TRICKLE } else { REPLAY_WINDOW };
        while self.room() > 0 {
            let Some(job) = self.replay.as_mut() else { return };
            if job.page.is_empty()
                && !self.page_asked
                && let Some((from, to)) = job.to_read()
            {
                self.page_asked = true;
                let store = std::sync::Arc::clone(&backing.store);
                let read = tokio::task::spawn_blocking(move || store.page(from, to, PAGE));
                self.reads.push(Box::pin(read.map(|read| Read::Page(read.ok()))));
            }
            if job.in_flight < most
                && let Some(entry) = job.page.pop_front()
            {
                job.in_flight += 1;
                let message = Message { topic: job.request.reply_to.clone(), ..event_message(entry.clone()) };
                self.publish(Ticket::Answer(entry.sequence), message);
                continue;
            }
            let Some(done) = job.done() else { return };
            match wire::replay_done(&backing.context, &job.request, &done) {
                Ok(message) => {
                    job.ending = true;
                    info!(
                        from = job.request.from,
                        to = job.request.to,
                        answered = done.answered,
                        "a replay was answered"
                    );
                    self.publish(Ticket::Answered, message);
                }
                Err(error) => self.give_up_replay(&error.to_string()),
            }
        }
    }

    fn give_up_replay(&mut self, reason: &str) {
        if let Some(job) = self.replay.take() {
            self.shared.books().status.replays_failed += 1;
            warn!(reply_to = job.request.reply_to, "a replay is given up: {reason}");
        }
    }

    fn publish(&mut self, ticket: Ticket, message: Message) {
        let topic = self.settings.topic(&message.topic);
        if self.max_packet_size.is_some_and(|max| topic.len() + message.payload.len() + PACKET_OVERHEAD > max) {
            let reason = "it is greater than the broker's greatest packet".to_owned();
            if let Ticket::Event(key, _) = ticket {
                // Another try would not make it smaller.
                warn!(topic, "an event is parked: {reason}");
                let mut books = self.shared.books();
                books.status.refused += 1;
                books.outbox.park(key, &reason);
                books.status.last_refusal = Some(reason);
            } else {
                self.settle(ticket, Outcome::Refused(reason));
            }
            return;
        }
        let mut expiry_s = None;
        if let Ticket::Event(key, Some(expires)) = &ticket {
            let now = self.shared.clock.steady();
            if *expires <= now {
                // It expired while it was read: the outbox finds out.
                self.shared.books().outbox.lost(*key);
                return;
            }
            expiry_s = Some(u32::try_from(expires.since(now).as_secs()).unwrap_or(u32::MAX).max(1));
        }
        let event = matches!(ticket, Ticket::Event(..) | Ticket::Answer(_));
        let publish = Publish {
            topic,
            payload: message.payload,
            content_type: message.content_type,
            retain: matches!(ticket, Ticket::State(..) | Ticket::LastWord),
            sent_at: event.then(wall_clock),
            expiry_s,
        };
        self.sent += 1;
        let (place, client) = (self.sent, self.client.as_ref());
        match client.and_then(|client| client.publish(publish)) {
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
                let what = match ticket {
                    Ticket::Event(..) => "an event",
                    Ticket::Answer(_) | Ticket::Answered => "an answer to a replay",
                    Ticket::State(..) | Ticket::LastWord => "a state",
                };
                warn!(held_back, "the broker refuses {what}: {reason}");
            }
        }
        match (ticket, outcome) {
            (Ticket::Event(key, _), Outcome::Accepted) => {
                books.status.acknowledged += 1;
                books.outbox.accepted(key);
            }
            (Ticket::Event(key, _), Outcome::Unheard) => {
                let now = self.shared.clock.now();
                if books.outbox.unheard(key, now) == Fate::Settled {
                    books.status.acknowledged += 1;
                    books.status.unheard += 1;
                }
            }
            (Ticket::Event(key, _), Outcome::Refused(reason)) => {
                books.status.refused += 1;
                if books.outbox.refused(key, Instant::now(), &reason) == Fate::Settled {
                    warn!(parked = books.outbox.parked(), "an event is parked after the last try: {reason}");
                }
            }
            (Ticket::Event(key, _), Outcome::Lost) => books.outbox.lost(key),
            (Ticket::State(topic, version), outcome) => {
                // A refused state is tried again with its next value, or on the next connection.
                books.status.states_refused += u64::from(matches!(outcome, Outcome::Refused(_)));
                if outcome != Outcome::Lost {
                    books.states.settled(&topic, version);
                }
            }
            (Ticket::Answer(_), Outcome::Accepted | Outcome::Unheard) => {
                if let Some(job) = self.replay.as_mut() {
                    job.answered();
                }
            }
            (Ticket::Answered, Outcome::Accepted | Outcome::Unheard) => {
                books.status.replays_answered += 1;
                self.replay = None;
            }
            (Ticket::Answer(_) | Ticket::Answered, Outcome::Refused(reason)) => {
                drop(books);
                self.give_up_replay(&reason);
            }
            (Ticket::Answer(_) | Ticket::Answered, Outcome::Lost) | (Ticket::LastWord, _) => {}
        }
    }

    /// Whether an orderly stop has nothing to wait for. Where there is a store, what waits for its time is safe there.
    fn nothing_left(&self) -> bool {
        let books = self.shared.books();
        let sent = if self.shared.backing.is_some() { books.outbox.is_idle() } else { books.outbox.is_empty() };
        sent && books.states.pending() == 0
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
        // Whoever asked for a replay asks again: how far it got is not known.
        self.replay = None;
        self.shared.books().replays.clear();
        self.unload();
        let mut unanswered = Vec::new();
        while let Some((place, ticket, outcome)) = self.under_way.next().await {
            if outcome == Outcome::Lost {
                unanswered.push((place, ticket));
            } else {
                self.settle(ticket, outcome);
            }
        }
        unanswered.sort_unstable_by_key(|(place, _)| *place);
        // Thrown out by another client, the messages are innocent.
        let guilty = if matches!(failure, Failure::TakenOver { .. }) { None } else { suspect.among(&unanswered) };
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

    /// What is being read was never sent.
    fn unload(&mut self) {
        let unsent = std::mem::take(&mut self.loading).into_iter().chain(self.to_load.drain(..).map(|(key, _)| key));
        let unsent: Vec<Key> = unsent.collect();
        let mut books = self.shared.books();
        for key in unsent.into_iter().rev() {
            books.outbox.lost(key);
        }
    }

    /// The last word, and an orderly end.
    async fn farewell(&mut self, stop: &Stop, driving: &mut Driving) {
        let until = stop.deadline.max(Instant::now() + FAREWELL);
        self.unload();
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
        let _ = tokio::time::timeout(FAREWELL, driving.ended()).await;
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

fn event_message(entry: Entry) -> Message {
    Message { topic: entry.topic, payload: entry.payload, content_type: ContentType::CloudEvent }
}

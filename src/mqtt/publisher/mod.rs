//! The way out: events from the outbox, states, and the word on whether the gateway is there.
//!
//! The gateway's loop hands over what it has to say and goes on at once; a task of this module keeps a connection to the
//! first broker that lets it in, publishes, and tries again for as long as it takes. Nothing of what this offers waits for
//! the network, and what is held is bounded.
//!
//! With a [`Backing`], events are in a store: it hands them over when they are committed, they are read from it again
//! where they are no longer in memory, and it is told what became of each. A task of its own tells it, so that the store's
//! own thread, which hands over, is never called back.

mod connection;
mod replay;

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::backoff::Backoff;
use super::clock::Clock;
use super::connect::Settings;
use super::failure::Closings;
use super::outbox::{Drops, Key, Limits, Outbox};
use super::states::States;
use super::wire::{ContentType, Context, Message, ReplayRequest};
use crate::model::DeviceId;
use crate::store::{Class, Entry, Page, Settled, Store, Unreadable, Waiting};
use crate::throttle::Throttle;
use connection::{End, Suspect};
pub use replay::{ReplayRefused, Replays};

/// Waits between attempts: from half a second, so that a restarted broker is found soon, to ten, which bothers no absent
/// one and keeps no event waiting for long once it is back.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// A connection that lasted this long was a good one: the next loss begins with a short wait again. A shorter one may be a
/// quarrel over the client id, or a broker that dislikes a message.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// Where events are stored: a [`Store`], or a test's.
pub trait Stored: Send + Sync + 'static {
    /// Takes note of what became of an entry. Never waits.
    fn settle(&self, sequence: u64, settled: Settled);

    /// Reads entries; none where one is gone or damaged. May block.
    ///
    /// # Errors
    /// [`Unreadable`] where nothing can be read at present.
    fn load(&self, sequences: &[u64]) -> Result<Vec<Option<Entry>>, Unreadable>;

    /// Reads a page of what is stored. May block.
    fn page(&self, from: u64, to: u64, most: usize) -> Page;
}

impl Stored for Store {
    fn settle(&self, sequence: u64, settled: Settled) {
        Store::settle(self, sequence, settled);
    }

    fn load(&self, sequences: &[u64]) -> Result<Vec<Option<Entry>>, Unreadable> {
        Store::try_load(self, sequences)
    }

    fn page(&self, from: u64, to: u64, most: usize) -> Page {
        Store::page(self, from, to, most)
    }
}

/// What stands behind a publisher whose events outlive it.
#[derive(Clone)]
pub struct Backing {
    /// The store.
    pub store: Arc<dyn Stored>,
    /// The steady time.
    pub clock: Clock,
    /// Who says it: for the last word of a replay.
    pub context: Context,
    /// The `sequence` that the next new event will have.
    pub next_sequence: u64,
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backing").field("next_sequence", &self.next_sequence).finish_non_exhaustive()
    }
}

/// How the publisher fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PublisherStatus {
    /// Whether a broker has let it in.
    pub connected: bool,
    /// Which one.
    pub broker: Option<String>,
    /// Events and triggers in the outbox, under way or not.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// How long the oldest of them has waited, in seconds.
    pub oldest_s: u64,
    /// Those under way.
    pub in_flight: u64,
    /// Devices whose events wait because the broker refused the first of them.
    pub waiting: u64,
    /// Triggers that wait for somebody to hear them.
    pub waiting_unheard: u64,
    /// Events and triggers that a broker has taken since the start, and that are done with.
    pub acknowledged: u64,
    /// Of these, those that nobody subscribes to (MQTT 5 brokers may say so).
    pub unheard: u64,
    /// Refusals of events; one event may be refused several times.
    pub refused: u64,
    /// Events and triggers given up: the sum of the four below.
    pub dropped: u64,
    /// Given up because the outbox was full.
    pub dropped_full: u64,
    /// Given up because they were too old.
    pub dropped_too_old: u64,
    /// Triggers given up because they had expired.
    pub dropped_expired: u64,
    /// Given up because the store could not read them.
    pub dropped_damaged: u64,
    /// Events set aside because the broker refused them again and again.
    pub parked: u64,
    /// Topics of states held.
    pub states: u64,
    /// Of these, those that the broker may not have yet.
    pub states_pending: u64,
    /// States refused by the broker, or for which there was no room.
    pub states_refused: u64,
    /// Requests for a replay that were answered.
    pub replays_answered: u64,
    /// Those that were given up because the broker refused an answer, or the store could not be read.
    pub replays_failed: u64,
    /// Connections made.
    pub connects: u64,
    /// Why there is no connection, or why the last one ended, in words.
    pub last_error: Option<String>,
    /// The broker's last reason to refuse a message.
    pub last_refusal: Option<String>,
}

impl PublisherStatus {
    /// The numbers, by the names that the gateway's status gives them.
    pub fn counters(&self) -> [(&'static str, u64); 20] {
        [
            ("events_queued", self.queued),
            ("events_queued_bytes", self.queued_bytes),
            ("events_oldest_s", self.oldest_s),
            ("events_in_flight", self.in_flight),
            ("events_waiting", self.waiting),
            ("triggers_waiting_unheard", self.waiting_unheard),
            ("events_acknowledged", self.acknowledged),
            ("events_unheard", self.unheard),
            ("events_refused", self.refused),
            ("events_dropped", self.dropped),
            ("events_dropped_full", self.dropped_full),
            ("events_dropped_too_old", self.dropped_too_old),
            ("events_dropped_damaged", self.dropped_damaged),
            ("triggers_expired", self.dropped_expired),
            ("events_parked", self.parked),
            ("states_pending", self.states_pending),
            ("states_refused", self.states_refused),
            ("replays_answered", self.replays_answered),
            ("replays_failed", self.replays_failed),
            ("connects", self.connects),
        ]
    }
}

/// What the handle and the task share. Locked for a few map operations, never across a wait.
#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    backing: Option<Backing>,
    clock: Clock,
    /// There is something to do.
    work: Notify,
    /// There is something to tell the store.
    settled: Notify,
}

#[derive(Debug)]
struct Books {
    outbox: Outbox,
    states: States,
    replays: VecDeque<ReplayRequest>,
    /// One more than the greatest key so far.
    next_key: Key,
    status: PublisherStatus,
    full: Throttle,
    refusals: Throttle,
    drops: Throttle,
    told: Drops,
}

/// The books, open; whoever closes them wakes the task that tells the store.
struct Open<'a> {
    books: MutexGuard<'a, Books>,
    settled: &'a Notify,
}

impl Deref for Open<'_> {
    type Target = Books;

    fn deref(&self) -> &Books {
        &self.books
    }
}

impl DerefMut for Open<'_> {
    fn deref_mut(&mut self) -> &mut Books {
        &mut self.books
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.books.tell_drops();
        if self.books.outbox.has_settled() {
            self.settled.notify_one();
        }
    }
}

impl Books {
    fn tell_drops(&mut self) {
        let drops = self.outbox.drops();
        if drops == self.told {
            return;
        }
        if let Some(held_back) = self.drops.pass(Instant::now()) {
            let Drops { full, too_old, expired, damaged } = drops;
            warn!(full, too_old, expired, damaged, held_back, "events that could not be delivered are dropped");
        }
        self.told = drops;
    }
}

impl Shared {
    fn books(&self) -> Open<'_> {
        // Poisoned only by a panic while it was held, of which there is none in the code below; the books stay usable.
        Open { books: self.books.lock().unwrap_or_else(PoisonError::into_inner), settled: &self.settled }
    }

    /// Tells the store what became of what.
    fn settle(&self) {
        let settled = self.books().outbox.take_settled();
        if let Some(backing) = &self.backing {
            for (key, settled) in settled {
                backing.store.settle(key, settled);
            }
        }
    }

    fn status(&self) -> PublisherStatus {
        let now = self.clock.steady();
        let mut books = self.books();
        // What has expired counts as such even while nothing can be sent.
        books.outbox.sweep(now);
        let drops = books.outbox.drops();
        PublisherStatus {
            queued: books.outbox.len() as u64,
            queued_bytes: books.outbox.bytes(),
            oldest_s: books.outbox.oldest().map_or(0, |made| now.since(made).as_secs()),
            in_flight: books.outbox.under_way() as u64,
            waiting: books.outbox.waiting() as u64,
            waiting_unheard: books.outbox.asides() as u64,
            dropped: drops.total(),
            dropped_full: drops.full,
            dropped_too_old: drops.too_old,
            dropped_expired: drops.expired,
            dropped_damaged: drops.damaged,
            parked: books.outbox.parked(),
            states: books.states.len() as u64,
            states_pending: books.states.pending() as u64,
            ..books.status.clone()
        }
    }

    fn state(&self, message: Message) {
        let mut books = self.books();
        if !books.states.set(message) {
            books.status.states_refused += 1;
            if let Some(held_back) = books.full.pass(Instant::now()) {
                warn!(held_back, "there are too many retained states: new topics are not published");
            }
        }
        drop(books);
        self.work.notify_one();
    }

    fn push(&self, entries: impl IntoIterator<Item = (Waiting, Option<Message>)>) {
        let now = self.clock.steady();
        let mut books = self.books();
        for (waiting, message) in entries {
            books.next_key = books.next_key.max(waiting.sequence.saturating_add(1));
            books.outbox.push(waiting, message, now);
        }
        drop(books);
        self.work.notify_one();
    }

    fn queue(&self, entries: Vec<Entry>) {
        self.push(entries.into_iter().map(|entry| {
            let waiting = Waiting {
                sequence: entry.sequence,
                device: entry.device,
                class: entry.class,
                made: entry.made,
                bytes: u32::try_from(entry.topic.len() + entry.payload.len()).unwrap_or(u32::MAX),
            };
            let (topic, payload) = (entry.topic, entry.payload);
            (waiting, Some(Message { topic, payload, content_type: ContentType::CloudEvent }))
        }));
    }
}

/// The way in for a store: what is committed is to be published. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Shared>);

impl Intake {
    /// How the publisher fares.
    pub fn status(&self) -> PublisherStatus {
        self.0.status()
    }

    /// States that the broker does not have yet.
    pub fn pending_states(&self) -> usize {
        self.0.books().states.pending()
    }

    /// [`Publisher::state`].
    pub fn state(&self, message: Message) {
        self.0.state(message);
    }

    /// One more than the greatest `sequence` that was queued.
    pub fn next_sequence(&self) -> u64 {
        self.0.books().next_key
    }

    /// Queues what was committed. Never blocks.
    pub fn queue(&self, entries: Vec<Entry>) {
        self.0.queue(entries);
    }
}

/// See the module. Dropped without [`Publisher::shutdown`], it is gone without a word, and the broker publishes the last
/// will.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Stop>>,
    task: Option<JoinHandle<()>>,
    settler: Option<JoinHandle<()>>,
}

/// How to stop.
#[derive(Debug, Clone)]
struct Stop {
    deadline: Instant,
    last_word: Message,
}

impl Publisher {
    /// Starts the task on the runtime that this is called on. `will` is the retained message that brokers publish when the
    /// gateway is gone: its status as offline. Without a backing, events are kept in memory only.
    pub fn start(settings: Settings, will: Message, limits: Limits, backing: Option<Backing>) -> Self {
        let outbox = if backing.is_some() { Outbox::over_store(limits) } else { Outbox::new(limits) };
        let shared = Arc::new(Shared {
            books: Mutex::new(Books {
                outbox,
                states: States::default(),
                replays: VecDeque::new(),
                next_key: backing.as_ref().map_or(0, |backing| backing.next_sequence),
                status: PublisherStatus::default(),
                full: Throttle::default(),
                refusals: Throttle::default(),
                drops: Throttle::default(),
                told: Drops::default(),
            }),
            clock: backing.as_ref().map_or_else(Clock::of_this_process, |backing| backing.clock.clone()),
            backing,
            work: Notify::new(),
            settled: Notify::new(),
        });
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(run(Arc::clone(&shared), settings, will, stopped));
        let settler = shared.backing.is_some().then(|| tokio::spawn(settle(Arc::clone(&shared))));
        Self { shared, stop, task: Some(task), settler }
    }

    /// Queues what waited already when the store was opened, in the order of `sequence`. To be called before anything new is
    /// queued: the order of a device is that in which its entries come.
    pub fn restore(&self, waiting: Vec<Waiting>) {
        self.shared.push(waiting.into_iter().map(|waiting| (waiting, None)));
    }

    /// Queues entries that the store has committed, each behind its device's others. Never blocks. What finds no room makes it:
    /// the oldest events are dropped, then triggers.
    pub fn queue(&self, entries: Vec<Entry>) {
        self.shared.queue(entries);
    }

    /// [`Publisher::queue`] for the store's thread.
    pub fn intake(&self) -> Intake {
        Intake(Arc::clone(&self.shared))
    }

    /// To ask for stored entries again.
    pub fn replays(&self) -> Replays {
        Replays(Arc::clone(&self.shared))
    }

    /// Queues an event of `device` behind the device's others, where there is no store. Where the outbox is full the oldest
    /// event is dropped, counted and logged.
    pub fn event(&self, device: &DeviceId, message: Message) {
        let made = self.shared.clock.steady();
        let mut books = self.shared.books();
        let sequence = books.next_key;
        books.next_key += 1;
        let bytes = u32::try_from(message.topic.len() + message.payload.len()).unwrap_or(u32::MAX);
        let waiting = Waiting { sequence, device: device.clone(), class: Class::Event, made, bytes };
        books.outbox.push(waiting, Some(message), made);
        drop(books);
        self.shared.work.notify_one();
    }

    /// Sets a retained state: the latest value of a topic wins, and is published again on every connection.
    pub fn state(&self, message: Message) {
        self.shared.state(message);
    }

    /// Clears the retained state of a topic under the prefix, whether this publisher has set it or not.
    pub fn clear_state(&self, topic: &str) {
        self.state(Message { topic: topic.to_owned(), payload: bytes::Bytes::new(), content_type: ContentType::Json });
    }

    /// How it fares.
    pub fn status(&self) -> PublisherStatus {
        self.shared.status()
    }

    /// Publishes what is left for at most `within`, then `last_word` (the status as offline, retained), and disconnects in
    /// good order, so that the will is not published. Gives how it fared; what is still queued then is in the store, or lost
    /// where there is none.
    pub async fn shutdown(mut self, last_word: Message, within: Duration) -> PublisherStatus {
        let _ = self.stop.send(Some(Stop { deadline: Instant::now() + within, last_word }));
        if let Some(task) = self.task.take() {
            // Its own deadlines end it; an error is a panic in it, which is logged where it happens.
            let _ = task.await;
        }
        self.shared.settle();
        let status = self.status();
        if status.queued > 0 {
            if self.shared.backing.is_some() {
                info!(queued = status.queued, "what is left stays in the store until the next start");
            } else {
                warn!(queued = status.queued, "what is left is lost: there is no store");
            }
        }
        status
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(settler) = self.settler.take() {
            settler.abort();
        }
        self.shared.settle();
    }
}

async fn settle(shared: Arc<Shared>) {
    loop {
        shared.settled.notified().await;
        shared.settle();
    }
}

/// Connects again and again, to the first broker that lets it in.
async fn run(shared: Arc<Shared>, settings: Settings, will: Message, mut stop: watch::Receiver<Option<Stop>>) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    let mut failures = Throttle::default();
    let mut last_logged = None;
    let mut next_endpoint = 0;
    let mut suspect = Suspect::default();
    let mut closings = Closings::default();
    loop {
        let Some(endpoint) = settings.endpoints.get(next_endpoint) else {
            next_endpoint = 0;
            continue;
        };
        let ended = connection::run(&shared, &settings, endpoint, &will, &mut suspect, &mut stop).await;
        let (failure, lasted) = match ended {
            End::Stopped => return,
            End::Failed { failure, lasted } => (closings.judge(failure, lasted, &settings.client_id), lasted),
        };
        {
            let mut books = shared.books();
            books.status.connected = false;
            books.status.broker = None;
            books.status.last_error = Some(format!("{endpoint}: {failure}"));
        }
        // The same trouble again is told once in a while, another one at once.
        let known = last_logged.as_ref() == Some(&failure);
        match failures.pass(Instant::now()) {
            Some(held_back) => warn!(broker = %endpoint, held_back, "no connection: {failure}"),
            None if !known => warn!(broker = %endpoint, "no connection: {failure}"),
            None => {}
        }
        last_logged = Some(failure);
        let mut wait = true;
        if let Some(lasted) = lasted {
            // The first broker is the preferred one.
            next_endpoint = 0;
            if lasted >= GOOD_CONNECTION {
                backoff.reset();
            }
        } else {
            next_endpoint += 1;
            wait = next_endpoint >= settings.endpoints.len();
        }
        if wait {
            let delay = backoff.next();
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = past_deadline(&mut stop) => {
                    info!(queued = shared.books().outbox.len(), "stopped without a connection");
                    return;
                }
            }
        }
    }
}

/// Waits until a stop is asked for and its deadline has passed.
async fn past_deadline(stop: &mut watch::Receiver<Option<Stop>>) {
    let deadline = match stop.wait_for(Option::is_some).await {
        Ok(asked) => asked.as_ref().map(|stop| stop.deadline),
        // The publisher is gone; its drop ends this task.
        Err(_) => None,
    };
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

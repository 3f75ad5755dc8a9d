//! The way out: events from the outbox, states, and the word on whether the gateway is there.
//!
//! The gateway's loop hands over what it has to say and goes on at once; a task of this module keeps a connection to the
//! first broker that lets it in, publishes, and tries again for as long as it takes. Nothing of what this offers waits for
//! the network, and what is held is bounded.

mod connection;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::backoff::{Backoff, Throttle};
use super::connect::Settings;
use super::outbox::{Limits, Outbox};
use super::states::States;
use super::wire::{ContentType, Message};
use crate::model::DeviceId;
use connection::{End, Suspect};

/// Waits between attempts: from half a second, so that a restarted broker is found soon, to half a minute, so that an
/// absent one is not bothered.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A connection that lasted this long was a good one: the next loss begins with a short wait again. A shorter one may be a
/// quarrel over the client id, or a broker that dislikes a message.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// How the publisher fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PublisherStatus {
    /// Whether a broker has let it in.
    pub connected: bool,
    /// Which one.
    pub broker: Option<String>,
    /// Events in the outbox, under way or not.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Events under way.
    pub in_flight: u64,
    /// Events that a broker has taken since the start.
    pub acknowledged: u64,
    /// Of these, those that nobody subscribes to (MQTT 5 brokers may say so).
    pub unheard: u64,
    /// Refusals of events; one event may be refused several times.
    pub refused: u64,
    /// Events dropped because the outbox was full.
    pub dropped: u64,
    /// Events set aside because the broker refused them again and again.
    pub parked: u64,
    /// Topics of states held.
    pub states: u64,
    /// Of these, those that the broker may not have yet.
    pub states_pending: u64,
    /// States refused by the broker, or for which there was no room.
    pub states_refused: u64,
    /// Connections made.
    pub connects: u64,
    /// Why there is no connection, or why the last one ended, in words.
    pub last_error: Option<String>,
    /// The broker's last reason to refuse a message.
    pub last_refusal: Option<String>,
}

impl PublisherStatus {
    /// The numbers, by the names that the gateway's status gives them.
    pub fn counters(&self) -> [(&'static str, u64); 11] {
        [
            ("events_queued", self.queued),
            ("events_queued_bytes", self.queued_bytes),
            ("events_in_flight", self.in_flight),
            ("events_acknowledged", self.acknowledged),
            ("events_unheard", self.unheard),
            ("events_refused", self.refused),
            ("events_dropped", self.dropped),
            ("events_parked", self.parked),
            ("states_pending", self.states_pending),
            ("states_refused", self.states_refused),
            ("connects", self.connects),
        ]
    }
}

/// What the handle and the task share. Locked for a few map operations, never across a wait.
#[derive(Debug)]
struct Shared {
    books: Mutex<Books>,
    /// There is something to do.
    work: Notify,
}

#[derive(Debug)]
struct Books {
    outbox: Outbox,
    states: States,
    status: PublisherStatus,
    full: Throttle,
    refusals: Throttle,
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        // Poisoned only by a panic while it was held, of which there is none in the code below; the books stay usable.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module. Dropped without [`Publisher::shutdown`], it is gone without a word, and the broker publishes the last
/// will.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Stop>>,
    task: Option<JoinHandle<()>>,
}

/// How to stop.
#[derive(Debug, Clone)]
struct Stop {
    deadline: Instant,
    last_word: Message,
}

impl Publisher {
    /// Starts the task on the runtime that this is called on. `will` is the retained message that brokers publish when the
    /// gateway is gone: its status as offline.
    pub fn start(settings: Settings, will: Message, limits: Limits) -> Self {
        let shared = Arc::new(Shared {
            books: Mutex::new(Books {
                outbox: Outbox::new(limits),
                states: States::default(),
                status: PublisherStatus::default(),
                full: Throttle::default(),
                refusals: Throttle::default(),
            }),
            work: Notify::new(),
        });
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(run(Arc::clone(&shared), settings, will, stopped));
        Self { shared, stop, task: Some(task) }
    }

    /// Queues an event of `device` behind the device's others. Where the outbox is full the oldest event is dropped,
    /// counted and logged.
    pub fn event(&self, device: &DeviceId, message: Message) {
        let mut books = self.shared.books();
        let dropped = books.outbox.push(device.clone(), message);
        if dropped > 0
            && let Some(held_back) = books.full.pass(Instant::now())
        {
            warn!(dropped = books.outbox.dropped(), held_back, "the outbox is full: the oldest events are dropped");
        }
        drop(books);
        self.shared.work.notify_one();
    }

    /// Sets a retained state: the latest value of a topic wins, and is published again on every connection.
    pub fn state(&self, message: Message) {
        let mut books = self.shared.books();
        if !books.states.set(message) {
            books.status.states_refused += 1;
            if let Some(held_back) = books.full.pass(Instant::now()) {
                warn!(held_back, "there are too many retained states: new topics are not published");
            }
        }
        drop(books);
        self.shared.work.notify_one();
    }

    /// Clears the retained state of a topic under the prefix, whether this publisher has set it or not.
    pub fn clear_state(&self, topic: &str) {
        self.state(Message { topic: topic.to_owned(), payload: bytes::Bytes::new(), content_type: ContentType::Json });
    }

    /// How it fares.
    pub fn status(&self) -> PublisherStatus {
        let books = self.shared.books();
        PublisherStatus {
            queued: books.outbox.len() as u64,
            queued_bytes: books.outbox.bytes() as u64,
            in_flight: books.outbox.under_way() as u64,
            dropped: books.outbox.dropped(),
            parked: books.outbox.parked_total(),
            states: books.states.len() as u64,
            states_pending: books.states.pending() as u64,
            ..books.status.clone()
        }
    }

    /// Publishes what is left for at most `within`, then `last_word` (the status as offline, retained), and disconnects in
    /// good order, so that the will is not published. Gives how it fared; what is still queued then is lost.
    pub async fn shutdown(mut self, last_word: Message, within: Duration) -> PublisherStatus {
        let _ = self.stop.send(Some(Stop { deadline: Instant::now() + within, last_word }));
        if let Some(task) = self.task.take() {
            // Its own deadlines end it; an error is a panic in it, which is logged where it happens.
            let _ = task.await;
        }
        self.status()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Connects again and again, to the first broker that lets it in.
async fn run(shared: Arc<Shared>, settings: Settings, will: Message, mut stop: watch::Receiver<Option<Stop>>) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
    let mut failures = Throttle::default();
    let mut last_logged = None;
    let mut next_endpoint = 0;
    let mut suspect = Suspect::default();
    loop {
        let Some(endpoint) = settings.endpoints.get(next_endpoint) else {
            next_endpoint = 0;
            continue;
        };
        let ended = connection::run(&shared, &settings, endpoint, &will, &mut suspect, &mut stop).await;
        let (failure, lasted) = match ended {
            End::Stopped => return,
            End::Failed { failure, lasted } => (failure, lasted),
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

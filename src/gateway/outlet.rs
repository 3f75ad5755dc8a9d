//! From the engine's outputs to the broker: states at once, events by way of the store where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::keeper::Then;
use super::live::Live;
use super::states::UnpublishedStates;
use crate::clock::Clock;
use crate::engine::{DevicePresence, Output};
use crate::health::BeaconHealth;
use crate::model::{BeaconId, DeviceId, Frame, Position, ReceiverId, Timestamp, ZoneId};
use crate::mqtt::Publisher;
use crate::mqtt::wire::{self, Context, Message, Status, WireError};
use crate::presence::{Event, ReceiverHealth};
use crate::registry::Registry;
use crate::store::{Class, Entry};
use crate::throttle::Throttle;
use crate::trigger::Fired;

/// Positions in the presence topic are published at most this often for each device.
const POSITION_INTERVAL: Duration = Duration::from_secs(10);
/// Presence of an earlier life is cleared for at most so many devices: each is a message on every connection.
const MOST_CLEARED: usize = 10_000;

/// From the engine's outputs to the broker.
#[derive(Debug)]
pub struct Outlet {
    context: Context,
    publisher: Publisher,
    publish_positions: bool,
    presence: BTreeMap<DeviceId, Known>,
    /// Who is told beside the broker.
    live: Option<Live>,
    /// Puts what is said on the wall clock.
    clock: Option<Clock>,
    /// Events for the store; none where there is no store, and they go to the publisher at once.
    entries: Option<Vec<Entry>>,
    /// States that follow from events for the store, and the number of the next batch of these.
    states: UnpublishedStates,
    batch: u64,
    has_states: bool,
    unsaid: u64,
    /// A receiver fell silent or hears again, which the status must say.
    health_changed: bool,
    health_told: Throttle,
}

/// What was last said of a device.
#[derive(Debug)]
struct Known {
    presence: DevicePresence,
    position: Option<Position>,
    position_said: Option<Timestamp>,
}

impl Outlet {
    /// An outlet that has said nothing. Times are said as they are, and events kept in memory until a broker has them.
    pub fn new(context: Context, publisher: Publisher, publish_positions: bool) -> Self {
        Self {
            context,
            publisher,
            publish_positions,
            presence: BTreeMap::new(),
            live: None,
            clock: None,
            entries: None,
            states: UnpublishedStates::default(),
            batch: 0,
            has_states: false,
            unsaid: 0,
            health_changed: false,
            health_told: Throttle::default(),
        }
    }

    /// The same, whose events are for a store ([`Outlet::take_entries`]), and whose times are put on that clock's wall.
    #[must_use]
    pub fn durable(self, clock: Clock) -> Self {
        Self { clock: Some(clock), entries: Some(Vec::new()), ..self }
    }

    /// The same, telling what it says to those who look, too.
    #[must_use]
    pub fn watched(self, live: Live) -> Self {
        Self { live: Some(live), ..self }
    }

    /// The site frame is another.
    pub fn set_frame(&mut self, frame: Frame) {
        self.context.frame = frame;
    }

    /// Says that nobody is anywhere, but for those of whom something was put already: the state before the first event.
    /// What brokers still hold of an earlier life is cleared, so that nobody is said to be where they were when the
    /// gateway stopped.
    pub fn nobody_else(&mut self, registry: &Registry, at: Timestamp) {
        for device in registry.devices().iter().take(MOST_CLEARED) {
            if !self.presence.contains_key(&device.id) {
                self.publisher.clear_state(&wire::presence_topic(&self.context.site, &device.id));
            }
        }
        let zones = self.presence.values().flat_map(|known| &known.presence.zones);
        let occupied: BTreeSet<ZoneId> = zones.map(|zone| zone.zone.clone()).collect();
        let at = self.wall(at);
        if let Some(live) = &self.live {
            registry
                .zones()
                .iter()
                .filter(|zone| !occupied.contains(&zone.id))
                .for_each(|zone| live.occupancy(&zone.id, 0));
        }
        for zone in registry.zones().iter().filter(|zone| !occupied.contains(&zone.id)) {
            self.state(wire::occupancy(&self.context, &zone.id, 0, at));
        }
    }

    /// Hands an output on. `at` is the engine's time.
    pub fn put(&mut self, output: Output, at: Timestamp) {
        match output {
            Output::Event(event) => self.event(event, at),
            Output::Trigger(fired) => self.trigger(*fired, at),
            Output::CardEnded(device, trigger) => {
                let topic = wire::card_topic(&self.context.site, &device, &trigger);
                self.states.forget(&topic);
                self.publisher.clear_state(&topic);
            }
            Output::Receiver(receiver, health) => self.health(&receiver, health),
            Output::Beacon(beacon, health) => self.beacon(&beacon, health),
            Output::Occupancy(zone, inside) => {
                let since = self.wall(at);
                self.live.iter().for_each(|live| live.occupancy(&zone, inside));
                self.follow(wire::occupancy(&self.context, &zone, inside, since));
            }
            Output::Presence(presence) => {
                if let Some(live) = &self.live {
                    let mut told = presence.clone();
                    told.since = self.wall(told.since);
                    told.zones.iter_mut().for_each(|zone| zone.since = self.wall(zone.since));
                    live.presence(&told);
                }
                let known = self.presence.remove(&presence.device.id);
                let position = known.as_ref().and_then(|known| known.position);
                let position_said = known.and_then(|known| known.position_said);
                let message = self.presence(Known { presence, position, position_said });
                self.follow(message);
            }
            Output::Position(device, position) => {
                if let Some(live) = &self.live {
                    live.position(&device, Position { time: self.wall(position.time), ..position });
                }
                if self.publish_positions
                    && let Some(mut known) = self.presence.remove(&device.id)
                {
                    known.position = Some(position);
                    let due = known.position_said.is_none_or(|said| position.time.since(said) >= POSITION_INTERVAL);
                    if due && !known.presence.zones.is_empty() {
                        match self.presence(known).map(|message| self.states.replace(message)) {
                            Ok(Some(message)) => self.publisher.state(message),
                            Ok(None) => {}
                            Err(error) => self.cannot_say(&error),
                        }
                    } else {
                        self.presence.insert(device.id.clone(), known);
                    }
                }
            }
        }
    }

    fn health(&mut self, receiver: &ReceiverId, health: ReceiverHealth) {
        self.health_changed = true;
        let Some(held_back) = self.health_told.pass(Instant::now()) else { return };
        match health {
            ReceiverHealth::Hears => info!(%receiver, held_back, "the receiver that had fallen silent hears again"),
            ReceiverHealth::Silent(since) => warn!(
                %receiver,
                held_back,
                "the receiver hears nothing of what it should since {}: presence in its zones is held",
                self.wall(since)
            ),
        }
    }

    /// How a beacon fares, which is a state by itself: no event stands behind it. None clears what brokers hold.
    fn beacon(&mut self, beacon: &BeaconId, health: Option<Box<BeaconHealth>>) {
        let health = health.map(|health| Arc::new(health.with_times(|at| self.wall(at))));
        match &health {
            Some(health) => self.state(wire::beacon_health(&self.context, health)),
            None => self.publisher.clear_state(&wire::beacon_health_topic(&self.context.site, beacon)),
        }
        self.live.iter().for_each(|live| live.beacon(beacon, health.clone()));
    }

    /// Whether a receiver fell silent or hears again since the last call.
    pub fn take_health_changed(&mut self) -> bool {
        std::mem::take(&mut self.health_changed)
    }

    fn event(&mut self, mut event: Event, made: Timestamp) {
        event.observed_at = self.wall(event.observed_at);
        event.decided_at = self.wall(event.decided_at);
        event.suspect = self.clock.as_ref().is_some_and(Clock::is_suspect);
        match (wire::event(&self.context, &event), &mut self.entries) {
            (Ok(Message { topic, payload, .. }), Some(entries)) => entries.push(Entry {
                sequence: event.sequence,
                device: event.device.id.clone(),
                class: Class::Event,
                made,
                topic,
                payload,
            }),
            (Ok(message), None) => {
                self.live.iter().for_each(|live| live.event(event.sequence, &message.payload));
                self.publisher.event(&event.device.id, message);
            }
            (Err(error), _) => self.cannot_say(&error),
        }
    }

    fn trigger(&mut self, mut fired: Fired, made: Timestamp) {
        let expires = fired.expires_at;
        for at in [&mut fired.observed_at, &mut fired.decided_at, &mut fired.expires_at] {
            *at = self.clock.as_ref().map_or(*at, |clock| clock.wall(*at));
        }
        fired.suspect = self.clock.as_ref().is_some_and(Clock::is_suspect);
        let subject = fired.device.as_ref().map(|device| device.id.clone()).or_else(|| {
            // Ids of both kinds are made of the same characters.
            fired.zone.as_ref().and_then(|zone| DeviceId::new(zone.id.as_str()).ok())
        });
        let Some(device) = subject else { return };
        match (wire::trigger(&self.context, &fired), &mut self.entries) {
            (Ok(Message { topic, payload, .. }), Some(entries)) => entries.push(Entry {
                sequence: fired.sequence,
                device,
                class: Class::Trigger { expires },
                made,
                topic,
                payload,
            }),
            (Ok(message), None) => {
                self.live.iter().for_each(|live| live.event(fired.sequence, &message.payload));
                self.publisher.event(&device, message);
            }
            (Err(error), _) => self.cannot_say(&error),
        }
        if let Some(card) = wire::card(&self.context, &fired) {
            self.follow(card);
        }
    }

    /// Clears what brokers hold of a device that is no longer tracked.
    pub fn forget(&mut self, device: &DeviceId) {
        self.presence.remove(device);
        self.live.iter().for_each(|live| live.forget_device(device));
        let topic = wire::presence_topic(&self.context.site, device);
        self.states.forget(&topic);
        self.publisher.clear_state(&topic);
    }

    /// Clears what brokers hold of a zone that is no longer there.
    pub fn forget_zone(&mut self, zone: &ZoneId) {
        self.live.iter().for_each(|live| live.forget_zone(zone));
        let topic = wire::occupancy_topic(&self.context.site, zone);
        self.states.forget(&topic);
        self.publisher.clear_state(&topic);
    }

    /// The events since the last call.
    pub fn take_entries(&mut self) -> Vec<Entry> {
        self.entries.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What is to be done when the events since the last call are committed; none where nothing is.
    pub fn take_states(&mut self) -> Option<Then> {
        if !std::mem::take(&mut self.has_states) {
            return None;
        }
        let (states, publisher, batch) = (self.states.clone(), self.publisher.intake(), self.batch);
        self.batch += 1;
        Some(Box::new(move || states.publish(batch, &publisher)))
    }

    /// The publisher.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Payloads that could not be said.
    pub fn unsaid(&self) -> u64 {
        self.unsaid
    }

    /// Sets a state.
    pub fn state(&mut self, message: Result<Message, WireError>) {
        match message {
            Ok(message) => self.publisher.state(message),
            Err(error) => self.cannot_say(&error),
        }
    }

    /// Publishes what is left for at most `within`, says that the gateway is gone, and disconnects.
    pub async fn close(self, since: Timestamp, at: Timestamp, within: Duration) {
        match (Status { at, ..Status::offline(since) }).message(&self.context) {
            Ok(last_word) => {
                let left = self.publisher.shutdown(last_word, within).await.queued;
                match (left, &self.entries) {
                    (0, _) => {}
                    (_, None) => warn!(left, "stopped with events that no broker has taken: they are lost"),
                    (_, Some(_)) => warn!(left, "stopped with events that no broker has taken: they wait on disk"),
                }
            }
            Err(error) => warn!(%error, "stopped without a word to the broker"),
        }
    }

    /// Says a state that follows from events: after them.
    fn follow(&mut self, message: Result<Message, WireError>) {
        match message {
            Ok(message) if self.entries.is_some() => {
                self.has_states = true;
                self.states.set(message, self.batch);
            }
            message => self.state(message),
        }
    }

    fn presence(&mut self, mut known: Known) -> Result<Message, WireError> {
        let position = known.position.filter(|_| self.publish_positions && !known.presence.zones.is_empty());
        if let Some(position) = position {
            known.position_said = Some(position.time);
        }
        let mut said = known.presence.clone();
        said.since = self.wall(said.since);
        said.zones.iter_mut().for_each(|zone| zone.since = self.wall(zone.since));
        let position = position.map(|position| Position { time: self.wall(position.time), ..position });
        let message = wire::presence(&self.context, &said, position.as_ref());
        self.presence.insert(known.presence.device.id.clone(), known);
        message
    }

    fn wall(&self, at: Timestamp) -> Timestamp {
        self.clock.as_ref().map_or(at, |clock| clock.wall(at))
    }

    fn cannot_say(&mut self, error: &WireError) {
        self.unsaid += 1;
        warn!(%error, "not published");
    }
}

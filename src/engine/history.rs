//! What led to the events of one device: the sightings and the probabilities before them, watched from outside.
//!
//! Takes a bounded amount of memory, and none at all where nobody asks for it: the engine knows nothing of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Counters, Engine, Input, Output, ReceiverState};
use crate::geofence::Membership;
use crate::model::{BeaconId, ReceiverId, Timestamp, format_duration};
use crate::presence::{Event, EventKind, Reason};
use crate::registry::{BeaconIndex, DeviceIndex, ReceiverIndex, Registry};

/// What was heard before a decision is told from so long before it, or from the start of its hold.
const BEFORE: Duration = Duration::from_secs(10);
/// The longest hold that is remembered in full.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Sightings and positions that are remembered at most: at ten a second for more than six minutes.
const MOST: usize = 4_096;
/// Outages that are remembered.
const MOST_OUTAGES: usize = 64;

/// Watches one device.
#[derive(Debug)]
pub struct History {
    registry: Arc<Registry>,
    device: DeviceIndex,
    keep: Duration,
    sightings: VecDeque<Sighting>,
    courses: VecDeque<(Timestamp, Membership)>,
    outages: VecDeque<Outage>,
    refused: Refused,
    /// Something that was seen later than this was forgotten.
    forgotten: Option<Timestamp>,
    events: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sighting {
    time: Timestamp,
    /// None for a position report.
    /// Whom by and how strong, in dBm; none for a report.
    by: Option<(Radio, f64)>,
}

/// A time in which a receiver was known not to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Which.
    pub receiver: ReceiverId,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none where it still is.
    pub until: Option<Timestamp>,
}

/// Sightings and reports of the device that led to nothing, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// For each receiver that is not registered, at most a few of them by name.
    pub unknown_receivers: BTreeMap<ReceiverId, u64>,
    /// Too far ahead of the engine's time.
    pub ahead: u64,
    /// Too far behind the engine's time.
    pub behind: u64,
    /// For want of consent.
    pub without_consent: u64,
    /// Reports from outside the site.
    pub outside: u64,
    /// Reports on a level that the site does not have.
    pub unknown_levels: u64,
    /// Reports that were not newer than the last one.
    pub stale: u64,
}

/// An event, and what led to it.
#[derive(Debug, Clone)]
pub struct EventExplanation {
    /// The event.
    pub event: Event,
    /// From when on sightings and probabilities are told.
    pub from: Timestamp,
    /// Some of them were too many to be remembered.
    pub is_cut: bool,
    /// What was heard, by receiver, the one that heard it loudest first.
    pub heard: Vec<HeardBy>,
    /// How the probability of the zone went; none for the whole site.
    pub course: Option<Course>,
    /// Receivers that were down meanwhile.
    pub outages: Vec<Outage>,
}

/// What links a sighting to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Radio {
    Receiver(ReceiverIndex),
    /// A fixed beacon that the device heard.
    Beacon(BeaconIndex),
}

/// What one receiver heard of the device before an event, or what the device heard of one fixed beacon.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardBy {
    /// None for what the device itself reported.
    pub receiver: Option<ReceiverId>,
    /// The fixed beacon that the device heard.
    pub beacon: Option<BeaconId>,
    /// How many sightings.
    pub count: u64,
    /// Their mean RSSI in dBm.
    pub mean: f64,
    /// The last of them in dBm.
    pub last_rssi: f64,
    /// When that was.
    pub last: Timestamp,
}

/// How a probability went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Course {
    /// Positions that were worked out in the time.
    pub positions: u64,
    /// At the first of them.
    pub first: f64,
    /// At the last, by which it was decided.
    pub last: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl History {
    /// Watches that device from now on.
    pub fn new(registry: &Arc<Registry>, device: DeviceIndex) -> Self {
        let holds = registry.zones().iter().map(|zone| zone.presence.enter_after.max(zone.presence.exit_after));
        let keep = (holds.max().unwrap_or_default() + 2 * BEFORE).min(LONGEST);
        Self {
            registry: Arc::clone(registry),
            device,
            keep,
            sightings: VecDeque::new(),
            courses: VecDeque::new(),
            outages: VecDeque::new(),
            refused: Refused::default(),
            forgotten: None,
            events: 0,
        }
    }

    /// Hands an input to the engine, as [`Engine::handle`] does, and takes its outputs. Gives the device's events with what
    /// led to them.
    pub fn handle(&mut self, engine: &mut Engine, input: Input, now: Timestamp) -> Vec<EventExplanation> {
        let mut events = self.advance(engine, now);
        let before = self.is_about(&input).then(|| engine.counters().clone());
        let (time, by) = match &input {
            Input::Advertisement(heard) => {
                let receiver = self.registry.receiver(&heard.receiver);
                (heard.time, receiver.map(|receiver| (Radio::Receiver(receiver), heard.rssi.get())))
            }
            Input::Heard(heard) => {
                let beacon = self.registry.sender(&heard.data, heard.address);
                (heard.time, beacon.map(|beacon| (Radio::Beacon(beacon), heard.rssi.get())))
            }
            Input::PositionReport(report) => (report.time, None),
            Input::Attributes(..) => (now, None),
            Input::Receiver(receiver, state) => {
                self.receiver(receiver, *state, now);
                (now, None)
            }
        };
        let unknown = match &input {
            Input::Advertisement(heard) if by.is_none() => Some(heard.receiver.clone()),
            _ => None,
        };
        engine.handle(input, now);
        if let Some(before) = before
            && !self.refused.count(&before, engine.counters(), unknown)
        {
            self.remember(Sighting { time, by });
        }
        self.take(engine, &mut events);
        events
    }

    /// Moves the engine on, one deadline after the other, and takes its outputs.
    pub fn advance(&mut self, engine: &mut Engine, now: Timestamp) -> Vec<EventExplanation> {
        let mut events = Vec::new();
        while let Some(due) = engine.next_deadline().filter(|due| *due <= now) {
            engine.advance(due);
            self.take(engine, &mut events);
        }
        engine.advance(now);
        events
    }

    /// How many events the device has had.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What of the device led to nothing so far.
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// What was heard of the device lately, as of its last sighting.
    pub fn lately(&self) -> Vec<HeardBy> {
        let Some(last) = self.sightings.iter().map(|sighting| sighting.time).max() else { return Vec::new() };
        self.heard(last - BEFORE, last)
    }

    fn is_about(&self, input: &Input) -> bool {
        let device = match input {
            Input::Advertisement(heard) => {
                self.registry.resolve(heard).and_then(|beacon| self.registry.device_of(beacon))
            }
            Input::Heard(heard) => self.registry.device(&heard.device),
            Input::PositionReport(report) => self.registry.device(&report.device),
            Input::Attributes(..) | Input::Receiver(..) => None,
        };
        device == Some(self.device)
    }

    fn receiver(&mut self, receiver: &ReceiverId, state: ReceiverState, now: Timestamp) {
        let open = self.outages.iter_mut().find(|outage| outage.receiver == *receiver && outage.until.is_none());
        match (state, open) {
            (ReceiverState::Up, Some(open)) => open.until = Some(now),
            (ReceiverState::Down, None) => {
                self.outages.push_back(Outage { receiver: receiver.clone(), since: now, until: None });
                if self.outages.len() > MOST_OUTAGES {
                    self.outages.pop_front();
                }
            }
            _ => {}
        }
    }

    /// Forgets by the time of what comes, not by the present: what was heard before a long silence is what explains it.
    fn remember(&mut self, sighting: Sighting) {
        let since = sighting.time - self.keep;
        self.sightings.push_back(sighting);
        while self.sightings.len() > MOST || self.sightings.front().is_some_and(|first| first.time < since) {
            self.forgotten = self.forgotten.max(self.sightings.pop_front().map(|first| first.time));
        }
    }

    fn take(&mut self, engine: &mut Engine, events: &mut Vec<EventExplanation>) {
        while let Some(output) = engine.poll_output() {
            match output {
                Output::Position(device, position) if self.is_mine(&device.id) => {
                    self.courses.push_back((position.time, engine.probabilities(self.device)));
                    let since = position.time - self.keep;
                    while self.courses.len() > MOST || self.courses.front().is_some_and(|(first, _)| *first < since) {
                        self.forgotten = self.forgotten.max(self.courses.pop_front().map(|(first, _)| first));
                    }
                }
                Output::Event(event) if self.is_mine(&event.device.id) => {
                    self.events += 1;
                    events.push(self.explain(event));
                }
                _ => {}
            }
        }
    }

    fn is_mine(&self, device: &crate::model::DeviceId) -> bool {
        self.registry.devices()[self.device.get()].id == *device
    }

    fn explain(&self, event: Event) -> EventExplanation {
        let is_hold = matches!((event.kind, event.reason), (EventKind::Entered, _) | (_, Some(Reason::Left)));
        let from = match event.reason {
            // The last that was heard of it is what there is.
            Some(reason) if reason != Reason::Left => event.observed_at - BEFORE,
            _ => event.observed_at.min(event.decided_at - BEFORE),
        };
        let course_from = if is_hold { event.observed_at } else { from };
        let course = self.registry.zone(&event.zone.id).filter(|_| !event.zone.id.is_site()).and_then(|zone| {
            let probabilities = self
                .courses
                .iter()
                .filter(|(time, _)| (course_from..=event.decided_at).contains(time))
                .map(|(_, zones)| zones.iter().find(|(found, _)| *found == zone).map_or(0.0, |(_, p)| p.get()));
            Course::of(probabilities)
        });
        let outages = self.outages.iter().filter(|outage| outage.until.is_none_or(|until| until >= from));
        EventExplanation {
            from,
            is_cut: self.forgotten.is_some_and(|forgotten| forgotten >= from),
            heard: self.heard(from, event.decided_at),
            course,
            outages: outages.cloned().collect(),
            event,
        }
    }

    fn heard(&self, from: Timestamp, to: Timestamp) -> Vec<HeardBy> {
        let mut by: BTreeMap<Option<Radio>, (u64, f64, f64, Timestamp)> = BTreeMap::new();
        for sighting in self.sightings.iter().filter(|sighting| (from..=to).contains(&sighting.time)) {
            let (radio, rssi) = sighting.by.unzip();
            let rssi = rssi.unwrap_or_default();
            let (count, sum, last_rssi, last) = by.entry(radio).or_insert((0, 0.0, rssi, sighting.time));
            (*count, *sum) = (*count + 1, *sum + rssi);
            if sighting.time >= *last {
                (*last_rssi, *last) = (rssi, sighting.time);
            }
        }
        let mut heard: Vec<HeardBy> = by
            .into_iter()
            .map(|(radio, (count, sum, last_rssi, last))| HeardBy {
                receiver: match radio {
                    Some(Radio::Receiver(at)) => Some(self.registry.receivers()[at.get()].id.clone()),
                    _ => None,
                },
                beacon: match radio {
                    Some(Radio::Beacon(at)) => Some(self.registry.beacons()[at.get()].id.clone()),
                    _ => None,
                },
                count,
                mean: sum / count as f64,
                last_rssi,
                last,
            })
            .collect();
        heard.sort_by(|one, other| other.mean.total_cmp(&one.mean));
        heard
    }
}

impl Course {
    fn of(probabilities: impl Iterator<Item = f64>) -> Option<Self> {
        probabilities.fold(None, |course: Option<Self>, p| {
            let before = course.unwrap_or(Self { positions: 0, first: p, last: p, least: p, greatest: p });
            Some(Self {
                positions: before.positions + 1,
                first: before.first,
                last: p,
                least: before.least.min(p),
                greatest: before.greatest.max(p),
            })
        })
    }
}

impl Refused {
    /// Receivers that are named; a file can hold any number of them.
    const MOST_NAMED: usize = 32;

    /// Counts why an input was refused; whether it was.
    fn count(&mut self, before: &Counters, after: &Counters, unknown: Option<ReceiverId>) -> bool {
        if after.unknown_receivers > before.unknown_receivers {
            if let Some(receiver) = unknown
                && (self.unknown_receivers.len() < Self::MOST_NAMED || self.unknown_receivers.contains_key(&receiver))
            {
                *self.unknown_receivers.entry(receiver).or_default() += 1;
            }
            return true;
        }
        let mut refused = false;
        for (count, before, after) in [
            (&mut self.ahead, before.ahead, after.ahead),
            (&mut self.behind, before.behind, after.behind),
            (&mut self.without_consent, before.without_consent, after.without_consent),
            (&mut self.outside, before.reports_outside, after.reports_outside),
            (&mut self.unknown_levels, before.unknown_levels, after.unknown_levels),
            (&mut self.stale, before.stale_reports, after.stale_reports),
        ] {
            *count += after - before;
            refused |= after > before;
        }
        refused
    }

    /// In words, a line a cause; empty where nothing was refused.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        if !self.unknown_receivers.is_empty() {
            let count: u64 = self.unknown_receivers.values().sum();
            let named: Vec<&str> = self.unknown_receivers.keys().take(5).map(ReceiverId::as_str).collect();
            let more = if self.unknown_receivers.len() > named.len() { ", …" } else { "" };
            words.push(format!(
                "{count} of its sightings came from receivers that the site does not have: {}{more}",
                named.join(", ")
            ));
        }
        for (count, what) in [
            (self.without_consent, "of its sightings and reports were dropped for want of consent for presence"),
            (self.behind, "of its sightings and reports were refused: more than 10 minutes behind"),
            (self.ahead, "of its sightings and reports were refused: more than 60 s ahead"),
            (self.outside, "of its reports were from outside the site"),
            (self.unknown_levels, "of its reports were on levels that the site does not have"),
            (self.stale, "of its reports were not newer than the one before"),
        ] {
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
        words
    }
}

impl EventExplanation {
    /// In words: what the engine decided it by.
    pub fn words(&self) -> String {
        let (event, settings) = (&self.event, &self.event.zone.presence);
        match (event.kind, event.reason) {
            (EventKind::Entered, _) if event.initial => "it was there already when observations began".to_owned(),
            (EventKind::Entered, _) if event.zone.id.is_site() => {
                "the first sighting of it, and the store is entered by that".to_owned()
            }
            (EventKind::Entered, _) => format!(
                "the probability was at least enter_probability {} for enter_after {}",
                settings.enter_probability,
                format_duration(settings.enter_after)
            ),
            (EventKind::Dwelled, _) => format!(
                "it has been inside for {}; the threshold is {}",
                super::explain::seconds(event.duration.unwrap_or_default()),
                format_duration(event.threshold.unwrap_or_default())
            ),
            // Less than the hold: it was handed over to another zone.
            (EventKind::Exited, Some(Reason::Left))
                if event.decided_at.since(event.observed_at) < settings.exit_after =>
            {
                "it entered a zone that does not overlap with this one, and nobody is in two places".to_owned()
            }
            (EventKind::Exited, Some(Reason::Left)) => format!(
                "the probability was below exit_probability {} for exit_after {}",
                settings.exit_probability,
                format_duration(settings.exit_after)
            ),
            (EventKind::Exited, Some(Reason::Lost)) => {
                format!("it was silent for lost_after {}", format_duration(settings.lost_after))
            }
            (EventKind::Exited, Some(Reason::ReceiverLost)) => format!(
                "presence was held for max_hold {} while a receiver was down",
                format_duration(settings.max_hold)
            ),
            (EventKind::Exited, Some(Reason::ZoneChanged)) => "the zone was edited".to_owned(),
            (EventKind::Exited, Some(Reason::ZoneRemoved)) => "the zone was removed".to_owned(),
            (EventKind::Exited, Some(Reason::DeviceRemoved)) => "the device was removed".to_owned(),
            (EventKind::Exited, Some(Reason::ConsentWithdrawn)) => "consent for presence was withdrawn".to_owned(),
            (EventKind::Exited, Some(Reason::ShutdownGap)) => "it was gone after the gateway was away".to_owned(),
            (EventKind::Exited, Some(Reason::Stopped) | None) => "the demonstration ended".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Receivers that fall silent without anybody saying so.
//!
//! A receiver that hears nothing at all may be deaf, or there may be nothing to hear. Which of the two is decided by
//! witnesses: transmitters that it heard until it fell silent, and that it should have heard since, so and so often.
//!
//! - A *fixed beacon* is always there. Where another receiver that hears has lost it as well, it is the beacon that has
//!   died, and it bears no witness.
//! - A *device* may have walked away. It bears witness only while other receivers hear it as strongly as before, and only
//!   where this receiver heard it well: who walks out of reach becomes weak first.
//!
//! Each witness adds the sightings that were to be expected of it. A receiver is taken for deaf when these are at least
//! [`ENOUGH`] together, of at least two witnesses ([`ENOUGH_EACH`]), or of one fixed beacon that others still hear. Packets are
//! lost independently of each other, so even at 70 % loss a receiver that hears misses that many in a row with a probability
//! of less than e^-30: the expected number counts what was heard in spite of the loss.
//!
//! While nobody hears anything, nothing is expected: a closed store is silent. So a site with one receiver has no
//! witnesses. Everything is decided when something is heard, and nothing by time alone.
//!
//! Memory: [`MOST_WITNESSES`] for each receiver. Cost of a sighting: the receivers.

use std::time::Duration;

use crate::model::Timestamp;
use crate::registry::{BeaconIndex, DeviceIndex, ReceiverIndex};

/// Expected sightings that were missed, of all witnesses together.
const ENOUGH: f64 = 30.0;
/// Expected sightings that a witness must have missed to count as one.
const ENOUGH_EACH: f64 = 10.0;
/// However much is missed, a receiver may be silent for so long: radios are restarted, and reports come in bunches. Shorter
/// than it takes to leave a zone (`exit_after`) by default.
const LEAST_SILENCE: Duration = Duration::from_secs(8);
/// From this silence on a receiver is looked at, …
const QUIET: Duration = Duration::from_secs(2);
/// … again and again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A receiver whose silences have turned out to be pauses is given so many times the longest of them, …
const PATIENCE: f64 = 2.0;
/// … which is forgotten with this time constant, in seconds.
const PATIENCE_MEMORY: f64 = 600.0;
/// A silence that ended by itself within this time was a pause, even where the receiver was taken for deaf, …
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// … and it was one at all where so many sightings were missed.
const NOTABLE_PAUSE: f64 = 5.0;
/// Witnesses for each receiver.
const MOST_WITNESSES: usize = 32;
/// A witness that was not heard for so long gives its place to another.
const STALE: Duration = Duration::from_secs(60);
/// Rates are of about the last so many seconds.
const RATE_MEMORY: f64 = 60.0;
/// A rate is known after so many seconds …
const KNOWN_AFTER: f64 = 20.0;
/// … and so many sightings.
const KNOWN_FROM: f64 = 8.0;
/// A witness was heard until the silence where the last sighting is no more than so many intervals before it, …
const RECENT_INTERVALS: f64 = 5.0;
/// … for a device at most so many seconds.
const RECENT_DEVICE: f64 = 10.0;
/// A device was heard well where it was so many dB above the weakest that the receiver hears, …
const WELL_HEARD: f64 = 12.0;
/// … which is taken to be no more than this, in dBm: few radios hear less well.
const USUAL_WEAKEST: f64 = -90.0;
/// A device is heard as strongly as before within so many dB.
const STEADY: f64 = 6.0;
/// Weight of a reading in what is heard now, and in what is usual.
const NOW_WEIGHT: f64 = 0.2;
const USUAL_WEIGHT: f64 = 0.02;
/// What one sighting by another receiver vouches for, in seconds.
const VOUCHED: f64 = 3.0;

/// Whether a receiver hears, as far as its traffic tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiverHealth {
    /// It hears again.
    Hears,
    /// It hears nothing of what it should, since then.
    Silent(Timestamp),
}

/// Who is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// A fixed beacon. These come first, because they stay.
    Fixed(BeaconIndex),
    /// A device.
    Device(DeviceIndex),
}

/// Watches the receivers of a site.
#[derive(Debug)]
pub struct Health {
    ears: Vec<Ear>,
}

#[derive(Debug, Clone)]
struct Ear {
    /// It is known to be down: nothing is expected.
    down: bool,
    /// It is taken for deaf.
    silent: bool,
    /// When it last heard anything.
    last: Option<Timestamp>,
    /// The weakest that it ever heard, in dBm.
    weakest: f64,
    known: Vec<Known>,
    /// For how many seconds others have heard something since `last`, and until when.
    others: f64,
    others_until: Timestamp,
    /// When it was last looked at, and what it had missed by then.
    looked: Timestamp,
    missed: f64,
    /// The longest pause in seconds, as of `paused`.
    pause: f64,
    paused: Timestamp,
}

/// A possible witness.
#[derive(Debug, Clone)]
struct Known {
    who: Witness,
    first: Timestamp,
    last: Timestamp,
    /// Sightings, older ones counting for less.
    count: f64,
    /// In dBm.
    now: f64,
    usual: f64,
    /// Sightings missed in the silence that began at `silence`, and until when that is counted.
    missed: f64,
    silence: Timestamp,
    until: Timestamp,
}

impl Health {
    /// Nothing was heard yet of so many receivers.
    pub fn new(receivers: usize) -> Self {
        Self { ears: vec![Ear::new(); receivers] }
    }

    /// Since when a receiver has been silent that should hear; none where it hears, as far as one can tell.
    pub fn silent_since(&self, receiver: ReceiverIndex) -> Option<Timestamp> {
        let ear = &self.ears[receiver.get()];
        ear.last.filter(|_| ear.silent)
    }

    /// A receiver is known to be up or down. One that was taken for deaf is so until it hears.
    pub fn set(&mut self, receiver: ReceiverIndex, up: bool, now: Timestamp) {
        let ear = &mut self.ears[receiver.get()];
        ear.down = !up;
        if up && !ear.silent && ear.last.is_some() {
            ear.restart(now);
        }
    }

    /// A receiver heard something, whatever it was. Whether it had been taken for deaf.
    pub fn hears(&mut self, receiver: ReceiverIndex, rssi: f64, now: Timestamp) -> bool {
        let ear = &mut self.ears[receiver.get()];
        ear.weakest = ear.weakest.min(rssi);
        let was_silent = std::mem::take(&mut ear.silent);
        if let Some(last) = ear.last {
            let pause = now.since(last);
            if (was_silent && pause < LONGEST_PAUSE) || (!was_silent && ear.missed >= NOTABLE_PAUSE) {
                ear.pause = ear.pause_at(now).max(pause.as_secs_f64());
                ear.paused = now;
            }
        }
        ear.restart(now);
        was_silent
    }

    /// A receiver heard a possible witness; call after [`Health::hears`]. The receivers that are taken for deaf from now on.
    pub fn sighting(&mut self, receiver: ReceiverIndex, who: Witness, rssi: f64, now: Timestamp) -> Vec<ReceiverIndex> {
        let steady = self.ears[receiver.get()].learn(who, rssi, now);
        let mut deaf = Vec::new();
        for at in (0..self.ears.len()).filter(|at| *at != receiver.get()) {
            let ear = &mut self.ears[at];
            let Some(last) = ear.last.filter(|last| !ear.down && !ear.silent && now.since(*last) >= QUIET) else {
                continue;
            };
            ear.vouch(who, steady, last, now);
            if now.since(ear.looked) >= LOOK_AGAIN {
                let (missed, witnesses) = self.missed(at, last, now);
                let ear = &mut self.ears[at];
                (ear.looked, ear.missed) = (now, missed);
                let silence = now.since(last);
                let patience = PATIENCE * ear.pause_at(now);
                if missed >= ENOUGH && witnesses >= 2 && silence >= LEAST_SILENCE && silence.as_secs_f64() >= patience {
                    ear.silent = true;
                    deaf.push(ReceiverIndex(at as u32));
                }
            }
        }
        deaf
    }

    /// The sightings that a receiver should have had since `last`, and of how many witnesses.
    fn missed(&self, at: usize, last: Timestamp, now: Timestamp) -> (f64, usize) {
        let ear = &self.ears[at];
        let (mut missed, mut witnesses) = (0.0, 0);
        for known in ear.known.iter().filter(|known| known.was_there(last)) {
            let (of_it, counts) = match known.who {
                Witness::Device(_) => (if known.silence == last { known.missed } else { 0.0 }, 1),
                Witness::Fixed(_) => (known.rate() * ear.others, self.vouched(at, known, last, now)),
            };
            if of_it >= ENOUGH_EACH && counts > 0 {
                missed += of_it;
                witnesses += counts;
            }
        }
        (missed, witnesses)
    }

    /// What a fixed beacon that a receiver lost counts for: 2 where another one hears it still, 0 where another one that
    /// hears knew it and does not hear it either, or not yet again.
    fn vouched(&self, at: usize, lost: &Known, last: Timestamp, now: Timestamp) -> usize {
        let mut counts = 1;
        for (_, ear) in self.ears.iter().enumerate().filter(|(other, ear)| *other != at && !ear.down && !ear.silent) {
            let Some(known) = ear.known.iter().find(|known| known.who == lost.who && known.is_known()) else {
                continue;
            };
            let heard_on = lost.rate() * known.last.since(last).as_secs_f64() >= ENOUGH_EACH / 2.0;
            if heard_on && known.rate() * now.since(known.last).as_secs_f64() < ENOUGH_EACH {
                return 2;
            }
            if ear.last.is_some_and(|heard| now.since(heard) < QUIET) {
                counts = 0;
            }
        }
        counts
    }
}

impl Ear {
    fn new() -> Self {
        let never = Timestamp::from_millis(0);
        Self {
            down: false,
            silent: false,
            last: None,
            weakest: 0.0,
            known: Vec::new(),
            others: 0.0,
            others_until: never,
            looked: never,
            missed: 0.0,
            pause: 0.0,
            paused: never,
        }
    }

    /// Nothing is missed as of now.
    fn restart(&mut self, now: Timestamp) {
        let last = self.last.map_or(now, |last| last.max(now));
        (self.last, self.others, self.others_until) = (Some(last), 0.0, last);
        (self.missed, self.looked) = (0.0, last);
    }

    /// The longest pause, as far as it is remembered, in seconds.
    fn pause_at(&self, now: Timestamp) -> f64 {
        self.pause * (-now.since(self.paused).as_secs_f64() / PATIENCE_MEMORY).exp()
    }

    /// Takes in a sighting; whether it is as strong as usual.
    fn learn(&mut self, who: Witness, rssi: f64, now: Timestamp) -> bool {
        if let Some(known) = self.known.iter_mut().find(|known| known.who == who) {
            let since = now.since(known.last);
            if since > STALE {
                *known = Known::new(who, rssi, now);
                return false;
            }
            known.count = known.count * (-since.as_secs_f64() / RATE_MEMORY).exp() + 1.0;
            known.last = known.last.max(now);
            known.now += NOW_WEIGHT * (rssi - known.now);
            known.usual += USUAL_WEIGHT * (rssi - known.usual);
            return known.is_known() && (known.now - known.usual).abs() <= STEADY;
        }
        let new = Known::new(who, rssi, now);
        if self.known.len() < MOST_WITNESSES {
            self.known.push(new);
        } else if let Some(stale) = self.known.iter_mut().find(|known| known.may_give_way(who, now)) {
            *stale = new;
        } else if let Some(least) = self.known.iter_mut().max_by_key(|known| known.who).filter(|known| who < known.who)
        {
            // All receivers prefer the same ones, so that they know each other's.
            *least = new;
        }
        false
    }

    /// Another receiver heard `who`, as strongly as usual or not.
    fn vouch(&mut self, who: Witness, steady: bool, last: Timestamp, now: Timestamp) {
        let seconds = now.since(self.others_until.max(last)).as_secs_f64().min(VOUCHED);
        self.others += seconds;
        self.others_until = now;
        let well_heard = self.weakest.min(USUAL_WEAKEST) + WELL_HEARD;
        let Some(known) = self.known.iter_mut().find(|known| known.who == who) else { return };
        if matches!(who, Witness::Fixed(_)) || !known.was_there(last) || known.now < well_heard {
            return;
        }
        if known.silence != last {
            (known.missed, known.silence, known.until) = (0.0, last, last);
        }
        if steady {
            known.missed += known.rate() * now.since(known.until).as_secs_f64().min(VOUCHED);
        }
        known.until = now;
    }
}

impl Known {
    fn new(who: Witness, rssi: f64, at: Timestamp) -> Self {
        Self {
            who,
            first: at,
            last: at,
            count: 1.0,
            now: rssi,
            usual: rssi,
            missed: 0.0,
            silence: Timestamp::from_millis(0),
            until: at,
        }
    }

    /// A fixed beacon that has died must be remembered: that others have lost it as well is what tells.
    fn may_give_way(&self, to: Witness, now: Timestamp) -> bool {
        let may = matches!(self.who, Witness::Device(_)) || matches!(to, Witness::Fixed(_));
        may && now.since(self.last) > STALE
    }

    fn age(&self) -> f64 {
        self.last.since(self.first).as_secs_f64()
    }

    fn is_known(&self) -> bool {
        self.age() >= KNOWN_AFTER && self.count >= KNOWN_FROM
    }

    /// Sightings a second, as of the last one.
    fn rate(&self) -> f64 {
        self.count / (RATE_MEMORY * (1.0 - (-self.age() / RATE_MEMORY).exp())).max(1.0)
    }

    /// Whether it was heard until the receiver fell silent at `last`.
    fn was_there(&self, last: Timestamp) -> bool {
        let recent = RECENT_INTERVALS / self.rate();
        let recent = if matches!(self.who, Witness::Device(_)) { recent.min(RECENT_DEVICE) } else { recent };
        self.is_known() && last.since(self.last).as_secs_f64() <= recent
    }
}

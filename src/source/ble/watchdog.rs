//! Whether one receiver hears, and what to do about it where it does not.
//!
//! The watchdog is told what is known of the radio, says what to do next ([`Watchdog::poll_action`]) and how the receiver
//! is ([`Watchdog::poll_state`]); both are asked after every input and every [`TICK`].
//!
//! A receiver is **up** when our scan was started, nothing since then has ended it, and the adapter says that it is
//! discovering (or an advertisement came, which proves it). It is **down** as soon as one of these is known not to hold:
//! presence of the devices in its zones is then held, not lost.
//!
//! Silence is not a fault: at night a shop has nothing to hear, and when the only beacon leaves, its `lost` must come.
//! So silence alone never takes a receiver down. But a radio that has stalled is silent too, so the scan is started
//! afresh after [`SILENCE`], then by stronger means at longer intervals; a receiver is down only where that fails. A
//! fresh scan that runs and hears nothing is a quiet shop. This is well within the 60 s after which a device is lost.

use std::fmt;
use std::time::{Duration, Instant};

use crate::engine::ReceiverState;

/// How often the watchdog is to be asked, at least.
pub const TICK: Duration = Duration::from_millis(100);

/// Silence after which the scan is started afresh for the first time. Beacons send once a second or more often.
pub const SILENCE: Duration = Duration::from_secs(10);

/// Longest interval between fresh starts of a silent scan; they cost a quiet shop nothing but 70 ms each.
const SILENCE_MOST: Duration = Duration::from_secs(120);

/// How long an adapter may say that it is not discovering before this is believed: the kernel restarts its scan
/// every 10 s, and signals of a scan that we restart come late.
const SETTLE: Duration = Duration::from_secs(2);

/// An adapter that was powered off is left alone for so long: who powers it on again should not meet us doing the same.
const OFF: Duration = Duration::from_secs(1);

/// Waits between attempts, the last one repeated. `bluetoothd` may say "in progress" for up to 9 s after its restart.
const BACK_OFF: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];

/// How often the scan is cycled where nothing else keeps the controller from filtering repeated advertisements: a
/// strict filter passes one advertisement of a beacon in each scan, so this is the sampling interval. Positions need
/// about one sample a second; stopping and starting deafens the radio for 50 to 70 ms.
pub const CYCLE: Duration = Duration::from_secs(1);

/// What to do to the radio. The order is that of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Stop and start the scan, to clear the controller's filter. Not a repair.
    Cycle,
    /// Start the scan; this powers the adapter on.
    Start,
    /// Stop the scan and start it.
    Restart,
    /// Look the adapter up anew, then stop and start the scan.
    Reopen,
    /// Connect to the system's Bluetooth service anew, then as [`Self::Reopen`].
    Renew,
}

/// Why a receiver does not hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The system's message bus cannot be reached.
    NoBus(String),
    /// Nobody offers Bluetooth on the bus.
    NoService,
    /// The adapter is not there, in words.
    NoAdapter(String),
    /// The adapter is powered off, and what came of powering it on.
    PoweredOff(Option<String>),
    /// The service is there, but stuck.
    NoAnswer,
    /// The scan does not run, and what came of starting it.
    NotScanning(Option<String>),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, why) = match self {
            Self::NoBus(why) => ("the system's D-Bus cannot be reached", Some(why)),
            Self::NoService => ("bluetoothd is not running; `systemctl status bluetooth` says why", None),
            Self::NoAdapter(words) => (words.as_str(), None),
            Self::PoweredOff(why) => ("the Bluetooth adapter is powered off", why.as_ref()),
            Self::NoAnswer => ("bluetoothd does not answer", None),
            Self::NotScanning(why) => ("the Bluetooth adapter does not scan", why.as_ref()),
        };
        f.write_str(words)?;
        why.map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// What is known of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adapter {
    /// Whether it is powered.
    pub powered: bool,
    /// Whether it says that it is discovering, for whomever.
    pub discovering: bool,
}

/// Watches over one receiver.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, each told on its own.
pub struct Watchdog {
    bus: Option<String>,
    service: bool,
    /// None while nothing is known: the service has just been reached.
    adapter: Option<Result<Adapter, String>>,
    answers: bool,
    /// Our scan was started, and nothing that ends it has happened since.
    started: bool,
    /// An advertisement was heard since.
    heard: bool,
    /// Since when the adapter says that it is not discovering, although it should.
    idle_since: Instant,
    /// The action under way.
    busy: Option<Action>,
    /// Failed attempts in a row, and what came of the last.
    failures: usize,
    error: Option<String>,
    /// No attempt before this.
    not_before: Instant,
    /// When the scan was last started or an advertisement heard.
    sign_of_life: Instant,
    scan_started: Instant,
    /// Fresh starts since the last advertisement.
    silences: u32,
    cycling: bool,
    told: Option<(ReceiverState, Option<Fault>)>,
}

impl Watchdog {
    /// A watchdog that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self {
            bus: None,
            service: true,
            adapter: None,
            answers: true,
            started: false,
            heard: false,
            idle_since: now,
            busy: None,
            failures: 0,
            error: None,
            not_before: now,
            sign_of_life: now,
            scan_started: now,
            silences: 0,
            cycling: false,
            told: None,
        }
    }

    /// The bus was reached, or why not. Whatever was under way on another connection is over.
    pub fn bus(&mut self, now: Instant, reached: Result<(), String>) {
        self.bus = reached.err();
        self.service = true;
        self.busy = None;
        self.forget(now);
    }

    /// The system's Bluetooth service came or went.
    pub fn service(&mut self, now: Instant, there: bool) {
        self.service = there;
        self.forget(now);
    }

    /// The service answers, or has not for a while.
    pub fn answers(&mut self, answers: bool) {
        self.answers = answers;
    }

    /// What is known of the adapter; words where it is not there.
    pub fn adapter(&mut self, now: Instant, adapter: Result<Adapter, String>) {
        if let (Some(Ok(before)), Ok(after)) = (self.adapter.clone(), &adapter) {
            if before.powered && !after.powered {
                self.ended(now, OFF);
            } else if !before.powered && after.powered && !self.started {
                self.not_before = now;
            }
            if before.discovering && !after.discovering {
                self.idle_since = now;
            }
        } else {
            self.ended(now, Duration::ZERO);
        }
        self.adapter = Some(adapter);
        self.prove(now);
    }

    /// Another adapter is this receiver's now.
    pub fn replaced(&mut self, now: Instant) {
        self.ended(now, Duration::ZERO);
    }

    /// An advertisement was heard. True where this comes so soon after a silent scan was started afresh that the scan
    /// had probably stalled.
    pub fn heard(&mut self, now: Instant) -> bool {
        let stalled = self.silences > 0 && now.duration_since(self.scan_started) < SETTLE && !self.cycling;
        self.heard = true;
        self.sign_of_life = now;
        self.silences = 0;
        self.prove(now);
        stalled
    }

    /// Whether the scan is to be cycled.
    pub fn cycle(&mut self, cycling: bool) {
        self.cycling = cycling;
    }

    /// The action that was asked for has ended.
    pub fn done(&mut self, now: Instant, result: Result<(), String>) {
        let action = self.busy.take();
        self.idle_since = now;
        match result {
            Ok(()) => {
                self.started = true;
                self.error = None;
                self.scan_started = now;
                if action != Some(Action::Cycle) {
                    self.sign_of_life = now;
                }
                // The proof that it runs may be on its way.
                self.not_before = now + SETTLE;
                self.prove(now);
            }
            Err(error) => {
                self.started = false;
                self.error = Some(error);
                self.not_before = now + BACK_OFF[self.failures.min(BACK_OFF.len() - 1)];
                self.failures += 1;
            }
        }
    }

    /// What to do now. The caller does it, with a time-out, and reports [`Self::done`].
    pub fn poll_action(&mut self, now: Instant) -> Option<Action> {
        if self.busy.is_some() || now < self.not_before || self.is_unknown() {
            return None;
        }
        let action = match self.fault(now) {
            None => self.routine(now)?,
            Some(Fault::NotScanning(_) | Fault::PoweredOff(_)) => {
                // It was started, and does not run: that is a failure, too, forgiven as soon as it is proven to run.
                self.failures += usize::from(self.started);
                self.rung()
            }
            // A stuck service would only queue what it is asked.
            Some(Fault::NoBus(_) | Fault::NoService | Fault::NoAdapter(_) | Fault::NoAnswer) => return None,
        };
        if action != Action::Cycle {
            self.heard = false;
        }
        self.busy = Some(action);
        Some(action)
    }

    /// How the receiver is, where that has changed: with words where it is down.
    pub fn poll_state(&mut self, now: Instant) -> Option<(ReceiverState, Option<String>)> {
        if self.is_unknown() {
            return None;
        }
        let fault = self.fault(now);
        // While it is being started there is nothing to say yet, or nothing new.
        if self.told_down() && self.failures == 0 && fault == Some(Fault::NotScanning(None)) {
            return None;
        }
        let state = if fault.is_none() { ReceiverState::Up } else { ReceiverState::Down };
        let words = fault.as_ref().map(ToString::to_string);
        let told = Some((state, fault));
        if self.told == told {
            return None;
        }
        self.told = told;
        Some((state, words))
    }

    /// What was known of the service holds no more.
    fn forget(&mut self, now: Instant) {
        self.answers = true;
        self.adapter = None;
        self.ended(now, Duration::ZERO);
    }

    /// Forgives past failures where the scan is proven to run.
    fn prove(&mut self, now: Instant) {
        if self.started && (self.is_discovering() || self.heard) {
            self.failures = 0;
            self.not_before = self.not_before.min(now);
        }
    }

    fn is_unknown(&self) -> bool {
        self.bus.is_none() && self.service && self.answers && self.adapter.is_none()
    }

    fn is_discovering(&self) -> bool {
        matches!(&self.adapter, Some(Ok(adapter)) if adapter.discovering)
    }

    /// Whether the receiver is up, as far as was said.
    pub fn is_up(&self) -> bool {
        !self.told_down()
    }

    fn told_down(&self) -> bool {
        !matches!(self.told, Some((ReceiverState::Up, _)))
    }

    /// What was running has ended.
    fn ended(&mut self, now: Instant, wait: Duration) {
        self.started = false;
        self.heard = false;
        self.failures = 0;
        self.error = None;
        self.silences = 0;
        self.not_before = now + wait;
    }

    fn fault(&self, now: Instant) -> Option<Fault> {
        if let Some(why) = &self.bus {
            return Some(Fault::NoBus(why.clone()));
        }
        if !self.service {
            return Some(Fault::NoService);
        }
        if !self.answers {
            return Some(Fault::NoAnswer);
        }
        let adapter = match self.adapter.as_ref()? {
            Ok(adapter) => adapter,
            Err(words) => return Some(Fault::NoAdapter(words.clone())),
        };
        if !adapter.powered {
            return Some(Fault::PoweredOff(self.error.clone()));
        }
        if !self.started {
            return Some(Fault::NotScanning(self.error.clone()));
        }
        // What ran is believed to run on for a moment, above all while we restart it; what did not run must prove itself.
        let settling = !self.told_down() && (self.busy.is_some() || now.duration_since(self.idle_since) < SETTLE);
        if adapter.discovering || self.heard_lately(now) || settling { None } else { Some(Fault::NotScanning(None)) }
    }

    fn heard_lately(&self, now: Instant) -> bool {
        self.heard && now.duration_since(self.sign_of_life) < SETTLE
    }

    /// What is done to a radio that is up.
    fn routine(&mut self, now: Instant) -> Option<Action> {
        let limit = (SILENCE * 2_u32.saturating_pow(self.silences)).min(SILENCE_MOST);
        if now.duration_since(self.sign_of_life) >= limit {
            self.sign_of_life = now;
            self.silences += 1;
            return Some(match self.silences % 3 {
                1 => Action::Restart,
                2 => Action::Reopen,
                _ => Action::Renew,
            });
        }
        (self.cycling && now.duration_since(self.scan_started) >= CYCLE).then_some(Action::Cycle)
    }

    /// The next rung of the ladder; from the top it begins anew.
    fn rung(&self) -> Action {
        match self.failures % 4 {
            0 => Action::Start,
            1 => Action::Restart,
            2 => Action::Reopen,
            _ => Action::Renew,
        }
    }
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;

//! One receiver: what it hears and how it is, on its way to the gateway's loop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::watchdog::{Action, Watchdog};
use crate::advert::Advertisement;
use crate::config::AdapterConfig;
use crate::engine::ReceiverState;
use crate::source::{ReceiverCounters, Sink};

/// One entry of the configuration.
#[derive(Debug)]
pub struct Station {
    /// The entry.
    pub config: AdapterConfig,
    /// Whether it hears, and what to do where it does not.
    pub watchdog: Watchdog,
    /// Where it says so.
    pub sink: Sink,
    told: Option<ReceiverState>,
}

impl Station {
    /// Nothing is known yet.
    pub fn new(config: AdapterConfig, sink: &Sink, now: Instant) -> Self {
        Self { config, watchdog: Watchdog::new(now), sink: sink.clone(), told: None }
    }

    /// Hands over what was heard; where it may be too old to be told from what is now, only counts it.
    pub fn hear(&mut self, heard: Advertisement, stale: bool, now: Instant) {
        if self.watchdog.heard(now) {
            tracing::warn!(receiver = %self.config.receiver, "the scan had stalled; a fresh start brought it back");
            self.recovery();
        }
        if stale {
            self.count(|counters| {
                counters.advertisements.fetch_add(1, Ordering::Relaxed);
                counters.shed.fetch_add(1, Ordering::Relaxed);
            });
        } else {
            self.sink.advertisement(heard);
        }
    }

    /// The action that is due, where there is one.
    pub fn act(&mut self, now: Instant) -> Option<Action> {
        let action = self.watchdog.poll_action(now)?;
        let receiver = &self.config.receiver;
        if self.watchdog.is_up() {
            tracing::debug!(%receiver, ?action, "starting the scan afresh");
        } else if self.told.is_some() {
            tracing::info!(%receiver, ?action, "bringing the radio back");
            self.recovery();
        }
        Some(action)
    }

    /// Says how the receiver is, where that has changed.
    pub async fn report(&mut self, now: Instant) {
        if let Some((state, words)) = self.watchdog.poll_state(now) {
            let (receiver, was) = (&self.config.receiver, self.told.replace(state));
            let why = words.as_deref().unwrap_or_default();
            match state {
                ReceiverState::Up => tracing::info!(%receiver, "the radio is scanning"),
                ReceiverState::Down if was == Some(state) => {
                    tracing::info!(%receiver, "the radio still does not hear: {why}");
                }
                ReceiverState::Down => tracing::warn!(%receiver, "the radio does not hear: {why}"),
            }
            self.sink.receiver(self.sink.clock().now(), receiver, state, words).await;
        }
    }

    /// Says how far behind the air the gateway is.
    pub fn lag(&self, lag: Duration) {
        let ms = u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
        self.count(|counters| counters.lag_ms.store(ms, Ordering::Relaxed));
    }

    /// Says whether the system keeps the controller from filtering repeated advertisements.
    pub fn unfiltered(&self, unfiltered: bool) {
        self.count(|counters| counters.unfiltered.store(unfiltered, Ordering::Relaxed));
    }

    fn recovery(&self) {
        self.count(|counters| {
            counters.recoveries.fetch_add(1, Ordering::Relaxed);
        });
    }

    fn count(&self, change: impl Fn(&ReceiverCounters)) {
        let counters = Arc::clone(self.sink.counters());
        if let Some(counters) = counters.get(&self.config.receiver) {
            change(counters);
        }
    }
}

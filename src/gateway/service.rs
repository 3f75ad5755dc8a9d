//! What the service manager is told (`sd_notify`(3)). Where there is none, nobody is.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::debug;

/// It has begun.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// It reads its settings again; [`ready`] ends that.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => debug!("the service manager is not told of the reload: {error}"),
    }
}

/// Whether the service manager waits for signs of life, which the loop gives itself: what does not turn is restarted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watchdog(Option<Duration>);

impl Watchdog {
    /// As the service manager wants it.
    pub(super) fn new() -> Self {
        Self(sd_notify::watchdog_enabled())
    }

    /// The loop has come round.
    pub(super) fn alive(self) {
        if self.0.is_some() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!("the service manager is not told: {error}");
    }
}

//! Bluetooth LE radios: adapters of this machine, each one a receiver of the site.
//!
//! [`run`] scans on every configured adapter for as long as the gateway runs, whatever happens to it: powered off,
//! unplugged, `bluetoothd` or the bus restarted. It hands over each advertisement once, stamped when it was received, and
//! says of each receiver whether it hears.
//!
//! The decisions are in small parts without input or output: [`assign`] (which adapter is which receiver), [`known`]
//! (what a device said last), [`freshness`] (how far behind we are), [`watchdog`] (whether the radio hears, and what to
//! do where it does not). Around them: `bluez` on Linux, `portable` elsewhere.

pub(crate) mod assign;
mod control;
mod known;
// Some of what they can be told comes only from bluetoothd.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod station;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod watchdog;

#[cfg(target_os = "linux")]
mod bluez;
#[cfg(target_os = "linux")]
mod freshness;
#[cfg(any(test, not(target_os = "linux")))]
mod join;
#[cfg(not(target_os = "linux"))]
mod portable;

use tokio::sync::watch;

use crate::config::AdapterConfig;
use crate::source::Sink;
use station::Station;

/// Listens on every adapter until `shutdown` is true or its sender is gone, and stops then within 2 s.
///
/// Adapters may come and go meanwhile. Receivers without an adapter are reported down, with words that say why.
pub async fn run(adapters: Vec<AdapterConfig>, sink: Sink, shutdown: watch::Receiver<bool>) {
    let now = std::time::Instant::now();
    let stations = adapters.into_iter().map(|config| Station::new(config, &sink, now)).collect();
    let shutdown = Shutdown(shutdown);
    #[cfg(target_os = "linux")]
    bluez::run(stations, shutdown).await;
    #[cfg(not(target_os = "linux"))]
    portable::run(stations, shutdown).await;
}

/// The order to stop.
#[derive(Debug, Clone)]
struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Returns when it is given.
    async fn requested(&mut self) {
        // An error says that the sender is gone: then nobody could stop us any more.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

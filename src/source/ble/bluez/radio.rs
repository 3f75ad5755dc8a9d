//! One receiver on Linux.

use std::time::Instant;

use super::monitor::Monitor;
use super::signal::{DeviceProperties, adapter_name};
use crate::advert::{Address, Advertisement};
use crate::model::Rssi;
use crate::source::ble::known::{CAPACITY, Known};
use crate::source::ble::station::Station;

/// A receiver with its adapter, where there is one.
#[derive(Debug)]
pub struct Radio {
    /// The receiver.
    pub station: Station,
    /// The path of its adapter.
    pub path: Option<String>,
    /// What its devices said last.
    pub known: Known<[u8; 6]>,
    /// What keeps its controller from filtering.
    pub monitor: Monitor,
    warned: bool,
}

impl Radio {
    /// Without an adapter yet.
    pub fn new(station: Station, now: Instant) -> Self {
        Self { station, path: None, known: Known::new(CAPACITY), monitor: Monitor::new(now), warned: false }
    }

    /// The name of its adapter.
    pub fn name(&self) -> Option<&str> {
        self.path.as_deref().map(adapter_name)
    }

    /// Hands over one advertisement; `stale` where it may be too old to be told from what is now.
    pub fn hear(&mut self, device: DeviceProperties, stale: bool, now: Instant) {
        // 127 means "not available" (Bluetooth Core, vol. 4 part E, 7.7.65.2), and is no RSSI.
        let Some(Ok(rssi)) = device.rssi.map(|rssi| Rssi::new(f64::from(rssi))) else { return };
        let (random, data) = self.known.complete(device.address, device.random, device.data);
        let address = Some(Address { bytes: device.address, random });
        let receiver = self.station.config.receiver.clone();
        let time = self.station.sink.clock().now();
        self.station.hear(Advertisement { time, receiver, address, rssi, data }, stale, now);
    }

    /// Looks after the monitor: its time-outs, and the cycles in its place.
    pub fn watch_monitor(&mut self, now: Instant) {
        self.monitor.tick(now);
        let refused = self.monitor.is_refused();
        self.station.unfiltered(self.monitor.is_active());
        self.station.watchdog.cycle(refused);
        if refused && !self.warned {
            self.warned = true;
            tracing::warn!(
                receiver = %self.station.config.receiver,
                "bluetoothd offers no advertisement monitor, so the scan is restarted every second, and each beacon is \
                 heard about once a second. Start bluetoothd with -E (experimental) to hear every advertisement"
            );
        }
    }
}

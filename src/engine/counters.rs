//! What the engine counts.

/// What the engine has taken in and refused, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements of beacons that devices carry, taken in.
    pub sightings: u64,
    /// The same for each receiver, in the registry's order.
    pub sightings_by_receiver: Vec<u64>,
    /// Presence events made: entered, dwelled, exited.
    pub events: [u64; 3],
    /// Advertisements of registered fixed beacons.
    pub fixed_beacons: u64,
    /// What devices heard of fixed beacons, taken in.
    pub device_sightings: u64,
    /// What devices heard of registered beacons that have no fixed place.
    pub unplaced_beacons: u64,
    /// Position reports taken in.
    pub reports: u64,
    /// Advertisements that do not say whose they are, taken in as telemetry of a beacon by their address.
    pub telemetry: u64,
    /// Advertisements of what is not registered.
    pub strangers: u64,
    /// Sightings and reports of customers who have not agreed to be tracked.
    pub without_consent: u64,
    /// Advertisements from receivers that are not registered.
    pub unknown_receivers: u64,
    /// Position reports and sightings of devices that are not registered.
    pub unknown_devices: u64,
    /// Inputs refused because their time is too far ahead.
    pub ahead: u64,
    /// Inputs refused because their time is too far behind.
    pub behind: u64,
    /// Position reports from outside the site.
    pub reports_outside: u64,
    /// Position reports on a level that the site does not have.
    pub unknown_levels: u64,
    /// Position reports that were not newer than the device's last.
    pub stale_reports: u64,
}

impl Counters {
    /// All inputs that were not refused.
    pub fn taken_in(&self) -> u64 {
        self.sightings + self.fixed_beacons + self.device_sightings + self.reports
    }
}

//! How beacons fare.

use utoipa::ToSchema;

/// How a beacon fares.
#[derive(ToSchema)]
pub struct BeaconHealth {
    /// The beacon.
    beacon: String,
    /// The device that carries it.
    #[schema(required = true)]
    device: Option<String>,
    /// The level of a fixed one.
    #[schema(required = true)]
    level: Option<i32>,
    /// The worst of its problems, or `ok`; `never_heard` of a fixed one, `not_heard` of a carried one that was not
    /// heard since it was registered.
    state: String,
    /// Everything that is wrong with it, the worst first: `missing`, `moved`, `low_battery`, `interval_drift`.
    problems: Vec<String>,
    /// Since when this has been so.
    #[schema(required = true)]
    since: Option<String>,
    /// When it was last heard, as of when this was last said: on a change, and once an hour.
    #[schema(required = true)]
    last_heard: Option<String>,
    /// Its battery, where it says something of it.
    #[schema(required = true)]
    battery: Option<BeaconBattery>,
    /// How often it advertises, where that is known.
    #[schema(required = true)]
    interval: Option<BeaconInterval>,
    /// Where it seems to be, where it was moved.
    #[schema(required = true)]
    moved: Option<BeaconMoved>,
}

/// A beacon's battery.
#[derive(ToSchema)]
pub struct BeaconBattery {
    /// Its voltage in mV; this or `percent`.
    millivolts: Option<u16>,
    /// How full it is, as the beacon reckons it.
    percent: Option<u8>,
    /// When it last said so.
    at: String,
    /// Whether it is to be changed.
    low: bool,
    /// By how many mV or percent it goes down a day (negative), where it does.
    per_day: Option<f64>,
    /// Days until it is as good as empty, if it goes on so.
    days_left: Option<u32>,
}

/// How often a beacon advertises.
#[derive(ToSchema)]
pub struct BeaconInterval {
    /// Milliseconds from one advertisement to the next.
    ms: f64,
    /// What that usually is.
    usual_ms: Option<f64>,
    /// Whether the beacon counts its advertisements itself.
    counted: bool,
    /// Whether it is another than usual.
    drifted: bool,
}

/// Where a beacon seems to be.
#[derive(ToSchema)]
pub struct BeaconMoved {
    /// Since when.
    since: String,
    /// The level.
    level: i32,
    /// Metres, site frame; none where only the level is known.
    x: Option<f64>,
    /// Metres, site frame.
    y: Option<f64>,
}

/// A page of them.
#[derive(ToSchema)]
pub struct BeaconHealthList {
    /// The items of this page.
    items: Vec<BeaconHealth>,
    /// How many there are on all pages.
    total: usize,
    /// `cursor` of the next page; none after the last.
    #[schema(required = true)]
    next: Option<String>,
    /// The revision of the registry.
    revision: u64,
    /// How many of all beacons are in each state.
    counts: std::collections::BTreeMap<String, u64>,
}

/// A state, or any problem.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum HealthWord {
    /// Any of the first four below.
    Problem,
    /// Not heard, though it should be.
    Missing,
    /// Heard from another place.
    Moved,
    /// Its battery is nearly empty.
    LowBattery,
    /// It advertises otherwise than it used to.
    IntervalDrift,
    /// All is well.
    Ok,
    /// Never heard, and fixed.
    NeverHeard,
    /// Never heard, and carried.
    NotHeard,
}

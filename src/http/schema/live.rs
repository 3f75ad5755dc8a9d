//! What happens now.

use serde_json::Value;
use utoipa::ToSchema;

/// Where a device is.
#[derive(ToSchema)]
pub struct Position {
    /// The device.
    id: String,
    /// What it is.
    kind: String,
    /// Its level; none, as the next four, where its position is not known.
    #[schema(required = true)]
    level: Option<i32>,
    /// Metres, site frame.
    #[schema(required = true)]
    x: Option<f64>,
    /// Metres, site frame.
    #[schema(required = true)]
    y: Option<f64>,
    /// One standard deviation, in metres.
    #[schema(required = true)]
    accuracy: Option<f64>,
    /// When it was there.
    #[schema(required = true)]
    time: Option<String>,
    /// The zones that it is in.
    zones: Vec<String>,
}

/// How a receiver fares.
#[derive(ToSchema)]
pub struct ReceiverHealth {
    /// The receiver.
    id: String,
    /// `up`, `down` or `unknown`.
    state: String,
    /// Why it is down.
    #[schema(required = true)]
    reason: Option<String>,
    /// When it was last heard from.
    #[schema(required = true)]
    last_heard: Option<String>,
    /// How many advertisements it has heard since the start.
    advertisements: u64,
}

/// How the delivery of events fares.
#[derive(ToSchema)]
pub struct Delivery {
    /// Whether a broker has let the gateway in.
    connected: bool,
    /// Which.
    #[schema(required = true)]
    broker: Option<String>,
    /// Events that wait.
    waiting: u64,
    /// Events that brokers have refused again and again.
    parked: u64,
    /// When the oldest that waits was made.
    #[schema(required = true)]
    oldest: Option<String>,
    /// Why nothing is delivered, or kept.
    #[schema(required = true)]
    failing: Option<String>,
}

/// What happens now.
#[derive(ToSchema)]
pub struct Live {
    /// When.
    at: String,
    /// The revision of the registry.
    revision: u64,
    /// The site.
    site: String,
    /// The life of the database.
    epoch: String,
    /// Devices whose position is known.
    devices: Vec<Position>,
    /// How many devices are in each zone.
    occupancy: std::collections::BTreeMap<String, u64>,
    /// How receivers fare.
    receivers: Vec<ReceiverHealth>,
    /// How the delivery of events fares.
    delivery: Delivery,
}

/// One stay that goes on.
#[derive(ToSchema)]
pub struct Stay {
    /// The zone.
    zone: String,
    /// Since when.
    since: String,
    /// The visit.
    visit_id: String,
}

/// In which zones a device is.
#[derive(ToSchema)]
pub struct Presence {
    /// The device.
    device: String,
    /// What it is.
    kind: String,
    /// Its zones.
    zones: Vec<Stay>,
    /// When it was last heard.
    #[schema(required = true)]
    last_seen: Option<String>,
}

/// A page of presences.
#[derive(ToSchema)]
pub struct PresenceList {
    /// The items of this page.
    items: Vec<Presence>,
    /// How many there are on all pages.
    total: usize,
    /// `cursor` of the next page; none after the last.
    #[schema(required = true)]
    next: Option<String>,
    /// The revision of the registry.
    revision: u64,
}

/// A page of positions.
#[derive(ToSchema)]
pub struct PositionList {
    /// The items of this page.
    items: Vec<Position>,
    /// How many there are on all pages.
    total: usize,
    /// `cursor` of the next page; none after the last.
    #[schema(required = true)]
    next: Option<String>,
    /// The revision of the registry.
    revision: u64,
}

/// A visit.
#[derive(ToSchema)]
pub struct Visit {
    /// Its id.
    visit_id: String,
    /// The device.
    device: String,
    /// The zone.
    zone: String,
    /// When it began.
    entered_at: String,
    /// When it ended.
    #[schema(required = true)]
    exited_at: Option<String>,
    /// How long it took, in seconds.
    #[schema(required = true)]
    duration_s: Option<f64>,
    /// Why it ended.
    #[schema(required = true)]
    reason: Option<String>,
}

/// Visits.
#[derive(ToSchema)]
pub struct VisitList {
    /// Those that go on, and those of the recent past, newest first.
    items: Vec<Visit>,
}

/// Recent events.
#[derive(ToSchema)]
pub struct EventList {
    /// `CloudEvents`, newest first.
    items: Vec<Value>,
}

/// What is heard nearby.
#[derive(ToSchema)]
pub struct Heard {
    /// How it would be registered.
    identity: String,
    /// `ibeacon`, `eddystone-uid`, `altbeacon` or `address`.
    format: String,
    /// Its address on the air.
    #[schema(required = true)]
    address: Option<String>,
    /// Its strength now, in dBm.
    rssi: f64,
    /// Its greatest strength.
    best: f64,
    /// Its strength at each receiver.
    receivers: std::collections::BTreeMap<String, f64>,
    /// How often it was heard.
    heard: u64,
    /// When it was last heard.
    last_heard: String,
    /// The beacon that it is registered as.
    #[schema(required = true)]
    beacon: Option<String>,
    /// The device that carries it.
    #[schema(required = true)]
    device: Option<String>,
}

/// The beacons heard now, strongest first.
#[derive(ToSchema)]
pub struct Nearby {
    /// Until when is listened; none where it is not.
    #[schema(required = true)]
    until: Option<String>,
    /// They.
    beacons: Vec<Heard>,
}

/// Until when is listened.
#[derive(ToSchema)]
pub struct NearbyStarted {
    /// Until then.
    until: String,
}

/// Where a device is taken to be, in one zone.
#[derive(ToSchema)]
pub struct WhyZone {
    /// The zone.
    zone: String,
    /// `entering`, `inside` or `leaving`.
    phase: String,
    /// Probability that the device is in it.
    #[schema(required = true)]
    probability: Option<f64>,
    /// From which it may enter.
    enter_probability: f64,
    /// Below which it may leave.
    exit_probability: f64,
    /// Since when.
    #[schema(required = true)]
    since: Option<String>,
    /// When it is lost, if nothing is heard.
    #[schema(required = true)]
    lost_at: Option<String>,
    /// Whether presence is held because a receiver is down.
    held: bool,
    /// The same in a sentence.
    words: String,
}

/// Why a device is taken to be where it is.
#[derive(ToSchema)]
pub struct Why {
    /// The device.
    device: String,
    /// When.
    at: String,
    /// Whether it is tracked.
    tracked: bool,
    /// Why not.
    #[schema(required = true)]
    because: Option<String>,
    /// When it was last heard.
    #[schema(required = true)]
    last_seen: Option<String>,
    /// Where it is.
    #[schema(required = true, value_type = Option<Object>)]
    position: Option<Value>,
    /// Which receivers have heard it.
    heard: Vec<Value>,
    /// Zone by zone.
    zones: Vec<WhyZone>,
    /// What rules decided of it lately, newest first.
    triggers: Vec<Decision>,
    /// What the back end says of it.
    #[schema(value_type = Object)]
    attributes: Value,
}

/// What was decided of a rule for a device.
#[derive(ToSchema)]
pub struct Decision {
    /// The rule.
    trigger: String,
    /// When, last.
    at: String,
    /// `fired`, or what held it back: `condition`, `missing`, `no_consent`, `holdout`, `store_hours`, `quiet_hours`,
    /// `cool_down`, `cap`, `site_cap`, `shared_cap` or `not_observed`.
    outcome: String,
    /// What exactly.
    #[schema(required = true)]
    detail: Option<String>,
    /// How often in a row.
    times: u32,
    /// The same in a sentence.
    words: String,
}

/// Whether the gateway is ready.
#[derive(ToSchema)]
pub struct Ready {
    /// Whether it is.
    ready: bool,
    /// Why it is not.
    #[schema(required = true)]
    reason: Option<String>,
}

/// Who has signed in.
#[derive(ToSchema)]
pub struct SignedIn {
    /// The name of the token, or who made the link.
    name: String,
    /// What they may do.
    role: super::Role,
    /// When the session ends if it is not used; none without a session.
    #[schema(required = true)]
    expires_at: Option<String>,
}

/// What to sign in with: a token, or a one-time code.
#[derive(ToSchema)]
#[schema(example = json!({"token": "bf_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}))]
pub struct SignIn {
    /// A token.
    token: Option<String>,
    /// A one-time code.
    code: Option<String>,
}

/// A link that is to be made.
#[derive(ToSchema)]
#[schema(example = json!({"role": "viewer", "minutes": 10}))]
pub struct NewLink {
    /// What it gives.
    role: super::Role,
    /// How long it may be used.
    #[schema(minimum = 1, maximum = 1440)]
    minutes: Option<u32>,
}

/// A link that signs in whoever opens it first.
#[derive(ToSchema)]
pub struct Link {
    /// It.
    url: String,
    /// Until when it may be used.
    expires_at: String,
}

/// Where devices were.
#[derive(ToSchema)]
pub struct Playback {
    /// The beginning.
    from: String,
    /// The end.
    to: String,
    /// Seconds from one frame to the next; frames in which nobody was located are left out.
    step_s: u64,
    /// What was so when.
    frames: Vec<Frame>,
}

/// Where devices were at an instant.
#[derive(ToSchema)]
pub struct Frame {
    /// When it begins.
    at: String,
    /// `[id, level, x, y, accuracy]` of each device that was located, in metres.
    devices: Vec<Vec<Value>>,
}

/// Where devices stayed for how long.
#[derive(ToSchema)]
pub struct Heatmap {
    /// Side of a cell in metres.
    cell: f64,
    /// The level.
    level: i16,
    /// The left border.
    x0: f64,
    /// The lower border.
    y0: f64,
    /// Cells of a row.
    columns: usize,
    /// Rows.
    rows: usize,
    /// Seconds of all devices in each cell, row by row from below.
    seconds: Vec<f64>,
}

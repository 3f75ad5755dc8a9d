//! Rules.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use super::Id;

/// A length of time, such as `90s`, `30m`, `2d`.
#[derive(ToSchema)]
#[schema(example = "30m")]
pub struct Duration(String);

/// A cap: `1 per visit`, `2 per day`, `3 per week`, `5 per month`, `4 per 36h` or `1 ever`.
#[derive(ToSchema)]
#[schema(example = "1 per visit")]
pub struct Cap(String);

/// A place: the id of a zone, a label as `key=value`, `site`, or `*` for every zone. Or a list of these: any of them.
#[derive(serde::Serialize, ToSchema)]
#[serde(untagged)]
pub enum Places {
    /// One.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

/// How near.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Nearness {
    /// 1 m.
    Immediate,
    /// 4 m.
    Near,
    /// 10 m.
    Far,
}

/// When a rule may fire: one of `entered`, `exited`, `dwelled`, `approach`, `first_visit`, `returned`, `absent`, `sequence`, `missed` and
/// `occupancy`, and what goes with it.
#[derive(ToSchema)]
#[schema(example = json!({"dwelled": "5m", "in": "department=wine", "total": true}))]
pub struct When {
    /// A visit begins.
    entered: Option<Places>,
    /// A visit ends.
    exited: Option<Places>,
    /// A visit has lasted for so long.
    dwelled: Option<Duration>,
    /// With `dwelled`: where; the whole site where it is left out.
    r#in: Option<Places>,
    /// With `dwelled`: in all these places together, within one visit to the site.
    total: Option<bool>,
    /// A device comes that near.
    approach: Option<Nearness>,
    /// With `approach`: to this fixed beacon.
    #[schema(value_type = Option<Id>)]
    to_beacon: Option<String>,
    /// With `approach`: to the heart of this zone.
    #[schema(value_type = Option<Id>)]
    to_zone: Option<String>,
    /// The first visit that is remembered.
    first_visit: Option<Places>,
    /// The first visit after an absence.
    returned: Option<Places>,
    /// With `returned`: after at least so long.
    after: Option<Duration>,
    /// Not seen for so long, or longer than is usual for the device with `usual`.
    absent: Option<String>,
    /// With `absent`: where; the whole site where it is left out.
    from: Option<Places>,
    /// With `absent: usual`: so many times the usual time between visits.
    #[schema(minimum = 1.1, maximum = 100)]
    factor: Option<f64>,
    /// With `absent: usual`: where there were at least so many visits.
    #[schema(minimum = 3, maximum = 16)]
    min_visits: Option<u16>,
    /// One place after the other.
    #[schema(min_items = 2, max_items = 32)]
    sequence: Option<Vec<Places>>,
    /// With `sequence`: from the first to the last at most.
    within: Option<Duration>,
    /// The device left the site without having been here.
    missed: Option<Places>,
    /// With `missed`: where it has been.
    was_in: Option<Places>,
    /// How many devices are in this zone.
    #[schema(value_type = Option<Id>)]
    occupancy: Option<String>,
    /// With `occupancy`: fires above that many.
    above: Option<u32>,
    /// With `occupancy`: fires below that many.
    below: Option<u32>,
    /// With `occupancy`: fires again only after it was at this or beyond.
    until: Option<u32>,
}

/// What holds a rule back.
#[derive(ToSchema)]
pub struct Unless {
    /// Caps of each device.
    #[schema(max_items = 32)]
    caps: Option<Vec<Cap>>,
    /// Caps over all devices together.
    #[schema(max_items = 32)]
    site_caps: Option<Vec<Cap>>,
    /// Not so soon after the last one to the same device.
    cool_down: Option<Duration>,
    /// Whether quiet hours hold it back.
    #[schema(default = true)]
    quiet_hours: Option<bool>,
    /// Whether it fires only while the store is open.
    #[schema(default = false)]
    store_hours: Option<bool>,
    /// The purpose that a customer must have agreed to; empty for none but presence.
    #[schema(default = "marketing", max_length = 128)]
    consent: Option<String>,
    /// The share of devices, in percent, that never get it.
    #[schema(default = 0, minimum = 0, maximum = 99)]
    holdout: Option<f64>,
}

/// What a trigger says.
#[derive(ToSchema)]
pub struct Then {
    /// How urgent it is.
    #[schema(default = 5, minimum = 0, maximum = 9)]
    priority: Option<u8>,
    /// For how long it is worth sending; 15 minutes where it is left out.
    expires_after: Option<Duration>,
    /// Channels in order of preference; none leaves it to the dispatcher.
    #[schema(max_items = 32)]
    channels: Option<Vec<Id>>,
    /// The key by which repeats are known, as a template; none for the usual one.
    deduplication_key: Option<String>,
    /// Whether it is kept as a card until the visit to the site ends.
    #[schema(default = false)]
    card: Option<bool>,
    /// Free data, whose texts are templates.
    data: Option<BTreeMap<String, Value>>,
}

/// A rule.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "welcome", "name": "Welcome", "campaign": "autumn", "enabled": true, "when": {"entered": "site"},
    "if": "device.labels.tier == \"gold\"", "unless": {"caps": ["1 per visit"], "cool_down": "2h"},
    "then": {"priority": 5, "channels": ["push"], "data": {"text": "Hello"}},
}))]
pub struct Trigger {
    /// Its id; it is part of the MQTT topic.
    #[schema(value_type = Id)]
    id: String,
    /// Its name for people.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// The campaign that it belongs to.
    #[schema(min_length = 1, max_length = 128)]
    campaign: Option<String>,
    /// Whether it works at all.
    #[schema(default = true)]
    enabled: Option<bool>,
    /// When it may fire.
    when: When,
    /// A condition in CEL, which must be true.
    r#if: Option<String>,
    /// What holds it back.
    unless: Option<Unless>,
    /// What it says.
    then: Option<Then>,
}

/// What an attribute holds.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum AttributeType {
    /// A number.
    Number,
    /// A text.
    String,
    /// True or false.
    Bool,
    /// A list of texts.
    List,
}

/// Hours of each day of the week, as `09:00-20:00`; a span that ends before it begins goes past midnight.
#[derive(ToSchema)]
#[schema(example = json!({"monday": ["09:00-12:30", "13:30-20:00"], "closed": ["2026-12-25"]}))]
pub struct Hours {
    /// On Mondays.
    monday: Option<Vec<String>>,
    /// On Tuesdays.
    tuesday: Option<Vec<String>>,
    /// On Wednesdays.
    wednesday: Option<Vec<String>>,
    /// On Thursdays.
    thursday: Option<Vec<String>>,
    /// On Fridays.
    friday: Option<Vec<String>>,
    /// On Saturdays.
    saturday: Option<Vec<String>>,
    /// On Sundays.
    sunday: Option<Vec<String>>,
    /// Days on which nothing begins.
    closed: Option<Vec<String>>,
}

/// A cap of a device over the rules of a campaign, or over all.
#[derive(ToSchema)]
pub struct SharedCap {
    /// The cap.
    cap: Cap,
    /// The campaign; none for all rules.
    campaign: Option<String>,
}

/// What all rules obey.
#[derive(ToSchema)]
#[schema(example = json!({
    "attributes": {"points": "number"}, "store_hours": null, "quiet_hours": {"monday": ["21:00-08:00"]},
    "caps": [{"cap": "5 per week"}], "retention": "400d",
}))]
pub struct TriggerSettings {
    /// Facts of devices that the back end may set, by their names.
    attributes: Option<BTreeMap<String, AttributeType>>,
    /// When the store is open; none for always.
    store_hours: Option<Hours>,
    /// When nobody is to be disturbed; none for never.
    quiet_hours: Option<Hours>,
    /// Caps of a device over several rules.
    #[schema(max_items = 32)]
    caps: Option<Vec<SharedCap>>,
    /// For how long the visits of a device and what it was sent are remembered.
    retention: Option<Duration>,
}

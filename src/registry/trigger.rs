//! Rules as they are registered: when a trigger fires, what holds it back, and what it says. Data only; what it means is
//! worked out by the stage of that name.
//!
//! The JSON form of these types is that of the API and of what is stored, and has the keys of `triggers.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{BeaconId, Span, TriggerId, ZoneId, format_duration, parse_duration};

/// The purpose that a customer must have agreed to, unless a rule names another.
pub const USUAL_PURPOSE: &str = "marketing";
/// How urgent a trigger is, unless its rule says otherwise.
pub const USUAL_PRIORITY: u8 = 5;
/// The greatest priority.
pub const MOST_PRIORITY: u8 = 9;

/// What every rule obeys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerSettings {
    /// Facts of devices that the back end may set, by their names.
    #[serde(default)]
    pub attributes: BTreeMap<String, AttributeType>,
    /// When the store is open.
    #[serde(default)]
    pub store_hours: Option<Hours>,
    /// When nobody is to be disturbed.
    #[serde(default)]
    pub quiet_hours: Option<Hours>,
    /// Caps of a device over several rules.
    #[serde(default)]
    pub caps: Vec<SharedCap>,
    /// For how long the visits of a device and what it was sent are remembered.
    #[serde(default = "usual_retention", with = "text")]
    pub retention: Duration,
}

impl Default for TriggerSettings {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            store_hours: None,
            quiet_hours: None,
            caps: Vec::new(),
            retention: usual_retention(),
        }
    }
}

const fn usual_retention() -> Duration {
    Duration::from_secs(400 * 86_400)
}

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl AttributeType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Number, Self::String, Self::Bool, Self::List];

    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::String => "string",
            Self::Bool => "bool",
            Self::List => "list",
        }
    }

    /// Whether it may hold that.
    pub fn holds(self, value: &serde_json::Value) -> bool {
        match self {
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::List => value.as_array().is_some_and(|list| list.iter().all(serde_json::Value::is_string)),
        }
    }
}

/// Hours of each day of the week, and days on which they do not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours {
    /// Monday first.
    pub days: [Vec<Span>; 7],
    /// Days on which nothing begins.
    pub closed: BTreeSet<Date>,
}

/// The days of the week, Monday first, as files name them.
pub const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Hours {
    /// The same hours every day.
    pub fn daily(spans: &[Span]) -> Self {
        Self { days: std::array::from_fn(|_| spans.to_vec()), closed: BTreeSet::new() }
    }

    /// The same, but that nothing begins on that day.
    #[must_use]
    pub fn without(mut self, day: Date) -> Self {
        self.closed.insert(day);
        self
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursForm {
    #[serde(default)]
    monday: Vec<Span>,
    #[serde(default)]
    tuesday: Vec<Span>,
    #[serde(default)]
    wednesday: Vec<Span>,
    #[serde(default)]
    thursday: Vec<Span>,
    #[serde(default)]
    friday: Vec<Span>,
    #[serde(default)]
    saturday: Vec<Span>,
    #[serde(default)]
    sunday: Vec<Span>,
    #[serde(default)]
    closed: BTreeSet<Date>,
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [monday, tuesday, wednesday, thursday, friday, saturday, sunday] = self.days.clone();
        let closed = self.closed.clone();
        HoursForm { monday, tuesday, wednesday, thursday, friday, saturday, sunday, closed }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HoursForm { monday, tuesday, wednesday, thursday, friday, saturday, sunday, closed } =
            HoursForm::deserialize(deserializer)?;
        Ok(Self { days: [monday, tuesday, wednesday, thursday, friday, saturday, sunday], closed })
    }
}

/// The time over which a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// The time before: exactly so long ago counts no more.
    Last(Duration),
    /// The day, by the site's calendar.
    Day,
    /// The week, from Monday on.
    Week,
    /// The month.
    Month,
    /// The visit to the site.
    Visit,
    /// All that is remembered.
    Ever,
}

/// At most so many in a period: `2 per day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// How many: each is remembered, so there is no larger cap.
    pub most: u16,
    /// In what time.
    pub per: Period,
}

/// Why a text is no cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no cap; write such as \"1 per visit\", \"2 per day\", \"3 per week\", \"5 per month\", \"4 per 36h\" or \"1 ever\""
)]
pub struct CapError(String);

/// The largest cap: each time that counts is remembered.
pub const MOST_CAPPED: u16 = 10_000;

impl FromStr for Cap {
    type Err = CapError;

    fn from_str(text: &str) -> Result<Self, CapError> {
        let error = || CapError(text.chars().take(40).collect());
        let words: Vec<&str> = text.split_whitespace().collect();
        let (most, per) = match words.as_slice() {
            [most, "ever"] => (most, Period::Ever),
            [most, "per", "day"] => (most, Period::Day),
            [most, "per", "week"] => (most, Period::Week),
            [most, "per", "month"] => (most, Period::Month),
            [most, "per", "visit"] => (most, Period::Visit),
            [most, "per", duration] => {
                let duration = parse_duration(duration).ok().filter(|duration| !duration.is_zero());
                (most, Period::Last(duration.ok_or_else(error)?))
            }
            _ => return Err(error()),
        };
        let most = most.parse().ok().filter(|most| (1..=MOST_CAPPED).contains(most)).ok_or_else(error)?;
        Ok(Self { most, per })
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.most;
        match self.per {
            Period::Ever => write!(f, "{most} ever"),
            Period::Day => write!(f, "{most} per day"),
            Period::Week => write!(f, "{most} per week"),
            Period::Month => write!(f, "{most} per month"),
            Period::Visit => write!(f, "{most} per visit"),
            Period::Last(duration) => write!(f, "{most} per {}", format_duration(duration)),
        }
    }
}

/// A cap of a device over the rules of a campaign, or over all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCap {
    /// The cap.
    #[serde(with = "text")]
    pub cap: Cap,
    /// The campaign; none for all rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
}

/// Zones, by id or by label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The zone of that id.
    Zone(ZoneId),
    /// Every zone with that label.
    Label(String, String),
    /// Every zone but the whole site.
    Any,
}

/// Why a text names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no place; write the id of a zone, a label as \"key=value\", \"site\", or \"*\" for every zone")]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let error = || PlaceError(text.chars().take(64).collect());
        match text.split_once('=') {
            _ if text == "*" => Ok(Self::Any),
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                Ok(Self::Label(key.trim().to_owned(), value.trim().to_owned()))
            }
            Some(_) => Err(error()),
            None => ZoneId::new(text).map(Self::Zone).map_err(|_| error()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zone(id) => id.fmt(f),
            Self::Label(key, value) => write!(f, "{key}={value}"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// Any of these; at least one. One is written as it is, several as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(pub Vec<Place>);

impl Places {
    /// The whole site.
    pub fn site() -> Self {
        Self(vec![Place::Zone(ZoneId::site())])
    }
}

impl Serialize for Places {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [place] => serializer.collect_str(place),
            places => serializer.collect_seq(places.iter().map(ToString::to_string)),
        }
    }
}

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            One(String),
            Several(Vec<String>),
        }
        let texts = match Form::deserialize(deserializer)? {
            Form::One(text) => vec![text],
            Form::Several(texts) => texts,
        };
        if texts.is_empty() {
            return Err(serde::de::Error::custom("there is no place in it"));
        }
        let places = texts.iter().map(|text| text.parse()).collect::<Result<_, PlaceError>>();
        places.map(Self).map_err(serde::de::Error::custom)
    }
}

/// How near a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nearness {
    /// Within reach: 1 m.
    Immediate,
    /// Within a few steps: 4 m.
    Near,
    /// In sight: 10 m.
    Far,
}

impl Nearness {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Immediate, Self::Near, Self::Far];

    /// The word in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// Within so many metres.
    pub const fn metres(self) -> f64 {
        match self {
            Self::Immediate => 1.0,
            Self::Near => 4.0,
            Self::Far => 10.0,
        }
    }
}

/// What is approached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A fixed beacon.
    Beacon(BeaconId),
    /// The heart of a zone.
    Zone(ZoneId),
}

/// For how long a device must stay away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absence {
    /// A fixed time.
    For(Duration),
    /// Longer than is usual for it: so many times the median of the time between its visits.
    Usual {
        /// How many times.
        factor: f64,
        /// Of at least so many visits.
        min_visits: u16,
    },
}

/// When a rule may fire.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// A visit begins.
    Entered(Places),
    /// A visit ends: the device left or was lost.
    Exited(Places),
    /// A visit has lasted for so long.
    Dwelled {
        /// How long.
        after: Duration,
        /// Where.
        places: Places,
        /// In all these places together, within one visit to the site.
        total: bool,
    },
    /// A device comes near something.
    Approach {
        /// How near.
        nearness: Nearness,
        /// To what.
        target: Target,
    },
    /// The first visit that is remembered.
    FirstVisit(Places),
    /// The first visit after an absence.
    Returned {
        /// Where.
        places: Places,
        /// After at least so long.
        after: Duration,
    },
    /// Not seen for a time.
    Absent {
        /// Where.
        places: Places,
        /// For how long.
        absence: Absence,
    },
    /// One place after the other.
    Sequence {
        /// The places; at least two.
        steps: Vec<Places>,
        /// From the first to the last at most.
        within: Duration,
    },
    /// The device left the site without a place where it should have been.
    Missed {
        /// Where it was not.
        places: Places,
        /// Where it was.
        was_in: Places,
    },
    /// How many devices are in a zone.
    Occupancy {
        /// The zone.
        zone: ZoneId,
        /// Fires above or below that many.
        bound: Bound,
        /// Fires again only after it was at this or beyond.
        until: u32,
    },
}

/// A bound of occupancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// More than so many.
    Above(u32),
    /// Fewer than so many.
    Below(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WhenForm {
    Entered(EnteredForm),
    Exited(ExitedForm),
    Dwelled(DwelledForm),
    Approach(ApproachForm),
    FirstVisit(FirstVisitForm),
    Returned(ReturnedForm),
    Absent(AbsentForm),
    Sequence(SequenceForm),
    Missed(MissedForm),
    Occupancy(OccupancyForm),
}

macro_rules! forms {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? })*) => {
        $(#[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($(#[$meta])* $field: $type,)*
        })*
    };
}

forms! {
    EnteredForm { entered: Places }
    ExitedForm { exited: Places }
    DwelledForm {
        #[serde(with = "text")]
        dwelled: Duration,
        r#in: Places,
        #[serde(default)]
        total: bool,
    }
    ApproachForm {
        approach: Nearness,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_beacon: Option<BeaconId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to_zone: Option<ZoneId>,
    }
    FirstVisitForm { first_visit: Places }
    ReturnedForm {
        returned: Places,
        #[serde(with = "text")]
        after: Duration,
    }
    AbsentForm {
        absent: String,
        #[serde(default = "Places::site")]
        from: Places,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factor: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min_visits: Option<u16>,
    }
    SequenceForm {
        sequence: Vec<Places>,
        #[serde(with = "text")]
        within: Duration,
    }
    MissedForm { missed: Places, was_in: Places }
    OccupancyForm {
        occupancy: ZoneId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        above: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        below: Option<u32>,
        until: u32,
    }
}

/// `absent = "usual"`.
pub const USUAL: &str = "usual";
/// The time between visits that is not usual any more, unless a rule says otherwise.
pub const USUAL_FACTOR: f64 = 2.0;
/// From how many visits on it is known what is usual, unless a rule says otherwise.
pub const USUAL_VISITS: u16 = 4;

impl From<&When> for WhenForm {
    fn from(when: &When) -> Self {
        match when.clone() {
            When::Entered(entered) => Self::Entered(EnteredForm { entered }),
            When::Exited(exited) => Self::Exited(ExitedForm { exited }),
            When::Dwelled { after, places, total } => {
                Self::Dwelled(DwelledForm { dwelled: after, r#in: places, total })
            }
            When::Approach { nearness, target } => {
                let (to_beacon, to_zone) = match target {
                    Target::Beacon(beacon) => (Some(beacon), None),
                    Target::Zone(zone) => (None, Some(zone)),
                };
                Self::Approach(ApproachForm { approach: nearness, to_beacon, to_zone })
            }
            When::FirstVisit(first_visit) => Self::FirstVisit(FirstVisitForm { first_visit }),
            When::Returned { places, after } => Self::Returned(ReturnedForm { returned: places, after }),
            When::Absent { places, absence } => {
                let (absent, factor, min_visits) = match absence {
                    Absence::For(duration) => (format_duration(duration), None, None),
                    Absence::Usual { factor, min_visits } => (USUAL.to_owned(), Some(factor), Some(min_visits)),
                };
                Self::Absent(AbsentForm { absent, from: places, factor, min_visits })
            }
            When::Sequence { steps, within } => Self::Sequence(SequenceForm { sequence: steps, within }),
            When::Missed { places, was_in } => Self::Missed(MissedForm { missed: places, was_in }),
            When::Occupancy { zone, bound, until } => {
                let (above, below) = match bound {
                    Bound::Above(above) => (Some(above), None),
                    Bound::Below(below) => (None, Some(below)),
                };
                Self::Occupancy(OccupancyForm { occupancy: zone, above, below, until })
            }
        }
    }
}

impl TryFrom<WhenForm> for When {
    type Error = String;

    fn try_from(form: WhenForm) -> Result<Self, String> {
        Ok(match form {
            WhenForm::Entered(form) => Self::Entered(form.entered),
            WhenForm::Exited(form) => Self::Exited(form.exited),
            WhenForm::Dwelled(form) => Self::Dwelled { after: form.dwelled, places: form.r#in, total: form.total },
            WhenForm::Approach(form) => {
                let target = match (form.to_beacon, form.to_zone) {
                    (Some(beacon), None) => Target::Beacon(beacon),
                    (None, Some(zone)) => Target::Zone(zone),
                    _ => return Err("it needs either to_beacon or to_zone".to_owned()),
                };
                Self::Approach { nearness: form.approach, target }
            }
            WhenForm::FirstVisit(form) => Self::FirstVisit(form.first_visit),
            WhenForm::Returned(form) => Self::Returned { places: form.returned, after: form.after },
            WhenForm::Absent(form) => {
                let absence = if form.absent == USUAL {
                    Absence::Usual {
                        factor: form.factor.unwrap_or(USUAL_FACTOR),
                        min_visits: form.min_visits.unwrap_or(USUAL_VISITS),
                    }
                } else {
                    Absence::For(parse_duration(&form.absent).map_err(|error| error.to_string())?)
                };
                Self::Absent { places: form.from, absence }
            }
            WhenForm::Sequence(form) if form.sequence.len() < 2 => {
                return Err("a sequence has at least two steps".to_owned());
            }
            WhenForm::Sequence(form) => Self::Sequence { steps: form.sequence, within: form.within },
            WhenForm::Missed(form) => Self::Missed { places: form.missed, was_in: form.was_in },
            WhenForm::Occupancy(form) => {
                let bound = match (form.above, form.below) {
                    (Some(above), None) => Bound::Above(above),
                    (None, Some(below)) => Bound::Below(below),
                    _ => return Err("it needs either above or below".to_owned()),
                };
                Self::Occupancy { zone: form.occupancy, bound, until: form.until }
            }
        })
    }
}

impl Serialize for When {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WhenForm::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WhenForm::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl When {
    /// The word of it in files.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Entered(_) => "entered",
            Self::Exited(_) => "exited",
            Self::Dwelled { .. } => "dwelled",
            Self::Approach { .. } => "approach",
            Self::FirstVisit(_) => "first_visit",
            Self::Returned { .. } => "returned",
            Self::Absent { .. } => "absent",
            Self::Sequence { .. } => "sequence",
            Self::Missed { .. } => "missed",
            Self::Occupancy { .. } => "occupancy",
        }
    }

    /// The zones that it names by id.
    pub fn zones(&self) -> Vec<&ZoneId> {
        let lists: Vec<&Places> = match self {
            Self::Entered(places) | Self::Exited(places) | Self::FirstVisit(places) => vec![places],
            Self::Dwelled { places, .. } | Self::Returned { places, .. } | Self::Absent { places, .. } => vec![places],
            Self::Sequence { steps, .. } => steps.iter().collect(),
            Self::Missed { places, was_in } => vec![places, was_in],
            Self::Approach { target: Target::Zone(zone), .. } | Self::Occupancy { zone, .. } => return vec![zone],
            Self::Approach { target: Target::Beacon(_), .. } => return Vec::new(),
        };
        let places = lists.into_iter().flat_map(|places| &places.0);
        places.filter_map(|place| if let Place::Zone(id) = place { Some(id) } else { None }).collect()
    }

    /// The beacon that it names.
    pub const fn beacon(&self) -> Option<&BeaconId> {
        match self {
            Self::Approach { target: Target::Beacon(beacon), .. } => Some(beacon),
            _ => None,
        }
    }
}

/// What holds a rule back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unless {
    /// Caps of each device.
    #[serde(default, with = "texts")]
    pub caps: Vec<Cap>,
    /// Caps over all devices together.
    #[serde(default, with = "texts")]
    pub site_caps: Vec<Cap>,
    /// Not so soon after the last one to the same device.
    #[serde(default, with = "optional_text")]
    pub cool_down: Option<Duration>,
    /// Whether quiet hours hold it back.
    #[serde(default = "yes")]
    pub quiet_hours: bool,
    /// Whether it fires only while the store is open.
    #[serde(default)]
    pub store_hours: bool,
    /// The purpose that a customer must have agreed to; empty for none but presence.
    #[serde(default = "usual_purpose")]
    pub consent: String,
    /// The share of devices, in percent, that never get it, so that its effect can be measured.
    #[serde(default)]
    pub holdout: f64,
}

const fn yes() -> bool {
    true
}

fn usual_purpose() -> String {
    USUAL_PURPOSE.to_owned()
}

impl Default for Unless {
    fn default() -> Self {
        Self {
            caps: Vec::new(),
            site_caps: Vec::new(),
            cool_down: None,
            quiet_hours: true,
            store_hours: false,
            consent: usual_purpose(),
            holdout: 0.0,
        }
    }
}

/// What a trigger says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// How urgent it is, 0 to 9.
    #[serde(default = "usual_priority")]
    pub priority: u8,
    /// For how long it is worth sending.
    #[serde(default = "usual_expiry", with = "text")]
    pub expires_after: Duration,
    /// Channels in order of preference; none leaves it to the dispatcher.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The key by which repeats are known, as a template; none for the usual one.
    #[serde(default)]
    pub deduplication_key: Option<String>,
    /// Kept as a card until the visit to the site ends.
    #[serde(default)]
    pub card: bool,
    /// Free data, whose texts are templates.
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
}

const fn usual_priority() -> u8 {
    USUAL_PRIORITY
}

const fn usual_expiry() -> Duration {
    Duration::from_secs(15 * 60)
}

impl Default for Then {
    fn default() -> Self {
        Self {
            priority: USUAL_PRIORITY,
            expires_after: usual_expiry(),
            channels: Vec::new(),
            deduplication_key: None,
            card: false,
            data: serde_json::Map::new(),
        }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// Its name for people.
    pub name: String,
    /// The campaign that it belongs to.
    pub campaign: String,
    /// Whether it works at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// When it may fire.
    pub when: When,
    /// A condition in CEL, which must be true.
    #[serde(default, rename = "if")]
    pub condition: Option<String>,
    /// What holds it back.
    #[serde(default)]
    pub unless: Unless,
    /// What it says.
    #[serde(default)]
    pub then: Then,
}

/// Things that are written as text.
trait Text: Sized {
    fn to_text(&self) -> String;
    fn of_text(text: &str) -> Result<Self, String>;
}

impl Text for Duration {
    fn to_text(&self) -> String {
        format_duration(*self)
    }

    fn of_text(text: &str) -> Result<Self, String> {
        parse_duration(text).map_err(|error| error.to_string())
    }
}

impl Text for Cap {
    fn to_text(&self) -> String {
        self.to_string()
    }

    fn of_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: CapError| error.to_string())
    }
}

mod text {
    use super::{Deserialize, Deserializer, Serializer, Text};

    pub(super) fn serialize<T: Text, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&value.to_text())
    }

    pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        T::of_text(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

mod optional_text {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Text};

    #[allow(clippy::ref_option)] // The form that serde asks for.
    pub(super) fn serialize<T: Text, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Text::to_text).serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| T::of_text(&text)).transpose().map_err(serde::de::Error::custom)
    }
}

mod texts {
    use super::{Deserialize, Deserializer, Serializer, Text};

    pub(super) fn serialize<T: Text, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Text::to_text))
    }

    pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| T::of_text(text)).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}

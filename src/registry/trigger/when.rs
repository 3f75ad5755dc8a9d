//! When a rule may fire: what happens, and where.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::as_text::text;
use crate::model::{BeaconId, ZoneId, format_duration, parse_duration};

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

    /// The places that it is about, where it is about any.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        let lists: Vec<&Places> = match self {
            Self::Entered(places) | Self::Exited(places) | Self::FirstVisit(places) => vec![places],
            Self::Dwelled { places, .. } | Self::Returned { places, .. } | Self::Absent { places, .. } => vec![places],
            Self::Sequence { steps, .. } => steps.iter().collect(),
            Self::Missed { places, was_in } => vec![places, was_in],
            Self::Approach { .. } | Self::Occupancy { .. } => Vec::new(),
        };
        lists.into_iter().flat_map(|places| &places.0)
    }

    /// The zones that it names by id.
    pub fn zones(&self) -> Vec<&ZoneId> {
        match self {
            Self::Approach { target: Target::Zone(zone), .. } | Self::Occupancy { zone, .. } => vec![zone],
            _ => self.places().filter_map(|place| if let Place::Zone(id) = place { Some(id) } else { None }).collect(),
        }
    }

    /// The beacon that it names.
    pub const fn beacon(&self) -> Option<&BeaconId> {
        match self {
            Self::Approach { target: Target::Beacon(beacon), .. } => Some(beacon),
            _ => None,
        }
    }
}

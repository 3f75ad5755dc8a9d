//! Rules as they are registered: when a trigger fires, what holds it back, and what it says. Data only; what it means is
//! worked out by the stage of that name.
//!
//! The JSON form of these types is that of the API and of what is stored, and has the keys of `triggers.toml`.

mod as_text;
mod limits;
mod when;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::TriggerId;
use as_text::{optional_text, text, texts};
pub use limits::{Cap, CapError, Hours, MOST_CAPPED, Period, SharedCap, WEEKDAYS};
pub use when::{Absence, Bound, Nearness, Place, PlaceError, Places, Target, USUAL, USUAL_FACTOR, USUAL_VISITS, When};

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

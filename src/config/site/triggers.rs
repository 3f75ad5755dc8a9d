//! `triggers.toml`: the rules, and what all of them obey.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use toml::de::DeValue;

use super::forms::{self, literal};
use crate::config::diagnostic::FileReport;
use crate::config::text::{self, nearest, short};
use crate::config::toml_file::{Document, Keys};
use crate::model::{BeaconId, Span, TriggerId, ZoneId, format_duration, parse_duration};
use crate::registry::{
    Absence, AttributeType, Bound, Cap, Hours, MOST_PRIORITY, Nearness, Place, Places, Registry, Rules, SharedCap,
    Target, Then, Trigger, TriggerSettings, USUAL, USUAL_FACTOR, USUAL_VISITS, Unless, WEEKDAYS, When, Zone,
};
use crate::trigger::{Condition, Data, Template};

/// Thousands of rules are far less.
const MAX_BYTES: u64 = 16 << 20;
/// Rules of a site.
const MAX_TRIGGERS: usize = 10_000;
/// Values of one list.
const MAX_VALUES: usize = 32;
/// Among so many ids the nearest is looked for.
const MAX_PROPOSED: usize = 1_000;
/// Attributes of a device.
const MAX_ATTRIBUTES: usize = 64;
/// Bytes of names and words.
const MAX_WORD: usize = 128;
/// Bytes of the free data: it travels in every trigger.
const MAX_DATA: usize = 16 * 1024;
/// The longest that anything is remembered.
const MAX_RETENTION: Duration = Duration::from_secs(5 * 366 * 86_400);

const KEYS: &[&str] = &["attributes", "store_hours", "quiet_hours", "caps", "retention", "trigger"];
/// The keys of the settings.
pub(super) const SETTINGS_KEYS: &[&str] = &["attributes", "store_hours", "quiet_hours", "caps", "retention"];
/// The keys of a rule.
pub(super) const TRIGGER_KEYS: &[&str] = &["id", "name", "campaign", "enabled", "when", "if", "unless", "then"];
const WHEN_KEYS: &[&str] = &[
    "entered",
    "exited",
    "dwelled",
    "in",
    "total",
    "approach",
    "to_beacon",
    "to_zone",
    "first_visit",
    "returned",
    "after",
    "absent",
    "from",
    "factor",
    "min_visits",
    "sequence",
    "within",
    "missed",
    "was_in",
    "occupancy",
    "above",
    "below",
    "until",
];
const UNLESS_KEYS: &[&str] = &["caps", "site_caps", "cool_down", "quiet_hours", "store_hours", "consent", "holdout"];
const THEN_KEYS: &[&str] = &["priority", "expires_after", "channels", "deduplication_key", "card", "data"];
const CAP_KEYS: &[&str] = &["cap", "campaign"];
const HOURS_KEYS: &[&str] =
    &["daily", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "closed"];

/// Each `when`, and the keys that go with it.
const WHENS: [(&str, &[&str]); 10] = [
    ("entered", &[]),
    ("exited", &[]),
    ("dwelled", &["in", "total"]),
    ("approach", &["to_beacon", "to_zone"]),
    ("first_visit", &[]),
    ("returned", &["after"]),
    ("absent", &["from", "factor", "min_visits"]),
    ("sequence", &["within"]),
    ("missed", &["was_in"]),
    ("occupancy", &["above", "below", "until"]),
];

/// What rules may name. None where that is not all known.
#[derive(Debug)]
pub(super) struct Known<'a> {
    zones: Option<Vec<&'a Zone>>,
    beacons: Option<Vec<(&'a BeaconId, bool)>>,
}

impl<'a> Known<'a> {
    /// What is registered.
    pub(super) fn of(registry: &'a Registry) -> Self {
        Self {
            zones: Some(registry.zones().iter().map(AsRef::as_ref).collect()),
            beacons: Some(registry.beacons().iter().map(|beacon| (&beacon.id, beacon.fixed.is_some())).collect()),
        }
    }

    /// What the other files hold; none where one of them is faulty.
    pub(super) fn of_files(zones: Option<&'a [Zone]>, beacons: Option<&'a [crate::registry::Beacon]>) -> Self {
        Self {
            zones: zones.map(|zones| zones.iter().collect()),
            beacons: beacons.map(|beacons| beacons.iter().map(|beacon| (&beacon.id, beacon.fixed.is_some())).collect()),
        }
    }

    fn check_zone(&self, keys: &Keys<'_, '_>, line: usize, id: &ZoneId) {
        let Some(zones) = self.zones.as_ref().filter(|_| !id.is_site()) else { return };
        if !zones.iter().any(|zone| zone.id == *id) {
            let ids = zones.iter().map(|zone| zone.id.as_str()).chain([ZoneId::SITE]);
            let help = proposal(id.as_str(), ids, "draw the zone first, or correct the id");
            keys.fault(line, format!("there is no zone \"{id}\""), Some(help));
        }
    }
}

/// The id that was probably meant, or else what to do.
fn proposal<'a>(id: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let known: Vec<&str> = known.take(MAX_PROPOSED).collect();
    Some(nearest(id, &known)).filter(|help| help.starts_with("did you mean")).unwrap_or_else(|| otherwise.to_owned())
}

/// Reads the file.
pub(super) fn load(report: &FileReport, known: &Known<'_>) -> Rules {
    load_within(report, known, None).0
}

/// Reads the file, and says whether it has settings; where it has none, those of `kept` are in force.
pub(super) fn load_within(report: &FileReport, known: &Known<'_>, kept: Option<&TriggerSettings>) -> (Rules, bool) {
    let Some(text) = text::read(report, MAX_BYTES, "the file holds the rules; see docs/triggers.md") else {
        return (Rules::default(), false);
    };
    let document = Document::parse(&text, report);
    let keys = document.root(report, KEYS);
    let has_settings = SETTINGS_KEYS.iter().any(|key| keys.has(key));
    let settings = match kept {
        Some(kept) if !has_settings => kept.clone(),
        _ => settings(&keys),
    };
    let mut lines: HashMap<TriggerId, usize> = HashMap::new();
    let mut triggers = Vec::new();
    let tables = keys.tables("trigger", TRIGGER_KEYS);
    if tables.len() > MAX_TRIGGERS {
        keys.fault_at("trigger", format!("there are {} rules, more than {MAX_TRIGGERS}", tables.len()), None);
        return (Rules::default(), has_settings);
    }
    for mut table in tables {
        let line = table.line_of("id");
        let Some(rule) = trigger(&mut table, known, &settings) else { continue };
        if let Some(first) = lines.insert(rule.id.clone(), line) {
            let message = format!("the id \"{}\" is taken by the rule on line {first}", rule.id);
            table.fault_at("id", message, Some("give each rule its own"));
            continue;
        }
        triggers.push(Arc::new(rule));
    }
    (Rules { settings: Arc::new(settings), triggers }, has_settings)
}

/// Why a rule cannot be used with these settings; none where it can.
pub fn unusable(rule: &Trigger, settings: &TriggerSettings) -> Option<String> {
    let declared = &settings.attributes;
    let condition = rule.condition.as_ref().and_then(|text| Condition::compile(text, declared).err());
    let key = || rule.then.deduplication_key.as_ref().and_then(|text| Template::compile(text, declared).err());
    let data = || Data::compile(&Value::Object(rule.then.data.clone()), declared).err();
    condition
        .map(|error| format!("its condition: {error}"))
        .or_else(|| key().map(|error| format!("its deduplication_key: {error}")))
        .or_else(|| data().map(|(path, error)| format!("its data{path}: {error}")))
}

/// Reads the settings.
pub(super) fn settings(keys: &Keys<'_, '_>) -> TriggerSettings {
    let usual = TriggerSettings::default();
    let attributes = attributes(keys);
    let store_hours = hours(keys, "store_hours");
    let quiet_hours = hours(keys, "quiet_hours");
    let mut caps = Vec::new();
    for (value, line) in list(keys, "caps", "a list of caps such as [{ cap = \"3 per day\" }]") {
        match value {
            DeValue::String(text) => {
                caps.extend(parsed::<Cap>(keys, line, "caps", text).map(|cap| SharedCap { cap, campaign: None }));
            }
            DeValue::Table(_) => {}
            _ => keys.fault(
                line,
                "\"caps\" must hold caps such as { cap = \"3 per day\", campaign = \"…\" }".to_owned(),
                None,
            ),
        }
    }
    for table in keys.tables_in("caps", CAP_KEYS) {
        let Some(cap) = table.required("cap", "write cap = \"3 per day\"", str::parse::<Cap>) else { continue };
        caps.push(SharedCap { cap, campaign: word(&table, "campaign") });
    }
    let retention = duration(keys, "retention").unwrap_or(usual.retention);
    if retention > MAX_RETENTION || retention < Duration::from_secs(86_400) {
        keys.fault_at("retention", "\"retention\" must lie between 1d and 1830d", None);
    }
    TriggerSettings { attributes, store_hours, quiet_hours, caps, retention }
}

fn attributes(keys: &Keys<'_, '_>) -> BTreeMap<String, AttributeType> {
    let mut found = BTreeMap::new();
    let Some(entries) = keys.entries("attributes") else { return found };
    for (name, value, line) in entries {
        let is_name = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            let help = "use letters A-Z, a-z, digits and _, and begin with a letter";
            keys.fault(line, format!("\"{}\" is no name of an attribute", short(&name)), Some(help.to_owned()));
            continue;
        }
        let types: Vec<&str> = AttributeType::ALL.iter().map(|of| of.as_str()).collect();
        match value.as_str().and_then(|text| AttributeType::ALL.into_iter().find(|of| of.as_str() == text)) {
            Some(of) => drop(found.insert(name, of)),
            None => keys.fault(
                line,
                format!("attribute \"{name}\" must be said to be one of {}", types.join(", ")),
                Some(format!("write {name} = \"number\"")),
            ),
        }
    }
    if found.len() > MAX_ATTRIBUTES {
        keys.fault_at("attributes", format!("there are more than {MAX_ATTRIBUTES} attributes"), None);
    }
    found
}

/// `["09:00-20:00"]` for every day, or a table of days.
fn hours(keys: &Keys<'_, '_>, key: &str) -> Option<Hours> {
    if !matches!(keys.value(key)?, DeValue::Table(_)) {
        return Some(Hours::daily(&spans(keys, key)));
    }
    let table = keys.table_named(key, format!("[{key}]"), HOURS_KEYS)?;
    let daily = spans(&table, "daily");
    let mut hours = Hours::daily(&daily);
    for (at, day) in WEEKDAYS.into_iter().enumerate() {
        if table.has(day) {
            hours.days[at] = spans(&table, day);
        }
    }
    for (value, line) in table.array("closed", "a list of days such as [\"2026-12-25\"]") {
        let text = match value {
            DeValue::Datetime(date) => Some(date.to_string()),
            other => other.as_str().map(str::to_owned),
        };
        match text.and_then(|text| text.parse().ok()) {
            Some(day) => hours = hours.without(day),
            None => table.fault(line, "\"closed\" must hold days such as \"2026-12-25\"".to_owned(), None),
        }
    }
    Some(hours)
}

fn spans(keys: &Keys<'_, '_>, key: &str) -> Vec<Span> {
    let values = list(keys, key, "a list of spans such as [\"09:00-20:00\"]");
    values
        .into_iter()
        .filter_map(|(value, line)| {
            let text = value.as_str();
            if text.is_none() {
                keys.fault(line, format!("\"{key}\" must hold spans such as \"09:00-20:00\""), None);
            }
            parsed(keys, line, key, text?)
        })
        .collect()
}

/// The values of a list that is not too long.
fn list<'d, 't>(keys: &Keys<'d, 't>, key: &str, wanted: &str) -> Vec<(&'d DeValue<'t>, usize)> {
    let values = keys.array(key, wanted);
    if values.len() > MAX_VALUES {
        keys.fault_at(key, format!("\"{key}\" has {} values, more than {MAX_VALUES}", values.len()), None);
        return Vec::new();
    }
    values
}

/// A whole number in that range.
fn whole_in(keys: &Keys<'_, '_>, key: &str, least: u32, most: u32, unit: &str) -> Option<u32> {
    let number = keys.integer(key)?;
    let found = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
    if found.is_none() {
        keys.fault_at(key, format!("\"{key}\" is {number}; it must lie between {least} and {most}{unit}"), None);
    }
    found
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    keys: &Keys<'_, '_>,
    line: usize,
    key: &str,
    text: &str,
) -> Option<T> {
    text.parse().map_err(|error| keys.fault(line, format!("\"{key}\": {error}"), None)).ok()
}

fn duration(keys: &Keys<'_, '_>, key: &str) -> Option<Duration> {
    let duration = keys.parsed(key, parse_duration)?;
    if duration.is_zero() {
        keys.fault_at(
            key,
            format!("\"{key}\" must be longer than nothing"),
            Some("write such as \"90s\", \"30m\", \"2d\""),
        );
        return None;
    }
    Some(duration)
}

fn word(keys: &Keys<'_, '_>, key: &str) -> Option<String> {
    let text = keys.text(key)?;
    if text.trim().is_empty() || text.len() > MAX_WORD || text.chars().any(char::is_control) {
        keys.fault_at(
            key,
            format!("\"{key}\" must have 1 to {MAX_WORD} characters, none of them a control character"),
            None,
        );
        return None;
    }
    Some(text.to_owned())
}

/// Reads one rule.
pub(super) fn trigger(keys: &mut Keys<'_, '_>, known: &Known<'_>, settings: &TriggerSettings) -> Option<Trigger> {
    let id = keys.required("id", "write id = \"welcome\"", TriggerId::new);
    if let Some(id) = &id {
        keys.name_record(format!("trigger \"{id}\""));
    }
    let declared = &settings.attributes;
    let when = when(keys, known);
    let condition = keys.text("if").filter(|text| !text.trim().is_empty()).map(str::to_owned);
    if let Some(text) = &condition
        && let Err(error) = Condition::compile(text, declared)
    {
        keys.fault_at(
            "if",
            format!("the condition `{}`: {error}", short(text)),
            Some("see docs/triggers.md for what it may say"),
        );
    }
    let unless = unless(keys).unwrap_or_default();
    let then = then(keys, settings).unwrap_or_default();
    let name = if keys.has("name") { word(keys, "name") } else { id.as_ref().map(ToString::to_string) };
    let campaign = if keys.has("campaign") { word(keys, "campaign") } else { id.as_ref().map(ToString::to_string) };
    let enabled = keys.boolean("enabled").unwrap_or(true);
    if let Some(when @ When::Absent { .. }) = &when
        && then.card
    {
        let message = format!(
            "who is absent sees no card: with \"{}\" it is kept until the end of the next visit",
            when.as_str()
        );
        keys.warn_at("then", message, Some("leave out card"));
    }
    if let Some(when) = &when {
        hints(keys, when, &unless, settings, known);
    }
    Some(Trigger { id: id?, name: name?, campaign: campaign?, enabled, when: when?, condition, unless, then })
}

/// What can be, and is hardly meant.
fn hints(keys: &Keys<'_, '_>, when: &When, unless: &Unless, settings: &TriggerSettings, known: &Known<'_>) {
    if unless.store_hours && settings.store_hours.is_none() {
        let help = "write store_hours = [\"09:00-20:00\"] at the top of the file";
        keys.warn_at("unless", "it fires in store hours only, and none are set: it fires at any time", Some(help));
    }
    if matches!(when, When::Occupancy { .. }) && unless.holdout > 0.0 {
        keys.warn_at("unless", "it is about a zone, not a device: nobody is held out", None);
    }
    if matches!(when, When::Absent { .. }) && unless.store_hours {
        keys.warn_at("unless", "who is absent is not in the store: it waits for the store to open", None);
    }
    let longest = match when {
        When::Returned { after, .. } | When::Absent { absence: Absence::For(after), .. } => Some(*after),
        _ => None,
    };
    if longest.is_some_and(|longest| longest > settings.retention) {
        let retention = format_duration(settings.retention);
        let message = format!("visits are forgotten after {retention}: it never fires");
        keys.warn_at("when", message, Some("make \"retention\" longer"));
    }
    let Some(zones) = &known.zones else { return };
    for place in when.places() {
        if let Place::Label(key, value) = place
            && !zones.iter().any(|zone| zone.labels.get(key) == Some(value))
        {
            keys.warn_at("when", format!("no zone has the label {key}={value}: it never fires for it"), None);
        }
    }
}

fn when(rule: &Keys<'_, '_>, known: &Known<'_>) -> Option<When> {
    if !rule.has("when") {
        rule.missing("when", "write when = { entered = \"ZONE\" }");
        return None;
    }
    let keys = table(rule, "when", WHEN_KEYS)?;
    let found: Vec<(&str, &[&str])> = WHENS.into_iter().filter(|(key, _)| keys.has(key)).collect();
    let words: Vec<&str> = WHENS.iter().map(|(key, _)| *key).collect();
    let (kind, with) = match found.as_slice() {
        [one] => *one,
        // What was meant is misspelled, and told.
        [] if rule.entries("when")?.iter().any(|(key, ..)| !WHEN_KEYS.contains(&key.as_str())) => return None,
        [] => {
            rule.fault_at("when", "\"when\" says nothing", Some(&format!("it has one of {}", words.join(", "))));
            return None;
        }
        several => {
            let several: Vec<&str> = several.iter().map(|(key, _)| *key).collect();
            let message = format!("\"when\" says {} at once", several.join(" and "));
            rule.fault_at("when", message, Some("write one rule for each"));
            return None;
        }
    };
    for key in WHEN_KEYS.iter().filter(|key| **key != kind && !with.contains(*key) && keys.has(key)) {
        let help = if with.is_empty() { "leave it out".to_owned() } else { format!("with it go {}", with.join(", ")) };
        keys.fault_at(key, format!("\"{key}\" does not go with \"{kind}\""), Some(&help));
    }
    let places = |key: &str| places(&keys, key, known);
    match kind {
        "entered" => places("entered").map(When::Entered),
        "exited" => places("exited").map(When::Exited),
        "first_visit" => places("first_visit").map(When::FirstVisit),
        "dwelled" => {
            let in_places = if keys.has("in") { places("in") } else { Some(Places::site()) };
            let total = keys.boolean("total").unwrap_or(false);
            Some(When::Dwelled { after: duration(&keys, "dwelled")?, places: in_places?, total })
        }
        "approach" => approach(&keys, known),
        "returned" => {
            let after = if keys.has("after") { duration(&keys, "after") } else { missing(&keys, "after", "30d") };
            Some(When::Returned { places: places("returned")?, after: after? })
        }
        "absent" => {
            let from = if keys.has("from") { places("from") } else { Some(Places::site()) };
            Some(When::Absent { absence: absence(&keys)?, places: from? })
        }
        "sequence" => {
            let within = if keys.has("within") { duration(&keys, "within") } else { missing(&keys, "within", "30m") };
            let steps = keys.array("sequence", "a list of places such as [\"entrance\", \"department=wine\"]");
            let count = steps.len();
            let steps: Vec<Places> = steps
                .into_iter()
                .take(MAX_VALUES)
                .filter_map(|(value, line)| places_in(&keys, "sequence", value, line, known))
                .collect();
            let is_list = matches!(keys.value("sequence"), Some(DeValue::Array(_)));
            if is_list && !(2..=MAX_VALUES).contains(&count) {
                keys.fault_at("sequence", format!("a sequence has 2 to {MAX_VALUES} places, not {count}"), None);
            }
            (steps.len() == count && count >= 2).then_some(())?;
            Some(When::Sequence { steps, within: within? })
        }
        "missed" => {
            if !keys.has("was_in") {
                keys.missing("was_in", "write was_in = \"ZONE\", where the device must have been");
            }
            Some(When::Missed { places: places("missed")?, was_in: places("was_in")? })
        }
        _ => occupancy(&keys, known),
    }
}

fn missing<T>(keys: &Keys<'_, '_>, key: &str, example: &str) -> Option<T> {
    keys.missing(key, &format!("write {key} = \"{example}\""));
    None
}

fn approach(keys: &Keys<'_, '_>, known: &Known<'_>) -> Option<When> {
    let nearness = keys.parsed("approach", |text| {
        let words: Vec<&str> = Nearness::ALL.iter().map(|nearness| nearness.as_str()).collect();
        let found = Nearness::ALL.into_iter().find(|nearness| nearness.as_str() == text);
        found.ok_or_else(|| format!("\"{}\" is none of {}", short(text), words.join(", ")))
    });
    let target = match (keys.has("to_beacon"), keys.has("to_zone")) {
        (true, false) => {
            let beacon = keys.parsed("to_beacon", BeaconId::new)?;
            if let Some(beacons) = &known.beacons {
                match beacons.iter().find(|(id, _)| **id == beacon) {
                    None => {
                        let ids = beacons.iter().filter(|(_, fixed)| *fixed).map(|(id, _)| id.as_str());
                        let help = proposal(beacon.as_str(), ids, "register the beacon first, or correct the id");
                        keys.fault_at("to_beacon", format!("there is no beacon \"{beacon}\""), Some(&help));
                    }
                    Some((_, false)) => keys.fault_at(
                        "to_beacon",
                        format!("beacon \"{beacon}\" is not a fixed one with a place"),
                        Some("give it x, y and level, or name a zone in to_zone"),
                    ),
                    Some((_, true)) => {}
                }
            }
            Target::Beacon(beacon)
        }
        (false, true) => {
            let zone = keys.parsed("to_zone", ZoneId::new)?;
            known.check_zone(keys, keys.line_of("to_zone"), &zone);
            if zone.is_site() {
                keys.fault_at("to_zone", "the whole site has no heart", Some("name a zone"));
            }
            Target::Zone(zone)
        }
        _ => {
            let help = "write to_beacon = \"BEACON\" or to_zone = \"ZONE\"";
            keys.fault_at("approach", "it needs either \"to_beacon\" or \"to_zone\"", Some(help));
            return None;
        }
    };
    Some(When::Approach { nearness: nearness?, target })
}

fn absence(keys: &Keys<'_, '_>) -> Option<Absence> {
    if keys.text("absent") != Some(USUAL) {
        for key in ["factor", "min_visits"].into_iter().filter(|key| keys.has(key)) {
            keys.fault_at(key, format!("\"{key}\" goes with absent = \"{USUAL}\" only"), Some("leave it out"));
        }
        return duration(keys, "absent").map(Absence::For);
    }
    let factor = if keys.has("factor") { keys.number_in("factor", 1.1, 100.0, "") } else { Some(USUAL_FACTOR) };
    let min_visits =
        if keys.has("min_visits") { whole_in(keys, "min_visits", 3, 16, "") } else { Some(USUAL_VISITS.into()) };
    Some(Absence::Usual { factor: factor?, min_visits: min_visits? as u16 })
}

fn occupancy(keys: &Keys<'_, '_>, known: &Known<'_>) -> Option<When> {
    let zone = keys.parsed("occupancy", ZoneId::new)?;
    known.check_zone(keys, keys.line_of("occupancy"), &zone);
    let number = |key: &str| whole_in(keys, key, 0, 1_000_000, " devices");
    let bound = match (keys.has("above"), keys.has("below")) {
        (true, false) => Bound::Above(number("above")?),
        (false, true) => Bound::Below(number("below")?),
        _ => {
            keys.fault_at("occupancy", "it needs either \"above\" or \"below\"", Some("write such as above = 40"));
            return None;
        }
    };
    let until = if keys.has("until") {
        number("until")?
    } else {
        match bound {
            Bound::Above(above) => above * 8 / 10,
            Bound::Below(below) => below + below.div_ceil(5),
        }
    };
    let wrong = match bound {
        Bound::Above(above) if until > above => Some(format!("at most {above}, above which it fires")),
        Bound::Below(below) if until < below => Some(format!("at least {below}, below which it fires")),
        _ => None,
    };
    if let Some(wanted) = wrong {
        let help = "it fires again only after there were so many";
        keys.fault_at("until", format!("\"until\" is {until}; it must be {wanted}"), Some(help));
    }
    Some(When::Occupancy { zone, bound, until })
}

fn places(keys: &Keys<'_, '_>, key: &str, known: &Known<'_>) -> Option<Places> {
    places_in(keys, key, keys.value(key)?, keys.line_of(key), known)
}

fn places_in(keys: &Keys<'_, '_>, key: &str, value: &DeValue<'_>, line: usize, known: &Known<'_>) -> Option<Places> {
    let one = |text: &str| -> Option<Place> {
        let place: Place = parsed(keys, line, key, text)?;
        if let Place::Zone(id) = &place {
            known.check_zone(keys, line, id);
        }
        Some(place)
    };
    match value {
        DeValue::String(text) => Some(Places(vec![one(text)?])),
        DeValue::Array(list) if !list.is_empty() && list.len() <= MAX_VALUES => {
            let texts: Option<Vec<&str>> = list.iter().map(|value| value.get_ref().as_str()).collect();
            let Some(texts) = texts else {
                keys.fault(line, format!("\"{key}\" must hold places in quotes"), None);
                return None;
            };
            texts.into_iter().map(one).collect::<Option<Vec<Place>>>().map(Places)
        }
        _ => {
            let help = "write a zone's id, a label as \"key=value\", \"site\", \"*\", or a list of these";
            keys.fault(
                line,
                format!("\"{key}\" must be a place, or a list of up to {MAX_VALUES}"),
                Some(help.to_owned()),
            );
            None
        }
    }
}

/// A table of a rule, named after it.
fn table<'d, 't>(rule: &Keys<'d, 't>, key: &str, known: &'static [&'static str]) -> Option<Keys<'d, 't>> {
    let record = rule.record().unwrap_or("[[trigger]]").to_owned();
    rule.table_named(key, record, known)
}

fn unless(rule: &Keys<'_, '_>) -> Option<Unless> {
    let keys = table(rule, "unless", UNLESS_KEYS)?;
    let usual = Unless::default();
    let caps = |key: &str| -> Vec<Cap> {
        let values = list(&keys, key, "a list of caps such as [\"1 per visit\", \"2 per week\"]");
        let cap = |(value, line): (&DeValue<'_>, usize)| {
            let text = value.as_str();
            if text.is_none() {
                keys.fault(line, format!("\"{key}\" must hold caps such as \"1 per visit\""), None);
            }
            parsed(&keys, line, key, text?)
        };
        values.into_iter().filter_map(cap).collect()
    };
    let consent = keys.text("consent").map_or(usual.consent, |purpose| {
        if purpose.len() > MAX_WORD || purpose.contains([':', ';']) || purpose.chars().any(char::is_whitespace) {
            let help = "write a purpose such as \"marketing\"; who agreed to a channel only has marketing:push";
            keys.fault_at("consent", format!("\"{}\" is no purpose", short(purpose)), Some(help));
        }
        purpose.to_owned()
    });
    let holdout = if keys.has("holdout") { keys.number_in("holdout", 0.0, 99.0, " percent")? } else { 0.0 };
    Some(Unless {
        caps: caps("caps"),
        site_caps: caps("site_caps"),
        cool_down: duration(&keys, "cool_down"),
        quiet_hours: keys.boolean("quiet_hours").unwrap_or(usual.quiet_hours),
        store_hours: keys.boolean("store_hours").unwrap_or(usual.store_hours),
        consent,
        holdout,
    })
}

fn then(rule: &Keys<'_, '_>, settings: &TriggerSettings) -> Option<Then> {
    let keys = table(rule, "then", THEN_KEYS)?;
    let usual = Then::default();
    let declared = &settings.attributes;
    let priority = if keys.has("priority") {
        whole_in(&keys, "priority", 0, MOST_PRIORITY.into(), "")? as u8
    } else {
        usual.priority
    };
    let mut channels: Vec<String> = Vec::new();
    for (value, line) in list(&keys, "channels", "a list of channels such as [\"push\", \"sms\"]") {
        match value.as_str() {
            Some(text) if TriggerId::new(text).is_ok() && !channels.iter().any(|known| known == text) => {
                channels.push(text.to_owned());
            }
            _ => keys.fault(line, "\"channels\" must hold different words such as \"push\"".to_owned(), None),
        }
    }
    let deduplication_key = keys.text("deduplication_key").map(str::to_owned);
    if let Some(text) = &deduplication_key
        && let Err(error) = Template::compile(text, declared)
    {
        keys.fault_at("deduplication_key", format!("`{}`: {error}", short(text)), None);
    }
    let data = keys.json("data").unwrap_or_default();
    if Value::Object(data.clone()).to_string().len() > MAX_DATA {
        keys.fault_at(
            "data",
            format!("\"data\" has more than {MAX_DATA} bytes"),
            Some("keep what is large in the back end"),
        );
    }
    if let Err((path, error)) = Data::compile(&Value::Object(data.clone()), declared) {
        keys.fault_at("data", format!("\"data{path}\": {error}"), Some("see docs/triggers.md for what it may say"));
    }
    Some(Then {
        priority,
        expires_after: if keys.has("expires_after") { duration(&keys, "expires_after")? } else { usual.expires_after },
        channels,
        deduplication_key,
        card: keys.boolean("card").unwrap_or(false),
        data,
    })
}

/// The file that reads back as these rules.
pub(super) fn text(rules: &Rules) -> String {
    let mut out = String::new();
    let usual = serde_json::json!(TriggerSettings::default());
    let settings = serde_json::json!(rules.settings);
    // Simple values come before tables.
    for key in ["retention", "caps"] {
        if settings[key] != usual[key] {
            line(&mut out, key, &settings[key]);
        }
    }
    for key in ["store_hours", "quiet_hours", "attributes"] {
        if settings[key] != usual[key] {
            let _ = write!(out, "\n[{key}]\n");
            for (name, value) in settings[key].as_object().into_iter().flatten() {
                if value.as_array().is_none_or(|list| !list.is_empty()) {
                    line(&mut out, name, value);
                }
            }
        }
    }
    let usual = serde_json::json!({"unless": Unless::default(), "then": Then::default()});
    for rule in &rules.triggers {
        let form = serde_json::json!(rule);
        out.push_str("\n[[trigger]]\n");
        for key in ["id", "name", "campaign"] {
            line(&mut out, key, &form[key]);
        }
        if !rule.enabled {
            line(&mut out, "enabled", &form["enabled"]);
        }
        line(&mut out, "when", &form["when"]);
        if rule.condition.is_some() {
            line(&mut out, "if", &form["if"]);
        }
        for key in ["unless", "then"] {
            let said = form[key].as_object().into_iter().flatten().filter(|(name, value)| usual[key][*name] != **value);
            let said: serde_json::Map<String, Value> =
                said.map(|(name, value)| (name.clone(), value.clone())).collect();
            if !said.is_empty() {
                line(&mut out, key, &Value::Object(said));
            }
        }
    }
    out.trim_start().to_owned()
}

fn line(out: &mut String, key: &str, value: &Value) {
    forms::key(out, key);
    out.push_str(" = ");
    literal(out, value);
    out.push('\n');
}

#[cfg(test)]
mod tests;

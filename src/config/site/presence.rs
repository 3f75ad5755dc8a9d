//! The presence settings among the properties of a zone.

use std::time::Duration;

use serde_json::value::RawValue;

use super::json;
use crate::model::{Metres, Probability, format_duration, parse_duration};
use crate::registry::PresenceSettings;

/// Thresholds of `dwell`.
const MAX_DWELL: usize = 32;

/// The properties that are presence settings.
pub(super) const KEYS: [&str; 8] =
    ["enter_probability", "enter_after", "exit_probability", "exit_after", "lost_after", "dwell", "max_hold", MARGIN];

/// The property that moves the border.
pub(super) const MARGIN: &str = "margin_m";
/// A border is moved by no more than this: farther off, it is another zone.
pub(super) const MOST_MARGIN: Metres = 50.0;

/// Properties in their order.
type Properties<'p, 't> = &'p [(String, &'t RawValue)];

/// Reads the settings out of `properties`; every fault goes to `fault`, with the value it is about.
pub(super) fn read<'t>(
    properties: Properties<'_, 't>,
    fault: &mut impl FnMut(&'t RawValue, String),
) -> PresenceSettings {
    let default = PresenceSettings::default();
    let enter = setting(properties, "enter_probability", probability, fault);
    let exit = setting(properties, "exit_probability", probability, fault);
    // Where one of them failed, there is nothing to compare.
    if let (Ok(enter), Ok(exit)) = (&enter, &exit) {
        let (given_enter, given_exit) = (enter.is_some(), exit.is_some());
        let enter = enter.unwrap_or(default.enter_probability);
        let exit = exit.unwrap_or(default.exit_probability);
        if enter.get() == 0.0
            && let Some(value) = get(properties, "enter_probability")
        {
            fault(value, "enter_probability is 0, with which every device is inside; write one above 0".to_owned());
        } else if exit > enter
            && let Some(value) = get(properties, "exit_probability").or(get(properties, "enter_probability"))
        {
            let default = |given: bool| if given { "" } else { " (the default)" };
            let (enter_note, exit_note) = (default(given_enter), default(given_exit));
            fault(
                value,
                format!(
                    "exit_probability {exit}{exit_note} is above enter_probability {enter}{enter_note}; \
                     a device would leave while it enters; set it at or below"
                ),
            );
        }
    }
    PresenceSettings {
        enter_probability: given(enter, default.enter_probability),
        enter_after: given(setting(properties, "enter_after", duration, fault), default.enter_after),
        exit_probability: given(exit, default.exit_probability),
        exit_after: given(setting(properties, "exit_after", duration, fault), default.exit_after),
        lost_after: given(setting(properties, "lost_after", positive, fault), default.lost_after),
        dwell: dwell(properties, fault),
        max_hold: given(setting(properties, "max_hold", duration, fault), default.max_hold),
        margin: given(setting(properties, MARGIN, margin, fault), default.margin),
    }
}

/// The fault is already reported.
struct Reported;

fn get<'t>(properties: Properties<'_, 't>, key: &str) -> Option<&'t RawValue> {
    properties.iter().find(|(name, value)| name == key && !json::is_null(value)).map(|&(_, value)| value)
}

fn setting<'t, T>(
    properties: Properties<'_, 't>,
    key: &str,
    parse: impl FnOnce(&RawValue) -> Result<T, String>,
    fault: &mut impl FnMut(&'t RawValue, String),
) -> Result<Option<T>, Reported> {
    let Some(value) = get(properties, key) else { return Ok(None) };
    parse(value).map(Some).map_err(|error| {
        fault(value, format!("{key}: {error}"));
        Reported
    })
}

/// The default after a fault too: the file is refused, and nothing else is to follow from it.
fn given<T>(setting: Result<Option<T>, Reported>, default: T) -> T {
    setting.ok().flatten().unwrap_or(default)
}

fn probability(value: &RawValue) -> Result<Probability, String> {
    Probability::new(json::number(value)?).map_err(|error| error.to_string())
}

fn margin(value: &RawValue) -> Result<Metres, String> {
    let margin = json::number(value)?;
    if margin.abs() <= MOST_MARGIN {
        return Ok(margin);
    }
    Err(format!("{margin} must lie between -{MOST_MARGIN} and {MOST_MARGIN} m"))
}

fn duration(value: &RawValue) -> Result<Duration, String> {
    let text = json::text(value).map_err(|error| format!("a duration {error}, such as \"90s\""))?;
    parse_duration(&text).map_err(|error| error.to_string())
}

fn positive(value: &RawValue) -> Result<Duration, String> {
    match duration(value)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

/// The thresholds in ascending order; each faulty one is a fault of its own.
fn dwell<'t>(properties: Properties<'_, 't>, fault: &mut impl FnMut(&'t RawValue, String)) -> Vec<Duration> {
    let Some(value) = get(properties, "dwell") else { return Vec::new() };
    let elements = json::elements(value, MAX_DWELL).unwrap_or_else(|error| {
        fault(value, format!("dwell: {error}"));
        Vec::new()
    });
    let mut thresholds = Vec::new();
    for element in elements {
        match positive(element) {
            Ok(threshold) if thresholds.contains(&threshold) => {
                fault(element, format!("dwell: the threshold \"{}\" is there twice", format_duration(threshold)));
            }
            Ok(threshold) => thresholds.push(threshold),
            Err(error) => fault(element, format!("dwell: {error}")),
        }
    }
    thresholds.sort_unstable();
    thresholds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (PresenceSettings, Vec<String>) {
        let value = RawValue::from_string(text.to_owned()).unwrap();
        let properties = json::members(&value, 100).unwrap();
        let mut faults = Vec::new();
        let settings = read(&properties, &mut |_, message| faults.push(message));
        (settings, faults)
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let (settings, faults) = read_text(r#"{"dwell": ["10m", "90s"], "exit_after": null, "lost_after": "2m"}"#);
        assert!(faults.is_empty(), "{faults:?}");
        let wanted = PresenceSettings {
            dwell: vec![Duration::from_secs(90), Duration::from_secs(600)],
            lost_after: Duration::from_secs(120),
            ..PresenceSettings::default()
        };
        assert_eq!(settings, wanted);
    }

    #[test]
    fn each_wrong_threshold_is_one_fault() {
        let (_, faults) = read_text(r#"{"dwell": ["1m", "60s", "0s", "x", 5, "2m"]}"#);
        assert_eq!(faults.len(), 4, "{faults:?}");
        for (fault, part) in faults.iter().zip(["\"1m\" is there twice", "longer than 0s", "\"x\"", "text in quotes"]) {
            assert!(fault.starts_with("dwell: ") && fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn each_wrong_setting_is_one_fault() {
        for (text, part) in [
            (r#"{"enter_probability": 1.5}"#, "1.5 is not a probability"),
            (r#"{"enter_probability": "0.5"}"#, "must be a number, not text in quotes"),
            (r#"{"enter_probability": 0}"#, "enter_probability is 0"),
            (r#"{"exit_probability": 0.7}"#, "above enter_probability 0.5 (the default)"),
            (r#"{"enter_probability": 0.1}"#, "exit_probability 0.2 (the default) is above"),
            (r#"{"enter_probability": 2, "exit_probability": 0.7}"#, "2 is not a probability"),
            (r#"{"enter_after": 3}"#, "a duration must be text in quotes, not a number, such as \"90s\""),
            (r#"{"enter_after": "3"}"#, "is not a duration"),
            (r#"{"lost_after": "0s"}"#, "must be longer than 0s"),
            (r#"{"dwell": ["1m", "60s"]}"#, "the threshold \"1m\" is there twice"),
            (r#"{"dwell": "1m"}"#, "must be an array"),
            (r#"{"margin_m": -50.5}"#, "margin_m: -50.5 must lie between -50 and 50 m"),
            (r#"{"margin_m": "1"}"#, "margin_m: must be a number, not text in quotes"),
        ] {
            let (_, faults) = read_text(text);
            assert!(faults.len() == 1 && faults[0].contains(part), "{text}: {faults:?}");
        }
    }
}

//! Labels: `key=value`. Both CSV and GeoJSON take a list, separated by `;`, or a JSON object, whose values may hold anything.

use serde_json::value::RawValue;

use super::json;
use crate::config::text::short;
use crate::registry::Labels;

/// Labels of one record: they travel in every event.
const MAX_LABELS: usize = 32;
/// Bytes of a value.
const MAX_VALUE: usize = 256;
/// Bytes of a key.
const MAX_KEY: usize = 64;

/// Reads `key=value;key=value`, or a JSON object as text; every fault goes to `fault`.
pub(super) fn from_text(text: &str, mut fault: impl FnMut(String)) -> Labels {
    if !text.starts_with('{') {
        return from_list(text, fault);
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => from_json(value, fault),
        Err(error) => {
            fault(format!("labels cannot be read: {}", json::words(&error)));
            Labels::new()
        }
    }
}

/// The text that [`from_text`] reads as these labels: a list where it can say them.
pub(super) fn to_text(labels: &Labels) -> String {
    let is_plain =
        |value: &str| value.trim() == value && !value.contains([';', '"']) && !value.contains(char::is_control);
    if labels.values().all(|value| is_plain(value)) {
        let parts: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        return parts.join(";");
    }
    serde_json::json!(labels).to_string()
}

fn from_list(text: &str, mut fault: impl FnMut(String)) -> Labels {
    let mut labels = Labels::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((key, value)) => add(&mut labels, key.trim(), value.trim(), &mut fault),
            None => fault(format!("label \"{}\" must be key=value", short(part))),
        }
    }
    labels
}

/// Reads an object of texts, or a list as in CSV.
pub(super) fn from_json(value: &RawValue, mut fault: impl FnMut(String)) -> Labels {
    if let Ok(list) = json::text(value) {
        return from_list(&list, fault);
    }
    let mut labels = Labels::new();
    match json::members(value, MAX_LABELS) {
        Ok(members) => {
            for (key, value) in members {
                match json::text(value) {
                    Ok(text) => add(&mut labels, &key, &text, &mut fault),
                    Err(error) => fault(format!("label \"{}\" {error}", short(&key))),
                }
            }
        }
        Err(error) => fault(format!("labels {error}")),
    }
    labels
}

fn add(labels: &mut Labels, key: &str, value: &str, fault: &mut impl FnMut(String)) {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if key.is_empty() || key.len() > MAX_KEY || !key.chars().all(good) {
        fault(format!(
            "label key \"{}\" must be 1 to {MAX_KEY} letters A-Z, a-z, digits, '.', '_', '-' or '/'",
            short(key)
        ));
    } else if value.len() > MAX_VALUE {
        fault(format!("the value of label \"{key}\" is longer than {MAX_VALUE} bytes"));
    } else if labels.len() == MAX_LABELS {
        fault(format!("there are more than {MAX_LABELS} labels"));
    } else if labels.insert(key.to_owned(), value.to_owned()).is_some() {
        fault(format!("label \"{key}\" is there twice"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_objects_give_the_same_labels() {
        let mut faults = Vec::new();
        let list = from_text("tier = gold; lang=fr;", |fault| faults.push(fault));
        let object = RawValue::from_string(r#"{"lang":"fr","tier":"gold"}"#.to_owned()).unwrap();
        assert_eq!(from_json(&object, |fault| faults.push(fault)), list);
        assert_eq!(from_text(object.get(), |fault| faults.push(fault)), list);
        assert_eq!(list.len(), 2);
        assert_eq!(faults, Vec::<String>::new());
    }

    #[test]
    fn labels_that_are_none_say_why() {
        for (list, part) in [
            ("gold", "must be key=value"),
            ("=x", "label key"),
            ("a b=x", "label key"),
            ("a=1;a=2", "twice"),
            ("{\"a\": 1}", "must be text"),
            ("{\"a\":", "cannot be read"),
        ] {
            let mut faults = Vec::new();
            from_text(list, |fault| faults.push(fault));
            assert!(faults.len() == 1 && faults[0].contains(part), "{list}: {faults:?}");
        }
    }

    #[test]
    fn whatever_values_hold_is_read_back() {
        for value in ["gold", "", " a", "a;b=c", "\"", "line\nbreak", "{", "é=😀"] {
            let labels = Labels::from([("k".to_owned(), value.to_owned()), ("l".to_owned(), "x".to_owned())]);
            let text = to_text(&labels);
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(from_text(&text, |fault| panic!("{text}: {fault}")), labels);
        }
    }
}

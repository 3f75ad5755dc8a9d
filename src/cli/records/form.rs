//! Records in words: a line a value.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::cli::table::printable;

/// Longest value that is shown in a change or in a row.
const MOST_SHOWN: usize = 60;
/// Where the values of a record begin.
const INDENT: usize = 18;

/// A record, a line a value. What is null is left out: it has its default.
pub(in crate::cli) fn describe(record: &Value) -> String {
    let mut out = String::new();
    for (name, value) in fields(record) {
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{:<INDENT$} {}", printable(&name), printable(&text_of(value)));
    }
    if let Some(shape) = record.get("shape_m") {
        let _ = writeln!(out, "{:<INDENT$} {}", "shape", printable(&shape_text(shape)));
    }
    out
}

/// What is different, one line each: `device: "d1" -> "d2"`.
pub(in crate::cli) fn differences(before: &Value, after: &Value) -> Vec<String> {
    let (before_fields, after_fields) = (flat(before), flat(after));
    let names = before_fields.keys().chain(after_fields.keys().filter(|name| !before_fields.contains_key(*name)));
    let mut lines: Vec<String> = names
        .filter_map(|name| {
            let get = |from: &Map<String, Value>| from.get(name).filter(|value| !value.is_null()).cloned();
            let (old, new) = (get(&before_fields), get(&after_fields));
            let shown = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), |value| short(&text_of(value)));
            (old != new).then(|| printable(&format!("{name}: {} -> {}", shown(&old), shown(&new))))
        })
        .collect();
    if before.get("geometry") != after.get("geometry") {
        let shape = |of: &Value| of.get("shape_m").map(|shape| short(&shape_text(shape)));
        lines.push(match (shape(before), shape(after)) {
            (Some(old), Some(new)) => printable(&format!("shape: {old} -> {new}")),
            _ => "shape: another one".to_owned(),
        });
    }
    lines
}

fn flat(record: &Value) -> Map<String, Value> {
    fields(record).map(|(name, value)| (name, value.clone())).collect()
}

/// The values of a record that are not null; of a zone its properties.
fn fields(record: &Value) -> impl Iterator<Item = (String, &Value)> {
    let values = record.get("properties").unwrap_or(record).as_object();
    values
        .into_iter()
        .flatten()
        .filter(|(name, value)| !value.is_null() && !matches!(name.as_str(), "shape_m" | "geometry"))
        .map(|(name, value)| (name.replace('_', " "), value))
}

/// A value as people write it.
pub(in crate::cli) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(_) => number_text(value),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) if items.iter().all(|item| point(item).is_some()) => {
            items.iter().filter_map(point).collect::<Vec<_>>().join(" ")
        }
        Value::Array(items) => items.iter().map(text_of).collect::<Vec<_>>().join(", "),
        Value::Object(map) if map.is_empty() => "-".to_owned(),
        Value::Object(map) if map.values().all(|value| !value.is_object() && !value.is_array()) => pairs(map),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key} ({})", text_of(value))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// `x,y`, as the arguments have it.
fn point(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        // Degrees have 8 decimals, so metres come back with some tenths of millimetres.
        [Value::Number(x), Value::Number(y)] => {
            Some(format!("{},{}", centimetres(x.as_f64()?), centimetres(y.as_f64()?)))
        }
        _ => None,
    }
}

/// Metres, as exact as anybody draws.
pub(in crate::cli) fn centimetres(metres: f64) -> f64 {
    // Without a sign on nothing.
    (metres * 100.0).round() / 100.0 + 0.0
}

/// `key=value, key=value`.
pub(in crate::cli) fn pairs(map: &Map<String, Value>) -> String {
    map.iter().map(|(key, value)| format!("{key}={}", text_of(value))).collect::<Vec<_>>().join(", ")
}

/// A number without needless zeros.
pub(in crate::cli) fn number_text(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() => number.to_string(),
        _ => value.to_string(),
    }
}

/// An instant without its milliseconds, which matter to programs alone.
pub(in crate::cli) fn second(instant: &str) -> String {
    instant.split('.').next().unwrap_or_default().replace('T', " ")
}

/// A shape in site metres, as the arguments have it.
fn shape_text(shape: &Value) -> String {
    if let (Some(centre), Some(radius)) = (shape.get("centre").and_then(point), shape.get("radius")) {
        return format!("circle {centre} {}", centimetres(radius.as_f64().unwrap_or_default()));
    }
    let mut out = Vec::new();
    for rings in shape.get("polygons").and_then(Value::as_array).into_iter().flatten() {
        for (at, ring) in rings.as_array().into_iter().flatten().enumerate() {
            out.push(format!("{} {}", if at == 0 { "polygon" } else { "hole" }, text_of(ring)));
        }
    }
    if out.is_empty() { "the whole site".to_owned() } else { out.join("; ") }
}

/// The beginning of a text.
pub(in crate::cli) fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_shown_a_line_a_value() {
        let device =
            json!({"id": "d1", "kind": "customer", "consent": ["presence", "ads"], "labels": {"tier": "gold"}});
        assert_eq!(
            describe(&device),
            "id                 d1\nkind               customer\nconsent            presence, ads\nlabels             tier=gold\n"
        );
        let zone = json!({
            "type": "Feature", "id": "z", "geometry": {"type": "Polygon"}, "properties": {"id": "z", "name": null},
            "shape_m": {"polygons": [[[[0.0, 0.0], [4.5, 0.0], [4.5, 3.0]]]]}
        });
        assert_eq!(describe(&zone), "id                 z\nshape              polygon 0,0 4.5,0 4.5,3\n");
    }

    #[test]
    fn a_change_says_what_was_and_what_is() {
        let (before, after) =
            (json!({"device": "d1", "x": null, "level": 0}), json!({"device": null, "x": 1.5, "level": 0}));
        assert_eq!(differences(&before, &after), ["device: d1 -> -", "x: - -> 1.5"]);
        let zone = |radius: f64| json!({"properties": {"id": "z"}, "geometry": radius, "shape_m": {"centre": [1, 2], "radius": radius}});
        assert_eq!(differences(&zone(2.0), &zone(3.0)), ["shape: circle 1,2 2 -> circle 1,2 3"]);
    }
}

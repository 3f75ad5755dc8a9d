//! Adding a record, or changing one that is there.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::form::differences;
use super::{Kind, revision, with_help};
use crate::cli::client::{Client, Connect, Place, Request};
use crate::cli::table::print;

/// Largest record that is read from a file: a zone with all the corners it may have.
const MOST_BYTES: u64 = 4 << 20;
const JSON: &str = "application/json";

/// How a record is added.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct How {
    /// Take the record from this file, as `show --json` prints it; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where it is there already, put this in its place: what is not given gets its default
    #[arg(long, conflicts_with = "change")]
    replace: bool,
    /// Where it is there already, change what is given and leave the rest as it is
    #[arg(long, conflicts_with = "file")]
    change: bool,
    #[command(flatten)]
    connect: Connect,
}

/// A record as arguments or a file give it.
#[derive(Debug)]
pub(in crate::cli) struct Written {
    /// Its id.
    pub(in crate::cli) id: String,
    /// The text that is sent.
    text: String,
    /// Where it was written.
    place: Place,
    /// What the arguments give; empty where a file does.
    given: Map<String, Value>,
}

/// The record of a file or, without one, of the arguments.
pub(in crate::cli) fn read_record(
    kind: &Kind,
    id: Option<&str>,
    given: Map<String, Value>,
    how: &How,
) -> anyhow::Result<Written> {
    let Some(file) = &how.file else {
        let id = id.map(str::to_owned).or_else(|| (kind.id)(&Value::Object(given.clone())));
        let id = id.with_context(|| format!("name the {}: beaconfence {} add ID …", kind.word, kind.word))?;
        let text = Value::Object(given.clone()).to_string();
        return Ok(Written { id, text, place: Place::Arguments, given });
    };
    let text = read_text(file)?;
    let place = Place::File(file.clone());
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{}:{}: this is no JSON: {error}", file.display(), error.line()))?;
    let own = (kind.id)(&value);
    let own = own.with_context(|| format!("{}: there is no id of a {} in it", file.display(), kind.word))?;
    if let Some(id) = id
        && id != own
    {
        anyhow::bail!(
            "{} holds {}, not {}; leave the id out, or mend the file",
            file.display(),
            kind.name(&own),
            kind.name(id)
        );
    }
    Ok(Written { id: own, text, place, given: Map::new() })
}

fn read_text(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MOST_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(MOST_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    anyhow::ensure!(
        text.len() as u64 <= MOST_BYTES,
        "{}: one record has at most {} MiB",
        file.display(),
        MOST_BYTES >> 20
    );
    Ok(text)
}

/// Adds a record, or changes the one that is there.
pub(in crate::cli) fn add(kind: &Kind, written: Written, how: &How) -> anyhow::Result<ExitCode> {
    let mut client = how.connect.client()?;
    let (path, name) = (kind.path_of(&written.id), kind.name(&written.id));
    if how.replace || how.change {
        let found = client.find(&Request::get(&path))?;
        if let Some(found) = found {
            let before: Value = found.json()?;
            let tag = found.tag.context("the gateway gives the record no tag")?;
            let text = if how.change { merged(&before, &written.given).to_string() } else { written.text };
            return change(&mut client, &path, &name, &before, tag, text, written.place);
        }
    }
    let request = if kind.is_posted {
        Request::post(kind.path, JSON, written.text)
    } else {
        Request::put(&path, JSON, written.text).if_none()
    };
    let added = client.send(&request.read_from(written.place)).map_err(|error| {
        let help = "add --change or --replace where that one is meant";
        with_help(with_help(error, "exists", help), "changed", help)
    })?;
    print(&format!("added {name}{}\n", revision(added.revision)))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a text in the place of the record that had this tag, and says what has changed by it.
pub(in crate::cli) fn change(
    client: &mut Client,
    path: &str,
    name: &str,
    before: &Value,
    tag: String,
    text: String,
    place: Place,
) -> anyhow::Result<ExitCode> {
    let changed = client.send(&Request::put(path, JSON, text).if_match(tag).read_from(place))?;
    let differences = differences(before, &changed.json()?);
    if differences.is_empty() {
        print(&format!("{name} is already so\n"))?;
    } else {
        let lines: Vec<String> = differences.iter().map(|line| format!("  {line}\n")).collect();
        let lines = lines.concat();
        print(&format!("changed {name}{}\n{lines}", revision(changed.revision)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The record with what is given. A zone has its values in its properties, and either of its shapes; a rule has some of its
/// values in parts.
pub(in crate::cli) fn merged(before: &Value, given: &Map<String, Value>) -> Value {
    let mut after = before.clone();
    let Some(record) = after.as_object_mut() else { return after };
    record.remove("shape_m");
    for (name, value) in given {
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                let into = record.entry("properties").or_insert_with(|| Value::Object(Map::new()));
                for (name, value) in properties {
                    into[name.as_str()] = value.clone();
                }
            }
            ("unless" | "then", Value::Object(parts)) => {
                let into = record.entry(name.as_str()).or_insert_with(|| Value::Object(Map::new()));
                for (name, value) in parts {
                    into[name.as_str()] = value.clone();
                }
            }
            ("shape_m", _) => {
                record.remove("geometry");
                if let Some(properties) = record.get_mut("properties").and_then(Value::as_object_mut) {
                    properties.remove("radius_m");
                }
                record.insert("shape_m".to_owned(), value.clone());
            }
            // The plan is put by itself.
            _ => {
                record.insert(name.clone(), value.clone());
            }
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn a_change_leaves_what_is_not_given() {
        let before = json!({"id": "b1", "identity": "mac:C0:FF:EE:00:00:01", "device": "d1", "x": null});
        let after = merged(&before, &object(json!({"id": "b1", "device": "d2"})));
        assert_eq!(after, json!({"id": "b1", "identity": "mac:C0:FF:EE:00:00:01", "device": "d2", "x": null}));
    }

    #[test]
    fn a_rule_keeps_the_parts_that_are_not_given() {
        let before = json!({"id": "t", "when": {"entered": "a"}, "unless": {"caps": ["1 ever"], "holdout": 5.0}});
        let after = merged(&before, &object(json!({"when": {"exited": "a"}, "unless": {"caps": ["2 ever"]}})));
        let wanted = json!({"id": "t", "when": {"exited": "a"}, "unless": {"caps": ["2 ever"], "holdout": 5.0}});
        assert_eq!(after, wanted);
    }

    #[test]
    fn a_zone_keeps_its_shape_or_gets_another() {
        let before = json!({
            "type": "Feature", "id": "z", "properties": {"id": "z", "level": 0, "radius_m": 2.0, "labels": {"a": "b"}},
            "geometry": {"type": "Point", "coordinates": [2.0, 48.0]}, "shape_m": {"centre": [1, 2], "radius": 2.0}
        });
        let named = merged(&before, &object(json!({"properties": {"id": "z", "name": "Tills"}})));
        assert_eq!(
            named["properties"],
            json!({"id": "z", "level": 0, "radius_m": 2.0, "labels": {"a": "b"}, "name": "Tills"})
        );
        assert_eq!((&named["geometry"], named.get("shape_m")), (&before["geometry"], None));
        let moved =
            merged(&before, &object(json!({"properties": {"id": "z"}, "shape_m": {"centre": [3, 3], "radius": 1.0}})));
        assert_eq!(moved.get("geometry"), None);
        assert_eq!(moved["properties"].get("radius_m"), None);
        assert_eq!(moved["shape_m"], json!({"centre": [3, 3], "radius": 1.0}));
    }
}

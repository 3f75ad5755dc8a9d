//! `beaconfence trigger`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::client::{Connect, Request, encoded};
use super::import::{self, ImportArgs};
use super::records::{self, How, Kind, ListArgs, RemoveArgs, ShowArgs, text_of};
use super::table::{lines, number, print, text};
use super::zone::object;

const KIND: Kind = Kind {
    word: "trigger",
    path: "/triggers",
    columns: &[text("id"), text("name"), text("when"), text("if"), text("campaign"), text("on")],
    row,
    is_posted: true,
    has_advice: false,
    id: Kind::id_of_most,
};

/// Makes rules: what is said when somebody comes, stays, leaves or stays away
///
/// They are those of the gateway that runs; every change takes effect at once, and can be undone. docs/triggers.md says what a
/// rule may be.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Add(Box<AddArgs>),
    /// Lists the rules, in the order of their ids
    List(ListArgs),
    /// Shows one rule
    Show(ShowArgs),
    /// Removes rules
    Remove(RemoveArgs),
    /// Adds and changes rules from triggers.toml, and what all rules obey where it says any of that; all of it or nothing
    Import(ImportArgs),
    /// Says what rules decided of a device lately: what fired, what was held back, and why
    ///
    /// Newest first; what came to the same several times in a row is one line with the last time.
    Why {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: String,
        /// Print it as JSON, as the API gives it
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: Connect,
    },
    /// Shows what all rules obey: hours, shared caps, attributes; triggers.toml sets it
    Settings {
        /// Print it as JSON, as the API gives it
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: Connect,
    },
}

/// Adds a rule, or changes one
///
/// For instance: trigger add welcome --when entered=site --cap "1 per visit" --channel push --data '{"text": "Hello"}', or trigger
/// add wine --when dwelled=5m --when in=department=wine. It is switched off with: trigger add wine --change --enabled false.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id; it is part of the MQTT topic
    #[arg(value_name = "ID", required_unless_present = "file")]
    id: Option<String>,
    /// Its name for people
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    name: Option<String>,
    /// The campaign that it belongs to
    #[arg(long, value_name = "CAMPAIGN", conflicts_with = "file")]
    campaign: Option<String>,
    /// Whether it works at all
    #[arg(long, value_name = "true|false", conflicts_with = "file")]
    enabled: Option<bool>,
    /// When it may fire; given several times for what has several parts, such as dwelled=5m and in=wine. Commas make a list
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "file", value_parser = part)]
    when: Vec<(String, Value)>,
    /// A condition in CEL, which must be true; "" for none
    #[arg(long = "if", value_name = "CONDITION", conflicts_with = "file")]
    condition: Option<String>,
    /// At most so many for each device, such as "1 per visit"; may be given several times
    #[arg(long = "cap", value_name = "CAP", conflicts_with = "file")]
    caps: Vec<String>,
    /// At most so many for all devices together; may be given several times
    #[arg(long = "site-cap", value_name = "CAP", conflicts_with = "file")]
    site_caps: Vec<String>,
    /// Not so soon after the last one to the same device
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    cool_down: Option<String>,
    /// Whether quiet hours hold it back
    #[arg(long, value_name = "true|false", conflicts_with = "file")]
    quiet_hours: Option<bool>,
    /// Whether it fires only while the store is open
    #[arg(long, value_name = "true|false", conflicts_with = "file")]
    store_hours: Option<bool>,
    /// What a customer must have agreed to; "" for nothing but being tracked
    #[arg(long, value_name = "PURPOSE", conflicts_with = "file")]
    consent: Option<String>,
    /// The share of devices that never get it, so that its effect can be measured
    #[arg(long, value_name = "PERCENT", conflicts_with = "file")]
    holdout: Option<f64>,
    /// How urgent it is, 0 to 9
    #[arg(long, value_name = "N", conflicts_with = "file")]
    priority: Option<u8>,
    /// For how long it is worth sending
    #[arg(long, value_name = "DURATION", conflicts_with = "file")]
    expires_after: Option<String>,
    /// A channel, the best one first; may be given several times
    #[arg(long = "channel", value_name = "CHANNEL", conflicts_with = "file")]
    channels: Vec<String>,
    /// The key by which repeats are known, as a template
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "file")]
    deduplication_key: Option<String>,
    /// Whether it is kept as a card until the visit to the site ends
    #[arg(long, value_name = "true|false", conflicts_with = "file")]
    card: Option<bool>,
    /// What it says: a JSON object, whose texts are templates
    #[arg(long, value_name = "JSON", conflicts_with = "file", value_parser = object)]
    data: Option<Value>,
    #[command(flatten)]
    how: How,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List(args) => records::list(&KIND, &args, None),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove(args) => records::remove(&KIND, &args, "", ""),
        Action::Import(args) => import::run(&import::TRIGGERS, &args),
        Action::Why { device, json, connect } => why(&device, json, &connect),
        Action::Settings { json, connect } => {
            let settings: Value = connect.client()?.send(&Request::get("/trigger-settings"))?.json()?;
            print(&if json { format!("{settings}\n") } else { records::describe(&settings) })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn why(device: &str, json: bool, connect: &Connect) -> anyhow::Result<ExitCode> {
    let path = format!("/devices/{}/why", encoded(device));
    let answer: Value = connect.client()?.send(&Request::get(path))?.json()?;
    let decisions = answer["triggers"].as_array().cloned().unwrap_or_default();
    if json {
        print(&format!("{}\n", Value::Array(decisions)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if decisions.is_empty() {
        tell!("no rule had anything to decide of {device} lately");
        return Ok(ExitCode::SUCCESS);
    }
    let columns = [text("at"), text("trigger"), text("outcome"), text("why"), number("times")];
    let row = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        vec![word("at"), word("trigger"), word("outcome"), word("words"), one["times"].to_string()]
    };
    print(&lines(&columns, decisions.iter().map(row).collect()))?;
    Ok(ExitCode::SUCCESS)
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let object = |parts: Vec<(&str, Option<Value>)>| -> Map<String, Value> {
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    };
    let text = |value: &Option<String>| value.as_ref().map(|value| json!(value));
    let list = |values: &[String]| (!values.is_empty()).then(|| json!(values));
    let flag = |value: Option<bool>| value.map(|value| json!(value));
    let some = |parts: Map<String, Value>| (!parts.is_empty()).then_some(Value::Object(parts));
    let unless = object(vec![
        ("caps", list(&args.caps)),
        ("site_caps", list(&args.site_caps)),
        ("cool_down", text(&args.cool_down)),
        ("quiet_hours", flag(args.quiet_hours)),
        ("store_hours", flag(args.store_hours)),
        ("consent", text(&args.consent)),
        ("holdout", args.holdout.map(|value| json!(value))),
    ]);
    let then = object(vec![
        ("priority", args.priority.map(|value| json!(value))),
        ("expires_after", text(&args.expires_after)),
        ("channels", list(&args.channels)),
        ("deduplication_key", text(&args.deduplication_key)),
        ("card", flag(args.card)),
        ("data", args.data.clone()),
    ]);
    let given = object(vec![
        ("id", text(&args.id)),
        ("name", text(&args.name)),
        ("campaign", text(&args.campaign)),
        ("enabled", flag(args.enabled)),
        ("when", some(args.when.iter().cloned().collect())),
        ("if", text(&args.condition)),
        ("unless", some(unless)),
        ("then", some(then)),
    ]);
    let written = records::read_record(&KIND, args.id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

/// `dwelled=5m`, `in=department=wine`, `sequence=entrance,tills`, `above=40`.
fn part(text: &str) -> Result<(String, Value), String> {
    let Some((key, value)) = text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty()) else {
        return Err(format!("\"{text}\" is no KEY=VALUE; write such as entered=site, or dwelled=5m and in=wine"));
    };
    let is_number = ["factor", "min_visits", "above", "below", "until"].contains(&key);
    let value = match value {
        "true" | "false" if key == "total" => json!(value == "true"),
        _ if is_number => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
        _ if value.contains(',') => json!(value.split(',').map(str::trim).collect::<Vec<_>>()),
        _ => json!(value),
    };
    Ok((key.to_owned(), value))
}

fn row(rule: &Value) -> Vec<String> {
    vec![
        text_of(&rule["id"]),
        text_of(&rule["name"]),
        when_in_short(&rule["when"]),
        records::short(&text_of(&rule["if"])),
        text_of(&rule["campaign"]),
        text_of(&rule["enabled"]),
    ]
}

/// `dwelled 5m in wine`.
fn when_in_short(when: &Value) -> String {
    let said = when.as_object().into_iter().flatten().filter(|(_, value)| **value != json!(false));
    let words = said.map(|(name, value)| {
        let name = name.replace('_', " ");
        let value = match value {
            Value::Bool(true) => return name,
            Value::Array(steps) if name == "sequence" => {
                steps.iter().map(places_in_short).collect::<Vec<_>>().join(" then ")
            }
            places => places_in_short(places),
        };
        format!("{name} {value}")
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `wine or beer`.
fn places_in_short(places: &Value) -> String {
    match places {
        Value::Array(places) => places.iter().map(text_of).collect::<Vec<_>>().join(" or "),
        one => text_of(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_when_are_read_as_people_write_them() {
        for (text, key, value) in [
            ("entered=site", "entered", json!("site")),
            ("in=department=wine", "in", json!("department=wine")),
            ("sequence=a, b", "sequence", json!(["a", "b"])),
            ("above=40", "above", json!(40)),
            ("above=many", "above", json!("many")),
            ("total=true", "total", json!(true)),
        ] {
            assert_eq!(part(text), Ok((key.to_owned(), value)), "{text}");
        }
        for text in ["entered", "=site", "entered="] {
            assert!(part(text).unwrap_err().contains("is no KEY=VALUE"), "{text}");
        }
    }

    #[test]
    fn a_row_says_when_a_rule_fires() {
        for (when, words) in [
            (json!({"entered": "site"}), "entered site"),
            (json!({"dwelled": "5m", "in": ["a", "b"], "total": true}), "dwelled 5m in a or b total"),
            (json!({"dwelled": "5m", "in": "a", "total": false}), "dwelled 5m in a"),
            (json!({"sequence": ["a", ["b", "c"]], "within": "30m"}), "sequence a then b or c within 30m"),
            (json!({"first_visit": "site"}), "first visit site"),
            (json!({"occupancy": "a", "above": 40, "until": 32}), "occupancy a above 40 until 32"),
        ] {
            assert_eq!(when_in_short(&when), words);
        }
    }
}

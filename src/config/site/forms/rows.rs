//! JSON objects as what the readers of files take: rows of CSV, and TOML. So there is one judge of what a record may be.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::diagnostic::{Diagnostic, FileReport};
use crate::config::site::csv::Row;
use crate::config::site::json::{self, Source};
use crate::config::text::{nearest, short};

/// Members of an object: a wrong body is not to be listed key by key.
const MAX_MEMBERS: usize = 200;
/// Values of one list.
const MAX_VALUES: usize = 1_000;

/// What a column holds in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    Number,
    /// A list of texts, separated by `;` in CSV.
    Texts,
    /// An object of texts.
    Labels,
}

/// The object as a row, which `read` reads; none where it has other keys or types than `columns`.
pub(super) fn read_row<T>(
    report: &FileReport,
    source: &Source<'_>,
    root: &RawValue,
    record: &str,
    columns: &[(&'static str, Holds)],
    read: impl FnOnce(&Row<'_>) -> Option<T>,
) -> Option<T> {
    let members = members(report, source, root, record)?;
    let record = match members.iter().find(|(name, _)| name == "id").map(|(_, value)| json::text(value)) {
        Some(Ok(id)) => format!("{record} \"{}\"", short(&id)),
        _ => record.to_owned(),
    };
    let fault = |value: &RawValue, message: String| report.error(message).at(source.line(value)).of(record.as_str());
    let known: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut fields: Vec<Cow<'_, str>> = vec![Cow::Borrowed(""); columns.len()];
    for (at, (name, value)) in members.iter().enumerate() {
        let Some(column) = known.iter().position(|column| column == name) else {
            fault(value, format!("unknown key \"{}\"", short(name))).help(nearest(name, &known));
            continue;
        };
        if members[..at].iter().any(|(before, _)| before == name) {
            fault(value, format!("\"{name}\" is there twice")).help("remove one");
        }
        match field(value, columns[column].1) {
            Ok(field) => fields[column] = field,
            Err(error) => drop(fault(value, format!("\"{name}\" {error}"))),
        }
    }
    for name in ["id", "identity"].into_iter().filter(|name| known.contains(name)) {
        if !members.iter().any(|(member, value)| member == name && !json::is_null(value)) {
            fault(root, format!("\"{name}\" is missing"));
        }
    }
    if report.has_errors() {
        return None;
    }
    let places: HashMap<&'static str, usize> = columns.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
    read(&Row::of(report, &places, fields, source.line(root)))
}

fn field(value: &RawValue, holds: Holds) -> Result<Cow<'_, str>, String> {
    if json::is_null(value) {
        return Ok(Cow::Borrowed(""));
    }
    match holds {
        Holds::Text => json::text(value).map(Cow::Owned),
        Holds::Number => json::number(value).map(|_| Cow::Borrowed(value.get())),
        Holds::Texts => {
            let texts = json::elements(value, MAX_VALUES)?;
            let texts: Vec<String> = texts.into_iter().map(json::text).collect::<Result<_, _>>()?;
            match texts.iter().find(|text| text.contains(';') || text.trim().is_empty()) {
                Some(text) => Err(format!("holds \"{}\"; write each word as a text of its own", short(text))),
                None => Ok(Cow::Owned(texts.join(";"))),
            }
        }
        Holds::Labels if value.get().starts_with('{') => Ok(Cow::Borrowed(value.get())),
        Holds::Labels => Err(format!("must be an object of texts, not {}", json::kind(value))),
    }
}

fn members<'t>(
    report: &FileReport,
    source: &Source<'_>,
    root: &'t RawValue,
    record: &str,
) -> Option<Vec<(String, &'t RawValue)>> {
    json::members(root, MAX_MEMBERS)
        .map_err(|error| drop(report.error(format!("the {record} {error}")).at(source.line(root))))
        .ok()
}

/// An object as TOML, one member a line.
#[derive(Debug, Default)]
pub(super) struct AsToml {
    pub(super) text: String,
    /// The line in JSON of each line in TOML.
    lines: Vec<usize>,
}

impl AsToml {
    /// What is null is left out: to TOML it is not there.
    pub(super) fn new(report: &FileReport, source: &Source<'_>, root: &RawValue, record: &str) -> Option<Self> {
        let mut toml = Self::default();
        for (name, raw) in members(report, source, root, record)? {
            if json::is_null(raw) {
                continue;
            }
            match serde_json::from_str::<Value>(raw.get()) {
                Ok(value) => {
                    string(&mut toml.text, &name);
                    toml.text.push_str(" = ");
                    literal(&mut toml.text, &value);
                    toml.text.push('\n');
                    toml.lines.push(source.line(raw));
                }
                Err(error) => {
                    let message = format!("\"{}\" cannot be read: {}", short(&name), json::words(&error));
                    report.error(message).at(source.line(raw)).of(record);
                }
            }
        }
        Some(toml)
    }

    /// What was said of the TOML, said of the JSON.
    pub(super) fn said_of_json(&self, diagnostic: Diagnostic, record: &str) -> Diagnostic {
        // The first line stands for the whole table too.
        let line = diagnostic.line.map(|line| self.lines.get(line - 1).copied().unwrap_or(1));
        let of = diagnostic.record.unwrap_or_else(|| record.to_owned());
        Diagnostic {
            line,
            record: Some(of.trim_matches(['[', ']']).to_owned()),
            message: diagnostic.message.replace("must be a table", "must be an object"),
            help: diagnostic.help.map(|help| in_json(&help)),
            ..diagnostic
        }
    }
}

/// `id = "r1"` as `"id": "r1"`.
fn in_json(help: &str) -> String {
    let words: Vec<&str> = help.split(' ').collect();
    let mut out = Vec::with_capacity(words.len());
    let mut at = 0;
    while let Some(&word) = words.get(at) {
        if words.get(at + 1) == Some(&"=") {
            let name = word.trim_start_matches('{');
            out.push(format!("{}\"{name}\":", &word[..word.len() - name.len()]));
            at += 2;
        } else {
            out.push(word.to_owned());
            at += 1;
        }
    }
    out.join(" ")
}

/// A value of TOML on one line.
pub(in crate::config::site) fn literal(out: &mut String, value: &Value) {
    match value {
        // No number, no table: whatever is wanted in its place is asked for.
        Value::Null => out.push_str("\"null\""),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}");
            // TOML has whole numbers of 64 bits with a sign.
            if number.is_u64() && number.as_i64().is_none() {
                out.push_str(".0");
            }
        }
        Value::String(text) => string(out, text),
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                literal(out, element);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, value)) in members.iter().filter(|(_, value)| !value.is_null()).enumerate() {
                out.push_str(if at > 0 { ", " } else { " " });
                key(out, name);
                out.push_str(" = ");
                literal(out, value);
            }
            out.push_str(" }");
        }
    }
}

/// A key of TOML, in quotes where it needs them.
pub(in crate::config::site) fn key(out: &mut String, name: &str) {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        out.push_str(name);
    } else {
        string(out, name);
    }
}

/// A basic string of TOML.
pub(in crate::config::site) fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

//! TOML with a line for every fault: tables whose keys are asked for by name and type.

use std::collections::BTreeSet;
use std::fmt::Display;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::FileReport;
use super::text::{Lines, nearest, short};

/// A parsed file. After a syntax error what could be read is still checked, so that one slip hides nothing.
#[derive(Debug)]
pub(super) struct Document<'t> {
    root: Spanned<DeTable<'t>>,
    lines: Lines,
    /// Lines that are no TOML: what was recovered of them counts as not there.
    broken_lines: BTreeSet<usize>,
    /// Where a bracket, brace or comma is amiss: from there on keys may be anywhere, and none is judged.
    scattered_from: Option<usize>,
}

impl<'t> Document<'t> {
    /// Parses, and reports syntax errors: one a line, because one slip often makes several.
    pub(super) fn parse(text: &'t str, report: &FileReport) -> Self {
        let lines = Lines::of(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { root, lines, broken_lines: BTreeSet::new(), scattered_from: None };
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let mut line = document.lines.line(span.start);
            if error.message().starts_with("duplicate key") {
                let key = text.get(span).unwrap_or_default();
                report.error(format!("\"{}\" is there twice", short(key))).at(line).help("remove one");
                continue;
            }
            let scatters = ["unclosed", "comma", "inline table", "array", "recurs"];
            let scatters = scatters.iter().any(|word| error.message().contains(word));
            if scatters {
                // A missing bracket shows where the next thing starts; the slip is where the last one ended.
                line = document.lines.line(text.get(..span.start).unwrap_or_default().trim_end().len());
            }
            if document.broken_lines.insert(line) {
                let help = if scatters {
                    "look for a missing or surplus bracket, brace or comma"
                } else {
                    "see the TOML syntax at toml.io"
                };
                report.error(error.message().replace('\n', ", ")).at(line).help(help);
            }
            if scatters {
                // What the parser says from here on is guessing.
                document.scattered_from = Some(line);
                break;
            }
        }
        document
    }

    /// The top table.
    pub(super) fn root<'d>(&'d self, report: &'d FileReport, known: &'static [&'static str]) -> Keys<'d, 't> {
        Keys::new(self, report, self.root.get_ref(), 1, None, known)
    }

    /// Whether keys may be missing because of a syntax error.
    fn is_broken(&self) -> bool {
        !self.broken_lines.is_empty()
    }

    /// Whether tables may be missing because of a syntax error.
    pub(super) fn is_scattered(&self) -> bool {
        self.scattered_from.is_some()
    }
}

/// One table.
#[derive(Debug)]
pub(super) struct Keys<'d, 't> {
    document: &'d Document<'t>,
    report: &'d FileReport,
    table: &'d DeTable<'t>,
    line: usize,
    record: Option<String>,
}

impl<'d, 't> Keys<'d, 't> {
    /// Reports the keys that are not known.
    fn new(
        document: &'d Document<'t>,
        report: &'d FileReport,
        table: &'d DeTable<'t>,
        line: usize,
        record: Option<String>,
        known: &'static [&'static str],
    ) -> Self {
        let keys = Self { document, report, table, line, record };
        for key in table.keys() {
            let line = document.lines.line(key.span().start);
            if !known.contains(&key.get_ref().as_ref()) {
                let help = special_help(key.get_ref(), keys.record.as_deref())
                    .map_or_else(|| nearest(key.get_ref(), known), str::to_owned);
                keys.fault(line, format!("unknown key \"{}\"", short(key.get_ref())), Some(help));
            }
        }
        keys
    }

    /// Names the record in the messages that follow.
    pub(super) fn name_record(&mut self, record: String) {
        self.record = Some(record);
    }

    /// The record that messages name.
    pub(super) fn record(&self) -> Option<&str> {
        self.record.as_deref()
    }

    /// The line of that key, or of the table.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entry(key).map_or(self.line, |(_, line)| line)
    }

    /// The value of that key as it is.
    pub(super) fn value(&self, key: &str) -> Option<&'d DeValue<'t>> {
        self.entry(key).map(|(value, _)| value)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Reports a fault at that key.
    pub(super) fn fault_at(&self, key: &str, message: impl Into<String>, help: Option<&str>) {
        self.fault(self.line_of(key), message.into(), help.map(str::to_owned));
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, help: &str) {
        // A key lost in a syntax error is not missing.
        if !self.document.is_broken() {
            self.fault(self.line, format!("\"{key}\" is missing"), Some(help.to_owned()));
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&'d str> {
        let (value, line) = self.entry(key)?;
        match value.as_str() {
            Some(text) => Some(text),
            None => self.wrong_type(key, line, value, "text in quotes"),
        }
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let (value, line) = self.entry(key)?;
        match value.as_bool() {
            Some(flag) => Some(flag),
            None => self.wrong_type(key, line, value, "true or false"),
        }
    }

    /// A finite number.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        let (value, line) = self.entry(key)?;
        match number(value) {
            Some(number) if number.is_finite() => Some(number),
            Some(_) => {
                self.fault(line, format!("\"{key}\" must be a finite number"), None);
                None
            }
            None => self.wrong_type(key, line, value, "a number"),
        }
    }

    /// A number that lies in that range.
    pub(super) fn number_in(&self, key: &str, least: f64, most: f64, unit: &str) -> Option<f64> {
        let number = self.number(key)?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        self.fault_at(key, format!("\"{key}\" is {number}; it must lie between {least} and {most}{unit}"), None);
        None
    }

    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        let (value, line) = self.entry(key)?;
        match value.as_integer().map(|n| i64::from_str_radix(n.as_str(), n.radix())) {
            Some(Ok(integer)) => Some(integer),
            Some(Err(_)) => {
                self.fault(line, format!("\"{key}\" is too large"), None);
                None
            }
            None => self.wrong_type(key, line, value, "a whole number"),
        }
    }

    /// A text that `parse` accepts; its error is reported.
    pub(super) fn parsed<T, E: Display>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault_at(key, format!("\"{key}\": {error}"), None);
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required<T, E: Display>(
        &self,
        key: &str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key, help);
            return None;
        }
        self.parsed(key, parse)
    }

    /// A table: `[key]` or `key = { … }`.
    pub(super) fn table(&self, key: &str, known: &'static [&'static str]) -> Option<Keys<'d, 't>> {
        self.table_named(key, format!("[{key}]"), known)
    }

    /// A table that messages call `record`.
    pub(super) fn table_named(
        &self,
        key: &str,
        record: String,
        known: &'static [&'static str],
    ) -> Option<Keys<'d, 't>> {
        let (value, line) = self.entry(key)?;
        match value {
            DeValue::Table(table) => Some(Keys::new(self.document, self.report, table, line, Some(record), known)),
            _ => self.wrong_type(key, line, value, "a table"),
        }
    }

    /// Every `[[key]]`.
    pub(super) fn tables(&self, key: &str, known: &'static [&'static str]) -> Vec<Keys<'d, 't>> {
        let mut out = Vec::new();
        for (number, (value, line)) in self.array(key, "an array of tables ([[…]])").into_iter().enumerate() {
            match value {
                DeValue::Table(table) => {
                    let record = Some(format!("[[{key}]] {}", number + 1));
                    out.push(Keys::new(self.document, self.report, table, line, record, known));
                }
                _ => self.fault(line, format!("\"{key}\" must hold tables; write [[{key}]]"), None),
            }
        }
        out
    }

    /// The tables in an array that holds other things, too; those are left to whoever asks for [`Keys::array`].
    pub(super) fn tables_in(&self, key: &str, known: &'static [&'static str]) -> Vec<Keys<'d, 't>> {
        let Some((DeValue::Array(array), _)) = self.entry(key) else { return Vec::new() };
        let tables = self.elements(array).into_iter().enumerate().filter_map(|(number, (value, line))| match value {
            DeValue::Table(table) => {
                let record = Some(format!("{key} {}", number + 1));
                Some(Keys::new(self.document, self.report, table, line, record, known))
            }
            _ => None,
        });
        tables.collect()
    }

    /// The keys and values of a table whose keys may be anything, with their lines.
    pub(super) fn entries(&self, key: &str) -> Option<Vec<(String, &'d DeValue<'t>, usize)>> {
        let (value, line) = self.entry(key)?;
        let DeValue::Table(table) = value else { return self.wrong_type(key, line, value, "a table") };
        let entry = |(name, value): (&Spanned<std::borrow::Cow<'t, str>>, &'d Spanned<DeValue<'t>>)| {
            (name.get_ref().to_string(), value.get_ref(), self.document.lines.line(name.span().start))
        };
        Some(table.iter().map(entry).collect())
    }

    /// A table of anything, as JSON.
    pub(super) fn json(&self, key: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
        let (value, line) = self.entry(key)?;
        match json(value) {
            Some(serde_json::Value::Object(members)) => Some(members),
            Some(_) => self.wrong_type(key, line, value, "a table"),
            None => {
                self.fault(line, format!("\"{key}\" holds a number that JSON does not have"), None);
                None
            }
        }
    }

    /// The values of an array with their lines; none where the key is missing.
    pub(super) fn array(&self, key: &str, wanted: &str) -> Vec<(&'d DeValue<'t>, usize)> {
        let Some((value, line)) = self.entry(key) else { return Vec::new() };
        if let DeValue::Array(array) = value {
            return self.elements(array);
        }
        self.wrong_type::<()>(key, line, value, wanted);
        Vec::new()
    }

    /// The values of an array with their lines.
    pub(super) fn elements(&self, array: &'d DeArray<'t>) -> Vec<(&'d DeValue<'t>, usize)> {
        array.iter().map(|value| (value.get_ref(), self.document.lines.line(value.span().start))).collect()
    }

    /// Reports a fault on that line.
    pub(super) fn fault(&self, line: usize, message: String, help: Option<String>) {
        let is_guess = self.document.scattered_from.is_some_and(|from| line >= from);
        if is_guess || self.document.broken_lines.contains(&line) {
            return;
        }
        let entry = self.report.error(message).at(line).maybe_help(help);
        if let Some(record) = &self.record {
            entry.of(record.as_str());
        }
    }

    /// Reports a warning at that key.
    pub(super) fn warn_at(&self, key: &str, message: impl Into<String>, help: Option<&str>) {
        let entry = self.report.warning(message).at(self.line_of(key)).maybe_help(help);
        if let Some(record) = &self.record {
            entry.of(record.as_str());
        }
    }

    fn wrong_type<T>(&self, key: &str, line: usize, value: &DeValue<'_>, wanted: &str) -> Option<T> {
        self.fault(line, format!("\"{key}\" must be {wanted}, not {}", type_name(value)), None);
        None
    }

    fn entry(&self, key: &str) -> Option<(&'d DeValue<'t>, usize)> {
        let (key, value) = self.table.get_key_value(key)?;
        let line = self.document.lines.line(key.span().start);
        (!self.document.broken_lines.contains(&line)).then_some((value.get_ref(), line))
    }
}

/// The number that a value is, whether written with a point or without.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    if let Some(integer) = value.as_integer() {
        return i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64);
    }
    value.as_float().and_then(|float| float.as_str().parse().ok())
}

/// A value as JSON; none where it has no form there.
fn json(value: &DeValue<'_>) -> Option<serde_json::Value> {
    Some(match value {
        DeValue::String(text) => serde_json::json!(text),
        DeValue::Integer(integer) => serde_json::json!(i64::from_str_radix(integer.as_str(), integer.radix()).ok()?),
        DeValue::Float(_) => serde_json::Value::Number(serde_json::Number::from_f64(number(value)?)?),
        DeValue::Boolean(flag) => serde_json::json!(flag),
        DeValue::Datetime(at) => serde_json::json!(at.to_string()),
        DeValue::Array(array) => {
            serde_json::Value::Array(array.iter().map(|value| json(value.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let members = table.iter().map(|(name, value)| Some((name.get_ref().to_string(), json(value.get_ref())?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text in quotes",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Help for keys that people guess, where the nearest known word would mislead.
fn special_help(key: &str, record: Option<&str>) -> Option<&'static str> {
    match (record, key) {
        (None, "radio") => Some("write path_loss_exponent and measured_power at the top of the file, in no table"),
        (None, "levels") => Some("write one [[level]] for each"),
        (None, "receivers") => Some("write one [[receiver]] for each"),
        (None, "adapters") => Some("write one [[adapter]] for each"),
        (_, "password") => {
            Some("secrets stay out of this file: write the password into a file, name it in password_file")
        }
        (_, "broker" | "url" | "host") => Some("write brokers = [\"mqtt://HOST:1883\"]"),
        _ => None,
    }
}

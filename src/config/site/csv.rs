//! Rows of comma-separated values by the names of their columns (RFC 4180, one row a line).
//!
//! A quoted field ends on the line it starts on: nothing here needs a line break within a field, and so a forgotten
//! quote costs one row, not the rest of the file.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::config::diagnostic::{Entry, FileReport};
use crate::config::text::{nearest, short};

/// Most fields of a row that are looked at.
const MAX_FIELDS: usize = 100;

/// One row.
#[derive(Debug)]
pub(super) struct Row<'r> {
    report: &'r FileReport,
    columns: &'r HashMap<&'static str, usize>,
    fields: Vec<Cow<'r, str>>,
    /// Its line, counted from 1.
    pub(super) line: usize,
    /// Whether its fields are where they should be. The fault is reported; what is left is a guess, good for the id.
    pub(super) is_sound: bool,
}

impl<'r> Row<'r> {
    /// A row of which each column is there, from a record that is no line of a file.
    pub(super) fn of(
        report: &'r FileReport,
        columns: &'r HashMap<&'static str, usize>,
        fields: Vec<Cow<'r, str>>,
        line: usize,
    ) -> Self {
        Self { report, columns, fields, line, is_sound: true }
    }

    /// The field, trimmed; empty where there is none.
    pub(super) fn get(&self, column: &str) -> &str {
        self.columns.get(column).and_then(|&at| self.fields.get(at)).map_or("", |field| field.trim())
    }

    /// Whether the file has the column; that it is missing is reported once, with the header.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// A fault of this row.
    pub(super) fn fault(&self, record: &str, message: impl Into<String>) -> Entry<'_> {
        of(self.report.error(message).at(self.line), record)
    }

    /// A warning about this row.
    pub(super) fn warning(&self, record: &str, message: impl Into<String>) -> Entry<'_> {
        of(self.report.warning(message).at(self.line), record)
    }

    /// A finite number; none where the field is empty, or reported.
    pub(super) fn number(&self, record: &str, column: &str) -> Result<Option<f64>, Reported> {
        let text = self.get(column);
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => {
                self.fault(record, format!("{column} \"{}\" is not a number", short(text)))
                    .help("write digits with a point, such as 12.5");
                Err(Reported)
            }
        }
    }
}

/// A row that is no record of its own has no name.
fn of<'e>(entry: Entry<'e>, record: &str) -> Entry<'e> {
    if record.is_empty() { entry } else { entry.of(record) }
}

/// The fault is already in the report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reported;

/// Reads every row, faulty ones too, in order. False where the header is no use, and no row was read.
pub(super) fn read<'t>(
    report: &FileReport,
    text: &'t str,
    required: &[&'static str],
    optional: &[&'static str],
    mut each: impl FnMut(&Row<'_>),
) -> bool {
    let mut lines = text.split('\n').enumerate().map(|(at, line)| (at + 1, line.strip_suffix('\r').unwrap_or(line)));
    let mut header: Option<(usize, &'t str)> = None;
    for (number, line) in lines.by_ref() {
        if !line.trim().is_empty() {
            header = Some((number, line));
            break;
        }
    }
    let Some((header_line, header)) = header else { return false };
    let Some(Header { columns, width, is_sound }) = columns(report, header, header_line, required, optional) else {
        return false;
    };
    for (line, text) in lines {
        let (fields, broken) = split(text);
        // Spreadsheets leave rows of nothing but separators.
        if fields.iter().all(|field| field.trim().is_empty()) && broken.is_none() {
            continue;
        }
        let count = fields.len();
        let row = Row { report, columns: &columns, fields, line, is_sound: broken.is_none() && count == width };
        if let Some(reason) = broken {
            report.error(reason).at(line).help("write \"…\" around the field, and \"\" for a quote in it");
        } else if !is_sound {
            // Where the header is at fault, the rows are not blamed for not matching it.
        } else if count < width {
            report
                .error(format!("the row has {count} fields, the header {width}"))
                .at(line)
                .help("leave a field empty between its commas where nothing is to be said");
        } else if count > width {
            report
                .error(format!("the row has {count} fields, the header {width}"))
                .at(line)
                .help("write \"…\" around a field that holds a comma, and numbers with a point");
        }
        each(&row);
    }
    true
}

struct Header {
    /// The place of each known column.
    columns: HashMap<&'static str, usize>,
    /// The number of all columns.
    width: usize,
    /// Whether it is without fault.
    is_sound: bool,
}

fn columns(
    report: &FileReport,
    header: &str,
    line: usize,
    required: &[&'static str],
    optional: &[&'static str],
) -> Option<Header> {
    let (fields, broken) = split(header);
    if let Some(reason) = broken {
        report.error(reason).at(line);
        return None;
    }
    let wanted = required.join(",");
    if fields.len() == 1 && header.contains([';', '\t']) {
        let what = if header.contains(';') { "semicolons" } else { "tabs" };
        report
            .error(format!("the columns are separated by {what}"))
            .at(line)
            .help(format!("save the file as comma-separated values; the header is {wanted}"));
        return None;
    }
    let known: Vec<&'static str> = required.iter().chain(optional).copied().collect();
    let mut columns = HashMap::new();
    let mut is_sound = true;
    let mut others = Vec::new();
    for (at, field) in fields.iter().enumerate() {
        let name = field.trim();
        match known.iter().find(|&&column| column == name) {
            Some(&column) if columns.contains_key(column) => {
                is_sound = false;
                report.error(format!("the column \"{column}\" is there twice")).at(line).help("remove one");
            }
            Some(&column) => {
                columns.insert(column, at);
            }
            None => others.push(name),
        }
    }
    if columns.is_empty() {
        report
            .error(format!("the header \"{}\" names no known column", short(header)))
            .at(line)
            .help(format!("the first line must be {wanted}"));
        return None;
    }
    let mut missing: Vec<&str> = required.iter().copied().filter(|&column| !columns.contains_key(column)).collect();
    is_sound &= others.is_empty() && missing.is_empty();
    for name in others {
        // A misspelt column is one fault, not an unknown and a missing one.
        let guess = missing.iter().position(|column| nearest(name, &[column]).starts_with("did you mean"));
        let help = match guess {
            Some(at) => format!("did you mean \"{}\"?", missing.remove(at)),
            None => nearest(name, &known),
        };
        report.error(format!("unknown column \"{}\"", short(name))).at(line).help(help);
    }
    for column in missing {
        report.error(format!("the column \"{column}\" is missing")).at(line).help(format!("the header is {wanted}"));
    }
    Some(Header { columns, width: fields.len(), is_sound })
}

/// The fields of a line, and what is wrong with its quotes. Faulty lines are split as well as can be.
fn split(line: &str) -> (Vec<Cow<'_, str>>, Option<String>) {
    let mut fields = Vec::new();
    let mut broken = None;
    let mut rest = line;
    loop {
        if fields.len() == MAX_FIELDS {
            return (fields, Some(format!("the row has more than {MAX_FIELDS} fields")));
        }
        let number = fields.len() + 1;
        if let Some(quoted) = rest.trim_start_matches(' ').strip_prefix('"') {
            let (field, after, fault) = unquote(quoted);
            fields.push(field);
            if let Some(fault) = fault {
                broken.get_or_insert_with(|| format!("field {number} {fault}"));
            }
            match after {
                Some(after) => rest = after,
                None => break,
            }
        } else {
            let (field, after) = match rest.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (rest, None),
            };
            if field.contains('"') {
                broken.get_or_insert_with(|| format!("field {number} has a quote in the middle"));
            } else if field.contains('\r') {
                broken
                    .get_or_insert_with(|| format!("field {number} holds a carriage return in the middle of the line"));
            }
            fields.push(Cow::Borrowed(field));
            match after {
                Some(after) => rest = after,
                None => break,
            }
        }
    }
    (fields, broken)
}

/// A quoted field without its opening quote: its value, what follows the comma after it, and what is wrong.
fn unquote(text: &str) -> (Cow<'_, str>, Option<&str>, Option<&'static str>) {
    let mut from = 0;
    while let Some(at) = text[from..].find('"').map(|at| at + from) {
        let after = &text[at + 1..];
        if after.starts_with('"') {
            from = at + 2;
            continue;
        }
        let value = if text[..at].contains('"') {
            Cow::Owned(text[..at].replace("\"\"", "\""))
        } else {
            Cow::Borrowed(&text[..at])
        };
        let after = after.trim_start_matches(' ');
        return match after.strip_prefix(',') {
            Some(next) => (value, Some(next), None),
            None if after.is_empty() => (value, None, None),
            None => {
                let next = after.split_once(',').map(|(_, next)| next);
                (value, next, Some("goes on after its closing quote"))
            }
        };
    }
    // The end of the field is a guess: the next comma.
    match text.split_once(',') {
        Some((field, next)) => (Cow::Borrowed(field), Some(next), Some("has no closing quote on this line")),
        None => (Cow::Borrowed(text), None, Some("has no closing quote on this line")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_as_rfc_4180_says() {
        let fields = |line| split(line).0.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(fields("a,b,"), ["a", "b", ""]);
        assert_eq!(fields("\"a,b\",\"c\"\"d\", \"e\" ,f"), ["a,b", "c\"d", "e", "f"]);
        assert_eq!(split("\"a,b\",\"c\"\"d\"").1, None);
        assert_eq!(fields(""), [""]);
    }

    #[test]
    fn broken_quotes_are_named_by_their_field() {
        for (line, fault) in [
            ("a,\"b,c", "field 2 has no closing quote on this line"),
            ("a,b\"c,d", "field 2 has a quote in the middle"),
            ("\"a\"b,c", "field 1 goes on after its closing quote"),
            ("\"", "field 1 has no closing quote on this line"),
        ] {
            assert_eq!(split(line).1.as_deref(), Some(fault), "{line}");
        }
    }
}

//! JSON values that know their line.
//!
//! `serde_json` parses; what it hands out as raw values are slices of the text, and the place of a slice gives the line.

use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::diagnostic::FileReport;
use crate::config::text::Lines;

/// A JSON text.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    lines: Lines,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: Lines::of(text) }
    }

    /// The whole text as one value.
    pub(super) fn root(&self) -> serde_json::Result<&'t RawValue> {
        serde_json::from_str(self.text)
    }

    /// The whole text as one value; a text that is none is reported.
    pub(super) fn root_or_fault(&self, report: &FileReport) -> Option<&'t RawValue> {
        match self.root() {
            Ok(root) => Some(root),
            Err(error) => {
                report
                    .error(format!("column {}: broken JSON: {}", error.column(), words(&error)))
                    .at(error.line())
                    .help("look for a missing or surplus comma, quote or bracket just before");
                None
            }
        }
    }

    /// The line where a value of this text starts.
    pub(super) fn line(&self, value: &RawValue) -> usize {
        let offset = value.get().as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
        self.lines.line(offset)
    }
}

/// The members of an object in their order, at most `limit` of them; an error in words where it is none.
pub(super) fn members(value: &RawValue, limit: usize) -> Result<Vec<(String, &RawValue)>, String> {
    if !value.get().starts_with('{') {
        return Err(format!("must be an object, not {}", kind(value)));
    }
    match serde_json::Deserializer::from_str(value.get()).deserialize_map(Members(limit)) {
        Ok(Ok(members)) => Ok(members),
        Ok(Err(limit)) => Err(format!("has more than {limit} members")),
        Err(error) => Err(format!("cannot be read: {}", words(&error))),
    }
}

/// The elements of an array, at most `limit` of them; an error in words where it is none.
pub(super) fn elements(value: &RawValue, limit: usize) -> Result<Vec<&RawValue>, String> {
    if !value.get().starts_with('[') {
        return Err(format!("must be an array, not {}", kind(value)));
    }
    match serde_json::Deserializer::from_str(value.get()).deserialize_seq(Elements(limit)) {
        Ok(Ok(elements)) => Ok(elements),
        Ok(Err(limit)) => Err(format!("has more than {limit} elements")),
        Err(error) => Err(format!("cannot be read: {}", words(&error))),
    }
}

/// The text of a string.
pub(super) fn text(value: &RawValue) -> Result<String, String> {
    if !value.get().starts_with('"') {
        return Err(format!("must be text in quotes, not {}", kind(value)));
    }
    serde_json::from_str(value.get()).map_err(|error| format!("cannot be read: {}", words(&error)))
}

/// A finite number.
pub(super) fn number(value: &RawValue) -> Result<f64, String> {
    if !value.get().starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return Err(format!("must be a number, not {}", kind(value)));
    }
    match value.get().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("must be a finite number".to_owned()),
    }
}

/// Whether it is null; tools write that for "not set".
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// What kind of value it is, in words.
pub(super) fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "text in quotes",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The error's words without its place.
pub(super) fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Keeps so many members at most; the limit comes back where there are more.
struct Members(usize);

impl<'de> Visitor<'de> for Members {
    type Value = Result<Vec<(String, &'de RawValue)>, usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == self.0 {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Err(self.0));
            }
            members.push(member);
        }
        Ok(Ok(members))
    }
}

/// Keeps so many elements at most; the limit comes back where there are more.
struct Elements(usize);

impl<'de> Visitor<'de> for Elements {
    type Value = Result<Vec<&'de RawValue>, usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == self.0 {
                while sequence.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(self.0));
            }
            elements.push(element);
        }
        Ok(Ok(elements))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_line_at_any_depth() {
        let source = Source::new("{\n \"a\": [1,\n  [2]],\n \"b\": \"x\"}");
        let root = source.root().unwrap();
        let members = members(root, 10).unwrap();
        assert_eq!(
            members.iter().map(|(key, v)| (key.as_str(), source.line(v))).collect::<Vec<_>>(),
            [("a", 2), ("b", 4)]
        );
        let inner = elements(members[0].1, 10).unwrap();
        assert_eq!(source.line(inner[1]), 3);
        assert_eq!(number(elements(inner[1], 1).unwrap()[0]), Ok(2.0));
        assert_eq!(text(members[1].1).as_deref(), Ok("x"));
    }

    #[test]
    fn long_lists_are_refused_without_keeping_them() {
        let text = format!("[{}1]", "1,".repeat(1_000));
        let source = Source::new(&text);
        assert!(elements(source.root().unwrap(), 1_001).is_ok());
        assert_eq!(elements(source.root().unwrap(), 1_000).unwrap_err(), "has more than 1000 elements");
    }

    #[test]
    fn deep_nesting_is_an_error_or_skipped_never_an_overflow() {
        let text = "[".repeat(200_000) + &"]".repeat(200_000);
        let source = Source::new(&text);
        if let Ok(root) = source.root() {
            assert!(elements(root, 10).is_ok());
        }
    }
}

//! The words of messages, by campaign; the file is that of the dispatcher in Python.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Template {
    title: String,
    body: String,
}

#[derive(Deserialize)]
pub struct Templates {
    default: Template,
    campaigns: HashMap<String, Template>,
}

impl Templates {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Title and body.
    pub fn render(&self, trigger: &Value) -> (String, String) {
        let template = self.of(trigger["data"]["campaign"].as_str().unwrap_or_default());
        // A rule whose own data has them has the last word.
        let own = |part: &str| trigger["data"]["data"][part].as_str().map(str::to_owned);
        let title = own("title").unwrap_or_else(|| fill(&template.title, trigger));
        (title, own("body").unwrap_or_else(|| fill(&template.body, trigger)))
    }

    /// The campaign's own; that of the longest name that it begins with (`churn-2026`: `churn`); the default.
    fn of(&self, campaign: &str) -> &Template {
        let begins = |name: &str| {
            campaign
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', ':', '/', '.', ' ']))
        };
        let fitting = self.campaigns.iter().filter(|(name, _)| begins(name)).max_by_key(|(name, _)| name.len());
        fitting.map_or(&self.default, |(_, template)| template)
    }
}

/// `{data.headline|facts.zone.name|our shop}` is the first of these that there is.
fn fill(text: &str, trigger: &Value) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let Some(length) = rest[at + 1..].find(['{', '}']) else { break };
        let end = at + 1 + length;
        if rest[end..].starts_with('}') {
            filled.push_str(&rest[..at]);
            filled.push_str(&choice(&rest[at + 1..end], trigger));
            rest = &rest[end + 1..];
        } else {
            filled.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    filled.push_str(rest);
    filled.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn choice(choices: &str, trigger: &Value) -> String {
    for choice in choices.split('|') {
        let mut steps = choice.split('.');
        let root = match steps.next() {
            Some("subject") => &trigger["subject"],
            Some(root @ ("data" | "facts" | "trigger" | "campaign")) => &trigger["data"][root],
            _ => return choice.to_owned(),
        };
        let is_step =
            |step: &str| !step.is_empty() && step.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !steps.clone().all(is_step) {
            return choice.to_owned();
        }
        let words = steps.try_fold(root, |value, step| value.get(step)).map(words).unwrap_or_default();
        if !words.is_empty() {
            return words;
        }
    }
    String::new()
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Number(number) => number
            .as_f64()
            .filter(|value| value.fract() == 0.0)
            .map_or_else(|| number.to_string(), |value| format!("{value:.0}")),
        Value::Object(object) if object.is_empty() => String::new(),
        Value::Object(_) => value.to_string(),
    }
}

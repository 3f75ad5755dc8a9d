//! What an import or an apply would do, or has done: the answer of the API, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Fault, Place};
use super::table::{counted, printable, thousands};
use crate::registrar::{Change, Verb};
use crate::registry::Key;

/// So many ids of each sort are named; the rest is counted.
const MOST_NAMED: usize = 30;
/// So many of each sort are listed for programs, as the API does it.
const MOST_LISTED: usize = 1_000;
/// So many units of an archive that became nothing are named with their reason.
const MOST_SKIPPED: usize = 5;

/// The API's answer to an import or an apply.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(super) struct Plan {
    /// Whether it is done, or only planned.
    pub(super) applied: bool,
    /// The revision that it has made, or was planned on.
    pub(super) revision: Option<u64>,
    added: Vec<Named>,
    changed: Vec<Named>,
    removed: Vec<Named>,
    /// How many of each.
    pub(super) counts: Counts,
    #[serde(default)]
    warnings: Vec<Fault>,
    accounting: Option<Accounting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
struct Named {
    kind: String,
    #[serde(deserialize_with = "id")]
    id: String,
}

/// Ordinals may come as numbers.
fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// How many records are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Counts {
    /// New ones.
    pub(super) added: u64,
    /// Ones that are not what they were.
    pub(super) changed: u64,
    /// Ones that go.
    pub(super) removed: u64,
    /// Ones that stay as they are.
    #[serde(default)]
    pub(super) unchanged: u64,
}

impl Counts {
    /// Whether nothing is touched.
    pub(super) fn is_nothing(self) -> bool {
        self.added == 0 && self.changed == 0 && self.removed == 0
    }
}

/// What became of each feature of an IMDF archive.
#[derive(Debug, Clone, Deserialize, Serialize)]
struct Accounting {
    features: BTreeMap<String, Feature>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Feature {
    read: u64,
    #[serde(default)]
    zones: u64,
    #[serde(default)]
    skipped: Vec<Skipped>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Skipped {
    id: Option<String>,
    why: String,
}

impl Plan {
    /// Of the first registry of a data directory.
    pub(super) fn of_first(records: impl Iterator<Item = Key>) -> Self {
        let mut added = 0;
        let named = records
            .inspect(|_| added += 1)
            .map(|key| Named { kind: key.kind().to_string(), id: key.id() })
            .collect::<Vec<_>>();
        Self {
            applied: false,
            revision: None,
            added: named.into_iter().take(MOST_LISTED).collect(),
            changed: Vec::new(),
            removed: Vec::new(),
            counts: Counts { added, changed: 0, removed: 0, unchanged: 0 },
            warnings: Vec::new(),
            accounting: None,
        }
    }

    /// Of a change to a data directory, after which there are so many records.
    pub(super) fn of_change(change: &Change, applied: bool, revision: u64, records: u64) -> Self {
        let named = |verb: Verb| -> Vec<Named> {
            let items = change.items.iter().filter(|item| item.action == verb).take(MOST_LISTED);
            items.map(|item| Named { kind: item.kind.to_string(), id: item.id.clone() }).collect()
        };
        let crate::registrar::Counts { added, changed, removed } = change.counts;
        Self {
            applied,
            revision: Some(revision),
            added: named(Verb::Added),
            changed: named(Verb::Changed),
            removed: named(Verb::Removed),
            counts: Counts { added, changed, removed, unchanged: records.saturating_sub(added + changed) },
            warnings: Vec::new(),
            accounting: None,
        }
    }

    /// Says on stderr what is allowed, but hardly meant.
    pub(super) fn tell_warnings(&self, place: &Place) {
        for warning in &self.warnings {
            tell!("{}", warning.line("warning", place));
        }
    }

    /// What is added, changed and removed, by kind, with ids as far as there is room.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if let Some(accounting) = &self.accounting {
            accounting.write(&mut out);
        }
        let Counts { added, changed, removed, unchanged } = self.counts;
        for (word, count, named) in
            [("added", added, &self.added), ("changed", changed, &self.changed), ("removed", removed, &self.removed)]
        {
            if count > 0 {
                // Writing into a string cannot fail.
                let _ = writeln!(out, "{word:<10} {}", group(count, named));
            }
        }
        let _ = writeln!(out, "{:<10} {}", "unchanged", thousands(unchanged));
        out
    }
}

/// `2 zones (tills, exit), 1 beacon (b7)`.
fn group(count: u64, named: &[Named]) -> String {
    let is_whole = named.len() as u64 == count;
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for item in named {
        match kinds.iter_mut().find(|(kind, _)| *kind == item.kind) {
            Some((_, ids)) => ids.push(&item.id),
            None => kinds.push((&item.kind, vec![&item.id])),
        }
    }
    let mut left = MOST_NAMED;
    let parts: Vec<String> = kinds
        .into_iter()
        .map(|(kind, ids)| {
            let shown = ids.len().min(left);
            left -= shown;
            let more = if shown < ids.len() { ", …" } else { "" };
            let number = if is_whole { counted(ids.len() as u64, kind) } else { format!("{kind}s") };
            match (kind, shown) {
                ("site", _) => "the site".to_owned(),
                ("trigger-settings", _) => "what all triggers obey".to_owned(),
                (_, 0) => number,
                _ => format!("{number} ({}{more})", ids[..shown].join(", ")),
            }
        })
        .collect();
    let sum = if is_whole { String::new() } else { format!("{}: ", thousands(count)) };
    printable(&format!("{sum}{}", parts.join(", ")))
}

impl Accounting {
    fn write(&self, out: &mut String) {
        for (name, Feature { read, zones, skipped, .. }) in &self.features {
            if *read == 0 {
                continue;
            }
            let used = read.saturating_sub(skipped.len() as u64);
            let zones = if *zones > 0 { format!(", {}", counted(*zones, "zone")) } else { String::new() };
            let _ = writeln!(out, "{:<10} {} read, {} used{zones}", printable(name), thousands(*read), thousands(used));
            for Skipped { id, why } in skipped.iter().take(MOST_SKIPPED) {
                let _ = writeln!(out, "{:<10} {}: {}", "", printable(id.as_deref().unwrap_or("-")), printable(why));
            }
            if skipped.len() > MOST_SKIPPED {
                let _ = writeln!(out, "{:<10} and {} more that are not used", "", skipped.len() - MOST_SKIPPED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(kind: &str, ids: std::ops::Range<u32>) -> Vec<Value> {
        ids.map(|id| json!({"kind": kind, "id": format!("{kind}-{id}")})).collect()
    }

    fn plan(added: Vec<Value>, count: u64) -> Plan {
        serde_json::from_value(json!({
            "applied": false, "revision": 3, "added": added, "changed": [{"kind": "level", "id": 0}], "removed": [],
            "counts": {"added": count, "changed": 1, "removed": 0, "unchanged": 1_204}, "warnings": [], "accounting": null
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_names_what_it_touches_by_kind() {
        let added = [named("zone", 0..2), named("beacon", 7..8)].concat();
        assert_eq!(
            plan(added, 3).text(),
            "added      2 zones (zone-0, zone-1), 1 beacon (beacon-7)\nchanged    1 level (0)\nunchanged  1,204\n"
        );
    }

    #[test]
    fn a_long_plan_is_counted_and_only_its_beginning_named() {
        let text = plan([named("zone", 0..40), named("beacon", 0..5)].concat(), 45).text();
        assert!(text.contains("40 zones (zone-0, ") && text.contains("zone-29, …), 5 beacons\n"), "{text}");
        let text = plan(named("beacon", 0..1_000), 100_000).text();
        assert!(text.starts_with("added      100,000: beacons (beacon-0, ") && !text.contains("beacon-30"), "{text}");
    }

    #[test]
    fn an_archive_is_accounted_for() {
        let mut of_archive = plan(Vec::new(), 0);
        let skipped: Vec<Value> = (0..7).map(|id| json!({"id": format!("u{id}"), "why": "it is a wall"})).collect();
        of_archive.accounting = serde_json::from_value(json!({
            "features": {"unit": {"read": 9, "zones": 2, "skipped": skipped}, "venue": {"read": 1, "skipped": []}}
        }))
        .unwrap();
        let text = of_archive.text();
        assert!(text.starts_with("unit       9 read, 2 used, 2 zones\n           u0: it is a wall\n"), "{text}");
        assert!(text.contains("and 2 more that are not used\nvenue      1 read, 1 used\n"), "{text}");
    }
}

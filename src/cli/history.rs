//! `beaconfence history` and `beaconfence undo`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use super::client::{Client, Connect, Request};
use super::records::{self, second, text_of};
use super::table::{self, number, print, printable, text};

/// So many changes are listed where nothing else is said.
const USUAL_LIMIT: u64 = 20;

/// Shows what was changed, when and by whom
///
/// The newest change comes first. With a revision, what that one changed: what was there before, and what after.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show this revision alone
    #[arg(value_name = "REVISION", conflicts_with = "limit")]
    revision: Option<u64>,
    /// Not more than so many [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON Lines: one revision a line, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Takes a revision back: what it changed is again as it was before
///
/// That is a change of its own, and can be undone. Where something was changed again since, nothing happens.
#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// Which one; "beaconfence history" lists them
    #[arg(value_name = "REVISION")]
    revision: u64,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    if let Some(revision) = args.revision {
        return show(&mut client, revision, args.json);
    }
    let mut rows = Vec::new();
    let mut lines = String::new();
    records::each_page(&mut client, "/history", "", args.limit.unwrap_or(USUAL_LIMIT), |page| {
        for item in page {
            if args.json {
                let _ = writeln!(lines, "{item}");
            } else {
                rows.push(row(item));
            }
        }
        Ok(())
    })?;
    if args.json {
        print(&lines)?;
    } else if rows.is_empty() {
        tell!("nothing was changed yet");
    } else {
        print(&table::lines(&[number("revision"), text("at (UTC)"), text("by"), text("action"), text("what")], rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(client: &mut Client, revision: u64, json: bool) -> anyhow::Result<ExitCode> {
    let found = client.find(&Request::get(format!("/history/{revision}")))?;
    let item: Value = found.with_context(|| format!("there is no revision {revision}"))?.json()?;
    if json {
        print(&format!("{item}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = String::new();
    for name in ["revision", "at", "by", "action", "undoes"] {
        if !item[name].is_null() {
            let _ = writeln!(out, "{name:<10} {}", printable(&text_of(&item[name])));
        }
    }
    let items = item["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        let what = format!("{} {} \"{}\"", text_of(&item["action"]), text_of(&item["kind"]), text_of(&item["id"]));
        let _ = writeln!(out, "\n{}", printable(&what));
        for line in records::differences(&item["before"], &item["after"]) {
            let _ = writeln!(out, "  {line}");
        }
    }
    let touched = touched(&item["counts"]);
    if touched > items.len() as u64 {
        let _ = writeln!(out, "\nand {} more", table::thousands(touched - items.len() as u64));
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn undo(args: UndoArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    let path = format!("/history/{}/undo", args.revision);
    let undone = client.send(&Request::post(path, "application/json", ""))?;
    print(&format!("undid revision {}{}\n", args.revision, records::revision(undone.revision)))?;
    Ok(ExitCode::SUCCESS)
}

fn touched(counts: &Value) -> u64 {
    ["added", "changed", "removed"].iter().filter_map(|name| counts[*name].as_u64()).sum()
}

fn row(item: &Value) -> Vec<String> {
    let action = match item["undoes"].as_u64() {
        Some(undone) => format!("undo of {undone}"),
        None => text_of(&item["action"]),
    };
    vec![text_of(&item["revision"]), second(&text_of(&item["at"])), text_of(&item["by"]), action, what(item)]
}

/// `added zone tills; removed 12 beacons`.
fn what(item: &Value) -> String {
    let items = item["items"].as_array().map_or(&[][..], Vec::as_slice);
    let counts = &item["counts"];
    let parts = ["added", "changed", "removed"].iter().filter_map(|word| {
        let count = counts[*word].as_u64().filter(|count| *count > 0)?;
        let named: Vec<&Value> = items.iter().filter(|item| item["action"] == **word).collect();
        Some(match named.as_slice() {
            [only] if count == 1 && only["kind"] == "site" => format!("{word} the site"),
            [only] if count == 1 && only["kind"] == "trigger-settings" => format!("{word} what all triggers obey"),
            [only] if count == 1 => format!("{word} {} {}", text_of(&only["kind"]), text_of(&only["id"])),
            _ => {
                let first = named.first().map(|item| item["kind"].clone());
                let is_one_kind = named.iter().all(|item| Some(&item["kind"]) == first.as_ref());
                // Only the first items of a long list are there; they tell the kind.
                let kind = first.filter(|_| is_one_kind && named.len() as u64 == count);
                format!("{word} {}", table::counted(count, kind.as_ref().and_then(Value::as_str).unwrap_or("record")))
            }
        })
    });
    let parts = parts.collect::<Vec<_>>();
    // A picture is no record.
    if parts.is_empty() { "floor plans".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_says_who_changed_what() {
        let item = json!({
            "revision": 42, "at": "2026-01-01T10:00:00.000Z", "by": "anna", "action": "edit", "undoes": null,
            "counts": {"added": 1, "changed": 0, "removed": 2},
            "items": [{"kind": "zone", "id": "tills", "action": "added"}, {"kind": "beacon", "id": "b1", "action": "removed"},
                {"kind": "beacon", "id": "b2", "action": "removed"}]
        });
        assert_eq!(row(&item), ["42", "2026-01-01 10:00:00", "anna", "edit", "added zone tills; removed 2 beacons"]);
        let undo = json!({"revision": 43, "undoes": 42, "counts": {"changed": 1}, "items": [{"kind": "site", "action": "changed"}]});
        assert_eq!(row(&undo)[3..], ["undo of 42", "changed the site"]);
    }
}

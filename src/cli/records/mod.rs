//! What the commands for zones, beacons, devices, receivers, levels and rules have in common.

mod add;
mod form;
mod list;

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;

use super::client::{Client, Connect, Fault, Place, Refused, Request, encoded};
use super::table::{Column, print};

pub(super) use add::{How, add, change, merged, read_record};
pub(super) use form::{centimetres, describe, differences, number_text, second, short, text_of};
pub(super) use list::{ListArgs, each_page, list, list_all};

/// One kind of record: where the API has it, and how people see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The word for it, which is also the command.
    pub(super) word: &'static str,
    /// Its collection in the API.
    pub(super) path: &'static str,
    /// The columns of its table.
    pub(super) columns: &'static [Column],
    /// A row of the table.
    pub(super) row: fn(&Value) -> Vec<String>,
    /// Whether the API makes new ones from a POST.
    pub(super) is_posted: bool,
    /// Whether the API knows what is unwise about one.
    pub(super) has_advice: bool,
    /// Its id in the JSON form.
    pub(super) id: fn(&Value) -> Option<String>,
}

impl Kind {
    /// Where the API has one of them.
    pub(super) fn path_of(&self, id: &str) -> String {
        format!("{}/{}", self.path, encoded(id))
    }

    /// `zone "tills"`, `level 0`.
    pub(super) fn name(&self, id: &str) -> String {
        if self.word == "level" { format!("level {id}") } else { format!("{} \"{id}\"", self.word) }
    }

    /// Where the JSON form keeps its values; zones have them in their properties.
    pub(super) fn id_of_most(record: &Value) -> Option<String> {
        record.get("id")?.as_str().map(str::to_owned)
    }
}

/// `show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Which one
    #[arg(value_name = "ID", allow_negative_numbers = true)]
    id: String,
    /// Print the record as JSON, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// `remove`.
#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// Which ones
    #[arg(value_name = "ID", required = true, allow_negative_numbers = true)]
    ids: Vec<String>,
    #[command(flatten)]
    connect: Connect,
}

/// Shows one record.
pub(super) fn show(kind: &Kind, args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    let record: Value = fetch(&mut client, kind, &args.id)?.json()?;
    if args.json {
        print(&format!("{record}\n"))?;
    } else {
        print(&describe(&record))?;
        if kind.has_advice {
            advise(&mut client, &format!("{}/advice", kind.path_of(&args.id)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr what is unwise about a record.
fn advise(client: &mut Client, path: &str) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Advice {
        items: Vec<Fault>,
    }
    let Some(answer) = client.find(&Request::get(path))? else { return Ok(()) };
    for advice in answer.json::<Advice>()?.items {
        tell!("{}", advice.line("warning", &Place::Arguments));
    }
    Ok(())
}

/// Removes records, one after the other, each as it is now. `query` says more to the API.
pub(super) fn remove(kind: &Kind, args: &RemoveArgs, query: &str, in_use: &str) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    for id in &args.ids {
        let tag = fetch(&mut client, kind, id)?.tag.context("the gateway gives the record no tag")?;
        let removed = client.send(&Request::delete(format!("{}{query}", kind.path_of(id))).if_match(tag));
        let removed = removed.map_err(|error| with_help(error, "in-use", in_use))?;
        print(&format!("removed {}{}\n", kind.name(id), revision(removed.revision)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The record with that id.
fn fetch(client: &mut Client, kind: &Kind, id: &str) -> anyhow::Result<super::client::Answer> {
    let found = client.find(&Request::get(kind.path_of(id)))?;
    found.with_context(|| {
        format!("there is no {}; \"beaconfence {} list\" names those that are there", kind.name(id), kind.word)
    })
}

/// How a change is taken back.
pub(super) fn revision(revision: Option<u64>) -> String {
    revision
        .map_or_else(String::new, |number| format!(" in revision {number}; to take it back: beaconfence undo {number}"))
}

/// The refusal with what to do, where it is of that name.
pub(super) fn with_help(error: anyhow::Error, name: &str, help: &str) -> anyhow::Error {
    match error.downcast::<Refused>() {
        Ok(refused) if refused.is(name) => refused.help(help).into(),
        Ok(refused) => refused.into(),
        Err(error) => error,
    }
}

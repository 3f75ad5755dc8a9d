//! `beaconfence receiver`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::import::{self, ImportArgs};
use super::records::{self, How, Kind, ListArgs, RemoveArgs, ShowArgs, text_of};
use super::table::{number, text};

const KIND: Kind = Kind {
    word: "receiver",
    path: "/receivers",
    columns: &[text("id"), number("level"), number("x"), number("y"), number("z"), number("rssi offset")],
    row,
    is_posted: true,
    has_advice: false,
    id: Kind::id_of_most,
};

/// Places receivers: the radios that hear beacons
///
/// They are those of the gateway that runs; every change takes effect at once, and can be undone. Which radio a receiver is,
/// gateway.toml says.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Add(AddArgs),
    /// Lists the receivers, in the order of their ids
    List {
        /// Only those of this level
        #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true)]
        level: Option<i32>,
        #[command(flatten)]
        args: ListArgs,
    },
    /// Shows one receiver
    Show(ShowArgs),
    /// Removes receivers
    Remove(RemoveArgs),
    /// Adds and changes receivers from the `[[receiver]]` entries of a site.toml, all of them or none
    Import(ImportArgs),
}

/// Adds a receiver, or changes one
///
/// In metres of the site: receiver add door --x 1 --y 9 --z 2.8 --level 0.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id; gateway.toml names it
    #[arg(value_name = "ID", required_unless_present = "file")]
    id: Option<String>,
    /// Where it is, in metres of the site
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    x: Option<f64>,
    /// Where it is, in metres of the site
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    y: Option<f64>,
    /// How high it is above the floor, in metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    z: Option<f64>,
    /// Its level
    #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true, conflicts_with = "file")]
    level: Option<i32>,
    /// What to subtract from its readings, in dB
    #[arg(long, value_name = "DB", allow_negative_numbers = true, conflicts_with = "file")]
    rssi_offset: Option<f64>,
    #[command(flatten)]
    how: How,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List { level, args } => records::list(&KIND, &args, level),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove(args) => records::remove(&KIND, &args, "", ""),
        Action::Import(args) => import::receivers(&args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut given = Map::new();
    if let Some(id) = &args.id {
        given.insert("id".to_owned(), json!(id));
    }
    for (name, value) in [("x", args.x), ("y", args.y), ("z", args.z), ("rssi_offset", args.rssi_offset)] {
        if let Some(value) = value {
            given.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(level) = args.level {
        given.insert("level".to_owned(), json!(level));
    }
    let written = records::read_record(&KIND, args.id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

fn row(receiver: &Value) -> Vec<String> {
    ["id", "level", "x", "y", "z", "rssi_offset"].iter().map(|name| text_of(&receiver[*name])).collect()
}

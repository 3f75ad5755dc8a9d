//! `beaconfence device`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::import::{self, ImportArgs};
use super::records::{self, How, Kind, ListArgs, RemoveArgs, ShowArgs, text_of};
use super::table::text;

const KIND: Kind = Kind {
    word: "device",
    path: "/devices",
    columns: &[text("id"), text("kind"), text("consent"), text("labels")],
    row,
    is_posted: true,
    has_advice: false,
    id: Kind::id_of_most,
};

/// Registers devices: what is tracked, and what its person agreed to
///
/// They are those of the gateway that runs; every change takes effect at once, and can be undone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    Add(AddArgs),
    /// Lists the devices, in the order of their ids
    List(ListArgs),
    /// Shows one device
    Show(ShowArgs),
    /// Removes devices; their visits end
    Remove {
        /// Remove the beacons that they carry, too
        #[arg(long)]
        with_beacons: bool,
        #[command(flatten)]
        args: RemoveArgs,
    },
    /// Adds and changes devices from devices.csv, all of them or none
    Import(ImportArgs),
}

/// Adds a device, or changes one
///
/// A customer's: device add d1 --consent presence --label tier=gold. Without the consent "presence" a customer's device is not
/// tracked. The id is an alias from the back end, never a name, a telephone number or an address.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id
    #[arg(value_name = "ID", required_unless_present = "file")]
    id: Option<String>,
    /// What it is [default: customer]
    #[arg(long, value_name = "KIND", conflicts_with = "file", value_parser = ["customer", "staff", "asset"])]
    kind: Option<String>,
    /// What its person agreed to, such as presence; more with commas, "" for nothing
    #[arg(long, value_name = "CONSENT", conflicts_with = "file", value_delimiter = ',')]
    consent: Vec<String>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", conflicts_with = "file", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    how: How,
}

/// Reads `key=value`.
pub(super) fn label(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as tier=gold"),
    }
}

/// Labels as JSON; none where none is given.
pub(super) fn labels(labels: &[(String, String)]) -> Option<Value> {
    let map: Map<String, Value> = labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    (!map.is_empty()).then_some(Value::Object(map))
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List(args) => records::list(&KIND, &args, None),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove { with_beacons, args } => {
            let query = if with_beacons { "?beacons=remove" } else { "" };
            records::remove(&KIND, &args, query, "remove the beacons first, or add --with-beacons")
        }
        Action::Import(args) => import::run(&import::DEVICES, &args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut given = Map::new();
    if let Some(id) = &args.id {
        given.insert("id".to_owned(), json!(id));
    }
    if let Some(kind) = &args.kind {
        given.insert("kind".to_owned(), json!(kind));
    }
    if !args.consent.is_empty() {
        let consent: Vec<&String> = args.consent.iter().filter(|consent| !consent.is_empty()).collect();
        given.insert("consent".to_owned(), json!(consent));
    }
    if let Some(labels) = labels(&args.labels) {
        given.insert("labels".to_owned(), labels);
    }
    let written = records::read_record(&KIND, args.id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

fn row(device: &Value) -> Vec<String> {
    ["id", "kind", "consent", "labels"].iter().map(|name| text_of(&device[*name])).collect()
}

//! `beaconfence beacon`.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::import::{self, ImportArgs};
use super::records::{self, How, Kind, ListArgs, RemoveArgs, ShowArgs, number_text, text_of};
use super::table::{number, text};

const KIND: Kind = Kind {
    word: "beacon",
    path: "/beacons",
    columns: &[text("id"), text("identity"), text("device or place"), number("power")],
    row,
    is_posted: true,
    has_advice: false,
    id: Kind::id_of_most,
};

/// Registers beacons: what they send, and what carries them or where they are
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
    /// Lists the beacons, in the order of their ids
    List {
        /// Only the fixed ones of this level
        #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true)]
        level: Option<i32>,
        #[command(flatten)]
        args: ListArgs,
    },
    /// Shows one beacon
    Show(ShowArgs),
    /// Removes beacons
    Remove(RemoveArgs),
    /// Adds and changes beacons from beacons.csv, all of them or none
    Import(ImportArgs),
}

/// Adds a beacon, or changes one
///
/// A beacon that a device carries: beacon add b1 --identity ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0/1/17 --device d1.
/// One at a fixed place: beacon add shelf --identity mac:C0:FF:EE:00:00:01 --x 6.5 --y 3 --level 0.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its id
    #[arg(value_name = "ID", required_unless_present = "file")]
    id: Option<String>,
    /// What it sends: ibeacon:UUID/major/minor, eddystone-uid:NAMESPACE/INSTANCE, altbeacon:ID or mac:AA:BB:CC:DD:EE:FF
    #[arg(long, value_name = "IDENTITY", conflicts_with = "file")]
    identity: Option<String>,
    /// The device that carries it; "" for none
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    device: Option<String>,
    /// Where a fixed one is, in metres of the site
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    x: Option<f64>,
    /// Where a fixed one is, in metres of the site
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    y: Option<f64>,
    /// The level of a fixed one
    #[arg(long, value_name = "ORDINAL", allow_negative_numbers = true, conflicts_with = "file")]
    level: Option<i32>,
    /// Its RSSI at 1 m, in dBm
    #[arg(long, value_name = "DBM", allow_negative_numbers = true, conflicts_with = "file")]
    measured_power: Option<f64>,
    #[command(flatten)]
    how: How,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List { level, args } => records::list(&KIND, &args, level),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove(args) => records::remove(&KIND, &args, "", ""),
        Action::Import(args) => import::run(&import::BEACONS, &args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut given = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(name.to_owned(), value);
        }
    };
    put("id", args.id.as_ref().map(|id| json!(id)));
    put("identity", args.identity.as_ref().map(|identity| json!(identity)));
    put("device", args.device.as_ref().map(|id| if id.is_empty() { Value::Null } else { json!(id) }));
    put("x", args.x.map(|x| json!(x)));
    put("y", args.y.map(|y| json!(y)));
    put("level", args.level.map(|level| json!(level)));
    put("measured_power", args.measured_power.map(|power| json!(power)));
    let written = records::read_record(&KIND, args.id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

fn row(beacon: &Value) -> Vec<String> {
    let held = match (&beacon["device"], &beacon["x"], &beacon["y"]) {
        (Value::String(device), ..) => device.clone(),
        (_, x @ Value::Number(_), y @ Value::Number(_)) => {
            let level =
                if beacon["level"].is_null() { String::new() } else { format!(" on level {}", beacon["level"]) };
            format!("{}, {}{level}", number_text(x), number_text(y))
        }
        _ => "-".to_owned(),
    };
    vec![text_of(&beacon["id"]), text_of(&beacon["identity"]), held, text_of(&beacon["measured_power"])]
}

//! `beaconfence site`.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::client::{Connect, Place, Request};
use super::records;
use super::table::print;

/// Shows and changes the site: the store itself
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Shows the site
    Show {
        /// Print the site as JSON, as the API gives it
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: Connect,
    },
    Set(SetArgs),
}

/// Changes what is given, and leaves the rest as it is
///
/// Moving the origin moves everything that is given in metres on the map of the world, and nothing in the store.
#[derive(Debug, clap::Args)]
struct SetArgs {
    /// Its name for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// An IANA time zone, such as Europe/Paris
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The latitude of x = 0, y = 0, in degrees
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    latitude: Option<f64>,
    /// The longitude of x = 0, y = 0, in degrees
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    longitude: Option<f64>,
    /// By how many degrees the y axis is turned clockwise from north
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true)]
    bearing: Option<f64>,
    /// How fast signals fade with distance: 2 in free space
    #[arg(long, value_name = "EXPONENT")]
    path_loss_exponent: Option<f64>,
    /// The RSSI of a beacon at 1 m in dBm, for beacons that say nothing else
    #[arg(long, value_name = "DBM", allow_negative_numbers = true)]
    measured_power: Option<f64>,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Show { json, connect } => {
            let site: Value = connect.client()?.send(&Request::get("/site"))?.json()?;
            print(&if json { format!("{site}\n") } else { records::describe(&site) })?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Set(args) => set(&args),
    }
}

fn set(args: &SetArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    let found = client.send(&Request::get("/site"))?;
    let before: Value = found.json()?;
    let mut given = Map::new();
    for (name, value) in [("name", &args.name), ("time_zone", &args.time_zone)] {
        given.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    for (name, value) in [("path_loss_exponent", args.path_loss_exponent), ("measured_power", args.measured_power)] {
        given.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    let mut origin = before["origin"].as_object().cloned().unwrap_or_default();
    for (name, value) in [("latitude", args.latitude), ("longitude", args.longitude), ("bearing", args.bearing)] {
        origin.extend(value.map(|value| (name.to_owned(), json!(value))));
    }
    given.insert("origin".to_owned(), Value::Object(origin));
    let text = records::merged(&before, &given).to_string();
    let tag = found.tag.context("the gateway gives the site no tag")?;
    records::change(&mut client, "/site", "the site", &before, tag, text, Place::Arguments)
}

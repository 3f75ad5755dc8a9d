//! `beaconfence level`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::client::{Client, Connect, Place, Request};
use super::records::{self, How, Kind, RemoveArgs, ShowArgs, text_of};
use super::table::{number, print, text};
use super::zone::{Corners, corners};

const KIND: Kind = Kind {
    word: "level",
    path: "/levels",
    columns: &[number("ordinal"), text("name"), number("elevation"), text("outline"), text("floor plan")],
    row,
    is_posted: false,
    has_advice: false,
    id: |level| Some(level.get("ordinal")?.as_i64()?.to_string()),
};

/// Largest picture of a floor that the gateway takes.
const MOST_PLAN_BYTES: u64 = 10_000_000;

/// Describes levels: the floors, their walls and their floor plans
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
    /// Lists the levels, from the lowest
    List {
        /// Print JSON Lines: one level a line, as the API gives it
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        connect: Connect,
    },
    /// Shows one level
    Show(ShowArgs),
    /// Removes levels that nothing is on
    Remove(RemoveArgs),
    Plan(PlanArgs),
}

/// Adds a level, or changes one
///
/// For instance: level add 1 --name "First floor" --elevation 4.5 --outline "0,0 24,0 24,18 0,18".
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// Its ordinal: 0 is ground, -1 the floor below
    #[arg(value_name = "ORDINAL", allow_negative_numbers = true, required_unless_present = "file")]
    ordinal: Option<i32>,
    /// Its name for people
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    name: Option<String>,
    /// How high its floor is, in metres over the same zero for all
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, conflicts_with = "file")]
    elevation: Option<f64>,
    /// Its walls in metres of the site, as "X,Y X,Y X,Y": devices are never placed outside
    #[arg(long, value_name = "CORNERS", allow_hyphen_values = true, conflicts_with = "file", value_parser = corners)]
    outline: Option<Corners>,
    #[command(flatten)]
    how: How,
}

/// Gives a level its floor plan: a PNG, JPEG or SVG of at most 10 MB
///
/// Without a place it covers the level's outline, or stays where the one before was. The place is where the picture's top left
/// corner is in metres of the site, and how large a pixel is; a browser places it by dragging two points.
#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// Which level
    #[arg(value_name = "ORDINAL", allow_negative_numbers = true)]
    ordinal: i32,
    /// The picture
    #[arg(value_name = "FILE", required_unless_present_any = ["remove", "x"])]
    file: Option<PathBuf>,
    /// Take the floor plan away
    #[arg(long, conflicts_with_all = ["file", "x"])]
    remove: bool,
    /// Where its top left corner is, in metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, requires = "y")]
    x: Option<f64>,
    /// Where its top left corner is, in metres
    #[arg(long, value_name = "METRES", allow_negative_numbers = true, requires = "metres_per_pixel")]
    y: Option<f64>,
    /// How large a pixel is
    #[arg(long, value_name = "METRES", requires = "x")]
    metres_per_pixel: Option<f64>,
    /// By how many degrees its "up" is turned clockwise from the site's y axis
    #[arg(long, value_name = "DEGREES", allow_negative_numbers = true, requires = "x", default_value_t = 0.0)]
    bearing: f64,
    #[command(flatten)]
    connect: Connect,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Add(args) => add(&args),
        Action::List { json, connect } => records::list_all(&KIND, json, &connect),
        Action::Show(args) => records::show(&KIND, &args),
        Action::Remove(args) => records::remove(&KIND, &args, "", "move or remove what is on it first"),
        Action::Plan(args) => plan(&args),
    }
}

fn add(args: &AddArgs) -> anyhow::Result<ExitCode> {
    let mut given = Map::new();
    if let Some(ordinal) = args.ordinal {
        given.insert("ordinal".to_owned(), json!(ordinal));
    }
    if let Some(name) = &args.name {
        given.insert("name".to_owned(), json!(name));
    }
    if let Some(elevation) = args.elevation {
        given.insert("elevation".to_owned(), json!(elevation));
    }
    if let Some(outline) = &args.outline {
        given.insert("outline".to_owned(), json!(outline.as_ref()));
    }
    let id = args.ordinal.map(|ordinal| ordinal.to_string());
    let written = records::read_record(&KIND, id.as_deref(), given, &args.how)?;
    records::add(&KIND, written, &args.how)
}

fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let mut client = args.connect.client()?;
    let path = format!("/levels/{}/plan", args.ordinal);
    if args.remove {
        let tag = tag(&mut client, args.ordinal)?;
        let removed = client.send(&Request::delete(&path).if_match(tag))?;
        print(&format!("removed the floor plan of level {}{}\n", args.ordinal, records::revision(removed.revision)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &args.file {
        let picture = read(file)?;
        let media_type = media_type(file, &picture)?;
        let tag = tag(&mut client, args.ordinal)?;
        let request = Request::put(&path, media_type, picture).if_match(tag).read_from(Place::File(file.clone()));
        let answer = client.send(&request)?;
        print(&format!("the floor plan of level {} is there{}\n", args.ordinal, records::revision(answer.revision)))?;
    }
    if let (Some(x), Some(y), Some(scale)) = (args.x, args.y, args.metres_per_pixel) {
        let tag = tag(&mut client, args.ordinal)?;
        let placement = json!({ "x": x, "y": y, "metres_per_pixel": scale, "bearing": args.bearing }).to_string();
        let put = Request::put(format!("{path}/placement"), "application/json", placement).if_match(tag);
        let answer = client.send(&put)?;
        print(&format!("the floor plan of level {} is placed{}\n", args.ordinal, records::revision(answer.revision)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The tag of a level, which its floor plan is a part of.
fn tag(client: &mut Client, ordinal: i32) -> anyhow::Result<String> {
    let found = client.find(&Request::get(format!("/levels/{ordinal}")))?;
    let found = found.with_context(|| format!("there is no level {ordinal}; \"beaconfence level add\" makes it"))?;
    found.tag.context("the gateway gives the level no tag")
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_PLAN_BYTES + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{} cannot be read", file.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= MOST_PLAN_BYTES,
        "{}: a floor plan has at most {} MB; save it smaller",
        file.display(),
        MOST_PLAN_BYTES / 1_000_000
    );
    Ok(bytes)
}

/// What the picture is, by what it holds: names say nothing for sure.
fn media_type(file: &Path, bytes: &[u8]) -> anyhow::Result<&'static str> {
    let is_svg = || bytes[..bytes.len().min(4_096)].windows(4).any(|four| four == b"<svg");
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Ok("image/png"),
        [0xff, 0xd8, 0xff, ..] => Ok("image/jpeg"),
        _ if is_svg() => Ok("image/svg+xml"),
        _ => anyhow::bail!("{}: this is no PNG, JPEG or SVG; save the floor plan as one of them", file.display()),
    }
}

fn row(level: &Value) -> Vec<String> {
    let outline = level["outline"].as_array().map_or("-".to_owned(), |corners| format!("{} corners", corners.len()));
    let plan = &level["plan"];
    let plan = match (plan["width"].as_u64(), plan["height"].as_u64(), plan["media_type"].as_str()) {
        (Some(width), Some(height), Some(kind)) => {
            format!("{width} × {height} {}", kind.trim_start_matches("image/").trim_end_matches("+xml"))
        }
        _ => "-".to_owned(),
    };
    vec![text_of(&level["ordinal"]), text_of(&level["name"]), text_of(&level["elevation"]), outline, plan]
}

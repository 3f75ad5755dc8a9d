//! `beaconfence apply`.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::client::{Client, Connect, Place};
use super::import::{outcome, send};
use super::offline;
use super::plan::Plan;
use super::table::{counted, print};
use crate::config::{self, Plans};
use crate::registry::Registry;

const JSON: &str = "application/json";
/// The files of a site directory that are sent; the last two need not be there.
const FILES: [&str; 6] =
    ["site.toml", "zones.geojson", "beacons.csv", "devices.csv", config::TRIGGERS, config::CALIBRATION];

/// Makes the registry what a site directory says: shows what that changes, and changes all of it or nothing
///
/// Speaks to the gateway where it runs, and works on its data directory where it does not. What the directory does not name is
/// removed; on a terminal that is asked about first. Without a terminal nothing is asked: look with --dry-run before.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The site directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Only show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before something is removed
    #[arg(long)]
    yes: bool,
    /// Print what is done as one JSON object, as the API gives it; asks nothing
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// Who applies.
enum Way {
    Gateway(Box<Client>, Vec<u8>),
    Directory(Box<offline::Target>),
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    // What is wrong in the directory is said here, with its files and lines, whoever is to apply it.
    let (registry, pictures, warnings) = config::load_site_with_plans(&args.dir)?;
    warnings.iter().for_each(|warning| tell!("{warning}"));
    let place = Place::Directory(args.dir.clone());
    let has_pictures = !pictures.is_empty();
    let mut way = match args.connect.client_if_running()? {
        Some(client) => Way::Gateway(Box::new(client), body(&args.dir, &registry, &pictures)?),
        None => Way::Directory(Box::new(offline::Target::open(&args.connect, registry, pictures)?)),
    };
    let mut plan = way.plan(&place)?;
    let before = plan.revision;
    let asks = !args.yes && !args.json && std::io::stdin().is_terminal() && plan.counts.removed > 0;
    if !args.json {
        print(&plan.text())?;
    }
    // A picture may be another while its record stays the same: only the gateway can tell.
    if !args.dry_run && (has_pictures || !plan.counts.is_nothing()) {
        if asks && !is_meant(&plan)? {
            tell!("nothing is changed");
            return Ok(ExitCode::FAILURE);
        }
        let planned = plan.counts;
        plan = way.apply(&place)?;
        if plan.counts != planned && !args.json {
            tell!("note: the registry was changed meanwhile; this is what was done:");
            print(&plan.text())?;
        }
    }
    way.close()?;
    print(&if args.json {
        format!("{}\n", serde_json::to_string(&plan)?)
    } else if plan.counts.is_nothing() && plan.revision != before {
        "the floor plans are others than before\n".to_owned()
    } else {
        outcome(&plan)
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Way {
    fn plan(&mut self, place: &Place) -> anyhow::Result<Plan> {
        match self {
            Self::Gateway(client, body) => send(client, "/apply?dry_run=true", JSON, body.clone(), place),
            Self::Directory(target) => target.plan(),
        }
    }

    fn apply(&mut self, place: &Place) -> anyhow::Result<Plan> {
        match self {
            Self::Gateway(client, body) => send(client, "/apply", JSON, std::mem::take(body), place),
            Self::Directory(target) => target.apply(),
        }
    }

    fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Gateway(..) => Ok(()),
            Self::Directory(target) => target.close(),
        }
    }
}

/// The directory as the API takes it: its files as they are, so that lines are theirs.
fn body(dir: &Path, registry: &Registry, pictures: &Plans) -> anyhow::Result<Vec<u8>> {
    let mut files = Map::new();
    for name in FILES {
        let file = dir.join(name);
        if [config::TRIGGERS, config::CALIBRATION].contains(&name) && !file.exists() {
            continue;
        }
        let text = super::import::read(&file)?;
        let text =
            String::from_utf8(text).ok().with_context(|| format!("{}: the file is not UTF-8", file.display()))?;
        files.insert(name.to_owned(), json!(text));
    }
    let mut plans = Map::new();
    for level in &registry.site().levels {
        if let (Some(plan), Some(picture)) = (&level.plan, pictures.get(&level.ordinal)) {
            plans.insert(plan.file.clone(), json!(crate::http::base64::encode(&picture.bytes)));
        }
    }
    let site = Map::from_iter([("files".to_owned(), Value::Object(files)), ("plans".to_owned(), Value::Object(plans))]);
    Ok(Value::Object(site).to_string().into_bytes())
}

/// Asks on the terminal.
fn is_meant(plan: &Plan) -> anyhow::Result<bool> {
    use std::io::Write as _;
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{} will be removed. Go on? [y/N] ", counted(plan.counts.removed, "record"));
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

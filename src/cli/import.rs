//! Imports: a file of many records, all of them or none.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::client::{Client, Connect, MOST_EXPORT_BYTES, Place, Request};
use super::plan::Plan;
use super::table::print;

/// Largest file that is read: 250,000 zones, or a million beacons.
const MOST_BYTES: u64 = 256 << 20;
/// Largest plan that is read.
const MOST_PLAN_BYTES: usize = 64 << 20;
const JSON: &str = "application/json";

/// `import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Remove those that the file does not name, too
    #[arg(long)]
    replace: bool,
    /// Print what is done as one JSON object, as the API gives it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: Connect,
}

/// What may be imported: where it goes, and which media type a file of that name has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sort {
    word: &'static str,
    paths: &'static [(&'static [&'static str], &'static str, &'static str)],
}

pub(super) const ZONES: Sort = Sort {
    word: "zones",
    paths: &[
        (&["geojson", "json"], "/import/zones", "application/geo+json"),
        (&["zip", "imdf"], "/import/imdf", "application/zip"),
    ],
};
pub(super) const BEACONS: Sort = Sort { word: "beacons", paths: &[(&["csv"], "/import/beacons", "text/csv")] };
pub(super) const DEVICES: Sort = Sort { word: "devices", paths: &[(&["csv"], "/import/devices", "text/csv")] };

pub(super) const TRIGGERS: Sort =
    Sort { word: "triggers", paths: &[(&["toml"], "/import/triggers", "application/toml")] };

/// Imports a file.
pub(super) fn run(sort: &Sort, args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let ending = args.file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let known = sort.paths.iter().find(|(endings, ..)| endings.contains(&ending.as_str()));
    let Some((_, path, media_type)) = known else {
        let endings: Vec<String> =
            sort.paths.iter().flat_map(|path| path.0).map(|ending| format!(".{ending}")).collect();
        anyhow::bail!("{name}: {} come from files whose names end in {}", sort.word, endings.join(", "));
    };
    let bytes = read(&args.file)?;
    let mut client = args.connect.client()?;
    let path = format!("{path}?dry_run={}&replace={}", args.dry_run, args.replace);
    // Whoever imports an archive adds to what is there; the API knows no replacing there.
    let path = if path.starts_with("/import/imdf") {
        anyhow::ensure!(!args.replace, "{name}: an archive only adds and changes; leave --replace out");
        path.split('&').next().unwrap_or_default().to_owned()
    } else {
        path
    };
    send_whole(&mut client, &path, media_type, bytes, Place::File(args.file.clone()), args)
}

/// Imports the receivers of a site.toml: the site that is there with these receivers is applied.
pub(super) fn receivers(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let text = String::from_utf8(read(&args.file)?).ok().with_context(|| format!("{name}: the file is not UTF-8"))?;
    let given: toml::Table = text.parse().map_err(|error| anyhow::anyhow!("{name}: this is no TOML: {error}"))?;
    let given = match given.get("receiver") {
        Some(toml::Value::Array(list)) if !list.is_empty() => list.clone(),
        _ => anyhow::bail!("{name}: there is no [[receiver]] in it"),
    };
    let mut client = args.connect.client()?;
    let mut site: Value = client.send(&Request::get("/export").long(MOST_EXPORT_BYTES))?.json()?;
    let site_file = site.pointer("/files/site.toml").and_then(Value::as_str);
    let mut table: toml::Table = site_file.context("the gateway exports no site.toml")?.parse()?;
    let id = |entry: &toml::Value| entry.get("id").and_then(toml::Value::as_str).map(str::to_owned);
    let mut receivers = match table.remove("receiver") {
        Some(toml::Value::Array(known)) if !args.replace => known,
        _ => Vec::new(),
    };
    for entry in given {
        match receivers.iter_mut().find(|known| id(known).is_some() && id(known) == id(&entry)) {
            Some(known) => *known = entry,
            None => receivers.push(entry),
        }
    }
    table.insert("receiver".to_owned(), toml::Value::Array(receivers));
    site["files"]["site.toml"] = json!(table.to_string());
    let path = format!("/apply?dry_run={}", args.dry_run);
    // Lines are those of the merged file, which nobody has written: records say enough.
    send_whole(&mut client, &path, JSON, site.to_string().into_bytes(), Place::Arguments, args)
}

fn send_whole(
    client: &mut Client,
    path: &str,
    media_type: &'static str,
    bytes: Vec<u8>,
    place: Place,
    args: &ImportArgs,
) -> anyhow::Result<ExitCode> {
    let plan = send(client, path, media_type, bytes, &place)?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&plan)?))?;
        return Ok(ExitCode::SUCCESS);
    }
    plan.tell_warnings(&place);
    print(&format!("{}{}", plan.text(), outcome(&plan)))?;
    Ok(ExitCode::SUCCESS)
}

/// The last line: whether it is done, and how it is taken back.
pub(super) fn outcome(plan: &Plan) -> String {
    if plan.counts.is_nothing() {
        "nothing to change\n".to_owned()
    } else if plan.applied {
        format!("done{}\n", super::records::revision(plan.revision))
    } else {
        "nothing is changed: this is a dry run\n".to_owned()
    }
}

/// Sends much, and shows on a terminal how far it is.
pub(super) fn send(
    client: &mut Client,
    path: &str,
    media_type: &'static str,
    bytes: Vec<u8>,
    place: &Place,
) -> anyhow::Result<Plan> {
    let bar = bar(bytes.len() as u64);
    let request = Request::post(path, media_type, bytes).long(MOST_PLAN_BYTES).with_progress(&bar);
    let answer = client.send(&request.read_from(place.clone()));
    bar.finish_and_clear();
    answer?.json()
}

/// A bar on stderr; nothing where that is no terminal.
fn bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {elapsed:>3} [{wide_bar}] {bytes}/{total_bytes} sent");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    // The spinner turns on while the gateway works on what has been sent.
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A file, whole.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let metadata = std::fs::metadata(file).with_context(|| format!("{} cannot be read", file.display()))?;
    anyhow::ensure!(metadata.is_file(), "{}: this is no file", file.display());
    std::fs::File::open(file)
        .and_then(|opened| opened.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{} cannot be read", file.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= MOST_BYTES,
        "{}: the file is larger than {} MiB; split it",
        file.display(),
        MOST_BYTES >> 20
    );
    Ok(bytes)
}

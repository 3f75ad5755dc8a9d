//! Many things at once: import, apply and export.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::{
    Diagnostic, Faults, Imdf, read_beacons_text, read_devices_text, read_imdf, read_site_texts, read_triggers_text,
    read_zones_text, site_texts,
};
use crate::http::app::App;
use crate::http::base64;
use crate::http::extract::{Body, IMPORT_BODY, Known, NoQuery, Path, Query};
use crate::http::problem::{Fault, Problem};
use crate::http::reply::{Who, blocking, json as json_reply, with_revision};
use crate::http::schema;
use crate::model::LevelOrdinal;
use crate::registrar::{Action, Applied, Change, Registrar, Verb, View, records};
use crate::registry::{Edit, Key, Kind, Record, Registry};

/// Most things of each verb that an answer lists.
const MOST_LISTED: usize = 1_000;
/// How long an import waits for those before it.
const PATIENCE: Duration = Duration::from_secs(20);

const GEOJSON: [&str; 2] = ["application/geo+json", "application/json"];
const CSV: [&str; 1] = ["text/csv"];
const TOML: [&str; 1] = ["application/toml"];
const JSON: [&str; 1] = ["application/json"];
const ZIP: [&str; 2] = ["application/zip", "application/octet-stream"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(import_zones))
        .routes(routes!(import_beacons))
        .routes(routes!(import_devices))
        .routes(routes!(import_triggers))
        .routes(routes!(import_imdf))
        .routes(routes!(apply))
        .routes(routes!(export))
        .routes(routes!(export_file))
}

/// A large body, and a place among those that are worked on: it is taken before the body is read.
struct ImportBody {
    body: Body<IMPORT_BODY>,
    place: OwnedSemaphorePermit,
}

impl FromRequest<App> for ImportBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let place = tokio::time::timeout(PATIENCE, app.imports.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Problem::busy("other imports are going on; try again")) };
        Ok(Self { body: Body::from_request(request, app).await?, place })
    }
}

/// How to import.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ImportQuery {
    /// Only say what would be changed.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
    /// Also remove what the file does not name.
    #[serde(default)]
    #[param(default = false)]
    replace: bool,
}

impl Known for ImportQuery {
    const NAMES: &'static [&'static str] = &["dry_run", "replace"];
}

/// How to apply.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ApplyQuery {
    /// Only say what would be changed.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
}

impl Known for ApplyQuery {
    const NAMES: &'static [&'static str] = &["dry_run"];
}

/// What a body was read into.
struct Read {
    edit: Edit,
    plans: Vec<(LevelOrdinal, Bytes)>,
    /// The revision that it is to be made from.
    base: u64,
    /// How many things it names.
    named: usize,
    warnings: Vec<Diagnostic>,
    accounting: Option<Value>,
}

/// Imports zones
///
/// A `FeatureCollection` as in `zones.geojson`. What it names is added or changed; whole or not at all.
#[utoipa::path(post, path = "/api/v1/import/zones", tag = "import and export", params(ImportQuery),
    request_body(content((schema::AnyJson = "application/geo+json"), (schema::AnyJson = "application/json"))),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn import_zones(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ImportQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    import(app, who, query, body, Kind::Zone, &GEOJSON, |text, within| read_zones_text("zones.geojson", text, within))
        .await
}

/// Imports beacons
///
/// CSV as in `beacons.csv`. What it names is added or changed; whole or not at all.
#[utoipa::path(post, path = "/api/v1/import/beacons", tag = "import and export", params(ImportQuery),
    request_body(content = String, content_type = "text/csv", example = "id,identity,device,x,y,level,measured_power\n"),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn import_beacons(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ImportQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    import(app, who, query, body, Kind::Beacon, &CSV, move |text, within| {
        if !query.replace {
            return read_beacons_text("beacons.csv", text, within);
        }
        let remove = within.beacons().iter().map(|beacon| Key::Beacon(beacon.id.clone())).collect();
        match within.edited(&Edit { remove, ..Edit::default() }) {
            Ok(without) => read_beacons_text("beacons.csv", text, &without),
            // Without beacons nothing can contradict itself.
            Err(_) => read_beacons_text("beacons.csv", text, within),
        }
    })
    .await
}

/// Imports devices
///
/// CSV as in `devices.csv`. What it names is added or changed; whole or not at all.
#[utoipa::path(post, path = "/api/v1/import/devices", tag = "import and export", params(ImportQuery),
    request_body(content = String, content_type = "text/csv", example = "id,consent,labels,kind\nd1,presence,tier=gold,customer\n"),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn import_devices(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ImportQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    import(app, who, query, body, Kind::Device, &CSV, |text, _| read_devices_text("devices.csv", text)).await
}

/// Imports rules
///
/// TOML as in `triggers.toml`. What it names is added or changed, and what all rules obey where it says any of that; whole or not
/// at all.
#[utoipa::path(post, path = "/api/v1/import/triggers", tag = "import and export", params(ImportQuery),
    request_body(content = String, content_type = "application/toml", example = "[[trigger]]\nid = \"welcome\"\nwhen = { entered = \"site\" }\n"),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn import_triggers(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ImportQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    import(app, who, query, body, Kind::Trigger, &TOML, move |text, within| {
        read_triggers_text("triggers.toml", text, within, query.replace)
    })
    .await
}

/// Imports an IMDF archive
///
/// Levels, and zones of its units, fixtures, openings and the like; what became of every feature is accounted for. Whole or not at all.
#[utoipa::path(post, path = "/api/v1/import/imdf", tag = "import and export", params(ApplyQuery),
    request_body(content((schema::Archive = "application/zip"), (schema::Archive = "application/octet-stream"))),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn import_imdf(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ApplyQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    let ImportBody { body, place } = body;
    let body = body.expect(&ZIP)?;
    let registrar = app.services.registrar.clone();
    let work = move || {
        let View { registry, revision: base } = registrar.view();
        let imdf = read_imdf(&body.bytes, &registry).map_err(|faults| Problem::invalid(&faults))?;
        let Imdf { edit, accounting, warnings } = imdf;
        let named = edit.put.len();
        planned(
            &registrar,
            Read { edit, plans: Vec::new(), base, named, warnings, accounting: Some(json!(accounting)) },
        )
    };
    finish(app, who, query.dry_run, Action::Import, blocking(work).await?, place).await
}

async fn import(
    app: App,
    who: Who,
    query: ImportQuery,
    body: ImportBody,
    kind: Kind,
    media_types: &[&str],
    read: impl FnOnce(String, &Registry) -> Result<(Vec<Record>, Vec<Diagnostic>), Faults> + Send + 'static,
) -> Result<Response, Problem> {
    let ImportBody { body, place } = body;
    let text = body.expect(media_types)?.text()?.to_owned();
    let registrar = app.services.registrar.clone();
    let work = move || {
        let View { registry, revision: base } = registrar.view();
        let (put, warnings) = read(text, &registry).map_err(|faults| Problem::invalid(&faults))?;
        let named = put.len();
        let remove = if query.replace { unnamed(&registry, kind, &put) } else { Vec::new() };
        let edit = Edit { put, remove, ..Edit::default() };
        let read = Read { edit, plans: Vec::new(), base, named, warnings, accounting: None };
        planned(&registrar, read)
    };
    finish(app, who, query.dry_run, Action::Import, blocking(work).await?, place).await
}

/// What there is of a kind and is not among those. The zone of the whole site is always there.
fn unnamed(registry: &Registry, kind: Kind, named: &[Record]) -> Vec<Key> {
    let named: BTreeSet<Key> = named.iter().map(Record::key).collect();
    let all = records(registry).map(|record| record.key()).filter(|key| key.kind() == kind);
    all.filter(|key| !named.contains(key) && !matches!(key, Key::Zone(zone) if zone.is_site())).collect()
}

/// What it would change.
fn planned(registrar: &Registrar, read: Read) -> Result<(Read, Change), Problem> {
    let change = registrar.plan(&read.edit)?;
    Ok((read, change))
}

/// Makes the change, unless it is only to be told.
async fn finish(
    app: App,
    who: Who,
    is_dry: bool,
    action: Action,
    (read, change): (Read, Change),
    place: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let Read { edit, plans, base, named, warnings, accounting } = read;
    let applied = if is_dry {
        Applied { revision: registrar.view().revision, change: None }
    } else {
        registrar.apply(edit, plans, Some(base), &who.author(), action).await?
    };
    drop(place);
    let counts = applied.change.as_ref().map_or(change.counts, |change| change.counts);
    let listed = |verb: Verb| -> Vec<Value> {
        let items = change.items.iter().filter(|item| item.action == verb).take(MOST_LISTED);
        items.map(|item| json!({"kind": item.kind.as_str(), "id": item.id})).collect()
    };
    let unchanged = (named as u64).saturating_sub(counts.added + counts.changed);
    let body = json!({
        "applied": !is_dry,
        "revision": applied.revision,
        "added": listed(Verb::Added),
        "changed": listed(Verb::Changed),
        "removed": listed(Verb::Removed),
        "counts": {
            "added": counts.added, "changed": counts.changed, "removed": counts.removed, "unchanged": unchanged,
        },
        "warnings": warnings.iter().take(MOST_LISTED).map(Fault::from).collect::<Vec<_>>(),
        "accounting": accounting,
    });
    let response = json_reply(StatusCode::OK, &body);
    Ok(if is_dry { response } else { with_revision(response, &applied) })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteFiles {
    files: BTreeMap<String, String>,
    #[serde(default)]
    plans: Option<BTreeMap<String, String>>,
}

/// Makes the registry what a site directory says
///
/// What it does not name is removed. Whole or not at all.
#[utoipa::path(post, path = "/api/v1/apply", tag = "import and export", params(ApplyQuery),
    request_body(content = schema::SiteFiles, content_type = "application/json"),
    responses(
        (status = 200, description = "What was changed", body = schema::Imported,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 409),
    ))]
async fn apply(
    State(app): State<App>,
    who: Who,
    Query(query): Query<ApplyQuery>,
    body: ImportBody,
) -> Result<Response, Problem> {
    let ImportBody { body, place } = body;
    let SiteFiles { files, plans } = body.expect(&JSON)?.json()?;
    let registrar = app.services.registrar.clone();
    let work = move || {
        let mut pictures = BTreeMap::new();
        for (name, text) in plans.into_iter().flatten() {
            let Some(bytes) = base64::decode(&text) else {
                let fault = Fault { file: Some(name), ..Fault::new("the picture is no base64", None) };
                return Err(Problem::faults(vec![fault]));
            };
            pictures.insert(name, bytes);
        }
        let (target, plans, warnings) = read_site_texts(files, pictures).map_err(|faults| Problem::invalid(&faults))?;
        let View { registry, revision: base } = registrar.view();
        let edit = registry.difference(&target);
        let plans = plans.into_iter().map(|(ordinal, image)| (ordinal, Bytes::from(image.bytes))).collect();
        let named = records(&target).count();
        planned(&registrar, Read { edit, plans, base, named, warnings, accounting: None })
    };
    finish(app, who, query.dry_run, Action::Apply, blocking(work).await?, place).await
}

/// The registry as the files of a site directory
///
/// As POST /apply takes them.
#[utoipa::path(get, path = "/api/v1/export", tag = "import and export",
    responses((status = 200, description = "Texts by file name, and pictures in base64", body = schema::SiteFiles)))]
async fn export(State(app): State<App>, _query: NoQuery) -> Result<Response, Problem> {
    let registrar = app.services.registrar.clone();
    blocking(move || {
        let View { registry, .. } = registrar.view();
        let mut plans = BTreeMap::new();
        for level in &registry.site().levels {
            let Some(plan) = &level.plan else { continue };
            let Some(stored) = registrar.floor_plan(level.ordinal) else { continue };
            plans.insert(plan.file.clone(), base64::encode(&stored.bytes));
        }
        Ok(json_reply(StatusCode::OK, &json!({"files": site_texts(&registry), "plans": plans})))
    })
    .await
}

/// One of these files
#[utoipa::path(get, path = "/api/v1/export/{file}", tag = "import and export",
    params(("file" = inline(schema::FileName), Path, description = "Which")),
    responses(
        (status = 200, description = "Its text",
            content((String = "application/toml"), (schema::AnyJson = "application/geo+json"), (String = "text/csv"))),
        (status = 404),
    ))]
async fn export_file(State(app): State<App>, Path(file): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let media_type = match file.as_str() {
        "site.toml" | "triggers.toml" => "application/toml",
        "zones.geojson" => "application/geo+json",
        "beacons.csv" | "devices.csv" => "text/csv; charset=utf-8",
        _ => {
            let there = "site.toml, zones.geojson, beacons.csv, devices.csv, triggers.toml";
            return Err(Problem::not_found(format_args!("such file; there are {there}")));
        }
    };
    let registry = app.services.registrar.view().registry;
    blocking(move || {
        // Without rules the file need not be there, and says so.
        let text = site_texts(&registry).remove(&file).unwrap_or_else(|| "# There are no rules.\n".to_owned());
        let attached = format!("attachment; filename=\"{file}\"");
        Ok(([(CONTENT_TYPE, media_type.to_owned()), (CONTENT_DISPOSITION, attached)], text).into_response())
    })
    .await
}

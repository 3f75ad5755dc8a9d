//! The site and its levels, and what all rules obey.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::records;
use crate::http::app::App;
use crate::http::conditions;
use crate::http::extract::{BODY, Body, NoQuery, Path};
use crate::http::problem::{Fault, Problem};
use crate::http::reply::{Who, json as json_reply, with_revision};
use crate::http::schema;
use crate::registrar::Expect;
use crate::registry::{FloorPlan, Key, Kind, Level, Record};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(read_site, replace_site))
        .routes(routes!(read_trigger_settings, replace_trigger_settings))
        .routes(routes!(list_levels))
        .routes(routes!(read_level, replace_level, remove_level))
}

/// Reads the site
#[utoipa::path(get, path = "/api/v1/site", tag = "registry",
    responses((status = 200, description = "It", body = schema::Site,
        headers(("ETag" = String, description = "Its entity tag")))))]
async fn read_site(State(app): State<App>, _query: NoQuery) -> Result<Response, Problem> {
    records::read(&app, &Key::Site)
}

/// Changes the site
///
/// Everything in it moves with its origin.
#[utoipa::path(put, path = "/api/v1/site", tag = "registry",
    params(("If-Match" = Option<String>, Header, description = "The ETag that it had when it was read, or *")),
    request_body(content = schema::Site, content_type = "application/json"),
    responses(
        (status = 200, description = "It was changed", body = schema::Site, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 412), (status = 428),
    ))]
async fn replace_site(
    State(app): State<App>,
    who: Who,
    _query: NoQuery,
    headers: HeaderMap,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    records::replace(&app, &who, &Key::Site, &headers, body).await
}

/// Reads what all rules obey
#[utoipa::path(get, path = "/api/v1/trigger-settings", tag = "registry",
    responses((status = 200, description = "It", body = schema::TriggerSettings,
        headers(("ETag" = String, description = "Its entity tag")))))]
async fn read_trigger_settings(State(app): State<App>, _query: NoQuery) -> Result<Response, Problem> {
    records::read(&app, &Key::TriggerSettings)
}

/// Changes what all rules obey
///
/// What is left out has its default. An attribute that a rule names stays declared.
#[utoipa::path(put, path = "/api/v1/trigger-settings", tag = "registry",
    params(("If-Match" = Option<String>, Header, description = "The ETag that it had when it was read, or *")),
    request_body(content = schema::TriggerSettings, content_type = "application/json"),
    responses(
        (status = 200, description = "It was changed", body = schema::TriggerSettings, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 412), (status = 428),
    ))]
async fn replace_trigger_settings(
    State(app): State<App>,
    who: Who,
    _query: NoQuery,
    headers: HeaderMap,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    records::replace(&app, &who, &Key::TriggerSettings, &headers, body).await
}

/// All levels, lowest first
#[utoipa::path(get, path = "/api/v1/levels", tag = "registry",
    responses((status = 200, description = "They", body = schema::LevelList)))]
async fn list_levels(State(app): State<App>, _query: NoQuery) -> Response {
    let view = app.services.registrar.view();
    let levels = view.registry.site().levels.iter().cloned();
    let items: Vec<_> =
        levels.map(|level| crate::config::to_json(&Record::Level(level), view.registry.frame())).collect();
    json_reply(StatusCode::OK, &json!({ "items": items }))
}

/// Reads a level
#[utoipa::path(get, path = "/api/v1/levels/{ordinal}", tag = "registry",
    params(("ordinal" = i32, Path, description = "Its ordinal")),
    responses(
        (status = 200, description = "It", body = schema::Level,
            headers(("ETag" = String, description = "Its entity tag"))),
        (status = 404),
    ))]
async fn read_level(State(app): State<App>, Path(ordinal): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    records::read(&app, &records::key(Kind::Level, &ordinal)?)
}

/// Makes a level, or changes it
///
/// Its floor plan is put by itself; here it can be placed otherwise, or taken away with null.
#[utoipa::path(put, path = "/api/v1/levels/{ordinal}", tag = "registry",
    params(("ordinal" = i32, Path, description = "Its ordinal"),
        ("If-Match" = Option<String>, Header, description = "Replace it, if it has this ETag, or with * whatever it is"),
        ("If-None-Match" = Option<String>, Header, description = "With *: make it, if it is not there")),
    request_body(content = schema::Level, content_type = "application/json"),
    responses(
        (status = 200, description = "It was changed", body = schema::Level, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 201, description = "It was made", body = schema::Level, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412), (status = 428),
    ))]
async fn replace_level(
    State(app): State<App>,
    who: Who,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let key = records::key(Kind::Level, &ordinal)?;
    let view = registrar.view();
    let record = records::parse(body, Kind::Level, &view.registry)?;
    records::is_meant(&key, &record)?;
    let expect = conditions::of_put(&headers, &view, &key)?;
    let known = match view.registry.record(&key) {
        Some(Record::Level(level)) => level.plan,
        _ => None,
    };
    let record = match record {
        Record::Level(level) => Record::Level(with_known_picture(level, known)?),
        other => other,
    };
    let status = if expect == Expect::Absent { StatusCode::CREATED } else { StatusCode::OK };
    let applied = records::put(&app, &who, record, expect).await?;
    Ok(with_revision(records::answer(&registrar.view(), &key, status)?, &applied))
}

/// A level whose floor plan, where it has one, is the picture that is there.
fn with_known_picture(mut level: Level, known: Option<FloorPlan>) -> Result<Level, Problem> {
    let Some(plan) = level.plan.take() else { return Ok(level) };
    let Some(known) = known else {
        let help = "put the picture at …/plan first";
        return Err(Problem::faults(vec![Fault::new("the level has no picture to place", Some(help))]));
    };
    let FloorPlan { corner, metres_per_pixel, bearing, .. } = plan;
    level.plan = Some(FloorPlan { corner, metres_per_pixel, bearing, ..known });
    Ok(level)
}

/// Removes a level
///
/// Not while anything is on it.
#[utoipa::path(delete, path = "/api/v1/levels/{ordinal}", tag = "registry",
    params(("ordinal" = i32, Path, description = "Its ordinal"),
        ("If-Match" = Option<String>, Header, description = "The ETag that it had when it was read, or *")),
    responses(
        (status = 204, description = "It is gone",
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412), (status = 428),
    ))]
async fn remove_level(
    State(app): State<App>,
    who: Who,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = records::key(Kind::Level, &ordinal)?;
    if app.services.registrar.view().registry.site().levels.len() == 1 {
        let problem = Problem::new(crate::http::problem::Kind::InUse, "a site has at least one level");
        return Err(problem);
    }
    records::remove(&app, &who, key, &headers, Vec::new()).await
}

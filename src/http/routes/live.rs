//! What happens now: positions, presence, visits, and why.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::extract::{BODY, Body, Known, NoQuery, Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Fault, Problem};
use crate::http::reply::json as json_reply;
use crate::http::{schema, state};
use crate::model::DeviceId;
use crate::mqtt::wire::{DeviceFacts, ReportError, device_facts};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(status))
        .routes(routes!(positions))
        .routes(routes!(presences))
        .routes(routes!(presence))
        .routes(routes!(visits))
        .routes(routes!(why))
        .routes(routes!(attributes))
        .routes(routes!(events))
}

/// Everything at once
#[utoipa::path(get, path = "/api/v1/live", tag = "live",
    responses((status = 200, description = "The state now", body = schema::Live)))]
async fn live(State(app): State<App>, _query: NoQuery) -> Response {
    let services = &app.services;
    let view = services.registrar.view();
    let body = json!({
        "at": services.registrar.now(),
        "revision": view.revision,
        "site": view.registry.site().id,
        "epoch": services.live.epoch(),
        "devices": services.live.devices(),
        "occupancy": services.live.occupancies(),
        "receivers": state::receivers(services),
        "delivery": services.delivery(),
    });
    json_reply(StatusCode::OK, &body)
}

/// How the gateway fares
///
/// The status document that is published over MQTT, and the delivery of events.
#[utoipa::path(get, path = "/api/v1/status", tag = "health",
    responses((status = 200, description = "The status", body = Object)))]
async fn status(State(app): State<App>, _query: NoQuery) -> Response {
    let mut status = app.services.live.latest_status().unwrap_or_else(|| json!({ "state": "starting" }));
    status["delivery"] = json!(app.services.delivery());
    status["health"] = json!(state::receivers(&app.services));
    json_reply(StatusCode::OK, &status)
}

/// Where devices are, a page at a time
#[utoipa::path(get, path = "/api/v1/positions", tag = "live", params(PageQuery),
    responses((status = 200, description = "A page", body = schema::PositionList)))]
async fn positions(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Response, Problem> {
    let mut devices = app.services.live.devices();
    devices.retain(|device| !device["level"].is_null());
    page(&app, &query, devices, "id")
}

/// In which zones devices are, a page at a time
#[utoipa::path(get, path = "/api/v1/presence", tag = "live", params(PageQuery),
    responses((status = 200, description = "A page", body = schema::PresenceList)))]
async fn presences(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Response, Problem> {
    let presences = app.services.live.presences().into_iter().map(|(_, presence)| presence).collect();
    page(&app, &query, presences, "device")
}

/// A page of things that are in the order of their ids.
fn page(app: &App, query: &PageQuery, all: Vec<Value>, id: &'static str) -> Result<Response, Problem> {
    let page = Page::new(query.limit, query.cursor.as_deref(), query.q.as_deref())?;
    let places: Vec<&Value> = all.iter().collect();
    let name = |one: &Value| one[id].as_str().unwrap_or("").to_owned();
    let mut sorted: Vec<(String, &Value)> = places.into_iter().map(|one| (name(one), one)).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    let sorted: Vec<&(String, &Value)> = sorted.iter().collect();
    let keeps = |one: &(String, &Value)| page.matches(&[&one.0]);
    let found = page.of(&sorted, |one| &one.0, Some(&|one: &(String, &Value)| keeps(one)));
    let items: Vec<&Value> = found.items.iter().map(|(_, value)| *value).collect();
    let revision = app.services.registrar.view().revision;
    let body = json!({"items": items, "total": found.total, "next": found.next, "revision": revision});
    Ok(json_reply(StatusCode::OK, &body))
}

/// In which zones a device is
#[utoipa::path(get, path = "/api/v1/presence/{device}", tag = "live",
    params(("device" = schema::Id, Path, description = "The device")),
    responses((status = 200, description = "Its presence", body = schema::Presence), (status = 404)))]
async fn presence(State(app): State<App>, Path(id): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let device = device(&app, &id)?;
    let services = &app.services;
    let view = services.registrar.view();
    let known = view.registry.device(&device).map(|at| view.registry.devices()[at.get()].kind);
    let nowhere = || json!({"device": device, "kind": known, "zones": [], "last_seen": null});
    Ok(json_reply(StatusCode::OK, &services.live.presence_of(&device).unwrap_or_else(nowhere)))
}

/// The id of a device that is registered.
fn device(app: &App, id: &str) -> Result<DeviceId, Problem> {
    let device = DeviceId::new(id).ok();
    let registry = app.services.registrar.view().registry;
    device.filter(|id| registry.device(id).is_some()).ok_or_else(|| {
        let id: String = id.chars().take(64).collect();
        Problem::not_found(format_args!("device \"{id}\""))
    })
}

/// Which visits.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct VisitQuery {
    /// Only those of this device.
    device: Option<String>,
    /// Only those in this zone.
    zone: Option<String>,
    /// Only those that go on, or only those that have ended.
    open: Option<bool>,
}

impl Known for VisitQuery {
    const NAMES: &'static [&'static str] = &["device", "zone", "open"];
}

/// Visits that go on, and those of the recent past
#[utoipa::path(get, path = "/api/v1/visits", tag = "live", params(VisitQuery),
    responses((status = 200, description = "They, each newest first", body = schema::VisitList)))]
async fn visits(State(app): State<App>, Query(query): Query<VisitQuery>) -> Response {
    let mut visits = app.services.live.visits();
    let is =
        |value: &Value, wanted: Option<&String>| wanted.is_none_or(|wanted| value.as_str() == Some(wanted.as_str()));
    visits.retain(|visit| {
        is(&visit["device"], query.device.as_ref())
            && is(&visit["zone"], query.zone.as_ref())
            && query.open.is_none_or(|open| visit["exited_at"].is_null() == open)
    });
    json_reply(StatusCode::OK, &json!({ "items": visits }))
}

/// Why a device is taken to be where it is
#[utoipa::path(get, path = "/api/v1/devices/{id}/why", tag = "live",
    params(("id" = schema::Id, Path, description = "The device")),
    responses((status = 200, description = "Zone by zone", body = schema::Why), (status = 404)))]
async fn why(State(app): State<App>, Path(id): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let device = device(&app, &id)?;
    let answer = app.services.live.why(&device).await.map_err(|error| Problem::busy(error.to_string()))?;
    let answer = answer.ok_or_else(|| Problem::not_found(format_args!("device \"{device}\"")))?;
    Ok(json_reply(StatusCode::OK, &answer))
}

/// Says facts of a device that rules ask for
///
/// As `{site}/devices/{device}/attributes` over MQTT: in place of all that was said before; an empty object says nothing any more. What is
/// not declared in the settings of triggers, or is of another type, is refused. Consent is changed in the device itself.
#[utoipa::path(put, path = "/api/v1/devices/{id}/attributes", tag = "registry",
    params(("id" = schema::Id, Path, description = "The device")),
    request_body(content = Object, content_type = "application/json"),
    responses((status = 204, description = "They are kept"), (status = 404)))]
async fn attributes(
    State(app): State<App>,
    Path(id): Path<String>,
    _query: NoQuery,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    let device = device(&app, &id)?;
    let body = body.expect(&["application/json"])?;
    let text = body.text()?;
    let said = match device_facts(text.as_bytes()) {
        Err(error @ ReportError::NotJson(_)) => return Err(Problem::malformed(error.to_string())),
        Err(error) => return Err(Problem::faults(vec![Fault::new(error.to_string(), None)])),
        Ok(DeviceFacts { consent: Some(_), .. }) => {
            let message = "\"consent\" is no attribute";
            return Err(Problem::faults(vec![Fault::new(message, Some("change it in the device itself"))]));
        }
        Ok(facts) => facts.attributes,
    };
    let registry = app.services.registrar.view().registry;
    let declared = &registry.rules().settings.attributes;
    let faults = said.iter().filter_map(|(name, value)| {
        let short: String = name.chars().take(64).collect();
        match declared.get(name) {
            None => Some(Fault::new(
                format!("\"{short}\" is not declared"),
                Some("declare it in the settings of triggers first"),
            )),
            Some(of) if !of.holds(value) => {
                Some(Fault::new(format!("\"{short}\" is declared as a {}", of.as_str()), None))
            }
            Some(_) => None,
        }
    });
    let faults: Vec<Fault> = faults.collect();
    if !faults.is_empty() {
        return Err(Problem::faults(faults));
    }
    app.services.live.set_attributes(&device, said).await.map_err(|error| Problem::busy(error.to_string()))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// How many events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// Most events.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
}

impl Known for EventQuery {
    const NAMES: &'static [&'static str] = &["limit"];
}

/// Recent events, newest first
#[utoipa::path(get, path = "/api/v1/events", tag = "live", params(EventQuery),
    responses((status = 200, description = "They", body = schema::EventList)))]
async fn events(State(app): State<App>, Query(query): Query<EventQuery>) -> Result<Response, Problem> {
    let limit = Page::new(query.limit, None, None)?.limit();
    let events = app.services.live.recent(limit);
    let items: Vec<Value> = events.iter().filter_map(|event| serde_json::from_slice(&event.payload).ok()).collect();
    Ok(json_reply(StatusCode::OK, &json!({ "items": items })))
}

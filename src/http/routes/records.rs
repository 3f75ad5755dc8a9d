//! What the routes of receivers, beacons, devices, zones and rules have in common.

use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::config::{etag, from_json, to_json, zone_json_with_shape};
use crate::http::app::App;
use crate::http::conditions;
use crate::http::extract::{BODY, Body};
use crate::http::page::Page;
use crate::http::problem::{Fault, Problem};
use crate::http::reply::{Who, json as json_reply, with_etag, with_revision};
use crate::model::LevelOrdinal;
use crate::registrar::{Action, Applied, Expect, View};
use crate::registry::{Edit, Key, Kind, Record, Registry};

/// What bodies of records may be said to be.
const MEDIA_TYPES: [&str; 2] = ["application/json", "application/geo+json"];

/// A page of records.
pub(super) fn list(app: &App, kind: Kind, page: &Page, level: Option<i16>) -> Response {
    let view = app.services.registrar.view();
    let registry = &*view.registry;
    let order = app.orders.of(view.revision, registry, kind);
    let keeps = |at: u32| keeps(registry, kind, at as usize, page, level);
    let all = page.is_whole() && level.is_none();
    let found = page.of(&order, |at| id(registry, kind, at as usize), if all { None } else { Some(&keeps) });
    let items = found.items.iter().filter_map(|at| record(registry, kind, *at as usize));
    let items: Vec<Value> = items.map(|record| shown(&record, &view)).collect();
    let (total, next, revision) = (found.total, found.next, view.revision);
    let body = if kind == Kind::Zone {
        json!({"type": "FeatureCollection", "features": items, "total": total, "next": next, "revision": revision})
    } else {
        json!({"items": items, "total": total, "next": next, "revision": revision})
    };
    json_reply(StatusCode::OK, &body)
}

fn id(registry: &Registry, kind: Kind, at: usize) -> &str {
    match kind {
        Kind::Site | Kind::Level | Kind::TriggerSettings => "",
        Kind::Receiver => registry.receivers()[at].id.as_str(),
        Kind::Zone => registry.zones()[at].id.as_str(),
        Kind::Device => registry.devices()[at].id.as_str(),
        Kind::Beacon => registry.beacons()[at].id.as_str(),
        Kind::Trigger => registry.rules().triggers[at].id.as_str(),
    }
}

fn record(registry: &Registry, kind: Kind, at: usize) -> Option<Record> {
    Some(match kind {
        Kind::Site | Kind::Level | Kind::TriggerSettings => return None,
        Kind::Receiver => Record::Receiver(registry.receivers()[at].clone()),
        Kind::Zone => Record::Zone(registry.zones()[at].clone()),
        Kind::Device => Record::Device(registry.devices()[at].clone()),
        Kind::Beacon => Record::Beacon(registry.beacons()[at].clone()),
        Kind::Trigger => Record::Trigger(registry.rules().triggers[at].clone()),
    })
}

/// Whether a record is on a page that does not want everything.
fn keeps(registry: &Registry, kind: Kind, at: usize, page: &Page, level: Option<i16>) -> bool {
    let is_on = |of: Option<LevelOrdinal>| level.is_none_or(|level| of == Some(LevelOrdinal(level)));
    match kind {
        Kind::Site | Kind::Level | Kind::TriggerSettings => false,
        Kind::Receiver => {
            let receiver = &registry.receivers()[at];
            is_on(Some(receiver.level)) && page.matches(&[receiver.id.as_str()])
        }
        Kind::Zone => {
            let zone = &registry.zones()[at];
            is_on(zone.level) && page.matches(&[zone.id.as_str(), &zone.name])
        }
        Kind::Trigger => {
            let rule = &registry.rules().triggers[at];
            page.matches(&[rule.id.as_str(), &rule.name, &rule.campaign])
        }
        Kind::Device => page.matches(&[registry.devices()[at].id.as_str()]),
        Kind::Beacon => {
            let beacon = &registry.beacons()[at];
            let device = beacon.device.as_ref().map_or("", |device| device.as_str());
            is_on(beacon.fixed.map(|(_, level)| level))
                && (page.matches(&[beacon.id.as_str(), device]) || page.matches(&[&beacon.identity.to_string()]))
        }
    }
}

/// A record as it is answered: what it is kept as, and for zones what those who draw want to know.
fn shown(record: &Record, view: &View) -> Value {
    match record {
        Record::Zone(zone) => zone_json_with_shape(zone, view.registry.frame()),
        other => to_json(other, view.registry.frame()),
    }
}

/// The key of a path.
pub(super) fn key(kind: Kind, id: &str) -> Result<Key, Problem> {
    let key = Key::parse(kind, id);
    key.ok_or_else(|| Problem::not_found(format_args!("{kind} of that name")))
}

/// One record.
pub(super) fn read(app: &App, key: &Key) -> Result<Response, Problem> {
    answer(&app.services.registrar.view(), key, StatusCode::OK)
}

/// A record with its entity tag.
pub(super) fn answer(view: &View, key: &Key, status: StatusCode) -> Result<Response, Problem> {
    let record = view.registry.record(key).ok_or_else(|| Problem::not_found(key))?;
    let tag = etag(&to_json(&record, view.registry.frame()));
    Ok(with_etag(json_reply(status, &shown(&record, view)), &tag))
}

/// Reads the record in a body.
pub(super) fn parse(body: Body<BODY>, kind: Kind, within: &Registry) -> Result<Record, Problem> {
    let body = body.expect(if kind == Kind::Zone { &MEDIA_TYPES } else { &MEDIA_TYPES[..1] })?;
    let text = body.text()?;
    // Whether it is JSON at all is another fault than what it says.
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(Problem::malformed(format!("the body is no JSON: {error}")));
    }
    let (record, _) = from_json(kind, text, within).map_err(|faults| Problem::invalid(&faults))?;
    Ok(record)
}

/// Makes a record.
pub(super) async fn create(
    app: &App,
    who: &Who,
    kind: Kind,
    body: Body<BODY>,
    collection: &str,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let record = parse(body, kind, &registrar.view().registry)?;
    let key = record.key();
    let applied = put(app, who, record, Expect::Absent).await?;
    let mut response = answer(&registrar.view(), &key, StatusCode::CREATED)?;
    if let Ok(location) = HeaderValue::from_str(&format!("{collection}/{}", key.id())) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(with_revision(response, &applied))
}

/// Makes a record, or puts another in its place.
pub(super) async fn replace(
    app: &App,
    who: &Who,
    key: &Key,
    headers: &HeaderMap,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let view = registrar.view();
    let record = parse(body, key.kind(), &view.registry)?;
    is_meant(key, &record)?;
    let expect = conditions::of_put(headers, &view, key)?;
    let status = if expect == Expect::Absent { StatusCode::CREATED } else { StatusCode::OK };
    let applied = put(app, who, record, expect).await?;
    Ok(with_revision(answer(&registrar.view(), key, status)?, &applied))
}

/// Whether a body is about what its path names.
pub(super) fn is_meant(key: &Key, record: &Record) -> Result<(), Problem> {
    let found = record.key();
    if found == *key {
        return Ok(());
    }
    let message = format!("the path names {key}, the body {found}");
    Err(Problem::faults(vec![Fault::new(message, Some("ids cannot be changed; make another, and remove this one"))]))
}

/// Puts one record in its place.
pub(super) async fn put(app: &App, who: &Who, record: Record, expect: Expect) -> Result<Applied, Problem> {
    let key = record.key();
    let edit = Edit { put: vec![record], ..Edit::default() };
    let is_new = expect == Expect::Absent;
    let done = app.services.registrar.edit(edit, vec![(key.clone(), expect)], &who.author(), Action::Edit).await;
    match done {
        Err(crate::registrar::EditError::NotFound(_)) if !is_new => Err(conditions::changed(&key, None)),
        done => Ok(done?),
    }
}

/// Removes a record, and those that go with it.
pub(super) async fn remove(
    app: &App,
    who: &Who,
    key: Key,
    headers: &HeaderMap,
    also: Vec<Key>,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let expect = conditions::of_change(headers, &registrar.view(), &key)?;
    let mut edit = Edit { remove: vec![key.clone()], ..Edit::default() };
    edit.remove.extend(also);
    let applied = registrar.edit(edit, vec![(key, expect)], &who.author(), Action::Edit).await?;
    Ok(with_revision(StatusCode::NO_CONTENT.into_response(), &applied))
}

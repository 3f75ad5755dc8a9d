//! Floor plans: pictures of levels, and where they lie.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::records;
use crate::config::{PlanImage, from_json, to_json};
use crate::http::app::App;
use crate::http::conditions;
use crate::http::extract::{BODY, Body, NoQuery, PLAN_BODY, Path, header};
use crate::http::problem::{Fault, Problem};
use crate::http::reply::{Who, blocking, with_revision};
use crate::http::schema;
use crate::model::{LevelOrdinal, Point};
use crate::registrar::{Expect, View};
use crate::registry::{FloorPlan, Key, Kind, Level, Record, Registry, bounds};

/// How wide a plan is taken to be in metres where nothing says how large the level is.
const WIDTH: f64 = 20.0;
const PICTURES: [&str; 3] = ["image/png", "image/jpeg", "image/svg+xml"];
/// A picture is no page: it loads nothing and runs nothing.
const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read_plan, replace_plan, remove_plan)).routes(routes!(place_plan))
}

/// The level of a path.
fn level(view: &View, ordinal: &str) -> Result<Level, Problem> {
    let key = records::key(Kind::Level, ordinal)?;
    match view.registry.record(&key) {
        Some(Record::Level(level)) => Ok(level),
        _ => Err(Problem::not_found(key)),
    }
}

/// The picture of a level
#[utoipa::path(get, path = "/api/v1/levels/{ordinal}/plan", tag = "registry",
    params(("ordinal" = i32, Path, description = "The level"),
        ("If-None-Match" = Option<String>, Header, description = "Only if it is another than this")),
    responses(
        (status = 200, description = "It", headers(("ETag" = String, description = "Its entity tag")),
            content((schema::Picture = "image/png"), (schema::Picture = "image/jpeg"), (schema::Picture = "image/svg+xml"))),
        (status = 304, description = "It is the same"),
        (status = 404),
    ))]
async fn read_plan(
    State(app): State<App>,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let registrar = app.services.registrar.clone();
    let level = level(&registrar.view(), &ordinal)?;
    let of = level.ordinal;
    let stored = blocking(move || Ok(registrar.floor_plan(of))).await?;
    let stored = stored.ok_or_else(|| Problem::not_found(format_args!("plan of level {of}")))?;
    let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&stored.bytes))[..16]);
    let fresh = [(ETAG, etag.as_str()), (CACHE_CONTROL, "no-cache"), (CONTENT_SECURITY_POLICY, POLICY)];
    let known = header(&headers, IF_NONE_MATCH);
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, fresh).into_response());
    }
    Ok((fresh, [(CONTENT_TYPE, stored.format.media_type())], stored.bytes).into_response())
}

/// Gives a level a picture
///
/// PNG, JPEG or SVG, at most 10 MB and 50 megapixels. It lies where the one before lay, if it has as many pixels; otherwise it covers the
/// level's outline, or is 20 m wide.
#[utoipa::path(put, path = "/api/v1/levels/{ordinal}/plan", tag = "registry",
    params(("ordinal" = i32, Path, description = "The level"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the level had when it was read")),
    request_body(description = "The picture",
        content((schema::Picture = "image/png"), (schema::Picture = "image/jpeg"), (schema::Picture = "image/svg+xml"))),
    responses(
        (status = 200, description = "The level", body = schema::Level, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412),
    ))]
async fn replace_plan(
    State(app): State<App>,
    who: Who,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
    body: Body<PLAN_BODY>,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let body = body.expect(&PICTURES)?;
    let view = registrar.view();
    let level = level(&view, &ordinal)?;
    let expected = expected(&headers, &view, &level)?;
    let image = blocking(move || {
        let read = PlanImage::read(body.bytes.to_vec());
        read.map_err(|error| Problem::faults(vec![Fault::new(error.to_string(), None)]))
    })
    .await?;
    let plan = placed(&image, &level, &view.registry);
    let key = Key::Level(level.ordinal);
    let bytes = Bytes::from(image.bytes);
    let applied = registrar.set_plan(level.ordinal, Some((plan, bytes)), expected, &who.author()).await?;
    Ok(with_revision(records::answer(&registrar.view(), &key, StatusCode::OK)?, &applied))
}

/// What the request expects of the level, where it says so.
fn expected(headers: &HeaderMap, view: &View, level: &Level) -> Result<Vec<(Key, Expect)>, Problem> {
    let key = Key::Level(level.ordinal);
    match conditions::of_change(headers, view, &key) {
        Ok(expect) => Ok(vec![(key, expect)]),
        // A picture is no record: whoever does not say what they expect takes the level as it is.
        Err(problem) if problem.kind() == crate::http::problem::Kind::PreconditionRequired => Ok(Vec::new()),
        Err(problem) => Err(problem),
    }
}

/// The place of a new picture.
fn placed(image: &PlanImage, level: &Level, registry: &Registry) -> FloorPlan {
    let (width, height) = (f64::from(image.width), f64::from(image.height));
    let file = file_name(image, level, registry);
    let fresh = |corner: Point, metres_per_pixel: f64| FloorPlan {
        file: file.clone(),
        media_type: image.format,
        width: image.width,
        height: image.height,
        corner: Point { x: millimetres(corner.x), y: millimetres(corner.y) },
        metres_per_pixel,
        bearing: 0.0,
    };
    if let Some(known) = level.plan.as_ref().filter(|known| (known.width, known.height) == (image.width, image.height))
    {
        return FloorPlan { bearing: known.bearing, ..fresh(known.corner, known.metres_per_pixel) };
    }
    let Some((low, high)) = level.outline.as_ref().map(|outline| bounds(outline.iter().copied())) else {
        let metres_per_pixel = WIDTH / width;
        return fresh(Point { x: 0.0, y: height * metres_per_pixel }, metres_per_pixel);
    };
    let metres_per_pixel = ((high.x - low.x) / width).max((high.y - low.y) / height).clamp(0.000_1, 1_000.0);
    let corner = Point {
        x: f64::midpoint(low.x, high.x) - width * metres_per_pixel / 2.0,
        y: f64::midpoint(low.y, high.y) + height * metres_per_pixel / 2.0,
    };
    fresh(corner, metres_per_pixel)
}

/// A name that no other level's picture has.
fn file_name(image: &PlanImage, level: &Level, registry: &Registry) -> String {
    let extension = image.format.extension();
    let is_free = |name: &str| {
        let others = registry.site().levels.iter().filter(|other| other.ordinal != level.ordinal);
        others.filter_map(|other| other.plan.as_ref()).all(|plan| plan.file != name)
    };
    let kept = level.plan.as_ref().filter(|plan| plan.media_type == image.format).map(|plan| plan.file.clone());
    let LevelOrdinal(ordinal) = level.ordinal;
    let numbered = (1..).map(|n| if n == 1 { String::new() } else { format!("-{n}") });
    let fresh = numbered.map(|suffix| format!("floor-{ordinal}{suffix}.{extension}"));
    kept.into_iter().chain(fresh).find(|name| is_free(name)).unwrap_or_default()
}

fn millimetres(metres: f64) -> f64 {
    (metres * 1_000.0).round() / 1_000.0
}

/// Takes the picture of a level away
#[utoipa::path(delete, path = "/api/v1/levels/{ordinal}/plan", tag = "registry",
    params(("ordinal" = i32, Path, description = "The level"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the level had when it was read")),
    responses(
        (status = 204, description = "It is gone",
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412),
    ))]
async fn remove_plan(
    State(app): State<App>,
    who: Who,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let view = registrar.view();
    let level = level(&view, &ordinal)?;
    if level.plan.is_none() {
        return Err(Problem::not_found(format_args!("plan of level {}", level.ordinal)));
    }
    let expected = expected(&headers, &view, &level)?;
    let applied = registrar.set_plan(level.ordinal, None, expected, &who.author()).await?;
    Ok(with_revision(StatusCode::NO_CONTENT.into_response(), &applied))
}

/// Where a picture is to lie: said, or dragged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Placement {
    x: Option<f64>,
    y: Option<f64>,
    metres_per_pixel: Option<f64>,
    bearing: Option<f64>,
    points: Option<[Pin; 2]>,
}

/// A point of the picture, and where it lies.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    px: [f64; 2],
    m: [f64; 2],
}

/// Places the picture of a level
///
/// By its corner, scale and bearing, or by two points of it and where they lie.
#[utoipa::path(put, path = "/api/v1/levels/{ordinal}/plan/placement", tag = "registry",
    params(("ordinal" = i32, Path, description = "The level"),
        ("If-Match" = Option<String>, Header, description = "The ETag that the level had when it was read, or *")),
    request_body(content = schema::PlanPlacing, content_type = "application/json"),
    responses(
        (status = 200, description = "The level", body = schema::Level, headers(
            ("ETag" = String, description = "Its entity tag"),
            ("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 412), (status = 428),
    ))]
async fn place_plan(
    State(app): State<App>,
    who: Who,
    Path(ordinal): Path<String>,
    _query: NoQuery,
    headers: HeaderMap,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    let registrar = &app.services.registrar;
    let placement: Placement = body.expect(&["application/json"])?.json()?;
    let view = registrar.view();
    let level = level(&view, &ordinal)?;
    let key = Key::Level(level.ordinal);
    if level.plan.is_none() {
        return Err(Problem::not_found(format_args!("plan of level {}", level.ordinal)));
    }
    let expect = conditions::of_change(&headers, &view, &key)?;
    let fault = |message: &str| Problem::faults(vec![Fault::new(message, None)]);
    let Placement { x, y, metres_per_pixel, bearing, points } = placement;
    let (corner, scale, bearing) = match (x, y, metres_per_pixel, points) {
        (Some(x), Some(y), Some(scale), None) => (Point { x, y }, scale, bearing.unwrap_or(0.0)),
        (None, None, None, Some(pins)) if bearing.is_none() => {
            pinned(pins).ok_or_else(|| fault("the two points must lie apart, in the picture and on the level"))?
        }
        _ => return Err(fault("give either x, y and metres_per_pixel, or two points")),
    };
    // Judged as if it stood in a file.
    let mut form = to_json(&Record::Level(level), view.registry.frame());
    form["plan"]["x"] = json!(corner.x);
    form["plan"]["y"] = json!(corner.y);
    form["plan"]["metres_per_pixel"] = json!(scale);
    form["plan"]["bearing"] = json!(bearing);
    let (record, _) =
        from_json(Kind::Level, &form.to_string(), &view.registry).map_err(|faults| Problem::invalid(&faults))?;
    let applied = records::put(&app, &who, record, expect).await?;
    let mut response = records::answer(&registrar.view(), &key, StatusCode::OK)?;
    response.headers_mut().insert(crate::http::reply::REVISION, HeaderValue::from(applied.revision));
    Ok(response)
}

/// The corner, scale and bearing of a picture of which two points are pinned down: the one similarity that does it.
fn pinned([one, other]: [Pin; 2]) -> Option<(Point, f64, f64)> {
    // Rows of pixels go downwards, metres upwards.
    let pixels = [other.px[0] - one.px[0], one.px[1] - other.px[1]];
    let metres = [other.m[0] - one.m[0], other.m[1] - one.m[1]];
    let scale = metres[0].hypot(metres[1]) / pixels[0].hypot(pixels[1]);
    if !scale.is_finite() || scale <= 0.0 {
        return None;
    }
    // Counter-clockwise, as angles are counted in mathematics; bearings are counted clockwise.
    let turn = metres[1].atan2(metres[0]) - pixels[1].atan2(pixels[0]);
    let (sin, cos) = turn.sin_cos();
    let (u, v) = (one.px[0] * scale, -one.px[1] * scale);
    let corner = Point { x: one.m[0] - (u * cos - v * sin), y: one.m[1] - (u * sin + v * cos) };
    Some((corner, scale, (-turn.to_degrees()).rem_euclid(360.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_points_pin_a_picture_down() {
        // 100 x 50 pixels at 0.1 m, top-left corner at (2, 9).
        let pin = |px: [f64; 2], m: [f64; 2]| Pin { px, m };
        let (corner, scale, bearing) = pinned([pin([0.0, 0.0], [2.0, 9.0]), pin([100.0, 50.0], [12.0, 4.0])]).unwrap();
        assert!((corner.x - 2.0).abs() < 1e-9 && (corner.y - 9.0).abs() < 1e-9);
        assert!((scale - 0.1).abs() < 1e-12 && (bearing.abs() < 1e-9 || (bearing - 360.0).abs() < 1e-9));
        // Its upward direction points east: it is turned clockwise by 90 degrees; its right side lies south.
        let (corner, scale, bearing) = pinned([pin([10.0, 0.0], [5.0, 5.0]), pin([20.0, 0.0], [5.0, 3.0])]).unwrap();
        assert!((bearing - 90.0).abs() < 1e-9 && (scale - 0.2).abs() < 1e-12);
        assert!((corner.x - 5.0).abs() < 1e-9 && (corner.y - 7.0).abs() < 1e-9);
        assert!(pinned([pin([1.0, 1.0], [0.0, 0.0]), pin([1.0, 1.0], [5.0, 0.0])]).is_none());
        assert!(pinned([pin([1.0, 1.0], [0.0, 0.0]), pin([2.0, 1.0], [0.0, 0.0])]).is_none());
    }
}

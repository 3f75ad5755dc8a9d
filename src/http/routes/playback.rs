//! Looking back on what was recorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::extract::{Known, Query};
use crate::http::problem::{Kind, Problem};
use crate::http::reply::json as json_reply;
use crate::http::schema;
use crate::model::{Point, Timestamp};
use crate::record::play::{PlayError, play};
use crate::registry::{Registry, bounds, shape_bounds};

/// Frames of one answer.
const MOST_FRAMES: f64 = 720.0;
/// Rows of all frames of one answer: some 40 bytes each.
const MOST_ROWS: usize = 500_000;
/// Cells of a heat map.
const MOST_CELLS: f64 = 250_000.0;
/// A position counts as a stay until the next one, but for no longer than this.
const LONGEST_STAY: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(playback)).routes(routes!(heatmap))
}

/// What to look back on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PlaybackQuery {
    /// From then on.
    from: String,
    /// Until then; at most 24 hours later.
    to: String,
    /// Only this device.
    device: Option<String>,
}

impl Known for PlaybackQuery {
    const NAMES: &'static [&'static str] = &["from", "to", "device"];
}

/// Where devices were
///
/// Worked out anew from what was recorded (`[record] days` in gateway.toml), with the registry of now.
#[utoipa::path(get, path = "/api/v1/playback", tag = "live", params(PlaybackQuery),
    responses((status = 200, description = "A frame for each step of time", body = schema::Playback), (status = 404),
        (status = 422), (status = 503)))]
async fn playback(State(app): State<App>, Query(query): Query<PlaybackQuery>) -> Result<Response, Problem> {
    let range = range(&query.from, &query.to)?;
    let (from, to) = range;
    let step = Duration::from_secs((to.since(from).as_secs_f64() / MOST_FRAMES).ceil().max(1.0) as u64);
    let work = move |dir: std::path::PathBuf, registry: Arc<Registry>| {
        let mut frames: BTreeMap<u64, BTreeMap<String, Value>> = BTreeMap::new();
        let mut rows = 0_usize;
        play(&dir, &registry, range, |device, at, now| {
            if query.device.as_ref().is_some_and(|only| only != device.id.as_str()) || rows >= MOST_ROWS {
                return;
            }
            let frame = frames.entry((now.since(from).as_millis() / step.as_millis()) as u64).or_default();
            let row = json!([device.id, at.level.0, rounded(at.point.x), rounded(at.point.y), rounded(at.accuracy)]);
            rows += usize::from(frame.insert(device.id.to_string(), row).is_none());
        })?;
        if rows >= MOST_ROWS {
            return Err(PlayError::TooMuch);
        }
        let frames: Vec<Value> = frames
            .into_iter()
            .map(|(at, devices)| {
                let at = from + step * u32::try_from(at).unwrap_or(u32::MAX);
                json!({"at": at, "devices": devices.into_values().collect::<Vec<_>>()})
            })
            .collect();
        Ok(json!({"from": from, "to": to, "step_s": step.as_secs(), "frames": frames}))
    };
    Ok(json_reply(StatusCode::OK, &looked_back(&app, work).await?))
}

/// What to look back on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HeatmapQuery {
    /// From then on.
    from: String,
    /// Until then; at most 24 hours later.
    to: String,
    /// The level.
    #[param(minimum = -32768, maximum = 32767)]
    level: i16,
    /// Side of a cell in metres.
    #[param(minimum = 0.25, maximum = 20.0, default = 1.0)]
    cell: Option<f64>,
}

impl Known for HeatmapQuery {
    const NAMES: &'static [&'static str] = &["from", "to", "level", "cell"];
}

/// Where devices stayed for how long
///
/// Seconds of all devices in each cell of a level, row by row from the lower left corner.
#[utoipa::path(get, path = "/api/v1/heatmap", tag = "live", params(HeatmapQuery),
    responses((status = 200, description = "The cells", body = schema::Heatmap), (status = 404), (status = 422),
        (status = 503)))]
async fn heatmap(State(app): State<App>, Query(query): Query<HeatmapQuery>) -> Result<Response, Problem> {
    let range = range(&query.from, &query.to)?;
    let cell = query.cell.unwrap_or(1.0);
    if !(0.25..=20.0).contains(&cell) {
        return Err(invalid("cell must lie between 0.25 and 20 m"));
    }
    let work = move |dir: std::path::PathBuf, registry: Arc<Registry>| {
        let (low, high) = ground(&registry);
        // However large the store, so many cells are enough to be looked at.
        let cell = cell.max(((high.x - low.x) * (high.y - low.y) / MOST_CELLS).sqrt());
        let columns = (((high.x - low.x) / cell).ceil() as usize).max(1);
        let rows = (((high.y - low.y) / cell).ceil() as usize).max(1);
        let mut seconds = vec![0.0_f64; columns * rows];
        let mut last: BTreeMap<String, (usize, Timestamp)> = BTreeMap::new();
        play(&dir, &registry, range, |device, at, now| {
            if let Some((cell, since)) = last.remove(device.id.as_str()) {
                seconds[cell] += now.since(since).min(LONGEST_STAY).as_secs_f64();
            }
            let (x, y) = ((at.point.x - low.x) / cell, (at.point.y - low.y) / cell);
            if at.level.0 == query.level && x >= 0.0 && y >= 0.0 && (x as usize) < columns && (y as usize) < rows {
                last.insert(device.id.to_string(), (y as usize * columns + x as usize, now));
            }
        })?;
        let seconds: Vec<f64> = seconds.into_iter().map(|s| (s * 10.0).round() / 10.0).collect();
        Ok(json!({
            "cell": rounded(cell), "level": query.level, "x0": rounded(low.x), "y0": rounded(low.y),
            "columns": columns, "rows": rows, "seconds": seconds,
        }))
    };
    Ok(json_reply(StatusCode::OK, &looked_back(&app, work).await?))
}

/// Works it out beside everything else, one at a time.
async fn looked_back(
    app: &App,
    work: impl FnOnce(std::path::PathBuf, Arc<Registry>) -> Result<Value, PlayError> + Send + 'static,
) -> Result<Value, Problem> {
    let Some(recordings) = app.services.recordings() else {
        return Err(Problem::new(
            Kind::NotRecording,
            "nothing is recorded; write days = 7 under [record] in gateway.toml, and start the gateway again",
        ));
    };
    let Ok(_turn) = Arc::clone(&recordings.turn).try_acquire_owned() else {
        return Err(Problem::new(Kind::Busy, "somebody else looks back at present; try again"));
    };
    let (dir, registry) = (recordings.dir.clone(), app.services.registrar.view().registry);
    let done = tokio::task::spawn_blocking(move || work(dir, registry)).await;
    let done = done.map_err(|_| Problem::new(Kind::Busy, "it could not be worked out; try again"))?;
    done.map_err(|error| invalid(&error.to_string()))
}

fn invalid(words: &str) -> Problem {
    Problem::new(Kind::Invalid, words.to_owned())
}

fn range(from: &str, to: &str) -> Result<(Timestamp, Timestamp), Problem> {
    let instant = |name: &str, text: &str| {
        let at = text.parse::<Timestamp>();
        at.map_err(|_| invalid(&format!("{name} is no instant; write one such as 2026-11-24T10:15:00Z")))
    };
    Ok((instant("from", from)?, instant("to", to)?))
}

/// The box around everything that has a place.
fn ground(registry: &Registry) -> (Point, Point) {
    let outlines = registry.site().levels.iter().flat_map(|level| level.outline.iter().flatten().copied());
    let receivers = registry.receivers().iter().map(|receiver| receiver.point);
    let zones = registry.zones().iter().filter_map(|zone| shape_bounds(&zone.shape)).flat_map(|(a, b)| [a, b]);
    bounds(outlines.chain(receivers).chain(zones))
}

/// Millimetres are what is said of places.
fn rounded(metres: f64) -> f64 {
    (metres * 1_000.0).round() / 1_000.0
}

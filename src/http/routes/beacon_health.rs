//! How the registered beacons fare.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::gateway::live::Live;
use crate::health::{BeaconHealth, BeaconState};
use crate::http::app::App;
use crate::http::extract::{Known, NoQuery, Path, Query};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::http::reply::{blocking, json as json_reply};
use crate::http::schema;
use crate::model::BeaconId;
use crate::mqtt::wire::HealthWords;
use crate::registry::{Beacon, Kind};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(beacon_healths)).routes(routes!(beacon_health))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HealthQuery {
    /// Items on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 256, pattern = "^([0-9a-f]{2})*$")]
    cursor: Option<String>,
    /// Only those whose id or device holds this text, in any case.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Only those in that state, or with any problem.
    #[param(inline, value_type = Option<schema::HealthWord>)]
    state: Option<String>,
}

impl Known for HealthQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor", "q", "state"];
}

/// Which beacons are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    AnyProblem,
    State(BeaconState),
}

impl Wanted {
    fn parse(word: Option<&str>) -> Result<Self, Problem> {
        Ok(match word {
            None | Some("") => Self::All,
            Some("problem") => Self::AnyProblem,
            Some(word) => {
                let state = BeaconState::ALL.into_iter().find(|state| state.as_str() == word);
                let words: Vec<&str> = BeaconState::ALL.iter().map(|state| state.as_str()).collect();
                let help = || Problem::malformed(format!("state must be problem or one of {}", words.join(", ")));
                Self::State(state.ok_or_else(help)?)
            }
        })
    }

    fn wants(self, states: &[BeaconState]) -> bool {
        match self {
            Self::All => true,
            Self::AnyProblem => states.iter().any(|state| BeaconState::PROBLEMS.contains(state)),
            Self::State(state) => states.contains(&state),
        }
    }
}

/// How beacons fare, a page at a time
///
/// In the order of their ids, with how many are in which state. A beacon with two problems counts for both.
#[utoipa::path(get, path = "/api/v1/beacon-health", tag = "health", params(HealthQuery),
    responses((status = 200, description = "A page", body = schema::BeaconHealthList)))]
async fn beacon_healths(State(app): State<App>, Query(query): Query<HealthQuery>) -> Result<Response, Problem> {
    let page = Page::new(query.limit, query.cursor.as_deref(), query.q.as_deref())?;
    let wanted = Wanted::parse(query.state.as_deref())?;
    blocking(move || {
        let view = app.services.registrar.view();
        let beacons = view.registry.beacons();
        let order = app.orders.of(view.revision, &view.registry, Kind::Beacon);
        let live = &app.services.live;
        let states: Vec<Vec<BeaconState>> = beacons.iter().map(|beacon| states(beacon, live)).collect();
        let mut counts: BTreeMap<&str, u64> = BeaconState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
        states.iter().flatten().for_each(|state| *counts.entry(state.as_str()).or_default() += 1);
        let keeps = |at: u32| {
            let beacon = &beacons[at as usize];
            let device = beacon.device.as_ref().map_or("", |device| device.as_str());
            wanted.wants(&states[at as usize]) && page.matches(&[beacon.id.as_str(), device])
        };
        let found = page.of(&order, |at| beacons[at as usize].id.as_str(), Some(&keeps));
        let items: Vec<Value> = found.items.iter().map(|at| shown(&beacons[*at as usize], live)).collect();
        let body = json!({
            "items": items, "total": found.total, "next": found.next, "revision": view.revision, "counts": counts,
        });
        Ok(json_reply(StatusCode::OK, &body))
    })
    .await
}

/// How a beacon fares
#[utoipa::path(get, path = "/api/v1/beacons/{id}/health", tag = "health",
    params(("id" = schema::Id, Path, description = "The beacon")),
    responses((status = 200, description = "So", body = schema::BeaconHealth), (status = 404)))]
async fn beacon_health(State(app): State<App>, Path(id): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let registry = app.services.registrar.view().registry;
    let at = BeaconId::new(&id).ok().and_then(|id| registry.beacon(&id));
    let at = at.ok_or_else(|| {
        let id: String = id.chars().take(64).collect();
        Problem::not_found(format_args!("beacon \"{id}\""))
    })?;
    Ok(json_reply(StatusCode::OK, &shown(&registry.beacons()[at.get()], &app.services.live)))
}

/// The state of a beacon that was never heard.
fn unheard(beacon: &Beacon) -> BeaconState {
    if beacon.device.is_none() { BeaconState::NeverHeard } else { BeaconState::NotHeard }
}

/// Everything that a beacon counts for.
fn states(beacon: &Beacon, live: &Live) -> Vec<BeaconState> {
    let Some(health) = live.beacon_health(&beacon.id) else { return vec![unheard(beacon)] };
    let problems: Vec<BeaconState> = health.problems.iter().collect();
    if problems.is_empty() { vec![BeaconState::Ok] } else { problems }
}

/// As it is published, with null for what is not known.
fn shown(beacon: &Beacon, live: &Live) -> Value {
    let health = live.beacon_health(&beacon.id);
    let words = |health: &BeaconHealth| serde_json::to_value(HealthWords::of(health)).unwrap_or_default();
    let mut shown =
        health.map_or_else(|| json!({"state": unheard(beacon).as_str(), "problems": []}), |known| words(&known));
    shown["beacon"] = json!(beacon.id);
    shown["device"] = json!(beacon.device);
    shown["level"] = json!(beacon.fixed.map(|(_, level)| level.0));
    for name in ["since", "last_heard", "battery", "interval", "moved"] {
        if shown.get(name).is_none() {
            shown[name] = Value::Null;
        }
    }
    shown
}

//! The beacons heard now, to register the one in one's hand.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::extract::NoQuery;
use crate::http::reply::json as json_reply;
use crate::http::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(start, nearby, stop))
}

/// Listens for five minutes
///
/// Also to beacons that are not registered. Kept in memory only.
#[utoipa::path(post, path = "/api/v1/nearby", tag = "live",
    responses((status = 200, description = "It listens", body = schema::NearbyStarted)))]
async fn start(State(app): State<App>, _query: NoQuery) -> Response {
    let until = app.services.live.start_nearby(app.services.registrar.now());
    json_reply(StatusCode::OK, &json!({ "until": until }))
}

/// The beacons heard now, strongest first
#[utoipa::path(get, path = "/api/v1/nearby", tag = "live", security(("token" = ["editor"])),
    responses((status = 200, description = "They", body = schema::Nearby)))]
async fn nearby(State(app): State<App>, _query: NoQuery) -> Response {
    let registrar = &app.services.registrar;
    json_reply(StatusCode::OK, &app.services.live.nearby(registrar.now(), &registrar.view().registry))
}

/// Listens no more, and forgets what was heard
#[utoipa::path(delete, path = "/api/v1/nearby", tag = "live",
    responses((status = 204, description = "It is forgotten")))]
async fn stop(State(app): State<App>, _query: NoQuery) -> Response {
    app.services.live.stop_nearby();
    StatusCode::NO_CONTENT.into_response()
}

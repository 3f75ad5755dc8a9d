//! Whether it runs.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::reply::json;
use crate::http::schema;
use crate::metrics;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
        .routes(routes!(document))
}

/// Whether the gateway answers
#[utoipa::path(get, path = "/healthz", tag = "health", security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")))]
async fn health() -> &'static str {
    "ok"
}

/// Whether the gateway is ready: events are kept
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "It is", body = schema::Ready),
        (status = 503, description = "It is not, or it is busy", body = schema::Ready),
    ))]
async fn ready(State(app): State<App>) -> Response {
    let status = app.services.live.latest_status();
    let failing = status.as_ref().and_then(|status| status["store"]["failing"].as_str());
    let reason = failing.map(|why| format!("nothing can be stored: {why}"));
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(code, &json!({"ready": reason.is_none(), "reason": reason}))
}

/// Metrics
///
/// In the `OpenMetrics` format, for Prometheus and what reads the same. docs/monitoring.md has them all.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, description = "All of them", body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(app): State<App>) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, metrics::MEDIA_TYPE)], app.services.metrics()).into_response()
}

/// This document
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
async fn document(State(app): State<App>) -> Response {
    (StatusCode::OK, [(CONTENT_TYPE, "application/json")], app.document.clone()).into_response()
}

//! The HTTP API and the web UI.
//!
//! A request passes [`guard`] (limits, the host it names, who asks and whether they may) and reaches its route in [`routes`]. What
//! the routes say of themselves is the `OpenAPI` document ([`openapi`]); who may call them is read from that document. What is not
//! what was asked for is a [`problem`].

pub mod app;
pub mod auth;
pub(crate) mod base64;
mod conditions;
mod extract;
mod guard;
mod headers;
mod hosts;
mod limits;
pub mod openapi;
mod page;
mod patient;
mod peer;
pub mod problem;
mod reply;
mod routes;
mod schema;
mod server;
mod services;
mod state;
mod ui;

use std::path::Path;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate as _, SizeAbove};

pub use auth::Role;
pub use peer::Peer;
pub use server::{Bound, SOCKET, ServeError, bind};
pub use services::{Delivery, Services};

use crate::config::HttpConfig;
use app::App;
use openapi::Document;
use problem::{Kind, Problem};

/// Answers shorter than this are not compressed: one packet either way.
const COMPRESSED_FROM: u64 = 1_400;

/// Listens where it is told to, and in `data_dir`; serves until `shutdown` says so.
///
/// # Errors
/// Where the certificate cannot be used.
pub async fn serve(
    services: Services,
    config: &HttpConfig,
    data_dir: Option<&Path>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    serve_on(bind(config, data_dir).await?, services, config, shutdown).await;
    Ok(())
}

/// As [`serve`], where it listens already.
pub async fn serve_on(bound: Bound, services: Services, config: &HttpConfig, shutdown: watch::Receiver<bool>) {
    let router = router(services, config.names.clone(), bound.url(), shutdown.clone());
    bound.serve(router, shutdown).await;
}

/// Everything that is answered, without the connections: requests carry their [`Peer`]. `names` and `base` are the DNS names and the
/// URL that it is reached by.
pub fn router(services: Services, names: Vec<String>, base: Option<String>, shutdown: watch::Receiver<bool>) -> Router {
    let (routes, permissions, document) = described();
    let document = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let app = App::new(services, names, base, permissions, document, shutdown);
    let large = SizeAbove::new(COMPRESSED_FROM);
    let predicate = large.and(NotForContentType::IMAGES).and(NotForContentType::SSE);
    routes
        .route("/", get(page))
        .route("/ui/{*path}", get(page))
        .fallback(|| async { Problem::not_found("such page") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::MethodNotAllowed, "see Allow for what can be done with it")
        })
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(CompressionLayer::new().gzip(true).compress_when(predicate))
        .layer(from_fn(headers::secure))
        .with_state(app)
}

/// The `OpenAPI` document.
pub fn document() -> serde_json::Value {
    described().2
}

fn described() -> (Router<App>, openapi::Permissions, serde_json::Value) {
    let described = utoipa_axum::router::OpenApiRouter::with_openapi(<Document as utoipa::OpenApi>::openapi());
    let (routes, document) = described.merge(routes::all()).split_for_parts();
    let (document, permissions) = openapi::complete(document);
    (routes, permissions, document)
}

async fn page(request: Request) -> Response {
    ui::file(request.uri().path(), request.headers()).into_response()
}

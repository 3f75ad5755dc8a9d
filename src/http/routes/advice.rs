//! What is allowed, but unwise: zones that are smaller than the accuracy there, and the like.

use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::records;
use crate::config::{Diagnostic, advise};
use crate::http::app::App;
use crate::http::extract::{NoQuery, Path};
use crate::http::problem::Problem;
use crate::http::reply::{blocking, json as json_reply};
use crate::http::schema;
use crate::registry::Kind;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(advice)).routes(routes!(zone_advice))
}

/// What is unwise in the registry
#[utoipa::path(get, path = "/api/v1/advice", tag = "registry",
    responses((status = 200, description = "All of it", body = schema::AdviceList)))]
async fn advice(State(app): State<App>, _query: NoQuery) -> Result<Response, Problem> {
    let all = current(app).await?;
    Ok(answer(all.iter()))
}

/// What is unwise of a zone
#[utoipa::path(get, path = "/api/v1/zones/{id}/advice", tag = "registry",
    params(("id" = schema::Id, Path, description = "Its id")),
    responses((status = 200, description = "All of it", body = schema::AdviceList), (status = 404)))]
async fn zone_advice(State(app): State<App>, Path(id): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let key = records::key(Kind::Zone, &id)?;
    if app.services.registrar.view().registry.record(&key).is_none() {
        return Err(Problem::not_found(key));
    }
    let (all, record) = (current(app).await?, key.to_string());
    Ok(answer(all.iter().filter(|one| one.record.as_ref() == Some(&record))))
}

/// The advice on the present registry; worked out once for each revision.
async fn current(app: App) -> Result<Arc<Vec<Diagnostic>>, Problem> {
    blocking(move || {
        let view = app.services.registrar.view();
        // Who asks at the same time waits, rather than works it out again.
        let mut cached = app.advice.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((revision, advice)) = &*cached
            && *revision == view.revision
        {
            return Ok(Arc::clone(advice));
        }
        let advice = Arc::new(advise(&view.registry, FilePath::new("")));
        *cached = Some((view.revision, Arc::clone(&advice)));
        Ok(advice)
    })
    .await
}

fn answer<'a>(advice: impl Iterator<Item = &'a Diagnostic>) -> Response {
    let items: Vec<Value> =
        advice.map(|one| json!({"record": one.record, "message": one.message, "help": one.help})).collect();
    json_reply(StatusCode::OK, &json!({ "items": items }))
}

//! Who changed what, and how to undo it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::extract::{Known, NoQuery, Path, Query};
use crate::http::page::Page;
use crate::http::problem::Problem;
use crate::http::reply::{Who, blocking, json as json_reply, with_revision};
use crate::http::schema;
use crate::registrar::Change;

/// Most things that one change is shown with.
const MOST_ITEMS: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(read)).routes(routes!(undo))
}

/// Which page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Changes on the page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// Where the page begins: `next` of the page before.
    #[param(max_length = 20, pattern = "^[0-9]*$")]
    cursor: Option<String>,
}

impl Known for HistoryQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor"];
}

/// Changes, newest first
#[utoipa::path(get, path = "/api/v1/history", tag = "history", params(HistoryQuery),
    responses((status = 200, description = "A page", body = schema::ChangeList)))]
async fn list(State(app): State<App>, Query(query): Query<HistoryQuery>) -> Result<Response, Problem> {
    let limit = Page::new(query.limit, None, None)?.limit();
    let before = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        None => None,
        Some(cursor) => {
            let revision = cursor.parse::<u64>().ok().filter(|_| cursor.len() <= 20);
            Some(revision.ok_or_else(|| Problem::malformed("cursor is none that was given out; begin anew"))?)
        }
    };
    blocking(move || {
        let mut changes = app.services.registrar.history(before, limit + 1)?;
        let has_more = changes.len() > limit;
        changes.truncate(limit);
        let next = changes.last().filter(|_| has_more).map(|last| last.revision.to_string());
        let items: Vec<Value> = changes.iter().map(shown).collect();
        Ok(json_reply(StatusCode::OK, &json!({"items": items, "next": next})))
    })
    .await
}

fn shown(change: &Change) -> Value {
    json!({
        "revision": change.revision,
        "at": change.at,
        "by": change.by,
        "action": change.action,
        "counts": change.counts,
        "items": change.items.iter().take(MOST_ITEMS).collect::<Vec<_>>(),
        "undoes": change.undoes,
    })
}

/// One change, with what there was before and after
#[utoipa::path(get, path = "/api/v1/history/{revision}", tag = "history",
    params(("revision" = u64, Path, description = "The revision that it made")),
    responses((status = 200, description = "It", body = schema::Change), (status = 404)))]
async fn read(State(app): State<App>, Path(revision): Path<u64>, _query: NoQuery) -> Result<Response, Problem> {
    blocking(move || {
        let change = app.services.registrar.change_of(revision)?;
        Ok(json_reply(StatusCode::OK, &shown(&change)))
    })
    .await
}

/// Takes a change back
///
/// As a change of its own, where nothing of it was changed again since.
#[utoipa::path(post, path = "/api/v1/history/{revision}/undo", tag = "history",
    params(("revision" = u64, Path, description = "The revision that it made")),
    responses(
        (status = 200, description = "The change that took it back", body = schema::Change,
            headers(("Beaconfence-Revision" = u64, description = "The revision that this made"))),
        (status = 404), (status = 409), (status = 422),
    ))]
async fn undo(
    State(app): State<App>,
    who: Who,
    Path(revision): Path<u64>,
    _query: NoQuery,
) -> Result<Response, Problem> {
    let applied = app.services.registrar.undo(revision, &who.author()).await?;
    let nothing = || Change { revision: applied.revision, undoes: Some(revision), ..Change::default() };
    let change = applied.change.as_ref().map_or_else(nothing, |change| change.as_ref().clone());
    Ok(with_revision(json_reply(StatusCode::OK, &shown(&change)), &applied))
}

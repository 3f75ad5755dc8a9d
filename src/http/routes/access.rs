//! Tokens, sessions, and links that sign in.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::app::App;
use crate::http::auth::{COOKIE, SESSION_LIFE, Way};
use crate::http::extract::{BODY, Body, NoQuery, Path};
use crate::http::hosts;
use crate::http::peer::Peer;
use crate::http::problem::{Fault, Kind, Problem};
use crate::http::reply::{Who, json as json_reply};
use crate::http::schema;
use crate::registrar::{Role, TokenError, TokenInfo};

/// How long a link may be used, where nothing is said.
const LINK_MINUTES: u64 = 10;
/// And at most.
const MOST_LINK_MINUTES: u64 = 24 * 60;

const JSON: [&str; 1] = ["application/json"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign_in, who_am_i, sign_out))
        .routes(routes!(make_link))
        .routes(routes!(list_tokens, make_token))
        .routes(routes!(revoke_token))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    token: Option<String>,
    code: Option<String>,
}

/// Signs a browser in
///
/// With a token, or with the code of a link, which can be used once.
#[utoipa::path(post, path = "/api/v1/session", tag = "access", security(()),
    request_body(content = schema::SignIn, content_type = "application/json"),
    responses(
        (status = 200, description = "Signed in", body = schema::SignedIn,
            headers(("Set-Cookie" = String, description = "The session"))),
        (status = 401), (status = 403),
    ))]
async fn sign_in(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    _query: NoQuery,
    headers: HeaderMap,
    uri: Uri,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    app.limits.sign_in(&peer)?;
    hosts::check_origin(&headers, &uri, &peer, false)?;
    let SignIn { token, code } = body.expect(&JSON)?.json()?;
    let unknown = |what: &str| Problem::new(Kind::Unauthenticated, what);
    let (name, role, held_by) = match (token, code) {
        (Some(token), None) => {
            let held = app.services.holder(token.trim());
            let held = held.ok_or_else(|| unknown("the token is not known; it may have been revoked"))?;
            (held.name.clone(), held.role, Some((held.name, held.created_at)))
        }
        (None, Some(code)) => {
            let taken = app.services.codes.take(&code);
            let taken = taken.ok_or_else(|| unknown("the link was used already, or is too old; make another"))?;
            let role = app.services.role_now(taken.token.as_ref(), taken.role);
            (taken.name, role.ok_or_else(|| unknown("whoever made the link may not any more"))?, taken.token)
        }
        _ => return Err(Problem::faults(vec![Fault::new("give either a token or a code", None)])),
    };
    let id = app.sessions.open(name.clone(), role, held_by);
    let body = signed_in(&app, &name, role, true);
    Ok(with_cookie(json_reply(StatusCode::OK, &body), &id, None, &peer))
}

fn signed_in(app: &App, name: &str, role: Role, is_session: bool) -> Value {
    let expires_at = is_session.then(|| app.services.registrar.now() + SESSION_LIFE);
    json!({"name": name, "role": role, "expires_at": expires_at})
}

/// A response that sets the session's cookie. The session ends on the gateway; the cookie, with the browser.
fn with_cookie(mut response: Response, id: &str, max_age: Option<u32>, peer: &Peer) -> Response {
    let secure = if peer.is_tls() { "; Secure" } else { "" };
    let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let cookie = format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict{secure}{max_age}");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

/// Who has signed in
#[utoipa::path(get, path = "/api/v1/session", tag = "access",
    responses((status = 200, description = "You", body = schema::SignedIn)))]
async fn who_am_i(State(app): State<App>, who: Who, _query: NoQuery) -> Response {
    let is_session = matches!(who.0.way, Way::Session(_));
    json_reply(StatusCode::OK, &signed_in(&app, &who.0.name, who.0.role, is_session))
}

/// Signs out
#[utoipa::path(delete, path = "/api/v1/session", tag = "access", security(("token" = ["viewer"])),
    responses((status = 204, description = "Signed out")))]
async fn sign_out(State(app): State<App>, who: Who, Extension(peer): Extension<Peer>, _query: NoQuery) -> Response {
    if let Way::Session(digest) = &who.0.way {
        app.sessions.close(digest);
    }
    with_cookie(StatusCode::NO_CONTENT.into_response(), "", Some(0), &peer)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    role: Role,
    minutes: Option<u64>,
}

/// Makes a link that signs in whoever opens it first
#[utoipa::path(post, path = "/api/v1/session/links", tag = "access", security(("token" = ["admin"])),
    request_body(content = schema::NewLink, content_type = "application/json"),
    responses((status = 201, description = "The link", body = schema::Link)))]
async fn make_link(
    State(app): State<App>,
    who: Who,
    Extension(peer): Extension<Peer>,
    _query: NoQuery,
    headers: HeaderMap,
    uri: Uri,
    body: Body<BODY>,
) -> Result<Response, Problem> {
    let NewLink { role, minutes } = body.expect(&JSON)?.json()?;
    let minutes = minutes.unwrap_or(LINK_MINUTES);
    if !(1..=MOST_LINK_MINUTES).contains(&minutes) {
        let message = format!("minutes is {minutes}, but must lie between 1 and {MOST_LINK_MINUTES}");
        return Err(Problem::faults(vec![Fault::new(message, None)]));
    }
    let base = match &peer {
        Peer::Tcp { tls, .. } => {
            let scheme = if *tls { "https" } else { "http" };
            hosts::named(&headers, &uri).map(|host| format!("{scheme}://{host}"))
        }
        Peer::Local { .. } => app.base.clone(),
    };
    let Some(base) = base else {
        let problem = "the gateway listens on no address; see [http] in gateway.toml";
        return Err(Problem::busy(problem));
    };
    let life = Duration::from_secs(minutes * 60);
    let code = app.services.codes.make(&who.0.name, role, who.0.token.clone(), life);
    let expires_at = app.services.registrar.now() + life;
    Ok(json_reply(StatusCode::CREATED, &json!({"url": format!("{base}/#code={code}"), "expires_at": expires_at})))
}

/// Who may come in
#[utoipa::path(get, path = "/api/v1/tokens", tag = "access", security(("token" = ["admin"])),
    responses((status = 200, description = "All tokens, without their secrets", body = schema::TokenList)))]
async fn list_tokens(State(app): State<App>, _query: NoQuery) -> Response {
    let items: Vec<Value> = app.services.registrar.tokens().list().iter().map(shown).collect();
    json_reply(StatusCode::OK, &json!({ "items": items }))
}

fn shown(token: &TokenInfo) -> Value {
    json!({
        "name": token.name, "role": token.role, "created_at": token.created_at, "created_by": token.created_by,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    role: Role,
}

/// Makes a token
///
/// Its secret is shown this once, and not kept.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "access", security(("token" = ["admin"])),
    request_body(content = schema::NewToken, content_type = "application/json"),
    responses((status = 201, description = "The token", body = schema::MadeToken), (status = 409)))]
async fn make_token(State(app): State<App>, who: Who, _query: NoQuery, body: Body<BODY>) -> Result<Response, Problem> {
    let NewToken { name, role } = body.expect(&JSON)?.json()?;
    let registrar = &app.services.registrar;
    let token = registrar.tokens().add(&name, role, &who.author(), registrar.now()).await?;
    Ok(json_reply(StatusCode::CREATED, &json!({"name": name, "role": role, "token": token})))
}

/// Revokes a token
///
/// It lets nobody in any more, and its sessions end.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "access", security(("token" = ["admin"])),
    params(("name" = schema::TokenName, Path, description = "Its name")),
    responses((status = 204, description = "It is revoked"), (status = 404)))]
async fn revoke_token(State(app): State<App>, Path(name): Path<String>, _query: NoQuery) -> Result<Response, Problem> {
    let revoked = app.services.registrar.tokens().revoke(&name).await;
    app.sessions.close_all_of(&name);
    revoked?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let detail = error.to_string();
        match error {
            TokenError::Exists(_) => Self::new(Kind::Exists, detail),
            TokenError::NotFound(_) => Self::new(Kind::NotFound, detail),
            TokenError::Name | TokenError::TooMany => Self::faults(vec![Fault::new(detail, None)]),
            TokenError::NotDurable => Self::new(Kind::NotDurable, detail),
        }
    }
}

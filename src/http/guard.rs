//! What every request passes before it is answered: limits, the host it names, who asks and whether they may.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::auth::{self, Caller, Way};
use super::extract::header;
use super::headers::is_ui;
use super::hosts;
use super::openapi::Access;
use super::peer::Peer;
use super::problem::{Kind, Problem};

/// An answer begins within this time. The longest is the import of hundreds of thousands of records.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);

/// Lets a request through, with its [`Caller`], or answers it.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match admit(&app, &request) {
        Err(problem) => return problem.into_response(),
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
    }
    match tokio::time::timeout(ANSWERS_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::busy("this takes too long").into_response(),
    }
}

/// Who asks, where that matters.
fn admit(app: &App, request: &Request) -> Result<Option<Caller>, Problem> {
    let peer = request.extensions().get::<Peer>().ok_or_else(|| Problem::new(Kind::Internal, "nobody asks"))?;
    app.limits.request(peer)?;
    let (headers, uri, method) = (request.headers(), request.uri(), request.method());
    hosts::check(headers, uri, peer, &app.names)?;
    let access = match request.extensions().get::<MatchedPath>() {
        // The routes answer that there is no such page.
        None => return Ok(None),
        Some(path) if is_ui(path.as_str()) => return Ok(None),
        // A route that the document does not know is nobody's.
        Some(path) => app.permissions.of(path.as_str(), method).map_err(|_| Problem::not_found("such page"))?,
    };
    let role = match access {
        // The routes answer that this cannot be done with it.
        None => return Ok(None),
        Some(Access::Open) => return Ok(caller(app, headers, peer).ok()),
        Some(Access::Role(role)) => role,
    };
    let caller = caller(app, headers, peer)?;
    if let Way::Session(_) = caller.way
        && !matches!(*method, Method::GET | Method::HEAD)
    {
        hosts::check_origin(headers, uri, peer, true)?;
    }
    if caller.role < role {
        let (is, takes) = (caller.role.as_str(), role.as_str());
        return Err(Problem::new(Kind::Forbidden, format!("this takes the role {takes}; you have {is}")));
    }
    Ok(Some(caller))
}

/// Who asks. A token counts before a cookie: whoever sends one means it.
fn caller(app: &App, headers: &HeaderMap, peer: &Peer) -> Result<Caller, Problem> {
    if let Some(caller) = Caller::of_peer(peer) {
        return Ok(caller);
    }
    let nobody = |detail: &str| Err(Problem::new(Kind::Unauthenticated, detail));
    if headers.contains_key(AUTHORIZATION) {
        let said = header(headers, AUTHORIZATION).unwrap_or("");
        let token = match said.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return nobody("send Authorization: Bearer TOKEN"),
        };
        return match app.services.holder(token) {
            Some(token) => Ok(Caller {
                role: token.role,
                way: Way::Token,
                token: Some((token.name.clone(), token.created_at)),
                name: token.name,
            }),
            None => nobody("the token is not known; it may have been revoked"),
        };
    }
    let Some(id) = cookie(headers) else { return nobody("send a token, or sign in") };
    let Some((digest, session)) = app.sessions.find(id) else { return nobody("the session has ended; sign in again") };
    let Some(role) = app.services.role_now(session.token.as_ref(), session.role) else {
        app.sessions.close(&digest);
        return nobody("the token that the session was opened with was revoked; sign in again");
    };
    Ok(Caller { name: session.name, role, way: Way::Session(digest), token: session.token })
}

/// The session's cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find_map(|(name, value)| (name == auth::COOKIE).then_some(value))
}

//! Who may do what.

use serde_json::json;

use beaconfence::http::Peer;
use beaconfence::registrar::Role;

use crate::api::{Api, request};
use crate::document::operations;

/// What an operation takes, read from the document.
fn role_of(operation: &serde_json::Value) -> Option<Role> {
    let said = operation["security"].as_array().unwrap();
    said.first().map(|one| one["token"][0].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn every_route_lets_in_those_whom_the_document_names_and_nobody_else() {
    let document = beaconfence::http::document();
    let mut open = Vec::new();
    for (method, path, operation) in operations(&document) {
        // Anew for each: an operation may revoke, or sign out.
        let api = Api::new().await;
        let concrete = path
            .replace("{id}", "nobody")
            .replace("{ordinal}", "99")
            .replace("{revision}", "9999")
            .replace("{device}", "nobody")
            .replace("{name}", "nobody")
            .replace("{file}", "site.toml");
        assert!(!concrete.contains('{'), "{path} has a parameter that this test does not know");
        let role = role_of(operation);
        let anonymous = api.with(&method, &concrete, &[], "").await;
        let Some(role) = role else {
            open.push(format!("{method} {path}"));
            assert_ne!(anonymous.status, 403, "{method} {path}");
            continue;
        };
        assert_eq!(anonymous.status, 401, "{method} {path}");
        assert_eq!(anonymous.problem(), "unauthenticated");
        assert!(anonymous.header("www-authenticate").is_some_and(|how| how.starts_with("Bearer")));
        let stranger = format!("bf_{}", "A".repeat(43));
        assert_eq!(api.call(&method, &concrete, &stranger, "").await.status, 401, "{method} {path}");
        // The stream does not end by itself.
        if path.ends_with("/stream") {
            api.shutdown.send(true).unwrap();
        }
        for (held, token) in [(Role::Viewer, &api.viewer), (Role::Editor, &api.editor), (Role::Admin, &api.admin)] {
            let answer = api.call(&method, &concrete, token, "").await;
            let is_refused = answer.status == 403 || answer.status == 401;
            assert_eq!(is_refused, held < role, "{method} {path} as {held}: {}", answer.status);
            if answer.status == 403 {
                assert_eq!(answer.problem(), "forbidden");
            }
            let documented = operation["responses"].get(answer.status.as_str());
            assert!(documented.is_some(), "{method} {path} as {held}: {} is not documented", answer.status);
        }
    }
    assert_eq!(open, ["POST /api/v1/session", "GET /healthz", "GET /readyz"]);
}

#[tokio::test]
async fn the_ui_and_what_is_nowhere_need_no_token_but_tell_nothing() {
    let api = Api::new().await;
    let page = api.with("GET", "/", &[], "").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
    let again = api.with("GET", "/", &[("if-none-match", page.header("etag").unwrap())], "").await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    for path in ["/ui/nothing.js", "/ui/../Cargo.toml", "/api/v1/nothing", "/api/v2/zones", "/nothing"] {
        let answer = api.with("GET", path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (404, "not-found"), "{path}");
    }
    let wrong = api.with("DELETE", "/api/v1/live", &[], "").await;
    assert_eq!((wrong.status.as_u16(), wrong.problem().as_str()), (405, "method-not-allowed"));
    assert!(wrong.header("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_in_check() {
    let api = Api::new().await;
    for (path, token) in [("/", ""), ("/healthz", ""), ("/nothing", ""), ("/api/v1/site", ""), ("/api/v1/site", "yes")]
    {
        let token = if token.is_empty() { String::new() } else { api.viewer.clone() };
        let answer = api.call("GET", path, &token, "").await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"), "{path}");
        let cache = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(cache), "{path}");
    }
}

#[tokio::test]
async fn a_request_for_another_host_is_refused_whoever_asks() {
    let api = Api::new().await;
    let bearer = format!("Bearer {}", api.admin);
    for host in ["evil.example", "10.0.0.2:8090"] {
        let headers = [("host", host), ("authorization", bearer.as_str())];
        let answer = api.with("GET", "/api/v1/site", &headers, "").await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (421, "wrong-host"), "{host}");
    }
    for host in ["10.0.0.1:8090", "GATEWAY.example", "localhost:8090"] {
        let headers = [("host", host), ("authorization", bearer.as_str())];
        assert_eq!(api.with("GET", "/api/v1/site", &headers, "").await.status, 200, "{host}");
    }
}

/// Signs in with that body; the cookie.
async fn sign_in(api: &Api, body: &serde_json::Value) -> String {
    let headers = [("content-type", "application/json"), ("origin", "https://gateway.example")];
    let answer = api.with("POST", "/api/v1/session", &headers, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

const ORIGIN: (&str, &str) = ("origin", "https://gateway.example");

#[tokio::test]
async fn a_browser_signs_in_and_out_with_a_token() {
    let api = Api::new().await;
    let cookie = sign_in(&api, &json!({"token": api.editor})).await;
    let who = api.with("GET", "/api/v1/session", &[("cookie", &cookie)], "").await.json();
    assert_eq!((who["name"].as_str(), who["role"].as_str()), (Some("editor"), Some("editor")));
    assert_eq!(who["expires_at"], "2026-01-01T22:00:00.000Z");
    let out = api.with("DELETE", "/api/v1/session", &[("cookie", &cookie), ORIGIN], "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(api.with("GET", "/api/v1/session", &[("cookie", &cookie)], "").await.status, 401);
}

#[tokio::test]
async fn a_foreign_page_can_change_nothing_with_the_cookie() {
    let api = Api::new().await;
    let cookie = sign_in(&api, &json!({"token": api.editor})).await;
    let device = json!({"id": "csrf"}).to_string();
    let json = ("content-type", "application/json");
    let with = async |origin: Option<&str>| {
        let mut headers = vec![("cookie", cookie.as_str()), json];
        headers.extend(origin.map(|origin| ("origin", origin)));
        api.with("POST", "/api/v1/devices", &headers, &device).await
    };
    for origin in [None, Some("https://evil.example"), Some("null"), Some("http://gateway.example")] {
        let answer = with(origin).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (403, "forbidden"), "{origin:?}");
    }
    assert_eq!(with(Some("https://gateway.example")).await.status, 201);
    // Nor can it sign the browser in as somebody else.
    let body = json!({"token": api.viewer}).to_string();
    let foreign = api.with("POST", "/api/v1/session", &[json, ("origin", "https://evil.example")], &body).await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let api = Api::new().await;
    let cookie = sign_in(&api, &json!({"token": api.viewer})).await;
    assert_eq!(api.with("GET", "/api/v1/site", &[("cookie", &cookie)], "").await.status, 200);
    assert_eq!(api.call("DELETE", "/api/v1/tokens/viewer", &api.admin, "").await.status, 204);
    assert_eq!(api.with("GET", "/api/v1/site", &[("cookie", &cookie)], "").await.status, 401);
    assert_eq!(api.call("GET", "/api/v1/site", &api.viewer, "").await.status, 401);
    // A token of the same name is another.
    let made = api.call("POST", "/api/v1/tokens", &api.admin, r#"{"name": "viewer", "role": "admin"}"#).await;
    assert_eq!(made.status, 201);
    assert_eq!(api.with("GET", "/api/v1/site", &[("cookie", &cookie)], "").await.status, 401);
}

#[tokio::test]
async fn a_link_signs_in_once() {
    let api = Api::new().await;
    let made = api.call("POST", "/api/v1/session/links", &api.admin, r#"{"role": "editor", "minutes": 5}"#).await;
    assert_eq!(made.status, 201);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    let code = url.strip_prefix("https://gateway.example/#code=").unwrap();
    let cookie = sign_in(&api, &json!({ "code": code })).await;
    let who = api.with("GET", "/api/v1/session", &[("cookie", &cookie)], "").await.json();
    assert_eq!(who["role"], "editor");
    let json = [("content-type", "application/json")];
    let body = json!({ "code": code }).to_string();
    assert_eq!(api.with("POST", "/api/v1/session", &json, &body).await.status, 401);
    let code = api.services.one_time_code(Role::Admin);
    sign_in(&api, &json!({ "code": code })).await;
    // Whoever made the link may no more: nor may those who have used it.
    assert_eq!(api.call("DELETE", "/api/v1/tokens/admin", &api.admin, "").await.status, 204);
    assert_eq!(api.with("GET", "/api/v1/session", &[("cookie", &cookie)], "").await.status, 401);
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let api = Api::new().await;
    let json = [("content-type", "application/json")];
    let mut refused = None;
    for _ in 0..40 {
        let answer = api.with("POST", "/api/v1/session", &json, r#"{"code": "guess"}"#).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let refused = refused.expect("forty guesses were answered");
    assert_eq!(refused.problem(), "too-many-requests");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn over_the_unix_socket_everybody_is_admin_under_their_own_name() {
    let api = Api::new().await;
    let headers = [("content-type", "application/json"), ("host", "whatever")];
    let made = request("POST", "/api/v1/devices", &headers, r#"{"id": "local"}"#);
    assert_eq!(api.send(Peer::Local { uid: 1_000 }, made).await.status, 201);
    let history = api.call("GET", "/api/v1/history", &api.viewer, "").await.json();
    assert_eq!(history["items"][0]["by"], "local:1000");
    let link = request("POST", "/api/v1/session/links", &headers, r#"{"role": "admin"}"#);
    let link = api.send(Peer::Local { uid: 1_000 }, link).await.json();
    assert!(link["url"].as_str().unwrap().starts_with("https://10.0.0.1:8090/#code="));
}

#[tokio::test]
async fn a_token_is_shown_once_and_lets_in_what_it_says() {
    let api = Api::new().await;
    let made = api.call("POST", "/api/v1/tokens", &api.admin, r#"{"name": "till@7", "role": "viewer"}"#).await.json();
    let token = made["token"].as_str().unwrap();
    assert_eq!((token.len(), &token[..3]), (46, "bf_"));
    assert_eq!(api.call("GET", "/api/v1/site", token, "").await.status, 200);
    let list = api.call("GET", "/api/v1/tokens", &api.admin, "").await;
    assert!(!String::from_utf8_lossy(&list.body).contains(&token[3..]));
    let again = api.call("POST", "/api/v1/tokens", &api.admin, r#"{"name": "till@7", "role": "admin"}"#).await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (409, "exists"));
    for body in [r#"{"name": "a/b", "role": "viewer"}"#, r#"{"name": "a", "role": "king"}"#, r#"{"name": "a"}"#] {
        assert_eq!(api.call("POST", "/api/v1/tokens", &api.admin, body).await.status, 422, "{body}");
    }
    assert_eq!(api.call("DELETE", "/api/v1/tokens/till@7", &api.admin, "").await.status, 204);
    assert_eq!(api.call("DELETE", "/api/v1/tokens/till@7", &api.admin, "").await.status, 404);
}

#[tokio::test]
async fn a_flood_from_one_client_is_refused_and_others_go_on() {
    let api = Api::new().await;
    let mut refused = 0;
    for _ in 0..1_500 {
        let answer = api.with("GET", "/healthz", &[], "").await;
        refused += usize::from(answer.status == 429);
    }
    assert!(refused > 0);
    let other = Peer::Tcp { remote: "10.0.0.8:1".parse().unwrap(), local: "10.0.0.1:8090".parse().unwrap(), tls: true };
    assert_eq!(api.send(other, request("GET", "/healthz", &[], "")).await.status, 200);
}

//! The `OpenAPI` document, and what follows from it: who may call what is read from the document itself, so that it cannot say
//! otherwise than what is done.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use super::auth::{COOKIE, Role};
use super::problem::{Kind, MEDIA_TYPE};

/// What is the same for every operation.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "beaconfence",
        description = "Registers what a gateway knows of its store, and tells what happens there.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "registry", description = "The site, its levels, receivers, beacons, devices and zones"),
        (name = "import and export", description = "Many things at once"),
        (name = "history", description = "Who changed what, and how to undo it"),
        (name = "live", description = "What happens now"),
        (name = "access", description = "Tokens and sessions"),
        (name = "health", description = "Whether it runs"),
    ),
    components(schemas(super::problem::Body, super::problem::Fault)),
)]
pub struct Document;

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Those who have that role, or a higher one.
    Role(Role),
}

/// Who may call what: by path, as the routes write it, and method.
#[derive(Debug, Default)]
pub struct Permissions(HashMap<String, HashMap<Method, Access>>);

impl Permissions {
    /// Who may call it. `Err` where the document knows no such path, `Ok(None)` where the path takes no such method.
    ///
    /// # Errors
    /// Where no operation has that path.
    pub fn of(&self, path: &str, method: &Method) -> Result<Option<Access>, UnknownPath> {
        let methods = self.0.get(path).ok_or(UnknownPath)?;
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        Ok(methods.get(method).copied())
    }
}

/// No operation has that path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no operation has that path")]
pub struct UnknownPath;

/// Completes what the routes say of themselves: who may call them, and what is answered to every request alike.
///
/// An operation that says nothing of it takes a viewer to read and an editor to change.
pub fn complete(document: utoipa::openapi::OpenApi) -> (Value, Permissions) {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let mut permissions = Permissions::default();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    document["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token, made by `beaconfence token add` or POST /api/v1/tokens: bf_ and 43 characters.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": "Opened by POST /api/v1/session. Changes must come with an Origin that is this host.",
        },
    });
    for (path, item) in members(&mut document["paths"]) {
        for (method, operation) in members(item) {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let access = access(&method, operation);
            permissions.0.entry(path.clone()).or_default().insert(method, access);
            operation["security"] = match access {
                Access::Open => json!([]),
                Access::Role(role) => json!([{"token": [role.as_str()]}, {"session": [role.as_str()]}]),
            };
            answers(operation, access, path.starts_with("/api/"));
        }
    }
    (document, permissions)
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// What the operation says of itself, as `security(("token" = ["admin"]))` or `security(())`.
fn access(method: &Method, operation: &Value) -> Access {
    let said = match operation["security"].as_array() {
        Some(said) if said.iter().all(|one| one.as_object().is_some_and(Map::is_empty)) => return Access::Open,
        Some(said) => said.first().and_then(|one| one["token"][0].as_str()),
        None => None,
    };
    Access::Role(match said {
        Some("viewer") => Role::Viewer,
        Some("editor") => Role::Editor,
        None if method == Method::GET => Role::Viewer,
        None => Role::Editor,
        // A word that is not known locks out, rather than lets in.
        Some(_) => Role::Admin,
    })
}

/// What every operation may answer beside what it says itself.
fn answers(operation: &mut Value, access: Access, is_api: bool) {
    let has_body = operation.get("requestBody").is_some();
    let has_query = operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["in"] == "query"));
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let mut also = vec![Kind::WrongHost, Kind::TooManyRequests, Kind::Busy];
    if is_api {
        also.push(Kind::Malformed);
    }
    if let Access::Role(_) = access {
        also.extend([Kind::Unauthenticated, Kind::Forbidden]);
    }
    if has_body {
        also.extend([Kind::Malformed, Kind::Timeout, Kind::TooLarge, Kind::UnsupportedMediaType, Kind::Invalid]);
    } else if has_query {
        also.push(Kind::Malformed);
    }
    for kind in also {
        responses.entry(kind.status().as_str()).or_insert_with(|| json!({}));
    }
    for (status, response) in responses.iter_mut() {
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.status().as_str() == status).collect();
        if kinds.is_empty() || response.get("content").is_some() {
            continue;
        }
        if response["description"].as_str().is_none_or(str::is_empty) {
            let names: Vec<String> = kinds.iter().map(|kind| format!("{} (`{}`)", kind.title(), kind.name())).collect();
            response["description"] = json!(names.join("; or: "));
        }
        response["content"] = json!({ MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}} });
        let header = |what: &str, kind: &str| json!({"description": what, "schema": {"type": kind}});
        match status.as_str() {
            "401" => {
                response["headers"]["WWW-Authenticate"] = header("How to sign in", "string");
            }
            "429" | "503" => response["headers"]["Retry-After"] = header("Seconds after which to try again", "integer"),
            _ => {}
        }
    }
    // In the order of their numbers, whoever has said them.
    responses.sort_keys();
}

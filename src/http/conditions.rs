//! What a request expects of the record that it changes (RFC 9110, section 13).

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};

use super::extract::header;
use super::problem::{Kind, Problem};
use crate::registrar::{Expect, View};
use crate::registry::Key;

/// What a PUT expects: that nothing is there, or what is there.
///
/// # Errors
/// 412 where it is otherwise already, 428 where the request does not say.
pub fn of_put(headers: &HeaderMap, view: &View, key: &Key) -> Result<Expect, Problem> {
    if let Some(expect) = matched(headers, view, key)? {
        return Ok(expect);
    }
    let found = view.etag(key);
    match header(headers, IF_NONE_MATCH).map(str::trim) {
        Some("*") if found.is_some() => Err(changed(key, found)),
        Some("*") => Ok(Expect::Absent),
        Some(tags) if tags.split(',').any(|tag| Some(tag.trim()) == found.as_deref()) => Err(changed(key, found)),
        Some(_) if found.is_some() => Err(required(key, found)),
        Some(_) => Ok(Expect::Absent),
        None if found.is_some() => Err(required(key, found)),
        None => Ok(Expect::Absent),
    }
}

/// What a change of something that is there expects.
///
/// # Errors
/// 404 where it is not there, 412 where it is otherwise already, 428 where the request does not say.
pub fn of_change(headers: &HeaderMap, view: &View, key: &Key) -> Result<Expect, Problem> {
    let found = view.etag(key);
    if found.is_none() {
        return Err(Problem::not_found(key));
    }
    matched(headers, view, key)?.ok_or_else(|| required(key, found))
}

/// What `If-Match` says; none where it is not there.
fn matched(headers: &HeaderMap, view: &View, key: &Key) -> Result<Option<Expect>, Problem> {
    let Some(wanted) = headers.get(IF_MATCH) else { return Ok(None) };
    let wanted = wanted.to_str().map_err(|_| Problem::malformed("If-Match is no list of entity tags"))?.trim();
    let found = view.etag(key);
    if wanted == "*" {
        return if found.is_some() { Ok(Some(Expect::Present)) } else { Err(changed(key, None)) };
    }
    match found {
        Some(tag) if wanted.split(',').any(|one| one.trim() == tag) => Ok(Some(Expect::Tagged(tag))),
        found => Err(changed(key, found)),
    }
}

/// 412: it is not what it was.
pub fn changed(key: &Key, etag: Option<String>) -> Problem {
    let detail = match etag {
        Some(_) => format!("{key} is not what it was when it was read; read it again"),
        None => format!("{key} is not there"),
    };
    Problem::new(Kind::Changed, detail).with_etag(etag)
}

fn required(key: &Key, etag: Option<String>) -> Problem {
    let detail = format!("{key} is there; send If-Match with the ETag that it had when it was read");
    Problem::new(Kind::PreconditionRequired, detail).with_etag(etag)
}

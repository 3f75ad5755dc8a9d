//! Parts of requests; where they cannot be read, a [`Problem`] says why.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;

use super::problem::{Kind, Problem};
use crate::config::nearest;

/// Most bytes of an ordinary body.
pub const BODY: usize = 1 << 20;
/// Most bytes of a floor plan.
pub const PLAN_BODY: usize = 10 << 20;
/// Most bytes of an import.
pub const IMPORT_BODY: usize = 64 << 20;

/// A body arrives within this time, whatever its size…
const BODY_TIME: Duration = Duration::from_secs(10);
/// …and as much longer as it takes at this rate, in bytes a second: less than any network has that people work over.
const BODY_RATE: usize = 64 * 1024;

/// The id, or the like, in a path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            // What cannot be an id is the id of nothing.
            Err(_) => Err(Problem::new(Kind::NotFound, "there is nothing by that name")),
        }
    }
}

/// What a query may say.
pub trait Known {
    /// The names of its parameters.
    const NAMES: &'static [&'static str];
}

/// A query. Unknown parameters are errors: a slip in one would silently ask for something else.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Known> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or("");
        for (at, (name, _)) in url::form_urlencoded::parse(query.as_bytes()).enumerate() {
            if !T::NAMES.contains(&name.as_ref()) {
                let short: String = name.chars().take(60).collect();
                let help =
                    if T::NAMES.is_empty() { "there is none here".to_owned() } else { nearest(&short, T::NAMES) };
                return Err(Problem::malformed(format!("the query parameter \"{short}\" is not known; {help}")));
            }
            let earlier = url::form_urlencoded::parse(query.as_bytes()).take(at);
            if earlier.into_iter().any(|(other, _)| other == name) {
                return Err(Problem::malformed(format!("the query parameter \"{name}\" is there twice")));
            }
        }
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::malformed(format!("the query cannot be read: {}", said(&rejection)))),
        }
    }
}

/// No query at all.
#[derive(Debug, Clone, Copy)]
pub struct NoQuery;

#[derive(serde::Deserialize)]
struct Nothing {}

impl Known for Nothing {
    const NAMES: &'static [&'static str] = &[];
}

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::<Nothing>::from_request_parts(parts, state).await.map(|_| Self)
    }
}

fn said(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// A body of at most so many bytes, and what it is said to be.
#[derive(Debug)]
pub struct Body<const MOST: usize> {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type in lower case, without parameters; empty where none is said.
    pub media_type: String,
}

impl<S: Send + Sync, const MOST: usize> FromRequest<S> for Body<MOST> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let headers = request.headers();
        let media_type = media_type(headers);
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity") {
            return Err(Problem::new(Kind::UnsupportedMediaType, "the body must not be compressed"));
        }
        if content_length(headers).is_some_and(|length| length > MOST as u64) {
            return Err(too_large(MOST));
        }
        let bytes = collect(request.into_body(), MOST).await?;
        Ok(Self { bytes, media_type })
    }
}

impl<const MOST: usize> Body<MOST> {
    /// The same, where it is said to be one of these.
    ///
    /// # Errors
    /// 415 otherwise.
    pub fn expect(self, known: &[&str]) -> Result<Self, Problem> {
        if known.contains(&self.media_type.as_str()) {
            return Ok(self);
        }
        let is = if self.media_type.is_empty() { "says nothing" } else { self.media_type.as_str() };
        let detail = format!("Content-Type {is}; send {}", known.join(" or "));
        Err(Problem::new(Kind::UnsupportedMediaType, detail))
    }

    /// Its text.
    ///
    /// # Errors
    /// 400 where it is not UTF-8.
    pub fn text(&self) -> Result<&str, Problem> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(error) => Err(Problem::malformed(format!(
                "the byte at offset {} of the body is not UTF-8; send UTF-8",
                error.valid_up_to()
            ))),
        }
    }

    /// Reads it as JSON.
    ///
    /// # Errors
    /// 400 where it is no JSON, 422 where it is not what is wanted.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = self.text()?;
        serde_json::from_str(text).map_err(|error| {
            let detail = format!("line {}, column {}: {error}", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => Problem::new(Kind::Invalid, error.to_string()),
                _ => Problem::malformed(format!("the body is no JSON; {detail}")),
            }
        })
    }
}

/// What a body is said to be, in lower case and without parameters.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The one value of a header as text; none where it is not there, or cannot be read.
pub fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    header(headers, CONTENT_LENGTH)?.parse().ok()
}

fn too_large(most: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("at most {} MiB are taken here", most >> 20))
}

/// Reads a body that must not be larger, and must not dawdle.
async fn collect(mut body: axum::body::Body, most: usize) -> Result<Bytes, Problem> {
    let begun = tokio::time::Instant::now();
    let mut bytes = BytesMut::new();
    loop {
        let patience = BODY_TIME + Duration::from_secs((bytes.len() / BODY_RATE) as u64);
        let late = || Problem::new(Kind::Timeout, "the body did not arrive in time; send it again");
        let frame = match tokio::time::timeout_at(begun + patience, body.frame()).await {
            Err(_) => return Err(late()),
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Err(error))) => return Err(Problem::malformed(format!("the body breaks off: {error}"))),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > most {
                return Err(too_large(most));
            }
            bytes.extend_from_slice(&data);
        }
    }
}

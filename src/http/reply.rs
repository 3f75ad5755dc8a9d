//! What answers have in common.

use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, ETAG, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::auth::Caller;
use super::conditions;
use super::problem::{Fault, Kind, Problem};
use crate::registrar::{Applied, Author, EditError};

/// The revision that a change has made.
pub const REVISION: HeaderName = HeaderName::from_static("beaconfence-revision");

/// Who asks, for a route that needs to know.
#[derive(Debug)]
pub struct Who(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller.map(Self).ok_or_else(|| Problem::new(Kind::Unauthenticated, "send a token, or sign in"))
    }
}

impl Who {
    /// Whose change it is.
    pub fn author(&self) -> Author {
        Author(self.0.name.clone())
    }
}

/// JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => Problem::new(Kind::Internal, error.to_string()).into_response(),
    }
}

/// The same, with an entity tag.
#[must_use]
pub fn with_etag(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// The same, with the revision that a change has made.
#[must_use]
pub fn with_revision(mut response: Response, applied: &Applied) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(applied.revision));
    response
}

/// Does what blocks where it may.
///
/// # Errors
/// As `work`; 503 where it was broken off.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!("a request was broken off: {error}");
            Err(Problem::new(Kind::Internal, "this is a fault of the gateway; its log says more"))
        }
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        let detail = error.to_string();
        match error {
            EditError::Changed { key, etag } => conditions::changed(&key, etag),
            EditError::Exists(_) => Self::new(Kind::Exists, detail),
            EditError::NotFound(_) | EditError::UnknownRevision(_) => Self::new(Kind::NotFound, detail),
            EditError::InUse { .. } => Self::new(Kind::InUse, detail),
            EditError::ChangedSince { .. } => Self::new(Kind::ChangedSince, detail),
            EditError::Invalid(errors) => {
                Self::faults(errors.iter().map(|error| Fault::new(error.to_string(), None)).collect())
            }
            EditError::SiteId => Self::faults(vec![Fault::new(detail, None)]),
            EditError::Busy | EditError::Overtaken | EditError::Stopping => Self::busy(detail),
            EditError::NotDurable => Self::new(Kind::NotDurable, detail),
            EditError::Unreadable(_) => {
                tracing::error!("{detail}");
                Self::new(Kind::Internal, detail)
            }
        }
    }
}

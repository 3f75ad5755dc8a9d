//! What went wrong, as `application/problem+json` (RFC 9457).

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Diagnostic, Faults};

/// The media type.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Most faults that one answer lists.
const MAX_FAULTS: usize = 1_000;

/// What kinds of things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Broken JSON, or a query that cannot be read.
    Malformed,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Whoever asks may not.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// Nothing is recorded, so there is nothing to look back on.
    NotRecording,
    /// There is such a thing, but it cannot do that.
    MethodNotAllowed,
    /// The request did not arrive in time.
    Timeout,
    /// There is one already.
    Exists,
    /// Others refer to it.
    InUse,
    /// What is to be undone was changed again.
    ChangedSince,
    /// It is not what it was when it was read.
    Changed,
    /// The request is larger than what is taken.
    TooLarge,
    /// The body is of a kind that is not read here.
    UnsupportedMediaType,
    /// The request is meant for somebody else.
    WrongHost,
    /// The body can be read, but says something that cannot be.
    Invalid,
    /// The request must say what it expects.
    PreconditionRequired,
    /// Too many requests.
    TooManyRequests,
    /// This never happens.
    Internal,
    /// The gateway has too much to do, or is stopping.
    Busy,
    /// The change is in effect, but not yet on disk.
    NotDurable,
}

impl Kind {
    /// Its name in the `type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::NotRecording => "not-recording",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::Timeout => "timeout",
            Self::Exists => "exists",
            Self::InUse => "in-use",
            Self::ChangedSince => "changed-since",
            Self::Changed => "changed",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::WrongHost => "wrong-host",
            Self::Invalid => "invalid",
            Self::PreconditionRequired => "precondition-required",
            Self::TooManyRequests => "too-many-requests",
            Self::Internal => "internal",
            Self::Busy => "busy",
            Self::NotDurable => "not-durable",
        }
    }

    /// The status code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound | Self::NotRecording => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Exists | Self::InUse | Self::ChangedSince => StatusCode::CONFLICT,
            Self::Changed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::WrongHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::PreconditionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::NotDurable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Unauthenticated => "Sign in first",
            Self::Forbidden => "This takes a higher role",
            Self::NotFound => "There is no such thing",
            Self::NotRecording => "Nothing is recorded",
            Self::MethodNotAllowed => "This cannot be done with it",
            Self::Timeout => "The request did not arrive in time",
            Self::Exists => "There is one already",
            Self::InUse => "Others refer to it",
            Self::ChangedSince => "It was changed again since",
            Self::Changed => "Somebody else has changed it",
            Self::TooLarge => "The request is too large",
            Self::UnsupportedMediaType => "This kind of content is not read here",
            Self::WrongHost => "The request is for another host",
            Self::Invalid => "The content is not valid",
            Self::PreconditionRequired => "Say which state is to be changed",
            Self::TooManyRequests => "Too many requests",
            Self::Internal => "The gateway has a fault",
            Self::Busy => "The gateway is busy",
            Self::NotDurable => "Changed, but not yet on disk",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 20] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::NotRecording,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Exists,
        Self::InUse,
        Self::ChangedSince,
        Self::Changed,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::WrongHost,
        Self::Invalid,
        Self::PreconditionRequired,
        Self::TooManyRequests,
        Self::Internal,
        Self::Busy,
        Self::NotDurable,
    ];
}

/// One fault within a body, or one warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(title = "Fault")]
pub struct Fault {
    /// The file, where the body has files.
    #[schema(required = true)]
    pub file: Option<String>,
    /// The line, counted from 1.
    #[schema(required = true)]
    pub line: Option<usize>,
    /// The record, such as `zone "tills"`.
    #[schema(required = true)]
    pub record: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[schema(required = true)]
    pub help: Option<String>,
}

impl Fault {
    /// A fault of the whole body.
    pub fn new(message: impl Into<String>, help: Option<&str>) -> Self {
        Self { file: None, line: None, record: None, message: message.into(), help: help.map(str::to_owned) }
    }
}

impl From<&Diagnostic> for Fault {
    fn from(diagnostic: &Diagnostic) -> Self {
        let file = diagnostic.file.to_string_lossy().into_owned();
        Self {
            file: (!file.is_empty()).then_some(file),
            line: diagnostic.line,
            record: diagnostic.record.clone(),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}

/// The body of an answer that is not what was asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, title = "Problem")]
pub struct Body {
    /// `urn:beaconfence:problem:NAME`.
    #[serde(rename = "type")]
    kind: String,
    /// What it is called.
    title: &'static str,
    /// The status code.
    status: u16,
    /// What is wrong, and what to do.
    detail: String,
    /// Every fault that was found, at most 1,000.
    errors: Vec<Fault>,
    /// With `changed`: the `ETag` that the record has now; none where there is no such record.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<Fault>,
    etag: Option<String>,
    headers: Vec<(axum::http::HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of that kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let headers = match kind {
            Kind::Unauthenticated => vec![(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"beaconfence\""))],
            _ => Vec::new(),
        };
        Self { kind, detail: detail.into(), errors: Vec::new(), etag: None, headers }
    }

    /// There is no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what}"))
    }

    /// Broken JSON, or a query that cannot be read.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, detail)
    }

    /// The content says something that cannot be.
    pub fn invalid(faults: &Faults) -> Self {
        let errors = faults.diagnostics().iter();
        let errors: Vec<Fault> =
            errors.filter(|d| d.severity == crate::config::Severity::Error).map(Fault::from).collect();
        Self::faults(errors)
    }

    /// As [`Problem::invalid`].
    pub fn faults(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the content is not valid".to_owned(),
            [one] => match &one.help {
                Some(help) => format!("{}; {help}", one.message),
                None => one.message.clone(),
            },
            many => format!("{} faults were found; nothing was changed", many.len()),
        };
        Self { errors, ..Self::new(Kind::Invalid, detail) }
    }

    /// Too many requests; there is room again after so many seconds.
    pub fn too_many(seconds: u64) -> Self {
        let mut problem = Self::new(Kind::TooManyRequests, format!("try again in {seconds} s"));
        problem.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// Too much to do.
    pub fn busy(detail: impl Into<String>) -> Self {
        let mut problem = Self::new(Kind::Busy, detail);
        problem.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
        problem
    }

    /// The same, with the `ETag` that the record has.
    #[must_use]
    pub fn with_etag(mut self, etag: Option<String>) -> Self {
        self.etag = etag;
        self
    }

    /// The same, with faults.
    #[must_use]
    pub fn with_faults(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    /// The same, with what can be done instead.
    #[must_use]
    pub fn with_allow(mut self, allow: HeaderValue) -> Self {
        self.headers.push((ALLOW, allow));
        self
    }

    /// What kind it is of.
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.kind.status();
        self.errors.truncate(MAX_FAULTS);
        let body = Body {
            kind: format!("urn:beaconfence:problem:{}", self.kind.name()),
            title: self.kind.title(),
            status: status.as_u16(),
            detail: self.detail,
            errors: self.errors,
            etag: self.etag,
        };
        // Strings and numbers always become JSON.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

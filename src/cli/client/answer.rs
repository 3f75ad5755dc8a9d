//! What the gateway answers.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Response, StatusCode, header};
use serde::de::DeserializeOwned;

/// Which revision of the registry a change has made.
const REVISION: &str = "beaconfence-revision";

/// A whole answer.
#[derive(Debug)]
pub(in crate::cli) struct Answer {
    /// Whether it is a yes or a no.
    pub(super) status: StatusCode,
    /// The tag of what is answered, to change exactly that.
    pub(in crate::cli) tag: Option<String>,
    /// The revision that was made.
    pub(in crate::cli) revision: Option<u64>,
    /// When to ask again.
    pub(super) retry_after: Option<Duration>,
    /// The media type, without parameters.
    pub(super) media_type: String,
    /// The body.
    pub(in crate::cli) body: Bytes,
}

impl Answer {
    /// The body, read as JSON.
    ///
    /// # Errors
    /// Where it is none of the form that is wanted.
    pub(in crate::cli) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .context("the answer is not understood; the gateway may be of another version than this command")
    }
}

/// Reads the whole of a response, up to a limit.
pub(super) async fn read(response: Response<Incoming>, most_bytes: usize) -> anyhow::Result<Answer> {
    let status = response.status();
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (tag, revision) = (text(header::ETAG.as_str()), text(REVISION).and_then(|text| text.parse().ok()));
    let retry_after = text(header::RETRY_AFTER.as_str()).and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let media_type = text(header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = Limited::new(response.into_body(), most_bytes).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            anyhow::anyhow!("the answer is larger than {} MiB", most_bytes >> 20)
        } else {
            anyhow::anyhow!("the answer breaks off: {error}")
        }
    })?;
    Ok(Answer { status, tag, revision, retry_after, media_type, body: body.to_bytes() })
}

//! The gateway's API, asked by the commands: over the socket in its data directory, or over HTTP.
//!
//! A command asks one thing after the other and waits; so the client blocks, and keeps one connection open. Nothing that comes
//! back is trusted: its size, the time it takes and its form are bounded and checked.

mod answer;
mod link;
mod refused;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use indicatif::ProgressBar;

pub(super) use answer::Answer;
use link::Link;
pub(super) use refused::{Fault, Place, Refused};
use upload::Upload;

/// Where the API begins.
const PREFIX: &str = "/api/v1";
/// How long a connection may take to come about.
const PATIENCE_TO_CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an import, an apply or an export may take: 100,000 records on a small computer.
const LONG_PATIENCE: Duration = Duration::from_secs(300);
/// Largest answer that is read: a thousand records of a listing with all that they may hold.
const MOST_BYTES: usize = 64 << 20;
/// Largest export that is read: the site's files with the plans of its levels.
pub(super) const MOST_EXPORT_BYTES: usize = 512 << 20;
/// So often a request is repeated that the gateway puts off, and the longest time that is waited for it.
const MOST_REPETITIONS: usize = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Names the file of a token, where no argument does.
const TOKEN_FILE: &str = "BEACONFENCE_TOKEN_FILE";

/// Which gateway is asked, and as whom.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which gateway")]
pub(super) struct Connect {
    /// The settings of the gateway on this computer [default: gateway.toml, or else /etc/beaconfence/gateway.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data_dir", "url"])]
    pub(super) config: Option<PathBuf>,
    /// Its data directory, in place of the one that gateway.toml names
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub(super) data_dir: Option<PathBuf>,
    /// A gateway on the network, as `https://HOST:PORT`; needs a token
    #[arg(long, value_name = "URL")]
    url: Option<url::Url>,
    /// File that holds the token for --url [default: what the variable `BEACONFENCE_TOKEN_FILE` names]
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// Certificate authorities to trust for --url in place of the system's (PEM)
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,
}

impl Connect {
    /// That of these settings.
    pub(super) fn of(config: PathBuf) -> Self {
        Self { config: Some(config), ..Self::default() }
    }

    /// The data directory on this computer; none where the gateway is elsewhere.
    ///
    /// # Errors
    /// Where gateway.toml cannot be read.
    pub(super) fn data_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        if self.url.is_some() {
            return Ok(None);
        }
        if let Some(dir) = &self.data_dir {
            return Ok(Some(dir.clone()));
        }
        let file = self.config.clone().unwrap_or_else(crate::cli::usual_settings);
        if self.config.is_none() && !file.exists() {
            anyhow::bail!(
                "there is no gateway.toml here, nor in /etc/beaconfence; say which gateway is meant with --config FILE, --data-dir DIR or --url URL"
            );
        }
        Ok(Some(crate::config::load_gateway(&file)?.0.data_dir))
    }

    /// The client, connected: says at once where nobody answers.
    ///
    /// # Errors
    /// Where no gateway is there, or the files that are named cannot be used.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        Client::new(self.link()?)
    }

    /// As [`Connect::client`]; none where no gateway runs on the data directory.
    ///
    /// # Errors
    /// As [`Connect::client`].
    pub(super) fn client_if_running(&self) -> anyhow::Result<Option<Client>> {
        match self.client() {
            Ok(client) => Ok(Some(client)),
            Err(error) if matches!(error.downcast_ref(), Some(link::LinkError::NotRunning { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn link(&self) -> anyhow::Result<Link> {
        match (&self.url, self.data_dir()?) {
            (Some(url), _) => {
                let file = self.token_file.clone().or_else(|| std::env::var_os(TOKEN_FILE).map(PathBuf::from));
                let file = file.with_context(|| {
                    format!("--url needs a token: name its file with --token-file or in {TOKEN_FILE}; \"beaconfence token add\" makes one")
                })?;
                Ok(Link::network(url, &file, self.ca_file.as_deref())?)
            }
            (None, Some(data_dir)) => Ok(Link::socket(&data_dir)),
            (None, None) => anyhow::bail!("say which gateway is meant with --config, --data-dir or --url"),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    method: Method,
    path: String,
    body: Option<(&'static str, Bytes)>,
    condition: Option<(header::HeaderName, String)>,
    place: Place,
    progress: ProgressBar,
    patience: Duration,
    most_bytes: usize,
}

impl Request {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            body: None,
            condition: None,
            place: Place::Arguments,
            progress: ProgressBar::hidden(),
            patience: PATIENCE,
            most_bytes: MOST_BYTES,
        }
    }

    /// Asks for what is at a path below the API's own.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes something, or has something done.
    pub(super) fn post(path: impl Into<String>, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((media_type, body.into())), ..Self::new(Method::POST, path) }
    }

    /// Puts something at a path.
    pub(super) fn put(path: impl Into<String>, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { body: Some((media_type, body.into())), ..Self::new(Method::PUT, path) }
    }

    /// Takes something away.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Only if it is still as it was when it had this tag.
    #[must_use]
    pub(super) fn if_match(mut self, tag: impl Into<String>) -> Self {
        self.condition = Some((header::IF_MATCH, tag.into()));
        self
    }

    /// Only if there is none.
    #[must_use]
    pub(super) fn if_none(mut self) -> Self {
        self.condition = Some((header::IF_NONE_MATCH, "*".to_owned()));
        self
    }

    /// What is sent was read there: faults are told with that place.
    #[must_use]
    pub(super) fn read_from(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// It may take long, and answer much.
    #[must_use]
    pub(super) fn long(mut self, most_bytes: usize) -> Self {
        self.patience = LONG_PATIENCE;
        self.most_bytes = most_bytes;
        self
    }

    /// Moves the bar as what is sent goes out.
    #[must_use]
    pub(super) fn with_progress(mut self, bar: &ProgressBar) -> Self {
        self.progress = bar.clone();
        self
    }
}

/// Asks one gateway, one request after the other.
pub(super) struct Client {
    runtime: tokio::runtime::Runtime,
    link: Link,
    connection: Option<SendRequest<Upload>>,
}

impl Client {
    fn new(link: Link) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        let connection = runtime.block_on(connect(&link))?;
        Ok(Self { runtime, link, connection: Some(connection) })
    }

    /// What the gateway answers, where it says yes.
    ///
    /// # Errors
    /// [`Refused`] where it says no; else why there is no answer.
    pub(super) fn send(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let answer = self.ask(request)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(Refused::new(&answer, request.place.clone(), &self.link.to_string())?.into())
    }

    /// As [`Client::send`]; none where there is no such thing.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub(super) fn find(&mut self, request: &Request) -> anyhow::Result<Option<Answer>> {
        match self.send(request) {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.downcast_ref::<Refused>().is_some_and(|refused| refused.is("not-found")) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the gateway answers, after the pauses that it asks for.
    fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        for _ in 0..MOST_REPETITIONS {
            let answer = self.ask_once(request)?;
            let Some(pause) = answer.retry_after.filter(|pause| *pause <= LONGEST_PAUSE) else { return Ok(answer) };
            if answer.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(answer);
            }
            std::thread::sleep(pause);
        }
        self.ask_once(request)
    }

    fn ask_once(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let Self { runtime, link, connection } = self;
        runtime.block_on(async {
            // A connection that the gateway has closed meanwhile is no fault.
            let mut kept = connection.take();
            if let Some(sender) = &mut kept
                && sender.ready().await.is_err()
            {
                kept = None;
            }
            let mut sender = match kept {
                Some(sender) => sender,
                None => connect(link).await?,
            };
            let asked = async {
                let response = sender.send_request(http_request(link, request)?).await?;
                answer::read(response, request.most_bytes).await
            };
            let answer = match tokio::time::timeout(request.patience, asked).await {
                Ok(answer) => answer.with_context(|| format!("{link} gives no proper answer"))?,
                Err(_) => anyhow::bail!(
                    "{link} has not answered for {} s; whether it did what it was asked for, \"beaconfence history\" says",
                    request.patience.as_secs()
                ),
            };
            *connection = Some(sender);
            Ok(answer)
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("link", &self.link.to_string()).finish_non_exhaustive()
    }
}

async fn connect(link: &Link) -> anyhow::Result<SendRequest<Upload>> {
    let stream = match tokio::time::timeout(PATIENCE_TO_CONNECT, link.connect()).await {
        Ok(stream) => stream?,
        Err(_) => {
            anyhow::bail!("{link} takes no connection: nothing came about in {} s", PATIENCE_TO_CONNECT.as_secs())
        }
    };
    let (sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .with_context(|| format!("{link} cannot be asked"))?;
    // Ends with the sender, or with the fault that the sender reports.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn http_request(link: &Link, request: &Request) -> anyhow::Result<hyper::Request<Upload>> {
    let mut builder = hyper::Request::builder()
        .method(request.method.clone())
        .uri(format!("{}{PREFIX}{}", link.base(), request.path))
        .header(header::HOST, link.host())
        .header(header::ACCEPT, "application/json, application/problem+json")
        .header(header::USER_AGENT, concat!("beaconfence/", env!("CARGO_PKG_VERSION")));
    if let Some(token) = link.token() {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        builder = builder.header(header::AUTHORIZATION, value);
    }
    if let Some((name, value)) = &request.condition {
        builder = builder.header(name, value);
    }
    if let Some((media_type, _)) = &request.body {
        builder = builder.header(header::CONTENT_TYPE, *media_type);
    }
    let body = request.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
    Ok(builder.body(Upload::new(body, request.progress.clone()))?)
}

/// The text as a part of a path or of a query.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

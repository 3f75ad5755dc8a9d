//! The log: on stderr, for people or as JSON Lines, or in systemd's journal.
//!
//! What is in it can be changed while it runs ([`set_filter`]). Whoever says the same again and again is cut short ([`limit`]).

mod limit;

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogConfig, LogFormat};
use limit::Limit;

/// The variable that sets what is logged, such as `debug` or `warn,beaconfence::mqtt=debug`.
pub(super) const VARIABLE: &str = "BEACONFENCE_LOG";

/// The log that runs.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Why the filter is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FilterError {
    /// The environment says what is logged.
    #[error("{VARIABLE} says what is logged; start without it to have gateway.toml say it")]
    Environment,
    /// It is none.
    #[error("\"{0}\" does not say what is to be logged: {1}")]
    Unusable(String, String),
    /// There is no log.
    #[error("the log has not been started")]
    NoLog,
}

/// Starts the log of a command that has no settings, at `level` and above, or as the variable says.
pub(super) fn start_at(level: &str) {
    start(&LogConfig { filter: level.to_owned(), ..LogConfig::default() });
}

/// Starts the log as `config` says, or as the variable says what is in it.
pub(super) fn start(config: &LogConfig) {
    let filter = EnvFilter::try_from_env(VARIABLE)
        .or_else(|_| EnvFilter::try_new(&config.filter))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let (form, trouble) = form(config.format);
    // Whoever starts a second one in the same process keeps the first.
    if tracing_subscriber::registry().with(filter).with(Limit::default()).with(form).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
    if let Some(trouble) = trouble {
        tracing::warn!("the journal cannot be written, the log goes to stderr: {trouble}");
    }
}

type Form<S> = Box<dyn Layer<S> + Send + Sync>;

/// What writes it, and why that is not what was asked for.
fn form<S>(format: LogFormat) -> (Form<S>, Option<std::io::Error>)
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = || {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            // A log that cannot be written (a full disk, a closed pipe) must not end the gateway.
            .log_internal_errors(false)
    };
    match format {
        LogFormat::Text => (lines().with_ansi(colour).boxed(), None),
        LogFormat::Json => (lines().json().flatten_event(true).boxed(), None),
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(journal) => (journal.with_syslog_identifier("beaconfence".to_owned()).boxed(), None),
            Err(error) => (lines().with_ansi(colour).boxed(), Some(error)),
        },
    }
}

/// Changes what is logged.
///
/// # Errors
/// [`FilterError`].
pub(super) fn set_filter(text: &str) -> Result<(), FilterError> {
    if std::env::var_os(VARIABLE).is_some() {
        return Err(FilterError::Environment);
    }
    let filter = EnvFilter::try_new(text).map_err(|e| FilterError::Unusable(text.to_owned(), e.to_string()))?;
    FILTER.get().ok_or(FilterError::NoLog)?.reload(filter).map_err(|_| FilterError::NoLog)
}

//! The log, on stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable that sets what is logged, such as `debug` or `warn,beaconfence::mqtt=debug`.
const VARIABLE: &str = "BEACONFENCE_LOG";

/// Starts the log at `level` and above, or as the variable says.
pub(super) fn start(level: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(level));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log that cannot be written (a full disk, a closed pipe) must not end the gateway.
        .log_internal_errors(false)
        .with_ansi(colour)
        .init();
}

//! How far a long job is: on a terminal, and only where what it prints goes elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::model::Timestamp;

/// Things between two looks: drawing must not be what takes the time.
const STEP: u64 = 4_096;
/// How often it is drawn.
const DRAWN: Duration = Duration::from_millis(200);

/// Counts what was read. Dropped, it leaves no trace.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    count: u64,
}

impl Progress {
    /// `what` is counted, such as `sightings`.
    pub(super) fn new(what: &'static str) -> Self {
        let shown = std::io::stderr().is_terminal() && !std::io::stdout().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // The words are constant; a bar without its style is still a bar.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} {prefix}  {per_sec}  {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        if shown {
            bar.enable_steady_tick(DRAWN);
        }
        Self { bar, count: 0 }
    }

    /// One more was read, of that time.
    pub(super) fn pass(&mut self, at: Timestamp) {
        self.count += 1;
        if self.count.is_multiple_of(STEP) {
            self.bar.set_position(self.count);
            self.bar.set_message(at.to_string());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

//! What was recorded, looked back on: where devices were, worked out anew by the same engine.
//!
//! The registry is that of today: a zone that was drawn since is there, who is no longer registered is not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Output};
use crate::model::{Position, Timestamp};
use crate::record::shelf;
use crate::registry::{Device, Registry};
use crate::source::recordings;

/// Positions need so much time before the beginning to be found.
const BEFORE: Duration = Duration::from_secs(120);
/// Longest time that is looked back on at once.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// A look back that takes longer is given up: it takes from the gateway what it needs to hear.
const PATIENCE: Duration = Duration::from_secs(20);
/// Inputs between two looks at the clock.
const A_WHILE: u32 = 512;

/// Why there is nothing to see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    /// The time asked for is none, or too long.
    #[error("the time must be more than 0 and at most 24 hours")]
    Range,
    /// There is too much to be worked out.
    #[error("so much was heard in that time that it takes too long; ask for less of it")]
    TooMuch,
}

/// Gives every position that was worked out between two instants, in order, to `each`, with the engine's time.
///
/// # Errors
/// [`PlayError`]. What cannot be read is passed over.
pub fn play(
    dir: &Path,
    registry: &Arc<Registry>,
    (from, to): (Timestamp, Timestamp),
    mut each: impl FnMut(&Device, &Position, Timestamp),
) -> Result<(), PlayError> {
    if to <= from || to.since(from) > LONGEST {
        return Err(PlayError::Range);
    }
    let files = shelf::files_of(dir, from - BEFORE, to);
    let mut engine = Engine::new(Arc::clone(registry), "playback");
    let began = Instant::now();
    let (mut count, mut now) = (0_u32, Timestamp::from_millis(0));
    for step in recordings::open(&files, None) {
        let Ok((at, input)) = step else { continue };
        now = now.max(at);
        if now > to {
            break;
        }
        if now + BEFORE < from {
            continue;
        }
        count += 1;
        if count.is_multiple_of(A_WHILE) && began.elapsed() > PATIENCE {
            return Err(PlayError::TooMuch);
        }
        while let Some(due) = engine.next_deadline().filter(|due| *due <= now) {
            engine.advance(due);
            drain(&mut engine, from, &mut each);
        }
        engine.handle(input, now);
        drain(&mut engine, from, &mut each);
    }
    Ok(())
}

fn drain(engine: &mut Engine, from: Timestamp, each: &mut impl FnMut(&Device, &Position, Timestamp)) {
    while let Some(output) = engine.poll_output() {
        if let Output::Position(device, position) = output
            && engine.now() >= from
        {
            each(&device, &position, engine.now());
        }
    }
}

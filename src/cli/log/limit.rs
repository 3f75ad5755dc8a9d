//! How often the same place in the code may log: a fault that comes back a thousand times a second must not fill the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// What the limit says of itself.
const TARGET: &str = "beaconfence::log";
/// Lines of one place in the code, in [`WINDOW`].
const MOST: u32 = 30;
const WINDOW: Duration = Duration::from_secs(10);

/// Lets so many lines of each place pass, and counts the rest. Details (`debug`, `trace`) pass: who asks for them wants them.
#[derive(Debug, Default)]
pub(super) struct Limit(Mutex<HashMap<Identifier, Place>>);

#[derive(Debug)]
struct Place {
    began: Instant,
    passed: u32,
    held_back: u64,
}

impl Limit {
    /// Whether a line of that place may pass, and how many of it did not before.
    fn pass(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = places.entry(place).or_insert(Place { began: now, passed: 0, held_back: 0 });
        let mut before = 0;
        if now.saturating_duration_since(known.began) >= WINDOW {
            before = known.held_back;
            *known = Place { began: now, passed: 0, held_back: 0 };
        }
        if known.passed >= MOST {
            known.held_back += 1;
            return None;
        }
        known.passed += 1;
        Some(before)
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == TARGET {
            return true;
        }
        match self.pass(metadata.callsite(), Instant::now()) {
            None => false,
            Some(0) => true,
            Some(held_back) => {
                let (part, line) = (metadata.target(), metadata.line().unwrap_or_default());
                tracing::warn!(target: TARGET, held_back, part, line, "lines like the next one were not written");
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn each_place_has_its_own_share_and_is_told_of_what_it_lost() {
        let limit = Limit::default();
        let place = tracing::callsite::Identifier(&CALLSITE);
        let start = Instant::now();
        let passed = |at: Instant| (0..100).filter(|_| limit.pass(place.clone(), at).is_some()).count();
        assert_eq!(passed(start), 30);
        assert_eq!(passed(start + Duration::from_secs(9)), 0);
        let later = start + Duration::from_secs(10);
        assert_eq!(limit.pass(place.clone(), later), Some(170));
        assert_eq!(limit.pass(place, later), Some(0));
    }

    struct Nowhere;
    static CALLSITE: Nowhere = Nowhere;

    impl tracing::callsite::Callsite for Nowhere {
        fn set_interest(&self, _: tracing::subscriber::Interest) {}
        fn metadata(&self) -> &tracing::Metadata<'_> {
            unreachable!("nobody asks for it")
        }
    }

    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_flood_is_cut_short_and_others_are_heard() {
        let lines = Lines::default();
        let written = lines.clone();
        let form = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || written.clone());
        let log = tracing_subscriber::registry().with(Limit::default()).with(form);
        tracing::subscriber::with_default(log, || {
            for number in 0..1_000 {
                tracing::warn!(number, "again");
                if number % 500 == 0 {
                    tracing::info!("another");
                }
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("again").count(), 30, "{text}");
        assert_eq!(text.matches("another").count(), 2, "{text}");
    }
}

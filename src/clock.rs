//! The gateway's clock: steady time, and what the wall clock says.
//!
//! Everything within the gateway happens in *steady* time, which goes on at the pace of the system's monotonic clock and
//! never jumps; only what is said to the outside is put on the wall clock, by adding the jumps that it has made. So a
//! clock that is set (a Raspberry Pi without a battery starts with an old one, until NTP sets it) makes no stay longer and
//! nobody absent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::Timestamp;

/// A wall clock that is off by less is being adjusted, not set.
const JUMP_MS: i64 = 2_000;
/// Adjustments below this, in milliseconds, are left for later.
const ADJUST_MS: i64 = 50;
/// No clock that is set shows a time before this program was written: 2026-11-01.
const WRITTEN: i64 = 1_793_491_200_000;

/// The clock. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Steady time, in milliseconds, at `started`.
    origin_ms: AtomicI64,
    started: Instant,
    /// Wall less steady, in milliseconds.
    offset_ms: AtomicI64,
    jumps: AtomicU32,
    /// The system says that it waits for its clock to be set.
    unsynchronised: AtomicBool,
    /// The wall clock was behind where it had been before the start, and has not jumped since.
    behind: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock whose steady time is the wall clock's now.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            origin_ms: AtomicI64::new(wall_clock().as_millis()),
            started: Instant::now(),
            offset_ms: AtomicI64::new(0),
            jumps: AtomicU32::new(0),
            unsynchronised: AtomicBool::new(false),
            behind: AtomicBool::new(false),
        }))
    }

    /// Goes on with an earlier clock's steady time: `offset_ms` is what the wall clock was ahead of it, and `not_before`
    /// the last steady time that is known. Call once, before anything is timed.
    pub fn resume(&self, offset_ms: i64, jumps: u32, not_before: Timestamp) {
        let wall = wall_clock().as_millis();
        let steady = wall - offset_ms;
        let behind = steady < not_before.as_millis();
        // How long nobody looked cannot be known from a clock that went backwards: as if no time had passed.
        let steady = steady.max(not_before.as_millis());
        self.0.jumps.store(jumps + u32::from(behind), Ordering::Relaxed);
        self.0.behind.store(behind, Ordering::Relaxed);
        self.0.origin_ms.store(steady - self.elapsed_ms(), Ordering::Relaxed);
        self.0.offset_ms.store(wall - steady, Ordering::Relaxed);
    }

    /// Steady time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.origin_ms.load(Ordering::Relaxed) + self.elapsed_ms())
    }

    /// What the wall clock says at a steady time.
    pub fn wall(&self, steady: Timestamp) -> Timestamp {
        steady.shifted(self.offset_ms())
    }

    /// Wall less steady, in milliseconds.
    pub fn offset_ms(&self) -> i64 {
        self.0.offset_ms.load(Ordering::Relaxed)
    }

    /// How often the wall clock has jumped.
    pub fn jumps(&self) -> u32 {
        self.0.jumps.load(Ordering::Relaxed)
    }

    /// Looks at the wall clock; by how many milliseconds it has jumped since the last look, where it has.
    pub fn look(&self) -> Option<i64> {
        let off = wall_clock().as_millis() - self.wall(self.now()).as_millis();
        if off.abs() < ADJUST_MS {
            return None;
        }
        self.0.offset_ms.fetch_add(off, Ordering::Relaxed);
        if off.abs() < JUMP_MS {
            return None;
        }
        self.0.jumps.fetch_add(1, Ordering::Relaxed);
        if off > 0 {
            self.0.behind.store(false, Ordering::Relaxed);
        }
        Some(off)
    }

    /// Whether the wall clock is not known to be right: the system waits for it to be set, or it shows a time that is past.
    pub fn is_suspect(&self) -> bool {
        self.0.unsynchronised.load(Ordering::Relaxed)
            || self.0.behind.load(Ordering::Relaxed)
            || wall_clock().as_millis() < WRITTEN
    }

    /// What the system says of its clock.
    pub fn set_synchronised(&self, synchronised: bool) {
        self.0.unsynchronised.store(!synchronised, Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The system's wall clock.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Whether the system's clock has been set from the network; none where nothing says so (no systemd, no network time).
#[cfg(target_os = "linux")]
pub async fn synchronised() -> Option<bool> {
    const NAME: &str = "org.freedesktop.timedate1";
    async fn property(bus: &zbus::Connection, name: &str) -> zbus::Result<bool> {
        let properties = Some("org.freedesktop.DBus.Properties");
        let path = "/org/freedesktop/timedate1";
        let reply = bus.call_method(Some(NAME), path, properties, "Get", &(NAME, name)).await?;
        let value: zbus::OwnedVariant = reply.body().deserialize()?;
        bool::try_from(value)
    }
    async fn ask() -> zbus::Result<Option<bool>> {
        let bus = zbus::Connection::system().await?;
        if property(&bus, "NTPSynchronized").await? {
            return Ok(Some(true));
        }
        // Where nobody sets the clock, there is nothing to wait for.
        Ok(property(&bus, "NTP").await?.then_some(false))
    }
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), ask()).await;
    answer.ok().and_then(Result::ok).flatten()
}

/// Whether the system's clock has been set from the network; not known here.
#[cfg(not(target_os = "linux"))]
pub async fn synchronised() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn steady_time_begins_with_the_wall_clock_and_goes_on_over_a_restart() {
        let clock = Clock::new();
        let wall = wall_clock();
        assert!(wall.since(clock.now()) < Duration::from_secs(1));
        assert_eq!(clock.look(), None);
        assert!(!clock.is_suspect());

        let later = Clock::new();
        later.resume(3_600_000, 1, Timestamp::from_millis(0));
        assert!(clock.now().since(later.now()) > Duration::from_secs(3_599));
        assert!(wall_clock().since(later.wall(later.now())) < Duration::from_secs(1));
        assert_eq!((later.jumps(), later.look()), (1, None));
    }

    #[test]
    fn a_clock_that_went_back_while_nobody_looked_stands_still_and_is_suspect() {
        let clock = Clock::new();
        let last = wall_clock() + Duration::from_secs(86_400);
        clock.resume(0, 0, last);
        assert!(clock.now() >= last && clock.now().since(last) < Duration::from_secs(1));
        assert!(clock.offset_ms() < -86_000_000);
        assert_eq!(clock.jumps(), 1);
        assert!(clock.is_suspect());
    }

    #[test]
    fn the_system_may_say_that_its_clock_is_not_set() {
        let clock = Clock::new();
        clock.set_synchronised(false);
        assert!(clock.is_suspect());
        clock.set_synchronised(true);
        assert!(!clock.is_suspect());
    }
}

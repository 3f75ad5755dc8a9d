//! How much one client may ask for.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};

use super::peer::Peer;
use super::problem::Problem;

/// Requests of one client: a page of the UI takes some tens, a program that registers things one by one some tens a second.
const REQUESTS: Rate = Rate { a_second: 200, at_once: 1_000 };
/// Attempts to sign in: people mistype, programs guess.
const SIGN_INS: Rate = Rate { a_second: 1, at_once: 20 };
/// Once in so many requests, clients that were not seen for a while are forgotten.
const TIDY_EVERY: u64 = 4_096;

struct Rate {
    a_second: u32,
    at_once: u32,
}

impl Rate {
    fn limiter(&self) -> DefaultKeyedRateLimiter<IpAddr> {
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        DefaultKeyedRateLimiter::keyed(Quota::per_second(number(self.a_second)).allow_burst(number(self.at_once)))
    }
}

/// What clients have used of their share.
#[derive(Debug)]
pub struct Limits {
    requests: DefaultKeyedRateLimiter<IpAddr>,
    sign_ins: DefaultKeyedRateLimiter<IpAddr>,
    seen: AtomicU64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: REQUESTS.limiter(), sign_ins: SIGN_INS.limiter(), seen: AtomicU64::new(0) }
    }
}

impl Limits {
    /// Counts a request.
    ///
    /// # Errors
    /// 429 where it is one too many.
    pub fn request(&self, peer: &Peer) -> Result<(), Problem> {
        if self.seen.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.requests.retain_recent();
            self.sign_ins.retain_recent();
        }
        take(&self.requests, peer)
    }

    /// Counts an attempt to sign in.
    ///
    /// # Errors
    /// 429 where it is one too many.
    pub fn sign_in(&self, peer: &Peer) -> Result<(), Problem> {
        take(&self.sign_ins, peer)
    }
}

fn take(limiter: &DefaultKeyedRateLimiter<IpAddr>, peer: &Peer) -> Result<(), Problem> {
    let Some(client) = peer.counted_by() else { return Ok(()) };
    limiter.check_key(&client).map_err(|refused| {
        let wait = refused.wait_time_from(DefaultClock::default().now());
        Problem::too_many(wait.as_secs() + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(remote: &str) -> Peer {
        Peer::Tcp { remote: remote.parse().unwrap(), local: "127.0.0.1:1".parse().unwrap(), tls: false }
    }

    #[test]
    fn who_guesses_is_slowed_down_and_nobody_else() {
        let limits = Limits::default();
        let guesses = (0..100).filter(|_| limits.sign_in(&peer("[2001:db8::1]:1")).is_ok()).count();
        assert!((20..30).contains(&guesses), "{guesses}");
        assert!(limits.sign_in(&peer("[2001:db8::2]:1")).is_err());
        assert!(limits.sign_in(&peer("[2001:db8:0:1::1]:1")).is_ok());
        assert!((0..100).all(|_| limits.sign_in(&Peer::Local { uid: 0 }).is_ok()));
    }
}

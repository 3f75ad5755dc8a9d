//! How often one beacon advertises, and whether that is still what it was.
//!
//! A beacon that counts its advertisements (Eddystone-TLM) says it exactly. For others the gaps between sightings at
//! one receiver tell: a packet that is lost makes a gap of two, three or more intervals, so the shortest gaps are near
//! the interval itself, and the others must be near its multiples, or nothing is said. The advertising delay of 0 to 10
//! ms (Core specification Vol 6, Part B, 4.4.2.2.1) is part of what is measured.
//!
//! A receiver whose scan is restarted every second hears a beacon about once a second, however often it advertises: its
//! gaps say nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::advert::EddystoneTlm;
use crate::model::Timestamp;

/// Gaps that an estimate is made of.
const GAPS: usize = 32;
/// So many of them must be near the first multiples.
const FEWEST: usize = 10;
/// A window that is not full by then is given up.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);
/// The next estimate begins so much later.
const PAUSE: Duration = Duration::from_secs(60);
/// Sightings that are closer are one packet on two channels, or a source that says everything twice: no interval is
/// below 20 ms.
const SAME_PACKET_MS: i64 = 15;
/// The multiples that are looked at.
const MOST_MULTIPLES: f64 = 4.0;
/// A gap is near a multiple within this share of the interval, and …
const NEAR: f64 = 0.12;
/// … so many milliseconds: the advertising delay.
const DELAY_MS: f64 = 10.0;
/// Of the gaps up to [`MOST_MULTIPLES`] this share must be near one.
const CONSISTENT: f64 = 0.9;
/// Two counts of advertisements are compared when they are so far apart, in tenths of a second.
const COUNTED_DS: u32 = 600;
/// The beacon's own time must go as ours within this share.
const SAME_TIME: f64 = 0.1;
/// What is usual is learned over so long …
const LEARNING: Duration = Duration::from_secs(86_400);
/// … from estimates that are so far apart, at least and at most so many.
const LESSON_EVERY: Duration = Duration::from_secs(3_600);
const FEWEST_LESSONS: usize = 6;
const MOST_LESSONS: usize = 24;
/// An interval that differs from the usual one by more than this share …
const DRIFTS: f64 = 0.3;
/// … for so long, in so many estimates, has drifted, …
const DRIFTS_AFTER: Duration = Duration::from_secs(3_600);
const DRIFTS_FROM: u32 = 10;
/// … until it is within this share again, …
const USUAL: f64 = 0.2;
/// … or has been so for so long: somebody has set it.
const SETTLED_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// What is said of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntervalHealth {
    /// The interval now, in milliseconds.
    pub ms: f64,
    /// What it usually is; none while that is learned.
    pub usual_ms: Option<f64>,
    /// Whether the beacon counts its advertisements itself.
    pub is_counted: bool,
    /// Whether it has drifted.
    pub has_drifted: bool,
}

/// What is remembered of an interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Interval {
    #[serde(skip)]
    window: Option<Window>,
    #[serde(skip)]
    next: Option<Timestamp>,
    #[serde(skip)]
    count: Option<Count>,
    /// The latest estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(default)]
    is_counted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usual: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lessons: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_lesson: Option<Timestamp>,
    /// Since when it is not what it usually is, and in how many estimates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    off: Option<(Timestamp, u32)>,
    #[serde(default)]
    has_drifted: bool,
}

/// Gaps at one receiver.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    receiver: u32,
    begins: Timestamp,
    last: Timestamp,
    gaps: Vec<u16>,
}

/// What the beacon last counted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    at: Timestamp,
    advertisements: u32,
    uptime_ds: u32,
}

impl Interval {
    /// What was remembered, where it can be gone on with.
    pub(super) fn is_sound(&self) -> bool {
        let is_one = |ms: &f64| ms.is_finite() && *ms > 0.0;
        self.lessons.len() <= MOST_LESSONS && self.lessons.iter().chain(&self.usual).chain(&self.ms).all(is_one)
    }

    /// What is to be written down: not what is in the middle of being measured.
    pub(super) fn remembered(&self) -> Self {
        Self { window: None, next: None, count: None, ..self.clone() }
    }

    /// Receivers have other numbers from now on.
    pub(super) fn restart(&mut self) {
        self.window = None;
    }

    /// A receiver that hears every packet has heard it. `is_best` where no other receiver hears it better.
    pub(super) fn heard(&mut self, receiver: u32, is_best: bool, at: Timestamp) {
        if self.is_counted || self.next.is_some_and(|next| at < next) {
            return;
        }
        let Some(window) = self.window.as_mut().filter(|window| at.since(window.begins) < LONGEST_WINDOW) else {
            self.window = is_best.then(|| Window { receiver, begins: at, last: at, gaps: Vec::with_capacity(GAPS) });
            return;
        };
        if window.receiver != receiver {
            return;
        }
        let gap = at.as_millis() - window.last.as_millis();
        if gap < SAME_PACKET_MS {
            return;
        }
        window.last = at;
        window.gaps.push(u16::try_from(gap).unwrap_or(u16::MAX));
        if window.gaps.len() == GAPS {
            let found = estimate(&mut window.gaps);
            (self.window, self.next) = (None, Some(at + PAUSE));
            if let Some(ms) = found {
                self.learn(ms, at);
            }
        }
    }

    /// The beacon has counted.
    pub(super) fn counted(&mut self, tlm: &EddystoneTlm, at: Timestamp) {
        let uptime_ds = (tlm.uptime() * 10.0).round() as u32;
        let now = Count { at, advertisements: tlm.advertisements, uptime_ds };
        let Some(before) = self.count else {
            self.count = Some(now);
            return;
        };
        let (Some(sent), Some(passed)) =
            (now.advertisements.checked_sub(before.advertisements), now.uptime_ds.checked_sub(before.uptime_ds))
        else {
            // It was switched off and on.
            self.count = Some(now);
            return;
        };
        if passed < COUNTED_DS {
            return;
        }
        self.count = Some(now);
        let (own, ours) = (f64::from(passed) / 10.0, at.since(before.at).as_secs_f64());
        if (own - ours).abs() > SAME_TIME * ours + 2.0 || sent == 0 {
            return;
        }
        if !std::mem::replace(&mut self.is_counted, true) {
            // Gaps are of one kind of frame, counts of all: one does not drift from the other.
            (self.usual, self.off, self.has_drifted) = (None, None, false);
            (self.first, self.last_lesson) = (None, None);
            self.lessons.clear();
        }
        self.learn(own * 1_000.0 / f64::from(sent), at);
    }

    fn learn(&mut self, ms: f64, at: Timestamp) {
        self.ms = Some(ms);
        let first = *self.first.get_or_insert(at);
        let Some(usual) = self.usual else {
            let is_due = self.last_lesson.is_none_or(|last| at.since(last) >= LESSON_EVERY);
            if is_due && self.lessons.len() < MOST_LESSONS {
                self.lessons.push(ms);
                self.last_lesson = Some(at);
            }
            if at.since(first) >= LEARNING && self.lessons.len() >= FEWEST_LESSONS {
                self.lessons.sort_by(f64::total_cmp);
                self.usual = Some(self.lessons[self.lessons.len() / 2]);
                self.lessons = Vec::new();
            }
            return;
        };
        let by = (ms / usual - 1.0).abs();
        if by > DRIFTS {
            let (since, count) = self.off.map_or((at, 1), |(since, count)| (since, count.saturating_add(1)));
            self.off = Some((since, count));
            self.has_drifted |= at.since(since) >= DRIFTS_AFTER && count >= DRIFTS_FROM;
            if self.has_drifted && at.since(since) >= SETTLED_AFTER {
                (self.usual, self.off, self.has_drifted) = (Some(ms), None, false);
            }
        } else if by <= USUAL || !self.has_drifted {
            (self.off, self.has_drifted) = (None, false);
        }
    }

    pub(super) const fn has_drifted(&self) -> bool {
        self.has_drifted
    }

    /// What is to be said of it; none while it is not known.
    pub(super) fn health(&self) -> Option<IntervalHealth> {
        Some(IntervalHealth {
            ms: self.ms?,
            usual_ms: self.usual,
            is_counted: self.is_counted,
            has_drifted: self.has_drifted,
        })
    }
}

/// The interval that gaps are multiples of, in milliseconds; none where they are not.
fn estimate(gaps: &mut [u16]) -> Option<f64> {
    gaps.sort_unstable();
    let least = f64::from(*gaps.get(gaps.len() / 10)?);
    let multiple = |gap: f64| (gap / least).round().max(1.0);
    let close: Vec<f64> =
        gaps.iter().map(|gap| f64::from(*gap)).filter(|gap| multiple(*gap) <= MOST_MULTIPLES).collect();
    let is_near = |gap: f64| {
        let of = multiple(gap);
        (gap - of * least).abs() <= NEAR * least + DELAY_MS
    };
    let mut found: Vec<f64> =
        close.iter().copied().filter(|gap| is_near(*gap)).map(|gap| gap / multiple(gap)).collect();
    if found.len() < FEWEST || (found.len() as f64) < CONSISTENT * close.len() as f64 {
        return None;
    }
    found.sort_by(f64::total_cmp);
    Some(found[found.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_767_261_600_000 + ms)
    }

    /// Packets every `interval` ms from `from` to `to`, of which those are lost of which `lost` says so.
    fn air(interval: &mut Interval, from: i64, to: i64, every: i64, lost: impl Fn(i64) -> bool) {
        let mut packet = 0;
        while from + packet * every < to {
            if !lost(packet) {
                interval.heard(0, true, at(from + packet * every + (packet * 7) % 10));
            }
            packet += 1;
        }
    }

    /// The loss of packets.
    fn loses(percent: i64) -> impl Fn(i64) -> bool {
        move |packet| random(packet, 100) < percent
    }

    /// A number below `most`, always the same for the same `seed` (splitmix64).
    fn random(seed: i64, most: i64) -> i64 {
        let mut mixed = (seed as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % most as u64) as i64
    }

    #[test]
    fn lost_packets_do_not_lengthen_the_interval() {
        for percent in [0, 30, 60] {
            let mut interval = Interval::default();
            air(&mut interval, 0, 120_000, 300, loses(percent));
            let ms = interval.health().unwrap().ms;
            assert!((ms - 300.0).abs() < 15.0, "{percent} %: {ms}");
        }
    }

    #[test]
    fn gaps_that_are_no_multiples_say_nothing() {
        for seed in 0..50 {
            let mut gaps: Vec<u16> = (0..32).map(|at| 100 + random(100 * seed + at, 900) as u16).collect();
            assert_eq!(estimate(&mut gaps), None, "{seed}");
        }
        // Where every first multiple is lost, the second is not taken for it.
        let mut twos_and_threes: Vec<u16> = (0..32).map(|at| if at % 2 == 0 { 200 } else { 300 }).collect();
        assert_eq!(estimate(&mut twos_and_threes), None);
        assert_eq!(estimate(&mut []), None);
    }

    #[test]
    fn what_a_source_says_twice_is_one_packet() {
        let mut interval = Interval::default();
        for packet in 0..100 {
            interval.heard(0, true, at(packet * 500));
            interval.heard(0, true, at(packet * 500 + 3));
        }
        assert!((interval.health().unwrap().ms - 500.0).abs() < 4.0);
    }

    /// An hour's worth of telemetry each 10 minutes, `every` ms apart.
    fn counts(interval: &mut Interval, hours: std::ops::Range<i64>, every: i64) {
        for ten in hours.start * 6..hours.end * 6 {
            let ds = (ten * 6_000) as u32;
            let mut bytes = vec![0x20, 0, 0x0b, 0x18, 0x13, 0];
            bytes.extend((i64::from(ds) * 100 / every).to_be_bytes().iter().skip(4));
            bytes.extend(ds.to_be_bytes());
            let data = crate::advert::AdvertisingData {
                service_data: vec![(crate::advert::full_uuid(0xfeaa), bytes)],
                ..Default::default()
            };
            interval.counted(&crate::advert::telemetry(&data).tlm.unwrap(), at(ten * 600_000));
        }
    }

    #[test]
    fn a_beacon_that_counts_is_believed() {
        let mut interval = Interval::default();
        counts(&mut interval, 0..2, 1_000);
        let health = interval.health().unwrap();
        assert!((health.ms - 1_000.0).abs() < 1.0 && health.is_counted, "{health:?}");
        // Gaps do not matter any more.
        air(&mut interval, 2 * HOUR, 2 * HOUR + 60_000, 300, loses(0));
        assert!((interval.health().unwrap().ms - 1_000.0).abs() < 1.0);
    }

    #[test]
    fn an_interval_that_is_half_as_long_for_an_hour_has_drifted_and_comes_back() {
        let mut interval = Interval::default();
        counts(&mut interval, 0..25, 1_000);
        assert!(interval.health().unwrap().usual_ms.is_some_and(|usual| (usual - 1_000.0).abs() < 1.0));
        let mut changed = Interval { count: None, ..interval.clone() };
        counts(&mut changed, 25..26, 500);
        assert!(!changed.has_drifted(), "not after an hour with fewer than ten estimates");
        counts(&mut changed, 26..28, 500);
        assert!(changed.has_drifted());
        changed.count = None;
        counts(&mut changed, 28..29, 1_100);
        assert!(!changed.has_drifted());
        // Set by somebody: after a week it is the usual one.
        changed.count = None;
        counts(&mut changed, 29..29 + 8 * 24, 500);
        let health = changed.health().unwrap();
        assert!(!health.has_drifted && health.usual_ms.is_some_and(|usual| (usual - 500.0).abs() < 1.0), "{health:?}");
    }

    #[test]
    fn a_quarter_more_is_no_drift() {
        let mut interval = Interval::default();
        counts(&mut interval, 0..25, 1_000);
        interval.count = None;
        counts(&mut interval, 25..40, 1_250);
        assert!(!interval.has_drifted() && interval.off.is_none());
    }
}

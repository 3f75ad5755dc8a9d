//! Whether a fixed beacon is heard from where it is registered.
//!
//! Of each window of [`WINDOW`] the mean level at each receiver is held against the log-distance law: from the
//! registered place and from a coarse grid of others, with the transmit power free, since a bag or a weak battery takes
//! some dB from every receiver alike. The beacon is *elsewhere* where no place within [`FAR`] of the registered one
//! fits nearly as well as the best one: so a vague fit, or receivers in one row, say nothing.
//!
//! The law alone is wrong behind walls and shelves, and always in the same way. So there are two thresholds: a
//! difference that is very clear ([`CLEARLY_BETTER`]) is believed by itself, and finds a beacon that was put up at the
//! wrong place. A lesser one ([`BETTER`]) is believed where the pattern of levels is another than it used to be, too
//! ([`ANOTHER_PATTERN`]). That is found without the receiver that has changed the most: a broken antenna moves no
//! beacon.
//!
//! Where only receivers of another level hear it, though a nearer one of its own level listens, it is on the other
//! level.
//!
//! Either must hold for [`HOLDS`], and so must the contrary before it is taken back. `docs/beacon-health.md` says how
//! often this errs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{LevelOrdinal, Metres, Point, Timestamp};
use crate::registry::{ReceiverIndex, Registry, bounds};

/// Levels are averaged for so long.
pub(super) const WINDOW: Duration = Duration::from_secs(300);
/// A judgement is believed when it has held for so long: every window of them.
const HOLDS: Duration = Duration::from_secs(1_800);
/// A receiver must have heard it so often within a window.
pub(super) const FEWEST_SIGHTINGS: u32 = 5;
/// So many receivers are needed, and no more than so many, the strongest, are used.
const FEWEST_RECEIVERS: usize = 3;
const MOST_RECEIVERS: usize = 8;
/// A place within so many metres of the registered one is no other place.
const FAR: Metres = 8.0;
/// What the law errs by, in dB (one standard deviation of a surveyed hall), where the fit is not worse.
const SIGMA: f64 = 6.0;
/// How much better the best place must fit than any near the registered one, in squares of the standard deviation:
/// alone …
const CLEARLY_BETTER: f64 = 6.0;
/// … and where the pattern is another.
const BETTER: f64 = 1.0;
/// The pattern is another where it has changed by so many dB, root mean square.
const ANOTHER_PATTERN: f64 = 5.0;
/// Receivers that the pattern must have in common with the usual one.
const FEWEST_COMMON: usize = 4;
/// Height of fixed beacons above the floor, in metres.
const HEIGHT: Metres = 2.0;
/// The grid goes so many metres beyond the receivers and the outline, …
const MARGIN: Metres = 3.0;
/// … has about so many cells, …
const CELLS: f64 = 1_024.0;
/// … and none smaller than this, in metres.
const LEAST_STEP: Metres = 1.0;
/// The usual pattern is known after so many windows (a day of which half is heard), and is the mean of at most so many
/// (two weeks).
const LEARNED_FROM: u32 = 144;
const LONGEST_MEAN: u32 = 4_032;

/// Where a beacon seems to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// When that began.
    pub since: Timestamp,
    /// The level.
    pub level: LevelOrdinal,
    /// The place that fits best, to some metres; none where it is only known to be on another level.
    pub point: Option<Point>,
}

/// The places of receivers, and the ground.
#[derive(Debug)]
pub(super) struct Ground {
    receivers: Vec<(Point, Metres, LevelOrdinal)>,
    levels: Vec<Floor>,
    exponent: f64,
}

/// A level: its height, and the corners of what is known of it.
type Floor = (LevelOrdinal, Metres, Option<(Point, Point)>);

/// What one window says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// Too little was heard.
    Unknown,
    /// It may well be where it should be.
    Here,
    /// It is somewhere else.
    There(LevelOrdinal, Option<Point>),
}

/// What is remembered of where one beacon is heard from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Whereabouts {
    /// The usual mean level at receivers, in dBm, and of how many windows.
    pub(super) usual: Vec<(ReceiverIndex, f32, u32)>,
    /// Since when every window has said something else than what is believed, and what the last one said.
    pub(super) doubt: Option<(Timestamp, Verdict)>,
    /// Where it is, where it is elsewhere.
    pub(super) elsewhere: Option<Elsewhere>,
}

impl Whereabouts {
    /// Takes in what a window says that began at `began` and ended at `now`.
    pub(super) fn take(
        &mut self,
        verdict: Verdict,
        readings: &[(ReceiverIndex, f64)],
        began: Timestamp,
        now: Timestamp,
    ) {
        let is_there = matches!(verdict, Verdict::There(..));
        if verdict == Verdict::Unknown {
            return;
        }
        if !is_there {
            self.learn(readings);
        }
        if is_there == self.elsewhere.is_some() {
            self.doubt = None;
            return;
        }
        let since = self.doubt.map_or(began, |(since, _)| since);
        self.doubt = Some((since, verdict));
        if now.since(since) >= HOLDS {
            self.doubt = None;
            self.elsewhere = match verdict {
                Verdict::There(level, point) => Some(Elsewhere { since, level, point }),
                _ => None,
            };
        }
    }

    fn learn(&mut self, readings: &[(ReceiverIndex, f64)]) {
        for (receiver, level) in readings {
            if let Some((_, mean, count)) = self.usual.iter_mut().find(|(known, ..)| known == receiver) {
                *count = (*count + 1).min(LONGEST_MEAN);
                *mean += (*level as f32 - *mean) / *count as f32;
            } else if self.usual.len() < MOST_RECEIVERS {
                self.usual.push((*receiver, *level as f32, 1));
            }
        }
    }

    /// By how much the pattern differs from the usual one, in dB; none where too little of that is known.
    fn change(&self, readings: &[(ReceiverIndex, f64)]) -> Option<f64> {
        let known = self.usual.iter().filter(|(_, _, count)| *count >= LEARNED_FROM);
        let mut by: Vec<f64> = known
            .filter_map(|(receiver, usual, _)| {
                let (_, level) = readings.iter().find(|(of, _)| of == receiver)?;
                Some(level - f64::from(*usual))
            })
            .collect();
        if by.len() < FEWEST_COMMON {
            return None;
        }
        by.sort_by(f64::total_cmp);
        let median = f64::midpoint(by[by.len() / 2], by[(by.len() - 1) / 2]);
        let mut squares: Vec<f64> = by.iter().map(|one| (one - median).powi(2)).collect();
        squares.sort_by(f64::total_cmp);
        squares.pop();
        Some((squares.iter().sum::<f64>() / (squares.len() - 1) as f64).sqrt())
    }
}

impl Ground {
    pub(super) fn new(registry: &Registry) -> Self {
        let site = registry.site();
        let receivers =
            registry.receivers().iter().map(|receiver| (receiver.point, receiver.z, receiver.level)).collect();
        let levels = site.levels.iter().map(|level| {
            let here = registry.receivers().iter().filter(|receiver| receiver.level == level.ordinal);
            let outline = level.outline.iter().flatten().copied();
            let points: Vec<Point> = here.map(|receiver| receiver.point).chain(outline).collect();
            let bounds = (!points.is_empty()).then(|| bounds(points));
            (level.ordinal, level.elevation, bounds)
        });
        let surveyed = registry.calibration().map(|survey| survey.path_loss_exponent);
        Self { receivers, levels: levels.collect(), exponent: surveyed.unwrap_or(site.radio.path_loss_exponent) }
    }

    /// Judges the mean levels of a window, in dBm, of a beacon that is registered at `place`.
    pub(super) fn judge(
        &self,
        place: (Point, LevelOrdinal),
        readings: &[(ReceiverIndex, f64)],
        known: &Whereabouts,
        hears: impl Fn(ReceiverIndex) -> bool,
    ) -> Verdict {
        let (point, level) = place;
        let mut here: Vec<(ReceiverIndex, f64)> =
            readings.iter().copied().filter(|(receiver, _)| self.level_of(*receiver) == Some(level)).collect();
        if here.is_empty() {
            return self.other_level(place, readings, hears);
        }
        if here.len() < FEWEST_RECEIVERS {
            return Verdict::Unknown;
        }
        here.sort_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
        here.truncate(MOST_RECEIVERS);
        let links: Vec<(Point, Metres, f64)> = here
            .iter()
            .filter_map(|(receiver, rssi)| {
                self.receivers.get(receiver.get()).map(|(at, z, _)| (*at, z - HEIGHT, *rssi))
            })
            .collect();
        let change = known.change(readings);
        let needed = if change.is_some_and(|by| by >= ANOTHER_PATTERN) { BETTER } else { CLEARLY_BETTER };
        let at_place = self.misfit(&links, point);
        if at_place <= needed * SIGMA * SIGMA {
            // Nothing can fit so much better.
            return Verdict::Here;
        }
        let Some((best, best_point, near)) = self.search(&links, place, at_place) else { return Verdict::Unknown };
        let freedom = links.len().saturating_sub(FEWEST_RECEIVERS).max(1) as f64;
        let variance = (best / freedom).max(SIGMA * SIGMA);
        if (near - best) / variance > needed { Verdict::There(level, Some(best_point)) } else { Verdict::Here }
    }

    /// The misfit of the best place, that place, and the misfit of the best near the registered one.
    fn search(
        &self,
        links: &[(Point, Metres, f64)],
        (point, level): (Point, LevelOrdinal),
        at_place: f64,
    ) -> Option<(f64, Point, f64)> {
        let (_, _, ground) = self.levels.iter().find(|(ordinal, ..)| *ordinal == level)?;
        let (low, high) = (*ground)?;
        let low = Point { x: low.x.min(point.x) - MARGIN, y: low.y.min(point.y) - MARGIN };
        let high = Point { x: high.x.max(point.x) + MARGIN, y: high.y.max(point.y) + MARGIN };
        let (width, height) = (high.x - low.x, high.y - low.y);
        let step = (width * height / CELLS).sqrt().max(width / CELLS).max(height / CELLS).max(LEAST_STEP);
        let far = FAR.max(2.0 * step);
        let (mut best, mut best_point, mut near) = (at_place, point, at_place);
        let cells = |metres: f64| (metres / step).floor() as u32;
        for row in 0..=cells(height) {
            for column in 0..=cells(width) {
                let at = Point { x: low.x + f64::from(column) * step, y: low.y + f64::from(row) * step };
                let misfit = self.misfit(links, at);
                if misfit < best {
                    (best, best_point) = (misfit, at);
                }
                if at.distance(point) <= far {
                    near = near.min(misfit);
                }
            }
        }
        Some((best, best_point, near))
    }

    /// The sum of squares, in dB², of what receivers hear against the law from there, with the power that fits best.
    fn misfit(&self, links: &[(Point, Metres, f64)], at: Point) -> f64 {
        let powers = links.iter().map(|(receiver, rise, rssi)| {
            let distance_2 = ((receiver.x - at.x).powi(2) + (receiver.y - at.y).powi(2) + rise * rise).max(1.0);
            rssi + 5.0 * self.exponent * distance_2.log10()
        });
        let (mut sum, mut squares) = (0.0, 0.0);
        for power in powers {
            sum += power;
            squares += power * power;
        }
        (squares - sum * sum / links.len() as f64).max(0.0)
    }

    /// It is heard by nobody on its own level.
    fn other_level(
        &self,
        (point, level): (Point, LevelOrdinal),
        readings: &[(ReceiverIndex, f64)],
        hears: impl Fn(ReceiverIndex) -> bool,
    ) -> Verdict {
        let Some(own) = self.elevation(level).map(|floor| floor + HEIGHT) else { return Verdict::Unknown };
        let away = |(at, z, on): &(Point, Metres, LevelOrdinal)| {
            let rise = self.elevation(*on).map_or(f64::INFINITY, |floor| floor + z - own);
            at.distance(point).hypot(rise)
        };
        let strongest = readings.iter().max_by(|(a, one), (b, other)| one.total_cmp(other).then(b.cmp(a)));
        let Some((strongest, _)) = strongest else { return Verdict::Unknown };
        let Some(heard_on) = self.level_of(*strongest) else { return Verdict::Unknown };
        let nearest_that_hears = readings
            .iter()
            .filter_map(|(receiver, _)| self.receivers.get(receiver.get()).map(away))
            .fold(f64::INFINITY, f64::min);
        let is_nearer_one = self.receivers.iter().enumerate().any(|(at, receiver)| {
            receiver.2 == level && hears(ReceiverIndex(at as u32)) && away(receiver) < nearest_that_hears
        });
        if is_nearer_one { Verdict::There(heard_on, None) } else { Verdict::Unknown }
    }

    fn level_of(&self, receiver: ReceiverIndex) -> Option<LevelOrdinal> {
        self.receivers.get(receiver.get()).map(|(_, _, level)| *level)
    }

    fn elevation(&self, level: LevelOrdinal) -> Option<Metres> {
        self.levels.iter().find(|(ordinal, ..)| *ordinal == level).map(|(_, elevation, _)| *elevation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUND: LevelOrdinal = LevelOrdinal(0);
    const FIRST: LevelOrdinal = LevelOrdinal(1);

    /// Six receivers around a hall of 40 m by 20 m, and one on the level above; free space.
    fn ground() -> Ground {
        let places = [(0.0, 0.0), (20.0, 0.0), (40.0, 0.0), (0.0, 20.0), (20.0, 20.0), (40.0, 20.0)];
        let mut receivers: Vec<_> = places.map(|(x, y)| (Point { x, y }, 2.0, GROUND)).into();
        receivers.push((Point { x: 20.0, y: 10.0 }, 2.0, FIRST));
        let corner = (Point { x: 0.0, y: 0.0 }, Point { x: 40.0, y: 20.0 });
        Ground { receivers, levels: vec![(GROUND, 0.0, Some(corner)), (FIRST, 4.0, None)], exponent: 2.0 }
    }

    /// What the receivers of the ground floor hear of a beacon there.
    fn from(x: f64, y: f64) -> Vec<(ReceiverIndex, f64)> {
        let of = ground();
        let heard = of.receivers.iter().take(6).enumerate().map(|(at, (receiver, ..))| {
            let distance = receiver.distance(Point { x, y }).max(1.0);
            (ReceiverIndex(at as u32), -59.0 - 20.0 * distance.log10())
        });
        heard.collect()
    }

    fn judged(place: (f64, f64), readings: &[(ReceiverIndex, f64)], known: &Whereabouts) -> Verdict {
        ground().judge((Point { x: place.0, y: place.1 }, GROUND), readings, known, |_| true)
    }

    fn usual(x: f64, y: f64) -> Whereabouts {
        let mut usual = Whereabouts::default();
        (0..LEARNED_FROM).for_each(|_| usual.learn(&from(x, y)));
        usual
    }

    #[test]
    fn the_misfit_is_that_of_the_law_with_free_power() {
        // 10 m and 20 m in free space: 6.02 dB apart. Heard alike, each is 3.01 dB off: twice 3.01².
        let of = Ground { exponent: 2.0, ..ground() };
        let links = [(Point { x: 0.0, y: 0.0 }, 0.0, -70.0), (Point { x: 30.0, y: 0.0 }, 0.0, -70.0)];
        let misfit = of.misfit(&links, Point { x: 10.0, y: 0.0 });
        assert!((misfit - 2.0 * 3.0103_f64.powi(2)).abs() < 1e-3, "{misfit}");
        assert!(of.misfit(&links, Point { x: 15.0, y: 3.0 }) < 1e-9);
    }

    #[test]
    fn a_beacon_at_its_place_is_there_however_weak_it_is() {
        for (x, y) in [(5.0, 5.0), (35.0, 18.0), (20.0, 10.0)] {
            let weak: Vec<_> = from(x, y).into_iter().map(|(at, rssi)| (at, rssi - 15.0)).collect();
            assert_eq!(judged((x, y), &weak, &Whereabouts::default()), Verdict::Here);
        }
    }

    #[test]
    fn a_beacon_at_the_other_end_was_moved() {
        let Verdict::There(GROUND, Some(at)) = judged((2.0, 2.0), &from(38.0, 18.0), &Whereabouts::default()) else {
            panic!("not found")
        };
        assert!(at.distance(Point { x: 38.0, y: 18.0 }) < 2.0, "{at:?}");
    }

    #[test]
    fn a_lesser_move_is_found_by_the_pattern_that_it_changes() {
        let heard = from(30.0, 15.0);
        assert_eq!(judged((8.0, 6.0), &heard, &Whereabouts::default()), Verdict::Here);
        assert!(matches!(judged((8.0, 6.0), &heard, &usual(8.0, 6.0)), Verdict::There(..)));
        assert_eq!(judged((30.0, 15.0), &heard, &usual(30.0, 15.0)), Verdict::Here);
    }

    #[test]
    fn a_broken_antenna_moves_no_beacon() {
        for broken in 0..6 {
            let mut heard = from(8.0, 6.0);
            heard[broken].1 -= 15.0;
            assert_eq!(judged((8.0, 6.0), &heard, &usual(8.0, 6.0)), Verdict::Here, "{broken}");
        }
    }

    #[test]
    fn two_receivers_are_too_few() {
        assert_eq!(judged((2.0, 2.0), &from(38.0, 18.0)[..2], &Whereabouts::default()), Verdict::Unknown);
        assert_eq!(judged((2.0, 2.0), &[], &Whereabouts::default()), Verdict::Unknown);
    }

    #[test]
    fn what_only_the_level_above_hears_is_there_unless_nobody_nearer_listens() {
        let above = [(ReceiverIndex(6), -70.0)];
        let place = (Point { x: 19.0, y: 1.0 }, GROUND);
        let known = Whereabouts::default();
        assert_eq!(ground().judge(place, &above, &known, |_| true), Verdict::There(FIRST, None));
        // The one beside it is down; the others are farther than the one above.
        let but_one = |receiver| receiver != ReceiverIndex(1);
        assert_eq!(ground().judge(place, &above, &known, but_one), Verdict::Unknown);
    }

    #[test]
    fn a_judgement_holds_for_half_an_hour_before_it_is_believed() {
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let there = Verdict::There(GROUND, None);
        let mut known = Whereabouts::default();
        let mut windows = |verdict, from: i64, to: i64| {
            (from..to).for_each(|window| known.take(verdict, &[], at(5 * window), at(5 * window + 5)));
            known.elsewhere.map(|found| found.since)
        };
        assert_eq!(windows(there, 0, 5), None);
        assert_eq!(windows(Verdict::Here, 5, 6), None);
        assert_eq!(windows(there, 6, 11), None);
        assert_eq!(windows(there, 11, 12), Some(at(30)));
        assert_eq!(windows(Verdict::Here, 12, 17), Some(at(30)));
        assert_eq!(windows(there, 17, 18), Some(at(30)));
        assert_eq!(windows(Verdict::Here, 18, 24), None);
    }
}

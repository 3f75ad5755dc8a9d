//! One who walks: a life as a sequence of legs, made up as time goes on.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, LogNormal};

use crate::model::{Metres, Point};

use super::places::{Area, Place, Places, Role};

/// Walking speeds of shoppers, in metres a second.
const SPEED: std::ops::Range<f64> = 0.8..1.4;
/// Speed while looking around within a zone, in metres a second.
const WANDER_SPEED: f64 = 0.5;
/// How long one stands before the next step aside, in seconds.
const STAND: std::ops::Range<f64> = 3.0..15.0;
/// Climbing or riding, in metres of height a second: an escalator does 0.25 to 0.3.
const CLIMB_SPEED: f64 = 0.28;
/// Spread of dwell times: the standard deviation of their logarithm.
const DWELL_SIGMA: f64 = 0.6;
/// Shortest and longest stay in a zone, in seconds.
const DWELL_LIMITS: (f64, f64) = (8.0, 900.0);
/// Share of shoppers who pay.
const PAYING: f64 = 0.8;
/// Shortest and mean further time away between two visits, in seconds: longer than `lost_after` is by default.
const AWAY: (f64, f64) = (120.0, 180.0);

/// How a life goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Life {
    /// Comes at that time (seconds since the start), shops, leaves, comes again.
    Visits {
        /// First arrival.
        from: f64,
    },
    /// As `Visits`, but in the middle of one at the start, with that many zones still to see.
    Inside {
        /// Zones still to see after the one it is in.
        stops: usize,
    },
    /// Walks about all the time, staff areas included.
    Works,
    /// Stands at one spot of one zone all the time.
    Stands,
    /// Is at one place all the time.
    Fixed(Place),
}

/// Where one is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Whereabouts {
    /// In the store.
    Here {
        /// Where.
        place: Place,
        /// Height of what it stands on, over the same zero as elevations; between two floors on a passage.
        ground: Metres,
    },
    /// Out of the store until that time, in seconds since the start.
    Away {
        /// Seconds since the start.
        until: f64,
    },
}

/// From one moment and place to the next; `places` none while away.
#[derive(Debug)]
struct Leg {
    from: f64,
    to: f64,
    places: Option<(Place, Place)>,
}

/// What comes next when all legs are used up.
#[derive(Debug)]
enum Intent {
    Arrive,
    Visit(VecDeque<usize>),
    Leave,
    Work,
    Stay,
}

/// One who walks. Must be asked in the order of time.
#[derive(Debug)]
pub(super) struct Walker {
    places: Arc<Places>,
    rng: ChaCha8Rng,
    median_dwell: f64,
    speed: f64,
    here: Place,
    legs: VecDeque<Leg>,
    /// Time at which the last leg ends.
    planned: f64,
    intent: Intent,
}

impl Walker {
    pub fn new(places: Arc<Places>, life: Life, median_dwell: f64, mut rng: ChaCha8Rng) -> Self {
        let speed = rng.random_range(SPEED);
        let here = places.entrance;
        let mut walker =
            Self { places, rng, median_dwell, speed, here, legs: VecDeque::new(), planned: 0.0, intent: Intent::Stay };
        match life {
            Life::Visits { from } => {
                walker.away_until(from);
                walker.intent = Intent::Arrive;
            }
            Life::Inside { stops } => {
                let mut stops = walker.choose_stops(stops + 1);
                let first = stops.pop_front().unwrap_or_default();
                walker.here = walker.spot(first);
                // Somewhere in the middle of a stay.
                let stay = walker.dwell() * walker.rng.random_range(0.2..0.9);
                walker.wander(first, stay);
                walker.intent = Intent::Visit(stops);
            }
            Life::Works => {
                let at = walker.any_area(|_| true);
                walker.here = walker.spot(at);
                walker.intent = Intent::Work;
            }
            Life::Stands => {
                let at = walker.any_area(|area| area.role == Role::Goods);
                walker.here = walker.spot(at);
            }
            Life::Fixed(place) => walker.here = place,
        }
        walker
    }

    /// Where it is `at` seconds after the start; `at` must not be less than at the call before.
    pub fn at(&mut self, at: f64) -> Whereabouts {
        while self.legs.front().is_none_or(|leg| leg.to <= at) {
            if self.legs.pop_front().is_none() {
                self.plan();
            }
        }
        // The loop ends only with a leg at the front.
        let Some(leg) = self.legs.front() else { return Whereabouts::Away { until: self.planned } };
        let Some((from, to)) = leg.places else { return Whereabouts::Away { until: leg.to } };
        let share = ((at - leg.from) / (leg.to - leg.from)).clamp(0.0, 1.0);
        let between = |a: f64, b: f64| a + (b - a) * share;
        let elevation = |place: Place| self.places.floors[place.floor].elevation;
        let floor = if share < 0.5 { from.floor } else { to.floor };
        let point = Point { x: between(from.point.x, to.point.x), y: between(from.point.y, to.point.y) };
        Whereabouts::Here { place: Place { point, floor }, ground: between(elevation(from), elevation(to)) }
    }

    fn plan(&mut self) {
        match std::mem::replace(&mut self.intent, Intent::Stay) {
            Intent::Arrive => {
                self.here = self.places.entrance;
                // A trolley, a look at the offers.
                let pause = self.rng.random_range(4.0..12.0);
                self.stand(pause);
                let count = self.rng.random_range(2..=5);
                self.intent = Intent::Visit(self.choose_stops(count));
            }
            Intent::Visit(mut stops) => {
                let Some(next) = stops.pop_front() else {
                    self.intent = Intent::Leave;
                    return;
                };
                let (spot, stay) = (self.spot(next), self.dwell());
                self.walk(spot);
                self.wander(next, stay);
                self.intent = Intent::Visit(stops);
            }
            Intent::Leave => {
                self.walk(self.places.entrance);
                let further: f64 = Exp1.sample(&mut self.rng);
                self.away_until(self.planned + AWAY.0 + AWAY.1 * further);
                self.intent = Intent::Arrive;
            }
            Intent::Work => {
                let next = self.any_area(|_| true);
                let (spot, stay) = (self.spot(next), self.dwell());
                self.walk(spot);
                self.wander(next, stay);
                self.intent = Intent::Work;
            }
            Intent::Stay => self.stand(3_600.0),
        }
    }

    /// Zones to see, those of one floor together, the entrance's floor first; then the checkout.
    fn choose_stops(&mut self, count: usize) -> VecDeque<usize> {
        let places = Arc::clone(&self.places);
        let with = |role: Role| -> Vec<usize> {
            (0..places.areas.len()).filter(|&at| places.areas[at].role == role).collect()
        };
        let mut goods = with(Role::Goods);
        if goods.is_empty() {
            goods = (0..places.areas.len()).collect();
        }
        let mut stops = Vec::with_capacity(count + 1);
        while stops.len() < count && !goods.is_empty() {
            let at = self.rng.random_range(0..goods.len());
            stops.push(goods.swap_remove(at));
        }
        stops.sort_by_key(|&at| places.areas[at].floor.abs_diff(places.entrance.floor));
        let tills = with(Role::Checkout);
        if !tills.is_empty() && self.rng.random_bool(PAYING) {
            stops.push(tills[self.rng.random_range(0..tills.len())]);
        }
        stops.into()
    }

    fn any_area(&mut self, wanted: impl Fn(&Area) -> bool) -> usize {
        let mut fitting: Vec<usize> =
            (0..self.places.areas.len()).filter(|&at| wanted(&self.places.areas[at])).collect();
        if fitting.is_empty() {
            fitting = (0..self.places.areas.len()).collect();
        }
        fitting[self.rng.random_range(0..fitting.len())]
    }

    /// A spot in the area, rather in its middle than at its edge.
    fn spot(&mut self, area: usize) -> Place {
        let area = &self.places.areas[area];
        let mut any = || area.spots[self.rng.random_range(0..area.spots.len())];
        let (a, b) = (any(), any());
        let point = if a.distance(area.centre) < b.distance(area.centre) { a } else { b };
        Place { point, floor: area.floor }
    }

    fn dwell(&mut self) -> f64 {
        LogNormal::new(self.median_dwell.max(1.0).ln(), DWELL_SIGMA)
            .map_or(self.median_dwell, |d| d.sample(&mut self.rng))
            .clamp(DWELL_LIMITS.0, DWELL_LIMITS.1)
    }

    fn wander(&mut self, area: usize, stay: f64) {
        let end = self.planned + stay;
        while self.planned < end {
            let pause = self.rng.random_range(STAND).min(end - self.planned);
            self.stand(pause);
            let next = self.spot(area);
            // A step aside, not across the zone: part of the way to another spot.
            let share = self.rng.random_range(0.2..0.7);
            let part = |a: f64, b: f64| a + (b - a) * share;
            let near = Point { x: part(self.here.point.x, next.point.x), y: part(self.here.point.y, next.point.y) };
            let seen = self.places.way(self.here, next).is_some_and(|way| way.len() == 1);
            if self.planned < end && seen && self.in_area(area, near) {
                self.leg(Place { point: near, floor: next.floor }, WANDER_SPEED);
            }
        }
    }

    /// Whether the point is as good as a spot of the area: zones may be concave.
    fn in_area(&self, area: usize, point: Point) -> bool {
        self.places.areas[area].spots.iter().any(|spot| spot.distance(point) < 0.5)
    }

    fn walk(&mut self, to: Place) {
        // No way to it: it stays where it is. Areas without a way from the entrance were left out at the start.
        for place in self.places.way(self.here, to).unwrap_or_default() {
            self.leg(place, self.speed);
        }
    }

    fn leg(&mut self, to: Place, speed: f64) {
        let floors = &self.places.floors;
        let climb = (floors[to.floor].elevation - floors[self.here.floor].elevation).abs() / CLIMB_SPEED;
        let time = (self.here.point.distance(to.point) / speed).max(climb);
        self.push(time, Some((self.here, to)));
        self.here = to;
    }

    fn stand(&mut self, time: f64) {
        self.push(time, Some((self.here, self.here)));
    }

    fn away_until(&mut self, until: f64) {
        self.push(until - self.planned, None);
    }

    fn push(&mut self, time: f64, places: Option<(Place, Place)>) {
        // An empty leg would only have to be skipped.
        if time > 1e-6 {
            let from = self.planned;
            self.planned += time;
            self.legs.push_back(Leg { from, to: self.planned, places });
        }
    }
}

/// A random generator of its own for each purpose, so that one more shopper does not change the others.
pub(super) fn stream(seed: u64, purpose: u64, index: u64) -> ChaCha8Rng {
    use rand::SeedableRng;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((purpose << 48) | index);
    // The first block is not special; taking a word makes streams of neighbouring seeds visibly different in debuggers.
    let _ = rng.next_u32();
    rng
}

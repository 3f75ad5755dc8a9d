//! How strong a receiver hears a transmitter.
//!
//! RSSI = power at 1 m − 10·n·log10(d) − floors between − shadowing − fading (the log-distance law; T. S. Rappaport, *Wireless
//! Communications*, 2nd ed., 4.9). Shadowing is a random field over each floor, one for each receiver, Gaussian with covariance
//! sd²·exp(−r/L) (M. Gudmundson, *Electronics Letters* 27(23), 1991): what stands still hears the same error all the time, as
//! in a store. Fading is drawn anew for every packet.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

use crate::model::{Metres, Point, Rssi};

use super::places::{Floor, Place};
use super::walker::stream;

/// How the strength of single packets scatters. Both have a mean of zero in dB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FadingModel {
    /// Nakagami-m: skewed towards deep fades, as measured indoors. m follows from the standard deviation.
    #[default]
    Nakagami,
    /// Gaussian in dB.
    Gaussian,
}

/// Distance below which the law is not continued, in metres.
const LEAST_DISTANCE: Metres = 0.3;
/// Waves that a random field is made of.
const WAVES: usize = 64;
/// Greatest number of nodes of a field's grid along one axis.
const MOST_NODES: f64 = 200.0;

/// Fading of a given standard deviation, ready to be drawn from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fading {
    None,
    Gaussian { sd: f64 },
    Nakagami { power: Gamma<f64>, mean: f64 },
}

impl Fading {
    /// `sd` in dB.
    pub fn new(model: FadingModel, sd: f64) -> Self {
        if sd <= 0.0 {
            return Self::None;
        }
        if model == FadingModel::Gaussian {
            return Self::Gaussian { sd };
        }
        // The variance of 10·log10 of a Gamma(m) power is (10 / ln 10)²·ψ′(m), which falls with m.
        let wanted = (sd * std::f64::consts::LN_10 / 10.0).powi(2);
        let (mut low, mut high) = (0.05_f64, 1e4_f64);
        for _ in 0..80 {
            let middle = (low * high).sqrt();
            if trigamma(middle) > wanted { low = middle } else { high = middle }
        }
        // A shape and scale that are positive and finite are never refused.
        Gamma::new(low, 1.0 / low).map_or(Self::None, |power| Self::Nakagami {
            power,
            mean: 10.0 / std::f64::consts::LN_10 * (digamma(low) - low.ln()),
        })
    }

    /// One packet's fading in dB; mean zero.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Gaussian { sd } => {
                let z: f64 = StandardNormal.sample(rng);
                sd * z
            }
            Self::Nakagami { power, mean } => 10.0 * power.sample(rng).max(1e-12).log10() - mean,
        }
    }
}

/// What all radio links share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Law {
    pub path_loss_exponent: f64,
    pub floor_loss: f64,
    pub sensitivity: f64,
    pub packet_loss: f64,
    pub fading: Fading,
}

/// One end of the links to all that walk: a receiver, or a fixed beacon. Which of the two sends makes no difference.
#[derive(Debug)]
pub(super) struct Link {
    place: Place,
    height: Metres,
    offset: f64,
    shadow: Vec<Field>,
}

/// What shadowing is like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shadowing {
    pub sd: f64,
    pub distance: Metres,
    pub seed: u64,
}

impl Link {
    /// `height` over the same zero as elevations; `extents` is the box of each floor.
    pub fn new(
        place: Place,
        height: Metres,
        offset: f64,
        index: usize,
        shadowing: Shadowing,
        extents: &[(Point, Point)],
    ) -> Self {
        let shadow = extents
            .iter()
            .enumerate()
            .map(|(floor, &extent)| {
                let mut rng = stream(shadowing.seed, 3, (index as u64) << 8 | floor as u64);
                Field::new(shadowing, extent, &mut rng)
            })
            .collect();
        Self { place, height, offset, shadow }
    }

    /// Mean RSSI in dBm for a transmitter of that power at 1 m, at that place and height; shadowing included.
    pub fn mean(&self, law: &Law, power: f64, place: Place, height: Metres) -> f64 {
        let distance = self.place.point.distance(place.point).hypot(self.height - height).max(LEAST_DISTANCE);
        let floors = self.place.floor.abs_diff(place.floor) as f64;
        let shadow = self.shadow.get(place.floor).map_or(0.0, |field| field.at(place.point));
        power - 10.0 * law.path_loss_exponent * distance.log10() - floors * law.floor_loss - shadow + self.offset
    }

    /// What is read of one packet, in whole dBm as radios give it; none where the packet is lost.
    pub fn hear(&self, law: &Law, power: f64, place: Place, height: Metres, rng: &mut ChaCha8Rng) -> Option<Rssi> {
        let lost = rng.random_bool(law.packet_loss);
        let rssi = self.mean(law, power, place, height) + law.fading.draw(rng);
        if lost || rssi < law.sensitivity {
            return None;
        }
        Rssi::new(rssi.round().clamp(-127.0, 20.0)).ok()
    }
}

/// The box of a floor and 2 m around it.
pub(super) fn extent(floor: &Floor, others: (Point, Point)) -> (Point, Point) {
    let (low, high) = floor.outline.as_ref().map_or(others, |ring| crate::registry::bounds(ring.iter().copied()));
    (Point { x: low.x - 2.0, y: low.y - 2.0 }, Point { x: high.x + 2.0, y: high.y + 2.0 })
}

/// A random field on a grid, in dB, interpolated between its nodes.
#[derive(Debug)]
struct Field {
    low: Point,
    step: (f64, f64),
    columns: usize,
    rows: usize,
    nodes: Vec<f32>,
}

impl Field {
    fn new(shadowing: Shadowing, (low, high): (Point, Point), rng: &mut ChaCha8Rng) -> Self {
        // Random Fourier features (Rahimi and Recht, 2007): wave vectors drawn from the spectrum of exp(−r/L), which in
        // the plane is a Cauchy distribution.
        let waves: Vec<(f64, f64, f64)> = (0..WAVES)
            .map(|_| {
                let [u, v, w]: [f64; 3] = std::array::from_fn(|_| StandardNormal.sample(rng));
                let scale = 1.0 / (shadowing.distance.max(0.1) * w.abs().max(1e-3));
                (u * scale, v * scale, rng.random_range(0.0..std::f64::consts::TAU))
            })
            .collect();
        let nodes_along = |length: f64| (length.max(1.0).ceil() + 1.0).min(MOST_NODES);
        let (columns, rows) = (nodes_along(high.x - low.x), nodes_along(high.y - low.y));
        let step = ((high.x - low.x).max(1.0) / (columns - 1.0), (high.y - low.y).max(1.0) / (rows - 1.0));
        let (columns, rows) = (columns as usize, rows as usize);
        let scale = shadowing.sd * (2.0 / WAVES as f64).sqrt();
        let value = |i: usize| {
            let (x, y) = ((i % columns) as f64 * step.0, (i / columns) as f64 * step.1);
            (scale * waves.iter().map(|(u, v, phase)| (u * x + v * y + phase).cos()).sum::<f64>()) as f32
        };
        let nodes = if shadowing.sd > 0.0 { (0..columns * rows).map(value).collect() } else { Vec::new() };
        Self { low, step, columns, rows, nodes }
    }

    fn at(&self, point: Point) -> f64 {
        if self.nodes.is_empty() {
            return 0.0;
        }
        let split = |value: f64, count: usize| {
            let value = value.clamp(0.0, (count - 1) as f64);
            let cell = (value as usize).min(count - 2);
            (cell, value - cell as f64)
        };
        let (column, fx) = split((point.x - self.low.x) / self.step.0, self.columns);
        let (row, fy) = split((point.y - self.low.y) / self.step.1, self.rows);
        let node = |c: usize, r: usize| f64::from(self.nodes[r * self.columns + c]);
        let along = |r: usize| node(column, r) * (1.0 - fx) + node(column + 1, r) * fx;
        along(row) * (1.0 - fy) + along(row + 1) * fy
    }
}

/// ψ, by recurrence up to 8 and the asymptotic series from there (Abramowitz and Stegun, 6.3.5 and 6.3.18).
fn digamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 8.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + x.ln() - 0.5 / x - y * (1.0 / 12.0 - y * (1.0 / 120.0 - y / 252.0))
}

/// ψ′, likewise (6.4.6 and 6.4.12).
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 8.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + (1.0 + 0.5 / x + y * (1.0 / 6.0 - y * (1.0 / 30.0 - y / 42.0))) / x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fading_has_the_mean_and_spread_it_was_asked_for() {
        for (model, sd) in [(FadingModel::Nakagami, 4.0), (FadingModel::Nakagami, 2.0), (FadingModel::Gaussian, 4.0)] {
            let (fading, mut rng) = (Fading::new(model, sd), stream(1, 0, 0));
            let drawn: Vec<f64> = (0..40_000).map(|_| fading.draw(&mut rng)).collect();
            let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
            let spread = (drawn.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / drawn.len() as f64).sqrt();
            assert!(mean.abs() < 0.1 && (spread - sd).abs() < 0.15, "{model:?} {sd}: {mean} {spread}");
        }
    }

    #[test]
    fn digamma_and_trigamma_give_their_known_values() {
        assert!((digamma(1.0) + 0.577_215_664_9).abs() < 1e-9);
        assert!((trigamma(1.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-8);
        assert!((trigamma(2.0) - (std::f64::consts::PI.powi(2) / 6.0 - 1.0)).abs() < 1e-8);
    }

    #[test]
    fn shadowing_is_alike_nearby_and_different_far_away() {
        let extent = (Point { x: 0.0, y: 0.0 }, Point { x: 60.0, y: 60.0 });
        let (mut square, mut near, mut far, mut count) = (0.0, 0.0, 0.0, 0.0);
        for seed in 0..60 {
            let field = Field::new(Shadowing { sd: 4.0, distance: 6.0, seed }, extent, &mut stream(seed, 3, 0));
            for (x, y) in [(10.0, 10.0), (10.0, 40.0), (40.0, 10.0), (40.0, 40.0)] {
                let here = field.at(Point { x, y });
                square += here * here;
                near += here * field.at(Point { x: x + 1.0, y });
                far += here * field.at(Point { x: x + 18.0, y });
                count += 1.0;
            }
        }
        let variance = square / count;
        assert!((variance - 16.0).abs() < 5.0, "{variance}");
        assert!(near / count / variance > 0.75, "{}", near / count / variance);
        assert!((far / count / variance).abs() < 0.35, "{}", far / count / variance);
    }
}

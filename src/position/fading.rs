//! How far an RSSI strays from its mean: the log density of Nakagami fading in dB, blurred by the map's own uncertainty.
//!
//! The envelope of a signal that arrives over a few paths is Nakagami distributed with a shape m (Nakagami 1960); its
//! power in dB then has the density `exp(m(k·g − e^{k·g}))` with `k = ln 10 / 10`, up to a constant, and the mean
//! `(ψ(m) − ln m) / k`. It has a longer tail towards weak readings (a packet in a fade) than towards strong ones, which a
//! Gaussian misses. Shifted to zero mean and convolved with N(0, s²), it is kept as a table.

/// Shape of the fading. 2 is what positioning on public recordings of halls and flats settled on.
const SHAPE: f64 = 2.0;
/// ψ(2), the digamma function at the shape.
const DIGAMMA_SHAPE: f64 = 0.422_784_335_098_467_1;
/// Step of the table in dB.
pub(super) const STEP: f64 = 0.25;
/// The table covers ± this many dB; beyond it the edge value holds, which bounds what a single outlier can say.
const REACH: f64 = 32.0;

/// A table of log densities.
#[derive(Debug, Clone)]
pub(crate) struct Fading {
    log_density: Vec<f32>,
}

impl Fading {
    /// The table for a map whose expected level is uncertain by `sd` dB.
    pub(crate) fn new(sd: f64) -> Self {
        let k = std::f64::consts::LN_10 / 10.0;
        let mean = (DIGAMMA_SHAPE - SHAPE.ln()) / k;
        let raw = |g: f64| (SHAPE * (k * (g + mean) - (k * (g + mean)).exp())).exp();
        let steps = (REACH / STEP) as i32;
        let density: Vec<f64> = (-steps..=steps)
            .map(|at| {
                let g = f64::from(at) * STEP;
                // Convolution over ±4 sd in steps of the table.
                let span = (4.0 * sd / STEP).ceil() as i32;
                (-span..=span)
                    .map(|by| {
                        let shift = f64::from(by) * STEP;
                        raw(g - shift) * (-0.5 * (shift / sd).powi(2)).exp()
                    })
                    .sum()
            })
            .collect();
        let total: f64 = density.iter().sum::<f64>() * STEP;
        let floor = 1e-6;
        Self { log_density: density.iter().map(|d| (d / total).max(floor).ln() as f32).collect() }
    }

    /// Log density of a deviation from the expected level, in steps of the table.
    #[inline]
    pub(crate) fn log_density_at(&self, steps: i32) -> f32 {
        let middle = (REACH / STEP) as i32;
        self.log_density[(steps.clamp(-middle, middle) + middle) as usize]
    }

    /// Log density of a deviation from the expected level, in dB.
    #[cfg(test)]
    pub(crate) fn log_density(&self, deviation: f32) -> f32 {
        self.log_density_at((f64::from(deviation) / STEP).round() as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_density_sums_to_one_and_has_zero_mean() {
        let fading = Fading::new(4.0);
        let (mut total, mut mean) = (0.0, 0.0);
        for (at, log) in fading.log_density.iter().enumerate() {
            let p = f64::from(*log).exp() * STEP;
            total += p;
            mean += p * (at as f64 * STEP - REACH);
        }
        assert!((total - 1.0).abs() < 1e-3, "{total}");
        assert!(mean.abs() < 0.05, "{mean}");
    }

    #[test]
    fn a_fade_is_likelier_than_a_peak_of_the_same_size() {
        let fading = Fading::new(2.0);
        assert!(fading.log_density(-12.0) > fading.log_density(12.0));
    }

    #[test]
    fn an_outlier_says_no_more_than_the_edge_of_the_table() {
        let fading = Fading::new(4.0);
        assert_eq!(fading.log_density(-1e9).to_bits(), fading.log_density(-REACH as f32).to_bits());
        assert_eq!(fading.log_density(f32::INFINITY).to_bits(), fading.log_density(REACH as f32).to_bits());
    }
}

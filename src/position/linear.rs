//! The little linear algebra that a survey needs. Forty lines in place of a crate: matrices here are symmetric, positive
//! definite by construction, and at most some hundred rows.

/// The Cholesky factor L of a symmetric, positive definite matrix A = L·Lᵀ, row by row.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors the matrix whose lower triangle is given row by row (row i has i + 1 entries); none where it is not
    /// positive definite. Takes n³/6 steps.
    pub(super) fn new(mut rows: Vec<Vec<f64>>) -> Option<Self> {
        for at in 0..rows.len() {
            let (done, rest) = rows.split_at_mut(at);
            let row = &mut rest[0];
            for (column, of) in done.iter().enumerate() {
                let (known, value) = row.split_at_mut(column);
                value[0] = (value[0] - dot(known, of)) / of[column];
            }
            let (known, diagonal) = row.split_at_mut(at);
            let square = diagonal[0] - dot(known, known);
            if square <= 0.0 || !square.is_finite() {
                return None;
            }
            diagonal[0] = square.sqrt();
        }
        Some(Self { rows })
    }

    /// L⁻¹·b in place.
    pub(super) fn forward(&self, b: &mut [f64]) {
        for (at, row) in self.rows.iter().enumerate() {
            b[at] = (b[at] - dot(&row[..at], &b[..at])) / row[at];
        }
    }

    /// L⁻¹·B in place for several right-hand sides at once: `b[row]` holds that row of all of them.
    pub(super) fn forward_many<const N: usize>(&self, b: &mut [[f64; N]]) {
        for (at, row) in self.rows.iter().enumerate() {
            let (done, rest) = b.split_at_mut(at);
            let mut sum = rest[0];
            for (weight, of) in row.iter().zip(done.iter()) {
                for (sum, of) in sum.iter_mut().zip(of) {
                    *sum -= weight * of;
                }
            }
            rest[0] = sum.map(|sum| sum / row[at]);
        }
    }

    /// A⁻¹·b in place.
    pub(super) fn solve(&self, b: &mut [f64]) {
        self.forward(b);
        for at in (0..self.rows.len()).rev() {
            b[at] /= self.rows[at][at];
            let value = b[at];
            for (b, entry) in b.iter_mut().zip(&self.rows[at][..at]) {
                *b -= entry * value;
            }
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Least squares with a prior: unknowns with a mean and a standard deviation each, and observations that are linear in
/// them.
#[derive(Debug, Clone)]
pub(super) struct Ridge {
    means: Vec<f64>,
    /// Lower triangle of the normal equations.
    normal: Vec<Vec<f64>>,
    right: Vec<f64>,
}

impl Ridge {
    /// The unknowns with their priors (mean, standard deviation).
    pub(super) fn new(priors: &[(f64, f64)]) -> Self {
        let mut normal: Vec<Vec<f64>> = (0..priors.len()).map(|at| vec![0.0; at + 1]).collect();
        for (at, (_, sd)) in priors.iter().enumerate() {
            normal[at][at] = 1.0 / (sd * sd);
        }
        Self { means: priors.iter().map(|(mean, _)| *mean).collect(), normal, right: vec![0.0; priors.len()] }
    }

    /// Takes in Σ factor·unknown = value, given (unknown, factor), known to a standard deviation of `1 / √weight`.
    pub(super) fn observe(&mut self, terms: &[(usize, f64)], value: f64, weight: f64) {
        let expected: f64 = terms.iter().map(|(at, factor)| factor * self.means[*at]).sum();
        for (row, a) in terms {
            self.right[*row] += weight * a * (value - expected);
            for (column, b) in terms.iter().filter(|(column, _)| column <= row) {
                self.normal[*row][*column] += weight * a * b;
            }
        }
    }

    /// The most likely unknowns.
    pub(super) fn solve(self) -> Vec<f64> {
        let mut change = self.right;
        match Cholesky::new(self.normal) {
            Some(factor) => factor.solve(&mut change),
            // The priors make it positive definite; only numbers beyond all measure do not.
            None => change.fill(0.0),
        }
        self.means.iter().zip(change).map(|(mean, change)| mean + change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // [[4, 2, 0], [2, 5, 3], [0, 3, 6]] · [1, -2, 3] = [0, 1, 12]
        let factor = Cholesky::new(vec![vec![4.0], vec![2.0, 5.0], vec![0.0, 3.0, 6.0]]).unwrap();
        let mut b = [0.0, 1.0, 12.0];
        factor.solve(&mut b);
        for (found, wanted) in b.iter().zip([1.0, -2.0, 3.0]) {
            assert!((found - wanted).abs() < 1e-12, "{b:?}");
        }
        let (mut one, mut many) = ([1.0, 2.0, 3.0], [[1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]);
        factor.forward(&mut one);
        factor.forward_many(&mut many);
        assert!(one.iter().zip(many).all(|(one, many)| (one - many[0]).abs() < 1e-12));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_is_none() {
        assert!(Cholesky::new(vec![vec![1.0], vec![2.0, 1.0]]).is_none());
        assert!(Cholesky::new(vec![vec![f64::NAN]]).is_none());
    }

    #[test]
    fn many_observations_outweigh_the_prior_and_none_leave_it() {
        let mut line = Ridge::new(&[(0.0, 1.0), (5.0, 1.0), (7.0, 2.0)]);
        for x in 0..1_000 {
            let x = f64::from(x % 10);
            line.observe(&[(0, 1.0), (1, x)], 2.0 + 3.0 * x, 1.0);
        }
        let found = line.solve();
        assert!((found[0] - 2.0).abs() < 0.05 && (found[1] - 3.0).abs() < 0.05, "{found:?}");
        assert!((found[2] - 7.0).abs() < 1e-12);
    }
}

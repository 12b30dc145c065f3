//! A member's network, and what it gives back; equations in `context`.

use rayon::prelude::*;

use crate::adapter::{CONTEXT_WIDTH, Sigma};
use crate::kernels::cpu::low_rank::{dots, outer, spread};
use crate::kl::GaussianKl;

const SIGMA: Sigma = Sigma::SquaredLogistic;

/// Rows of one task.
const ROWS: usize = 16;

/// A member's network at a site.
pub(super) struct Network<'a> {
    pub(super) rank: usize,
    /// W₁ (H, r), b₁ (H), W₂ (2r², H), b₂ (2r²).
    pub(super) weights: [&'a [f32]; 4],
}

/// What it makes of rows: u (n, H), and (μ, ρ) (n, 2r²).
struct Made {
    hidden: Vec<f32>,
    output: Vec<f32>,
}

/// Fills ε (r²) of a row; false at the mean.
pub(super) type Noise<'a> = dyn Fn(usize, &mut [f32]) -> bool + Sync + 'a;

impl Network<'_> {
    fn of_rows(&self, z: &[f32]) -> Made {
        let [w1, b1, w2, b2] = self.weights;
        let rows = z.len() / self.rank;
        let mut hidden = vec![0.0; rows * CONTEXT_WIDTH];
        dots(z, w1, self.rank, None, &mut hidden);
        for (u, b) in hidden.iter_mut().zip(b1.iter().cycle()) {
            *u = (*u + b).max(0.0);
        }
        let mut output = vec![0.0; rows * b2.len()];
        dots(&hidden, w2, CONTEXT_WIDTH, None, &mut output);
        for (o, b) in output.iter_mut().zip(b2.iter().cycle()) {
            *o += b;
        }
        Made { hidden, output }
    }

    /// h (n, r) of z (n, r).
    pub(super) fn forward(&self, z: &[f32], noise: &Noise<'_>) -> Vec<f32> {
        let (r, made) = (self.rank, self.of_rows(z));
        let mut h = vec![0.0; z.len()];
        h.par_chunks_mut(r)
            .with_min_len(ROWS)
            .zip(z.par_chunks(r))
            .zip(made.output.par_chunks(2 * r * r))
            .enumerate()
            .for_each(|(row, ((h, z), output))| {
                let matrix = Matrix::of(row, output, noise);
                for (h, e) in h.iter_mut().zip(matrix.e.chunks_exact(r)) {
                    *h = e.iter().zip(z).map(|(e, z)| e * z).sum();
                }
            });
        h
    }

    /// dL/dz (n, r) of dL/dh, and the gradients of the weights.
    pub(super) fn backward(
        &self,
        (z, dh): (&[f32], &[f32]),
        noise: &Noise<'_>,
        kl: Option<(GaussianKl, f64)>,
    ) -> (Vec<f32>, [Vec<f32>; 4]) {
        let r = self.rank;
        let Made { hidden, output } = self.of_rows(z);
        let (mut dz, mut doutput) = (vec![0.0; z.len()], vec![0.0; output.len()]);
        dz.par_chunks_mut(r)
            .with_min_len(ROWS)
            .zip(doutput.par_chunks_mut(2 * r * r))
            .zip(z.par_chunks(r).zip(dh.par_chunks(r)))
            .zip(output.par_chunks(2 * r * r))
            .enumerate()
            .for_each(|(row, (((dz, doutput), (z, dh)), output))| {
                let Matrix { e, noise } = Matrix::of(row, output, noise);
                for (dh, e) in dh.iter().zip(e.chunks_exact(r)) {
                    for (dz, e) in dz.iter_mut().zip(e) {
                        *dz += dh * e;
                    }
                }
                let (dmean, drho) = doutput.split_at_mut(r * r);
                let (mean, rho) = output.split_at(r * r);
                for at in 0..r * r {
                    let by_entry = dh[at / r] * z[at % r];
                    let (mut by_mean, mut by_std) = (by_entry, by_entry * noise[at]);
                    if let Some((kl, weight)) = kl {
                        by_mean += (weight * kl.by_mean(mean[at].into())) as f32;
                        by_std += (weight * kl.by_std(SIGMA.of(rho[at]).into())) as f32;
                    }
                    dmean[at] = by_mean;
                    drho[at] = by_std * SIGMA.slope(rho[at]);
                }
            });
        let sums = self.network_backward(z, (&hidden, &doutput), &mut dz);
        (dz, sums)
    }

    /// Adds the network's part to dL/dz; the gradients of its weights.
    fn network_backward(
        &self,
        z: &[f32],
        (hidden, doutput): (&[f32], &[f32]),
        dz: &mut [f32],
    ) -> [Vec<f32>; 4] {
        let [w1, _, w2, _] = self.weights;
        let mut sums = self.weights.map(|weights| vec![0.0; weights.len()]);
        outer(doutput, hidden, CONTEXT_WIDTH, None, &mut sums[2]);
        add_rows(doutput, &mut sums[3]);
        let mut dhidden = vec![0.0; hidden.len()];
        spread(doutput, w2, CONTEXT_WIDTH, 1.0, &mut dhidden);
        for (du, u) in dhidden.iter_mut().zip(hidden) {
            if *u == 0.0 {
                *du = 0.0;
            }
        }
        outer(&dhidden, z, self.rank, None, &mut sums[0]);
        add_rows(&dhidden, &mut sums[1]);
        spread(&dhidden, w1, self.rank, 1.0, dz);
        sums
    }
}

/// E of a row, and the ε in it.
struct Matrix {
    e: Vec<f32>,
    noise: Vec<f32>,
}

impl Matrix {
    fn of(row: usize, output: &[f32], noise: &Noise<'_>) -> Self {
        let (mean, rho) = output.split_at(output.len() / 2);
        let (mut e, mut drawn) = (mean.to_vec(), vec![0.0; mean.len()]);
        if noise(row, &mut drawn) {
            for ((e, noise), &rho) in e.iter_mut().zip(&drawn).zip(rho) {
                *e += SIGMA.of(rho) * noise;
            }
        }
        Self { e, noise: drawn }
    }
}

/// Adds rows to a sum of them.
pub(super) fn add_rows(rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len().max(1)) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::super::reference;
    use super::*;
    use crate::kl::{KlForm, PriorStd};
    use crate::noise::{NoiseKey, Phase, Purpose, Stream};
    use crate::ops::oracle::assert_close;
    use crate::ops::reference::gradients;

    const RANK: usize = 3;
    const COUNT: usize = 5;
    const PRIOR: f64 = 0.4;

    fn normals(seed: u64, len: usize, scale: f32) -> Vec<f32> {
        let mut out = vec![0.0; len];
        let key = NoiseKey {
            slot: 0,
            purpose: Purpose::Gaussian,
            sample: 0,
        };
        Stream::new(seed, 0, Phase::Evaluation).fill_normal(&mut out, key);
        out.iter().map(|value| scale * value).collect()
    }

    /// Weights, z and dh.
    fn case() -> ([Vec<f32>; 4], Vec<f32>, Vec<f32>) {
        let outputs = 2 * RANK * RANK;
        let weights = [
            normals(1, CONTEXT_WIDTH * RANK, 0.6),
            normals(2, CONTEXT_WIDTH, 0.4),
            normals(3, outputs * CONTEXT_WIDTH, 0.1),
            normals(4, outputs, 0.3),
        ];
        let rows = |seed| normals(seed, COUNT * RANK, 1.0);
        (weights, rows(5), rows(6))
    }

    fn network(weights: &[Vec<f32>; 4]) -> Network<'_> {
        let [w1, b1, w2, b2] = weights;
        Network {
            rank: RANK,
            weights: [w1, b1, w2, b2],
        }
    }

    fn sampled(row: usize, out: &mut [f32]) -> bool {
        out.copy_from_slice(&normals(100 + row as u64, out.len(), 1.0));
        true
    }

    fn at_mean(_row: usize, _out: &mut [f32]) -> bool {
        false
    }

    const NOISES: [&Noise<'static>; 2] = [&sampled, &at_mean];

    fn affine(w: &[f32], b: &[f32], x: &[f64], i: usize) -> f64 {
        let w = &w[i * x.len()..(i + 1) * x.len()];
        let terms = w.iter().zip(x).map(|(w, x)| f64::from(*w) * x);
        f64::from(b[i]) + terms.sum::<f64>()
    }

    /// ⟨dh, h⟩ + w·KL by their definitions, entry by entry in f64.
    fn loss(
        [w1, b1, w2, b2]: &[Vec<f32>; 4],
        (z, dh): (&[f32], &[f32]),
        (noise, weight): (&Noise<'_>, f64),
    ) -> f64 {
        let mut sum = 0.0;
        let rows = z.chunks_exact(RANK).zip(dh.chunks_exact(RANK));
        for (row, (z, dh)) in rows.enumerate() {
            let z: Vec<f64> = z.iter().map(|&z| z.into()).collect();
            let hidden = (0..CONTEXT_WIDTH).map(|i| affine(w1, b1, &z, i).max(0.0));
            let hidden: Vec<f64> = hidden.collect();
            let mut drawn = vec![0.0; RANK * RANK];
            noise(row, &mut drawn);
            for (at, epsilon) in drawn.iter().enumerate() {
                let mean = affine(w2, b2, &hidden, at);
                let rho = affine(w2, b2, &hidden, RANK * RANK + at);
                let std = (1.0 / (1.0 + (-rho).exp())).powi(2);
                let e = mean + std * f64::from(*epsilon);
                sum += f64::from(dh[at / RANK]) * e * z[at % RANK];
                let ratio = (std / PRIOR).powi(2);
                let kl = 0.5 * (ratio + (mean / PRIOR).powi(2) - 1.0 - ratio.ln());
                sum += weight * kl;
            }
        }
        sum
    }

    #[test]
    fn what_it_makes_of_rows_is_the_definition() {
        let (weights, z, dh) = case();
        for noise in NOISES {
            let h = network(&weights).forward(&z, noise);
            let products = h
                .iter()
                .zip(&dh)
                .map(|(h, d)| f64::from(*h) * f64::from(*d));
            let (got, expected) = (
                products.sum::<f64>(),
                loss(&weights, (&z, &dh), (noise, 0.0)),
            );
            assert!(
                (got - expected).abs() < 1e-4 * expected.abs(),
                "{got} {expected}"
            );
        }
    }

    #[test]
    fn plain_operations_make_the_same_of_rows_and_the_tape_the_same_gradients() {
        let (weights, z, dh) = case();
        let (outputs, entries) = (2 * RANK * RANK, RANK * RANK);
        let tensor = |values: &[f32], rows: usize| {
            let shape = (rows, values.len() / rows);
            Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
        };
        let exact = |values: &[f32], rows| tensor(values, rows).to_dtype(DType::F64).unwrap();
        let rows = [COUNT, CONTEXT_WIDTH, 1, outputs, 1];
        let [w1, b1, w2, b2] = &weights;
        let of = [&z, w1, b1, w2, b2];
        let inputs: Vec<_> = of
            .into_iter()
            .zip(rows)
            .map(|(it, n)| exact(it, n))
            .collect();
        let kl = GaussianKl::new(PriorStd::new(PRIOR).unwrap(), KlForm::Exact);
        for (noise, weight) in NOISES.into_iter().flat_map(|of| [(of, 0.0), (of, 0.7)]) {
            let mut drawn = vec![0.0; COUNT * entries];
            let mut of_rows = drawn.chunks_exact_mut(entries).enumerate();
            let is_sampled = of_rows.all(|(row, drawn)| noise(row, drawn));
            let drawn = is_sampled.then(|| exact(&drawn, COUNT));
            let forward = |of: &[Tensor]| {
                reference::forward(of[1..].try_into().unwrap(), &of[0], drawn.as_ref())
            };
            let h = network(&weights).forward(&z, noise);
            assert_close(&tensor(&h, COUNT), &forward(&inputs).unwrap(), 1e-5);
            let expected = gradients(&inputs.iter().collect::<Vec<_>>(), |of| {
                let loss = (forward(of)? * exact(&dh, COUNT))?.sum_all()?;
                let network = of[1..].try_into().unwrap();
                Ok((loss + (reference::divergence(network, &of[0], kl)? * weight)?)?)
            });
            let (dz, sums) = network(&weights).backward((&z, &dh), noise, Some((kl, weight)));
            let got = [dz].into_iter().chain(sums);
            for ((got, expected), rows) in got.zip(expected.unwrap()).zip(rows) {
                assert_close(&tensor(&got, rows), &expected, 1e-5);
            }
        }
    }

    #[test]
    fn gradients_are_finite_differences_with_the_divergence_and_without() {
        let (weights, z, dh) = case();
        let kl = GaussianKl::new(PriorStd::new(PRIOR).unwrap(), KlForm::Exact);
        for (noise, weight) in NOISES.into_iter().zip([0.0, 0.7]).chain([(NOISES[0], 0.7)]) {
            let (dz, sums) = network(&weights).backward((&z, &dh), noise, Some((kl, weight)));
            let close = |got: f32, of: &dyn Fn(f32) -> f64, what: &str| {
                let h = 1e-3;
                let expected = (of(h) - of(-h)) / f64::from(2.0 * h);
                let difference = (f64::from(got) - expected).abs();
                let allowed = 2e-3 * expected.abs() + 2e-3;
                assert!(difference < allowed, "{what} {weight}: {got} {expected}");
            };
            for (at, slope) in dz.iter().enumerate() {
                let of = |by: f32| {
                    let mut z = z.clone();
                    z[at] += by;
                    loss(&weights, (&z, &dh), (noise, weight))
                };
                close(*slope, &of, "z");
            }
            for (index, sum) in sums.iter().enumerate() {
                for at in (0..sum.len()).step_by(sum.len() / 7 + 1) {
                    let of = |by: f32| {
                        let mut weights = weights.clone();
                        weights[index][at] += by;
                        loss(&weights, (&z, &dh), (noise, weight))
                    };
                    close(sum[at], &of, "a weight");
                }
            }
        }
    }
}

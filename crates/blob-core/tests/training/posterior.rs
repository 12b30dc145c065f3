//! A regression whose best mean-field posterior is known.
//!
//! One adapted layer, the head, of rank 1 with a fixed B: a prompt with head input x has the
//! outputs `f_c = x_c + β_c (a·x)`, β = s·B. With Gaussian targets of precision w, the prior N(0,
//! σp²) and π = 1,
//!
//! ```text
//! L(M, σ) = E_q[ w/2R Σ_rc (y_rc − f_rc)² ] + KL      H = w/R Σ_r Σ_c β_c² x_r x_rᵀ
//! M = (H + I/σp²)⁻¹ w/R Σ_rc β_c (y_rc − x_rc) x_r    σ_i² = 1 / (H_ii + 1/σp²)
//! ```
//!
//! AdamW with a large ε is gradient descent of rate lr/ε; B = 1000 under s = 1/1000 stays where it
//! is.
#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Factor, Gaussian, LoraConfig, Module, Posterior, Sigma};
use blob_core::backbone::{Backbone, BackboneConfig, WeightSource};
use blob_core::batch::Batch;
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::method::{BbbConfig, BlobConfig, CLoraConfig, MethodConfig, PointConfig};
use blob_core::objective::{Average, Evaluated, Objective};
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::NoiseSharing;
use blob_core::predict::predict;
use blob_core::train::{TrainConfig, Trainer};
use blob_core::weights::{HostTensor, Summary};

use crate::support::answers::sampling;
use crate::support::small_model::{
    Prompt, SmallWeights, batch_of, blob, config, lora, normals, with_terms,
};

const WIDTH: usize = 8;
const PRECISION: f32 = 6.0;
const PRIOR_STD: f64 = 0.2;
const BETA: [f32; WIDTH] = [0.9, -0.5, 0.3, 0.8, -0.7, 0.2, 0.4, -0.6];

/// A head that is the identity: without an adapter the logits are its input.
struct IdentityHead;

impl WeightSource for IdentityHead {
    fn tensor(&self, name: &str, shape: &[usize]) -> blob_core::Result<HostTensor> {
        let mut tensor = SmallWeights(3).tensor(name, shape)?;
        if name == "lm_head.weight" {
            let one = |i| f32::from(u8::from(i / WIDTH == i % WIDTH));
            tensor.data = (0..WIDTH * WIDTH).map(one).collect();
        }
        Ok(tensor)
    }

    fn summary(&self) -> Summary {
        SmallWeights(3).summary()
    }
}

/// w/2 Σ (y − f)² per row, mean over the samples; targets by the row's identity.
struct GaussianTargets(BTreeMap<u32, Vec<f32>>);

impl Objective for GaussianTargets {
    fn evaluate(
        &self,
        logits: &[f32],
        batch: &Batch,
        row_weight: f32,
    ) -> blob_core::Result<Evaluated> {
        let copies = logits.len() / batch.answers().len();
        let targets: Vec<f32> = batch
            .rows()
            .iter()
            .flat_map(|row| self.0[row].clone())
            .collect();
        let errors: Vec<f32> = logits
            .iter()
            .zip(targets.iter().cycle())
            .map(|(f, y)| f - y)
            .collect();
        let squares: f64 = errors.iter().map(|error| f64::from(error * error)).sum();
        let weight = row_weight * PRECISION / copies as f32;
        Ok(Evaluated {
            nll_sum: f64::from(PRECISION) / 2.0 * squares / copies as f64,
            correct: 0,
            dlogits: errors.iter().map(|error| weight * error).collect(),
        })
    }
}

/// x of A·x = b, by elimination; A is positive definite.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for pivot in 0..n {
        for row in (0..n).filter(|&row| row != pivot) {
            let factor = a[row][pivot] / a[pivot][pivot];
            let pivots = a[pivot].clone();
            for (value, of_pivot) in a[row].iter_mut().zip(pivots) {
                *value -= factor * of_pivot;
            }
            b[row] -= factor * b[pivot];
        }
    }
    (0..n).map(|i| b[i] / a[i][i]).collect()
}

struct Regression {
    backbone: Backbone,
    adapter: Adapter,
    batch: Batch,
    targets: BTreeMap<u32, Vec<f32>>,
    /// M and σ of the best posterior.
    expected: Vec<(f64, f64)>,
}

fn regression() -> Regression {
    let model = BackboneConfig {
        vocab_size: WIDTH,
        hidden_size: WIDTH,
        intermediate_size: 12,
        num_layers: 1,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 4,
        ..config()
    };
    let backbone = Backbone::load(model.clone(), &IdentityHead, Precision::F32).unwrap();
    let prompt = |row: u32| Prompt {
        ids: vec![row % 8, (row * 5 + 1) % 8],
        answers: (0..WIDTH as u32).collect(),
        label: 0,
        row,
    };
    let batch = batch_of(&(0..6).map(prompt).collect::<Vec<_>>());
    let lora = LoraConfig {
        rank: 1,
        alpha: 1e-3,
        ..lora(&[Module::LmHead])
    };
    let fresh = Adapter::new(lora, &model).unwrap();
    let adapter = with_terms(&fresh, |_, term| {
        term.b = BETA.map(|beta| 1000.0 * beta).to_vec();
    });
    let asked = sampling(0);
    let inputs = predict(&backbone, None, &batch, &asked, &Abort::default()).unwrap();

    let truth = normals(8, WIDTH);
    let (rows, beta_square) = (
        batch.len() as f64,
        BETA.iter().map(|b| f64::from(b * b)).sum::<f64>(),
    );
    let scale = f64::from(PRECISION) / rows;
    let mut precision = vec![vec![0.0; WIDTH]; WIDTH];
    let mut pull = vec![0.0; WIDTH];
    let mut targets = BTreeMap::new();
    for (row, x) in inputs.chunks_exact(WIDTH).enumerate() {
        let signal: f32 = x.iter().zip(&truth).map(|(x, a)| 0.3 * x * a).sum();
        let error = normals(100 + row as u64, WIDTH);
        let residual: Vec<f32> = BETA
            .iter()
            .zip(error)
            .map(|(beta, error)| beta * signal + 0.4 * error)
            .collect();
        for i in 0..WIDTH {
            for j in 0..WIDTH {
                precision[i][j] += scale * beta_square * f64::from(x[i] * x[j]);
            }
            for (beta, residual) in BETA.iter().zip(&residual) {
                pull[i] += scale * f64::from(beta * residual * x[i]);
            }
        }
        targets.insert(
            row as u32,
            x.iter().zip(residual).map(|(x, r)| x + r).collect(),
        );
    }
    for (i, row) in precision.iter_mut().enumerate() {
        row[i] += PRIOR_STD.powi(-2);
    }
    let std = |i: usize| precision[i][i].powf(-0.5);
    let std: Vec<f64> = (0..WIDTH).map(std).collect();
    let expected = solve(precision, pull).into_iter().zip(std).collect();
    Regression {
        backbone,
        adapter,
        batch,
        targets,
        expected,
    }
}

const UPDATES: u64 = 4000;
const RATE: f64 = 0.004;

/// Gradient descent.
fn descent() -> PointConfig {
    let epsilon = 1e6;
    PointConfig {
        lr: RATE * epsilon,
        schedule: Schedule {
            total: UPDATES,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        weight_decay: 0.0,
        adam_epsilon: epsilon,
        max_grad_norm: 0.0,
    }
}

#[test]
fn blob_ends_at_the_best_mean_field_posterior() {
    ends_at_the_best(MethodConfig::Blob(BlobConfig {
        point: descent(),
        prior_std: PRIOR_STD,
        kl_lr: RATE,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 8,
        average: Average::LogLikelihood,
        ..blob(NoiseSharing::Token)
    }));
}

#[test]
fn bbb_ends_at_the_best_mean_field_posterior() {
    ends_at_the_best(MethodConfig::Bbb(BbbConfig {
        point: descent(),
        prior_std: PRIOR_STD,
        rows: 1,
        train_samples: 16,
    }));
}

fn ends_at_the_best(method: MethodConfig) {
    let Regression {
        backbone,
        mut adapter,
        batch,
        targets,
        expected,
    } = regression();
    let config = TrainConfig { seed: 1, method };
    let mut trainer = Trainer::new(config, &adapter)
        .unwrap()
        .with_objective(Box::new(GaussianTargets(targets)));
    let batches = [batch];
    for _ in 0..UPDATES {
        trainer
            .step(&backbone, &mut adapter, &batches, &Abort::default())
            .unwrap();
    }
    let (_, term) = adapter.terms(0).pop_first().unwrap();
    let rho = term.rho.as_ref().unwrap();
    let largest = expected
        .iter()
        .fold(0.0, |most: f64, (mean, _)| most.max(mean.abs()));
    for (i, (mean, std)) in expected.iter().enumerate() {
        let (got, got_std) = (f64::from(term.a[i]), f64::from(rho[i]).powi(2));
        assert!(
            (got - mean).abs() < 0.02 * largest,
            "mean {i}: {got}, expected {mean}"
        );
        assert!(
            (got_std - std).abs() < 0.02 * std,
            "std {i}: {got_std}, expected {std}"
        );
    }
    for (b, beta) in term.b.iter().zip(BETA) {
        assert!(
            (b / (1000.0 * beta) - 1.0).abs() < 1e-4,
            "B must stay fixed, {b} {beta}"
        );
    }
    // The data and the prior both count: neither alone gives this posterior.
    assert!(expected.iter().any(|(_, std)| *std < 0.75 * PRIOR_STD) && largest > 0.05);
}

/// Where nothing reaches the hidden units, (μ, ρ) of e are the network's last biases, for every row
/// alike. With f_c = x_c + β_c e z, z = a·x of each row,
///
/// ```text
/// K = w/R Σ_rc β_c² z_r²    μ = w/R Σ_rc β_c (y_rc − x_rc) z_r / (K + 1/σp²)    σ² = 1/(K + 1/σp²)
/// ```
#[test]
fn c_lora_ends_at_the_best_posterior_of_a_context_that_is_constant() {
    let Regression {
        backbone,
        adapter: point,
        batch,
        targets,
        ..
    } = regression();
    let config = LoraConfig {
        posterior: Some(Posterior {
            sigma: Sigma::SquaredLogistic,
            init_eps: 1.0,
            over: Gaussian::Context,
        }),
        ..point.config().clone()
    };
    let mut terms = Adapter::new(config.clone(), backbone.config())
        .unwrap()
        .terms(0);
    for (site, term) in &mut terms {
        (term.a, term.b) = (
            point.terms(0)[site].a.clone(),
            point.terms(0)[site].b.clone(),
        );
        for (&factor, values) in &mut term.beside {
            values.fill(if factor == Factor::ContextInBias {
                -1.0
            } else {
                0.0
            });
        }
    }
    let a = terms.first_key_value().unwrap().1.a.clone();
    let mut adapter = Adapter::from_terms(config, &[terms]).unwrap();
    let asked = sampling(0);
    let inputs = predict(&backbone, None, &batch, &asked, &Abort::default()).unwrap();
    let (mut precision, mut pull) = (PRIOR_STD.powi(-2), 0.0);
    let scale = f64::from(PRECISION) / batch.len() as f64;
    for (row, x) in inputs.chunks_exact(WIDTH).enumerate() {
        let z: f64 = x.iter().zip(&a).map(|(x, a)| f64::from(x * a)).sum();
        for (c, beta) in BETA.iter().enumerate() {
            let residual = f64::from(targets[&(row as u32)][c] - x[c]);
            precision += scale * (f64::from(*beta) * z).powi(2);
            pull += scale * f64::from(*beta) * residual * z;
        }
    }
    let settings = CLoraConfig {
        point: PointConfig {
            lr: 0.0,
            ..descent()
        },
        prior_std: PRIOR_STD,
        context_lr: 0.02,
        kl_weight: 1.0 / batch.len() as f64,
        kl_cycle: KlCycle::Uniform { length: 1 },
        train_samples: 8,
        average: Average::LogLikelihood,
        noise: NoiseSharing::Token,
    };
    let config = TrainConfig {
        seed: 1,
        method: MethodConfig::CLora(settings),
    };
    let mut trainer = Trainer::new(config, &adapter)
        .unwrap()
        .with_objective(Box::new(GaussianTargets(targets)));
    let batches = [batch];
    for _ in 0..UPDATES {
        trainer
            .step(&backbone, &mut adapter, &batches, &Abort::default())
            .unwrap();
    }
    let site = *adapter.parameters().layout().terms().keys().next().unwrap();
    let found = adapter
        .parameters()
        .factor(0, site, Factor::ContextOutBias)
        .unwrap();
    let (mean, std) = (pull / precision, precision.powf(-0.5));
    let got_std = f64::from(Sigma::SquaredLogistic.of(found[1]));
    let got = f64::from(found[0]);
    assert!(
        (got - mean).abs() < 0.02 * mean.abs() + 0.01 * std,
        "mean {got}, expected {mean}"
    );
    assert!(
        (got_std / std - 1.0).abs() < 0.02,
        "std {got_std}, expected {std}"
    );
    assert!(std < 0.9 * PRIOR_STD && mean.abs() > 0.02, "{mean} {std}");
}

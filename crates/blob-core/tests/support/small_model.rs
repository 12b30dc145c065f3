//! A decoder of a few thousand weights, adapters that act, ragged batches, and settings of a run.

use blob_core::Result;
use blob_core::adapter::{Adapter, Gaussian, LoraConfig, LowRank, Module, Posterior, Sigma, Site};
use blob_core::backbone::{Backbone, BackboneConfig, RandomWeights, RopeScaling, WeightSource};
use blob_core::batch::{Batch, BatchParts};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::kl::KlForm;
use blob_core::method::{BlobConfig, MethodConfig, MleConfig, PointConfig};
use blob_core::noise::{NoiseKey, Phase, Purpose, Stream};
use blob_core::objective::Average;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::NoiseSharing;
use blob_core::train::TrainConfig;
use blob_core::weights::{HostTensor, Summary};

/// Random weights whose norms are not 1 and whose biases are not 0, so that a forgotten one shows.
pub struct SmallWeights(pub u64);

impl WeightSource for SmallWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let mut tensor = RandomWeights { seed: self.0 }.tensor(name, shape)?;
        if shape.len() == 1 {
            let normals = normals(self.0 + name.len() as u64, tensor.data.len());
            let (mean, spread) = if name.ends_with("_proj.bias") {
                (0.0, 0.4)
            } else {
                (1.0, 0.2)
            };
            tensor.data = normals
                .iter()
                .map(|normal| mean + spread * normal)
                .collect();
        }
        Ok(tensor)
    }

    fn summary(&self) -> Summary {
        RandomWeights { seed: self.0 }.summary()
    }
}

/// Standard normals of a seed.
pub fn normals(seed: u64, count: usize) -> Vec<f32> {
    let (purpose, mut out) = (Purpose::Gaussian, vec![0.0; count]);
    let key = NoiseKey {
        slot: 4095,
        purpose,
        sample: 0,
    };
    Stream::new(seed, 0, Phase::Initialisation).fill_normal(&mut out, key);
    out
}

/// Four query heads on two key heads; no width is a multiple of 16.
pub fn config() -> BackboneConfig {
    BackboneConfig {
        vocab_size: 40,
        hidden_size: 24,
        intermediate_size: 36,
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 6,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        max_position_embeddings: 256,
        tie_word_embeddings: false,
        biases: Vec::new(),
        context_end: None,
        fused: false,
        qk_norm: false,
        window: None,
        encoder: None,
        gemma: None,
    }
}

/// The model of a seed.
pub fn backbone(config: &BackboneConfig, precision: Precision) -> Backbone {
    Backbone::load(config.clone(), &SmallWeights(1), precision).unwrap()
}

/// In every precision that products have: every module adapted; and those of the reference, in a
/// model whose MLP has whole panels, where gate and up are one product.
pub fn everywhere_and_as_the_reference() -> Vec<(Vec<Module>, BackboneConfig, Precision)> {
    let wide = BackboneConfig {
        intermediate_size: 64,
        ..config()
    };
    let reference = vec![Module::Q, Module::V, Module::LmHead];
    let mut cases = Vec::new();
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        cases.push((Module::ALL.to_vec(), config(), precision));
        cases.push((reference.clone(), wide.clone(), precision));
    }
    cases
}

/// Rank 3, a posterior over `A`.
pub fn lora(target_modules: &[Module]) -> LoraConfig {
    LoraConfig {
        rank: 3,
        alpha: 6.0,
        dropout: 0.0,
        target_modules: target_modules.to_vec(),
        posterior: Some(Posterior {
            sigma: Sigma::Square,
            init_eps: 0.05,
            over: Gaussian::A,
        }),
        seed: 5,
        members: 1,
        head: None,
    }
}

/// As [`lora`], a posterior over a context.
pub fn lora_with_context(target_modules: &[Module]) -> LoraConfig {
    LoraConfig {
        posterior: Some(Posterior {
            sigma: Sigma::SquaredLogistic,
            init_eps: 1.0,
            over: Gaussian::Context,
        }),
        ..lora(target_modules)
    }
}

/// An adapter in the middle of its training: B is not 0, σ is large enough to be seen, ρ has both
/// signs.
pub fn trained(config: LoraConfig, backbone: &BackboneConfig) -> Adapter {
    let term = |(site, term): (Site, LowRank)| {
        let seed = u64::from(site.slot()) * 4 + 7;
        let b = normals(seed, term.b.len())
            .iter()
            .map(|b| 0.2 * b)
            .collect();
        let posterior = config.posterior.filter(|_| term.rho.is_some());
        let rho = posterior.map(|posterior| {
            let of = |normal: &f32| match posterior.sigma {
                Sigma::Square => (0.3 + 0.1 * normal.abs().min(2.0)) * normal.signum(),
                Sigma::Softplus | Sigma::Exp | Sigma::SquaredLogistic => 0.5 * normal - 2.0,
            };
            normals(seed + 1, term.a.len()).iter().map(of).collect()
        });
        (site, LowRank { b, rho, ..term })
    };
    let fresh = Adapter::new(config.clone(), backbone).unwrap();
    let terms = |member| fresh.terms(member).into_iter().map(term).collect();
    let members: Vec<_> = (0..config.members).map(terms).collect();
    Adapter::from_terms(config, &members).unwrap()
}

/// The adapter with other terms.
pub fn with_terms(adapter: &Adapter, mut change: impl FnMut(&Site, &mut LowRank)) -> Adapter {
    let mut terms = adapter.terms(0);
    for (site, term) in &mut terms {
        change(site, term);
    }
    Adapter::from_terms(adapter.config().clone(), &[terms]).unwrap()
}

/// One prompt with its classes.
#[derive(Clone)]
pub struct Prompt {
    pub ids: Vec<u32>,
    pub answers: Vec<u32>,
    pub label: i32,
    pub row: u32,
}

/// Five prompts of 1 to 9 tokens; classes differ in number and overlap.
pub fn prompts() -> Vec<Prompt> {
    let prompt = |ids: &[u32], answers: &[u32], label, row| {
        let (ids, answers) = (ids.to_vec(), answers.to_vec());
        Prompt {
            ids,
            answers,
            label,
            row,
        }
    };
    vec![
        prompt(&[11, 2, 38, 33, 7], &[7, 20, 12], 1, 17),
        prompt(&[29], &[20, 39], 0, 4),
        prompt(
            &[1, 17, 17, 22, 5, 20, 8, 0, 21],
            &[3, 12, 20, 35],
            3,
            1_000_003,
        ),
        prompt(&[9, 9], &[7, 3], 1, 18),
        prompt(&[31, 0, 14, 6], &[20, 12, 7], 2, 0),
    ]
}

/// The prompts one after another.
pub fn batch_of(prompts: &[Prompt]) -> Batch {
    let bounds = |lengths: &mut dyn Iterator<Item = usize>| {
        let mut bounds = vec![0];
        bounds.extend(lengths.scan(0, |end, length| {
            *end += length as u32;
            Some(*end)
        }));
        bounds
    };
    Batch::new(BatchParts {
        ids: prompts.iter().flat_map(|p| p.ids.clone()).collect(),
        offsets: bounds(&mut prompts.iter().map(|p| p.ids.len())),
        answers: prompts.iter().flat_map(|p| p.answers.clone()).collect(),
        answer_offsets: bounds(&mut prompts.iter().map(|p| p.answers.len())),
        labels: prompts.iter().map(|p| p.label).collect(),
        rows: prompts.iter().map(|p| p.row).collect(),
    })
    .unwrap()
}

/// AdamW at a constant rate, without decay and clipping.
pub fn point(lr: f64) -> PointConfig {
    PointConfig {
        lr,
        schedule: Schedule {
            total: 1 << 40,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        weight_decay: 0.0,
        adam_epsilon: 1e-6,
        max_grad_norm: 0.0,
    }
}

/// BLoB with a pulse of three updates.
pub fn blob(noise: NoiseSharing) -> BlobConfig {
    BlobConfig {
        point: point(1e-3),
        prior_std: 0.2,
        kl_form: KlForm::Exact,
        kl_lr: 0.01,
        kl_cycle: KlCycle::Pulse { length: 3 },
        train_samples: 1,
        average: Average::Logits,
        noise,
    }
}

/// A run of 1e-3 with seed 3.
pub fn training(bayes: Option<BlobConfig>) -> TrainConfig {
    let mle = MleConfig { point: point(1e-3) };
    let method = bayes.map_or(MethodConfig::Mle(mle), MethodConfig::Blob);
    TrainConfig { seed: 3, method }
}

/// [`training`] with another AdamW.
pub fn training_at(point: PointConfig, bayes: Option<BlobConfig>) -> TrainConfig {
    let method = match bayes {
        Some(bayes) => MethodConfig::Blob(BlobConfig { point, ..bayes }),
        None => MethodConfig::Mle(MleConfig { point }),
    };
    TrainConfig { seed: 3, method }
}

/// The model with one weight replaced.
pub struct Poisoned {
    pub name: &'static str,
    pub value: f32,
}

impl WeightSource for Poisoned {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor> {
        let mut tensor = SmallWeights(1).tensor(name, shape)?;
        if name == self.name {
            tensor.data[3] = self.value;
        }
        Ok(tensor)
    }

    fn summary(&self) -> Summary {
        SmallWeights(1).summary()
    }
}

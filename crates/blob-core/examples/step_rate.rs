//! Seconds of a BLoB training step and of a 10-sample prediction.
//!
//! `cargo run --example step_rate -- MODEL [f32|bf16|int8|int8-mixed] [prompts] [tokens] [threads]
//! [steps] [samples]`, MODEL a GGUF file, or a folder of a decoder or an encoder

use std::path::Path;
use std::time::Instant;

use blob_core::abort::Abort;
use blob_core::adapter::{Adapter, Gaussian, HeadConfig, LoraConfig, Module, Posterior, Sigma};
use blob_core::backbone::Backbone;
use blob_core::batch::{Batch, BatchParts};
use blob_core::kernels::cpu::gemm::Precision;
use blob_core::kl::KlForm;
use blob_core::laplace::Link;
use blob_core::method::{BlobConfig, MethodConfig, PointConfig};
use blob_core::objective::Average;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::NoiseSharing;
use blob_core::predict::{PredictConfig, predict};
use blob_core::train::{TrainConfig, Trainer};
use blob_core::weights::Checkpoint;
use blob_core::{Error, Result};

/// Keeps freed blocks, as the addon does.
#[global_allocator]
static ALLOCATOR: kept_blocks::KeptBlocks = kept_blocks::KeptBlocks;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: usize| {
        arguments
            .get(at)
            .and_then(|n| n.parse().ok())
            .unwrap_or(default)
    };
    let Some(path) = arguments.get(1) else {
        return Err(Error::InvalidInput(
            "the first argument must be a model file, got none".into(),
        ));
    };
    let precision = match arguments.get(2).map(String::as_str) {
        Some("f32") => Precision::F32,
        Some("int8") => Precision::Int8,
        Some("int8-mixed") => Precision::Int8Mixed,
        _ => Precision::Bf16,
    };
    let (prompts, tokens, threads) = (number(3, 4), number(4, 128), number(5, 2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::InvalidInput(error.to_string()))?;
    let counts = (number(6, 6), number(7, 10) as u32);
    pool.install(|| measure(Path::new(path), precision, (prompts, tokens), counts))
}

fn measure(
    path: &Path,
    precision: Precision,
    (prompts, tokens): (usize, usize),
    (steps, samples): (usize, u32),
) -> Result<()> {
    let started = Instant::now();
    let checkpoint = Checkpoint::open(path)?;
    let backbone = Backbone::load(checkpoint.config().clone(), &checkpoint, precision)?;
    report("load", started);

    let is_encoder = backbone.config().encoder.is_some();
    let mut adapter = Adapter::new(adapted(is_encoder), backbone.config())?;
    let point = PointConfig {
        lr: 1e-4,
        schedule: Schedule {
            total: 1000,
            warmup: 0.0,
            warmup_start: 0,
            stride: 1,
        },
        weight_decay: 0.0,
        adam_epsilon: 1e-6,
        max_grad_norm: 0.0,
    };
    let config = TrainConfig {
        seed: 1,
        method: MethodConfig::Blob(BlobConfig {
            point,
            prior_std: 0.2,
            kl_form: KlForm::Exact,
            kl_lr: 0.01,
            kl_cycle: KlCycle::Pulse { length: 100 },
            train_samples: 1,
            average: Average::Logits,
            noise: NoiseSharing::Token,
        }),
    };
    let classes: &[u32] = if is_encoder {
        &[0, 1]
    } else {
        &[330, 389, 340, 422]
    };
    let batch = Batch::new(BatchParts {
        ids: (0..prompts * tokens)
            .map(|i| (i * 7919 % 30_000) as u32)
            .collect(),
        offsets: (0..=prompts).map(|b| (b * tokens) as u32).collect(),
        answers: classes.repeat(prompts),
        answer_offsets: (0..=prompts).map(|b| (b * classes.len()) as u32).collect(),
        labels: (0..).take(classes.len()).cycle().take(prompts).collect(),
        rows: (0..prompts as u32).collect(),
    })?;
    let mut trainer = Trainer::new(config, &adapter)?;
    for _ in 0..steps {
        let started = Instant::now();
        trainer.step(
            &backbone,
            &mut adapter,
            std::slice::from_ref(&batch),
            &Abort::default(),
        )?;
        report("step", started);
    }
    let predictive = PredictConfig {
        samples: 10,
        first_sample: 0,
        noise: NoiseSharing::Token,
        seed: 1,
        antithetic: false,
        dropout: 0.0,
        stochastic_layers: None,
        link: Link::default(),
    };
    for samples in [0, samples] {
        let started = Instant::now();
        let config = PredictConfig {
            samples,
            ..predictive.clone()
        };
        predict(
            &backbone,
            Some(&adapter),
            &batch,
            &config,
            &Abort::default(),
        )?;
        report(&format!("predict, N = {samples}"), started);
    }
    Ok(())
}

/// Queries, values and the head: of a decoder its vocabulary, of an encoder two classes.
fn adapted(is_encoder: bool) -> LoraConfig {
    let mut target_modules = vec![Module::Q, Module::V];
    if !is_encoder {
        target_modules.push(Module::LmHead);
    }
    LoraConfig {
        rank: 8,
        alpha: 16.0,
        dropout: 0.0,
        target_modules,
        posterior: Some(Posterior {
            sigma: Sigma::Square,
            init_eps: 0.05,
            over: Gaussian::A,
        }),
        seed: 1,
        members: 1,
        head: is_encoder.then_some(HeadConfig {
            classes: 2,
            trained: true,
            fresh: true,
        }),
    }
}

#[expect(clippy::print_stdout, reason = "an example talks to the terminal")]
fn report(what: &str, started: Instant) {
    println!("{what}: {:.3} s", started.elapsed().as_secs_f64());
}

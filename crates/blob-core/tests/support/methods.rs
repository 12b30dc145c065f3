//! Every method, with settings under which it moves, and what of it a GPU does.

use blob_core::adapter::{Gaussian, Sigma};
use blob_core::method::{
    BbbConfig, CLoraConfig, IvonConfig, MapConfig, MethodConfig, MleConfig, PointConfig,
    ScalaBlConfig, SwagConfig,
};
use blob_core::objective::Average;
use blob_core::optim::{KlCycle, Schedule};
use blob_core::pass::NoiseSharing;

use super::small_model::{blob, point};

/// Every method with the adapters that it trains; `training/conformance.rs` asks whether one is
/// missing.
pub fn methods() -> Vec<(MethodConfig, Vec<Option<Gaussian>>)> {
    let schedule = Schedule {
        total: 12,
        warmup: 2.0,
        warmup_start: 1,
        stride: 1,
    };
    let point = PointConfig {
        schedule,
        max_grad_norm: 1.0,
        ..point(0.01)
    };
    let all = [
        MethodConfig::Mle(MleConfig { point }),
        MethodConfig::Map(MapConfig {
            point,
            prior_std: 0.3,
            rows: 9,
        }),
        MethodConfig::Bbb(BbbConfig {
            point,
            prior_std: 0.3,
            rows: 9,
            train_samples: 2,
        }),
        MethodConfig::Blob(blob(NoiseSharing::Token)),
        MethodConfig::Ivon(IvonConfig {
            lr: 0.1,
            schedule,
            effective_rows: 100.0,
            weight_decay: 1e-3,
            initial_hessian: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            clip: 0.1,
            train_samples: 2,
        }),
        MethodConfig::Swag(SwagConfig {
            point,
            start: 2,
            every: 1,
            lr: 0.01,
            deviations: 3,
            scale: 1.0,
        }),
        MethodConfig::ScalaBl(ScalaBlConfig {
            point,
            prior_std: 1.0,
            kl_lr: 0.2,
            kl_cycle: KlCycle::Pulse { length: 3 },
            train_samples: 2,
            average: Average::LogLikelihood,
        }),
        MethodConfig::CLora(CLoraConfig {
            point,
            prior_std: 0.2,
            context_lr: 0.02,
            kl_weight: 1e-6,
            kl_cycle: KlCycle::Pulse { length: 3 },
            train_samples: 2,
            average: Average::LogLikelihood,
            noise: NoiseSharing::Token,
        }),
    ];
    let kinds = |method: &MethodConfig| match method {
        MethodConfig::Mle(_) | MethodConfig::Map(_) | MethodConfig::Swag(_) => vec![None],
        MethodConfig::Bbb(_) => vec![Some(Gaussian::A), Some(Gaussian::AAndB)],
        MethodConfig::Blob(_) => vec![Some(Gaussian::A)],
        MethodConfig::Ivon(_) => vec![Some(Gaussian::AAndB)],
        MethodConfig::ScalaBl(_) => vec![Some(Gaussian::Scales)],
        MethodConfig::CLora(_) => vec![Some(Gaussian::Context)],
    };
    all.into_iter()
        .map(|method| (kinds(&method), method))
        .map(|(kinds, method)| (method, kinds))
        .collect()
}

/// How σ follows from ρ where a Gaussian leaves no choice, and one way where it does.
pub fn sigma_of(over: Gaussian) -> Sigma {
    match over {
        Gaussian::A | Gaussian::AAndB => Sigma::Square,
        Gaussian::Scales => Sigma::Exp,
        Gaussian::Context => Sigma::SquaredLogistic,
    }
}

/// Who draws and updates on a GPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnGpu {
    /// Kernels: a step waits once, at its end.
    ByKernels,
    /// The host, which reads gradients back.
    ByHost,
}

/// A method without a line here does not compile.
pub fn on_gpu(method: &MethodConfig) -> OnGpu {
    match method {
        MethodConfig::Mle(_)
        | MethodConfig::Map(_)
        | MethodConfig::Bbb(_)
        | MethodConfig::Blob(_)
        | MethodConfig::Ivon(_)
        | MethodConfig::Swag(_)
        | MethodConfig::CLora(_) => OnGpu::ByKernels,
        MethodConfig::ScalaBl(_) => OnGpu::ByHost,
    }
}

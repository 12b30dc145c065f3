//! Class logits of posterior samples; their predictive is the mean of the samples' softmax.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::backbone::Decoder;
use crate::batch::Batch;
use crate::noise::{Phase, Stream};
use crate::pass::{Abort, Mode, NoiseSharing, Pass};
use crate::{Error, Result};

/// Rows that one pass may hold; more samples are computed pass by pass, with the same results.
const ROWS_PER_PASS: usize = 2048;

/// The noise counts samples in 16 bits.
const MOST_SAMPLES: u32 = 1 << 16;

/// How a prediction is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictConfig {
    /// N; 0 = the posterior mean.
    pub samples: u32,
    /// Index of the first sample: N samples may be asked for in parts.
    #[serde(default)]
    pub first_sample: u32,
    /// Which rows share their signs.
    pub noise: NoiseSharing,
    /// Seed of the samples.
    pub seed: u64,
    /// Samples 2j and 2j + 1 are a pair that mirrors its weights at the mean (Hammersley & Morton 1956): what is odd in
    /// the perturbation cancels in their average.
    #[serde(default)]
    pub antithetic: bool,
    /// Only the adapters of the last K places are sampled (1 = the head alone); `None` = all.
    #[serde(default)]
    pub stochastic_layers: Option<usize>,
}

impl PredictConfig {
    /// The indices of the samples.
    ///
    /// # Errors
    /// `BPEFT_INVALID_CONFIG` when there are more than the noise can tell apart.
    fn draws(&self) -> Result<Range<u32>> {
        let end = self.first_sample.checked_add(self.samples);
        match end.filter(|&end| end <= MOST_SAMPLES) {
            Some(end) => Ok(self.first_sample..end),
            None => Err(Error::InvalidConfig {
                field: "samples",
                rule: "must end at sample 65536 or before",
                value: format!("{} from sample {}", self.samples, self.first_sample),
            }),
        }
    }
}

/// Logits (max(N, 1)·S), sample-major; a point estimate gives S whatever N is.
///
/// # Errors
/// `BPEFT_INVALID_CONFIG` for too many samples, `BPEFT_INVALID_INPUT` for a batch that does not fit the
/// model, `BPEFT_ABORTED`.
pub fn predict(
    decoder: &Decoder,
    adapter: Option<&Adapter>,
    batch: &Batch,
    config: &PredictConfig,
    abort: &Abort,
) -> Result<Vec<f32>> {
    let Range { start: first, end } = config.draws()?;
    let stream = Stream::new(config.seed, 0, Phase::Evaluation);
    if config.samples == 0 || adapter.and_then(Adapter::sigma).is_none() {
        let pass = Pass::new(batch, &[(stream, 0)], Mode::MEAN, abort.clone());
        return Ok(decoder.forward(batch, &pass, adapter, false)?.0);
    }
    let places = decoder.config().num_layers + 1;
    if let Some(layers) = config.stochastic_layers.filter(|layers| *layers > places) {
        return Err(Error::InvalidConfig {
            field: "stochastic_layers",
            rule: "must not be more than the model's blocks and its head",
            value: layers.to_string(),
        });
    }
    let mode = Mode {
        sampling: Some(config.noise),
        antithetic: config.antithetic,
        sample_from_block: places - config.stochastic_layers.unwrap_or(places),
        ..Mode::MEAN
    };
    let pass = |draws: &[_]| Pass::new(batch, draws, mode, abort.clone());
    let trunk = decoder.trunk(batch, &pass(&[(stream, first)]), adapter)?;
    let at_once = (ROWS_PER_PASS / trunk.rows().max(1)).max(1);
    let mut logits = Vec::with_capacity(config.samples as usize * batch.answers().len());
    for from in (first..end).step_by(at_once) {
        let to = end.min(from.saturating_add(at_once as u32));
        let draws: Vec<_> = (from..to).map(|sample| (stream, sample)).collect();
        let (of_draws, _) = decoder.forward_above(&trunk, batch, &pass(&draws), adapter, false)?;
        logits.extend(of_draws);
    }
    Ok(logits)
}

//! Class logits of posterior samples, or in closed form; what becomes of them is the method's rule.
//!
//! A member's samples are copies of the prompts under draws of the posterior. How they become
//! probabilities (a mean of probabilities or of logits) is decided where metrics are computed; a
//! curvature beside the adapter answers by its own equations (`laplace`).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::abort::Abort;
use crate::adapter::{Adapter, Draw, Gaussian};
use crate::backbone::Backbone;
use crate::batch::Batch;
use crate::laplace::{self, Asked, Link};
use crate::noise::{Phase, Stream};
use crate::pass::{BatchCopy, Mode, NoiseSharing, Pass};
use crate::{Error, Result};

/// Rows that one pass may hold; more samples are computed pass by pass, with the same results. A
/// pass that a GPU's memory does not hold is computed in halves.
const ROWS_PER_PASS: usize = 2048;

/// The noise counts samples in 16 bits.
const MOST_SAMPLES: u32 = 1 << 16;

/// How a prediction is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PredictConfig {
    /// N; 0 = the posterior mean.
    pub samples: u32,
    /// Index of the first sample: N samples may be asked for in parts.
    #[serde(default)]
    pub first_sample: u32,
    /// Which rows share their signs; what is drawn as a whole has none.
    pub noise: NoiseSharing,
    /// Seed of the samples.
    pub seed: u64,
    /// Samples 2j and 2j + 1 are a pair that mirrors its weights at the mean (Hammersley & Morton
    /// 1956): what is odd in the perturbation cancels in their average.
    #[serde(default)]
    pub antithetic: bool,
    /// Probability of dropping an input of a low-rank term, in [0, 1): Monte Carlo dropout (Gal &
    /// Ghahramani, arXiv:1506.02142) when it is above 0. Each sample has masks of its own.
    #[serde(default)]
    pub dropout: f32,
    /// Only the adapters of the last K places are sampled (1 = the head alone); `None` = all.
    #[serde(default)]
    pub stochastic_layers: Option<usize>,
    /// How an adapter with a curvature answers, unless N is 0: in closed form, or by N draws.
    #[serde(default)]
    pub link: Link,
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

/// Logits (K·max(N, 1)·S): of each of the K members its N samples, of each sample the classes of
/// every prompt. What has no randomness gives K·S, whatever N is.
///
/// # Errors
/// `BPEFT_INVALID_CONFIG` for too many samples or a dropout that is no probability,
/// `BPEFT_INVALID_INPUT` for a batch that does not fit the model, `BPEFT_NOT_FINITE` naming the
/// first layer whose values are NaN or infinite, `BPEFT_ABORTED`.
pub fn predict(
    backbone: &Backbone,
    adapter: Option<&Adapter>,
    batch: &Batch,
    config: &PredictConfig,
    abort: &Abort,
) -> Result<Vec<f32>> {
    let draws = config.draws()?;
    if !(0.0..1.0).contains(&config.dropout) {
        return Err(Error::InvalidConfig {
            field: "dropout",
            rule: "must be at least 0 and below 1",
            value: config.dropout.to_string(),
        });
    }
    let places = backbone.config().num_layers + 1;
    if let Some(layers) = config.stochastic_layers.filter(|layers| *layers > places) {
        return Err(Error::InvalidConfig {
            field: "stochastic_layers",
            rule: "must not be more than the model's blocks and its head",
            value: layers.to_string(),
        });
    }
    if let Some((adapter, curvature)) = adapter.and_then(|it| Some((it, it.curvature()?)))
        && !draws.is_empty()
    {
        let asked = Asked {
            link: config.link,
            draws,
            seed: config.seed,
            mode: Mode {
                antithetic: config.antithetic,
                sample_from_block: places - config.stochastic_layers.unwrap_or(places),
                ..Mode::MEAN
            },
        };
        return laplace::predictive(curvature, (backbone, adapter), batch, &asked, abort);
    }
    let members = adapter.map_or(1, |adapter| adapter.parameters().members());
    let is_random = adapter.is_some_and(|adapter| adapter.sigma().is_some())
        || (adapter.is_some() && config.dropout > 0.0);
    let (mode, draws) = if is_random && !draws.is_empty() {
        let mode = Mode {
            sampling: Some(config.noise),
            antithetic: config.antithetic,
            dropout: config.dropout,
            sample_from_block: places - config.stochastic_layers.unwrap_or(places),
            ..Mode::MEAN
        };
        (mode, draws)
    } else {
        (Mode::MEAN, 0..1)
    };
    let stream = Stream::new(config.seed, 0, Phase::Evaluation);
    let copies: Vec<_> = (0..members)
        .flat_map(|member| {
            draws.clone().map(move |sample| BatchCopy {
                member,
                ..BatchCopy::whole(batch, stream, sample)
            })
        })
        .collect();
    let logits = |mode| logits(backbone, adapter, batch, &copies, mode, abort);
    match logits(mode) {
        // A second pass, with checks, to name the layer.
        Err(found) if found.is_not_finite() => logits(Mode {
            check_finite: true,
            ..mode
        })
        .and(Err(found)),
        other => other,
    }
}

/// The logits of every copy, as many copies at once as a pass may hold.
fn logits(
    backbone: &Backbone,
    adapter: Option<&Adapter>,
    batch: &Batch,
    copies: &[BatchCopy],
    mode: Mode,
    abort: &Abort,
) -> Result<Vec<f32>> {
    // A Gaussian over A is drawn within the pass, by Flipout; others as a whole.
    let gaussian = adapter.and_then(|adapter| adapter.config().gaussian());
    let is_whole = gaussian.is_some_and(Gaussian::is_drawn_whole) && mode.sampling.is_some();
    let whole = adapter.filter(|_| is_whole);
    let pass = |copies: &[BatchCopy]| Pass::new(batch, copies.to_vec(), mode, abort.clone());
    let trunk = backbone.trunk(batch, &pass(&copies[..1]), adapter)?;
    let of = |copies: &[BatchCopy]| {
        let (drawn, copies) = match whole {
            Some(adapter) => drawn(adapter, copies, mode),
            None => (None, copies.to_vec()),
        };
        let (adapter, of) = (drawn.as_ref().or(adapter), pass(&copies));
        backbone.forward_above(&trunk, batch, &of, adapter, false)
    };
    let mut at_once = (ROWS_PER_PASS / trunk.rows().max(1)).max(1);
    let mut logits = Vec::with_capacity(copies.len() * batch.answers().len());
    let mut rest = copies;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(at_once.min(rest.len()));
        match of(now) {
            Err(Error::OutOfMemory { .. }) if now.len() > 1 => at_once = now.len() / 2,
            other => {
                logits.extend(other?.0);
                rest = later;
            }
        }
    }
    Ok(logits)
}

/// The draws of each copy as members of one adapter, and the copies by these.
fn drawn(adapter: &Adapter, copies: &[BatchCopy], mode: Mode) -> (Option<Adapter>, Vec<BatchCopy>) {
    let draw = |copy: &BatchCopy| {
        let (sample, sign) = mode.draw_of(copy.sample);
        Draw {
            member: copy.member,
            stream: copy.stream,
            sample,
            sign,
        }
    };
    let draws: Vec<_> = copies.iter().map(draw).collect();
    let copies = copies.iter().enumerate().map(|(member, copy)| BatchCopy {
        member,
        ..copy.clone()
    });
    let adapter = adapter.drawn(&draws, mode.sample_from_block);
    (Some(adapter), copies.collect())
}

//! The model a second time, on candle's tape, in f64 and prompt by prompt: slow, plain, and with no
//! operation whose gradient is hand-written. Noise and rotary frequencies are the engine's, which
//! `parity.rs` compares with Python.

use std::collections::BTreeMap;

use blob_core::adapter::{Adapter, Factor, Module, Sigma, Site};
use blob_core::backbone::{BackboneConfig, WeightSource};
use blob_core::noise::{DropRate, NoiseKey, Purpose, Stream, TokenId};
use blob_core::pass::NoiseSharing;
use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};

use super::small_model::Prompt;

/// Whose noise a pass sees.
#[derive(Clone, Copy)]
pub struct Draw {
    pub sharing: Option<NoiseSharing>,
    pub stream: Stream,
    pub sample: u32,
    pub dropout: f32,
}

struct Factors {
    a: Var,
    b: Var,
    rho: Option<Var>,
    /// W₁, b₁, W₂ and b₂ of the network of a context.
    network: Vec<(Factor, Var)>,
}

/// The model with its adapter's parameters as variables.
pub struct Oracle<'a> {
    config: &'a BackboneConfig,
    source: &'a dyn WeightSource,
    sigma: Option<Sigma>,
    scaling: f64,
    factors: BTreeMap<Site, Factors>,
}

/// Row-major f32 values as an f64 tensor.
fn constant(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F64)
}

/// Rows of a matrix, in a given order.
fn rows(matrix: &Tensor, which: &[u32]) -> Result<Tensor> {
    let row = |&row: &u32| matrix.narrow(0, row as usize, 1);
    Tensor::cat(&which.iter().map(row).collect::<Result<Vec<_>>>()?, 0)
}

impl<'a> Oracle<'a> {
    pub fn new(
        config: &'a BackboneConfig,
        source: &'a dyn WeightSource,
        adapter: &Adapter,
    ) -> Result<Self> {
        let var = |values: &[f32], rows: usize| {
            Var::from_tensor(&constant(values, &[rows, values.len() / rows])?)
        };
        let factors = adapter.terms(0).into_iter().map(|(site, term)| {
            let a = var(&term.a, term.rank)?;
            let b = var(&term.b, term.outputs)?;
            let rho = term
                .rho
                .as_ref()
                .map(|rho| var(rho, term.rank))
                .transpose()?;
            let shape = term.shape();
            let of = |(&factor, values): (&Factor, &Vec<f32>)| {
                Ok((factor, var(values, shape.of(factor)[0])?))
            };
            let network = term.beside.iter().map(of).collect::<Result<_>>()?;
            let factors = Factors { a, b, rho, network };
            Ok((site, factors))
        });
        Ok(Self {
            config,
            source,
            sigma: adapter.sigma(),
            scaling: adapter.scaling().into(),
            factors: factors.collect::<Result<_>>()?,
        })
    }

    fn frozen(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        constant(&self.source.tensor(name, shape).unwrap().data, shape)
    }

    /// A factor for every element of x (n, k), by rows: the token at `first`, the next one, …
    fn by_token(
        shape: (usize, usize),
        fill: impl Fn(&mut [f32], u32),
        first: usize,
    ) -> Result<Tensor> {
        let mut values = vec![1.0; shape.0 * shape.1];
        for (position, row) in (first..).zip(values.chunks_mut(shape.1)) {
            fill(row, position as u32);
        }
        constant(&values, &[shape.0, shape.1])
    }

    /// h (n, r) of x (n, k), whose first row is at position `first`.
    fn down(
        &self,
        site: Site,
        x: &Tensor,
        (prompt, first): (&Prompt, usize),
        draw: Draw,
    ) -> Result<Tensor> {
        let factors = &self.factors[&site];
        let (n, k) = x.dims2()?;
        let key = |purpose| NoiseKey {
            slot: site.slot(),
            purpose,
            sample: draw.sample,
        };
        let token = |position| TokenId {
            row: prompt.row,
            position,
        };
        let dropped = |purpose| {
            let fill = |out: &mut [f32], position| {
                if let Some(rate) = DropRate::of(draw.dropout) {
                    draw.stream
                        .fill_dropout(out, rate, token(position), key(purpose));
                }
            };
            x.mul(&Self::by_token((n, k), fill, first)?)
        };
        let mean = dropped(Purpose::MeanDropout)?.matmul(&factors.a.t()?)?;
        if let [(_, w1), (_, b1), (_, w2), (_, b2)] = factors.network.as_slice() {
            let (_, r) = mean.dims2()?;
            let hidden = mean.matmul(&w1.t()?)?.broadcast_add(b1)?.relu()?;
            let made = hidden.matmul(&w2.t()?)?.broadcast_add(b2)?;
            let mut e = made.narrow(1, 0, r * r)?;
            if let Some(sharing) = draw.sharing {
                let fill = |out: &mut [f32], position| {
                    let token = match sharing {
                        NoiseSharing::Token => token(position),
                        NoiseSharing::Example => token(0),
                        NoiseSharing::Shared => TokenId {
                            row: 0,
                            position: 0,
                        },
                    };
                    let key = key(Purpose::Context);
                    draw.stream.fill_normal_of_token(out, token, key);
                };
                let rho = made.narrow(1, r * r, r * r)?;
                let noise = Self::by_token((n, r * r), fill, first)?;
                e = (e + std_of(Sigma::SquaredLogistic, &rho)?.mul(&noise)?)?;
            }
            let h = e.reshape((n, r, r))?.matmul(&mean.unsqueeze(2)?)?;
            return h.squeeze(2);
        }
        let (Some(sharing), Some(sigma), Some(rho)) = (draw.sharing, self.sigma, &factors.rho)
        else {
            return Ok(mean);
        };
        let std = std_of(sigma, rho)?;
        let (r, _) = rho.dims2()?;
        let mut gaussian = vec![0.0; r * k];
        draw.stream
            .fill_normal(&mut gaussian, key(Purpose::Gaussian));
        let signs = |width, purpose| {
            let fill = |out: &mut [f32], position| {
                let position = match sharing {
                    NoiseSharing::Token => position,
                    NoiseSharing::Example => 0,
                    NoiseSharing::Shared => return,
                };
                let mut bits = vec![0; out.len()];
                draw.stream
                    .fill_sign_bits(&mut bits, position, prompt.row, key(purpose));
                for (sign, bit) in out.iter_mut().zip(bits) {
                    *sign = if bit == 0 { 1.0 } else { -1.0 };
                }
            };
            Self::by_token((n, width), fill, first)
        };
        let weight = std.mul(&constant(&gaussian, &[r, k])?)?;
        let input = dropped(Purpose::NoiseDropout)?.mul(&signs(k, Purpose::InputSigns)?)?;
        let noise = input
            .matmul(&weight.t()?)?
            .mul(&signs(r, Purpose::RankSigns)?)?;
        mean + noise
    }

    fn linear(&self, site: Site, x: &Tensor, prompt: &Prompt, draw: Draw) -> Result<Tensor> {
        let (outputs, inputs) = site.shape(self.config);
        let weight = self.frozen(&format!("{}.weight", site.path()), &[outputs, inputs])?;
        let mut y = x.matmul(&weight.t()?)?;
        if self.config.biases.contains(&site.module) {
            let bias = self.frozen(&format!("{}.bias", site.path()), &[outputs])?;
            y = y.broadcast_add(&bias)?;
        }
        let Some(factors) = self.factors.get(&site) else {
            return Ok(y);
        };
        let h = self.down(site, x, (prompt, 0), draw)?;
        y + (h.matmul(&factors.b.t()?)? * self.scaling)?
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let d = x.dim(D::Minus1)?;
        let mean_square = (x.mul(x)?.sum_keepdim(D::Minus1)? / d as f64)?;
        let root = (mean_square + self.config.norm_eps)?.sqrt()?;
        x.broadcast_div(&root)?
            .broadcast_mul(&self.frozen(name, &[d])?)
    }

    /// Rotates both halves of one head, x (n, c).
    fn rotated(&self, x: &Tensor) -> Result<Tensor> {
        let (n, c) = x.dims2()?;
        let frequencies = self.config.rope_frequencies();
        let table = |of: fn(f64) -> f64| {
            let angle = |t: usize| frequencies.iter().map(move |w| of(t as f64 * w));
            let values: Vec<f64> = (0..n).flat_map(angle).collect();
            Tensor::from_vec(values, (n, c / 2), &Device::Cpu)
        };
        let (cos, sin) = (table(f64::cos)?, table(f64::sin)?);
        let (low, high) = (x.narrow(1, 0, c / 2)?, x.narrow(1, c / 2, c / 2)?);
        let turned_low = (low.mul(&cos)? - high.mul(&sin)?)?;
        let turned_high = (high.mul(&cos)? + low.mul(&sin)?)?;
        Tensor::cat(&[turned_low, turned_high], 1)
    }

    /// One head, normed where the model has norms of heads, and turned.
    fn prepared(&self, x: &Tensor, block: usize, norm: &str) -> Result<Tensor> {
        if !self.config.qk_norm {
            return self.rotated(x);
        }
        let name = format!("model.layers.{block}.self_attn.{norm}.weight");
        self.rotated(&self.norm(x, &name)?)
    }

    /// Attention of every head, q (n, H·c), k and v (n, G·c) → (n, H·c).
    fn attention(&self, block: usize, [q, k, v]: [&Tensor; 3]) -> Result<Tensor> {
        let (n, c) = (q.dim(0)?, self.config.head_dim);
        let shared = self.config.num_heads / self.config.num_kv_heads;
        let window = self.config.window.as_ref();
        let window = window.filter(|window| window.blocks.contains(&block));
        let width = window.map_or(n, |window| window.size);
        let sees = |at: usize| {
            let (i, j) = (at / n, at % n);
            f64::from(j <= i && i - j < width)
        };
        let visible = Tensor::from_vec((0..n * n).map(sees).collect(), (n, n), &Device::Cpu)?;
        let head = |head: usize| {
            let of = |x: &Tensor, head: usize| x.narrow(1, head * c, c)?.contiguous();
            let (q, k) = (
                self.prepared(&of(q, head)?, block, "q_norm")?,
                self.prepared(&of(k, head / shared)?, block, "k_norm")?,
            );
            let scores = (q.matmul(&k.t()?)? / (c as f64).sqrt())?;
            let weights = scores.exp()?.mul(&visible)?;
            let sums = weights.sum_keepdim(1)?;
            weights.broadcast_div(&sums)?.matmul(&of(v, head / shared)?)
        };
        let heads = (0..self.config.num_heads).map(head);
        Tensor::cat(&heads.collect::<Result<Vec<_>>>()?, 1)
    }

    fn block(&self, block: usize, x: &Tensor, prompt: &Prompt, draw: Draw) -> Result<Tensor> {
        let linear = |module, x: &Tensor| self.linear(Site { block, module }, x, prompt, draw);
        let name = |norm: &str| format!("model.layers.{block}.{norm}.weight");
        let normed = self.norm(x, &name("input_layernorm"))?;
        let (q, k) = (linear(Module::Q, &normed)?, linear(Module::K, &normed)?);
        let v = linear(Module::V, &normed)?;
        let attended = self.attention(block, [&q, &k, &v])?;
        let x = (x + linear(Module::O, &attended)?)?;
        let normed = self.norm(&x, &name("post_attention_layernorm"))?;
        let (gate, up) = (linear(Module::Gate, &normed)?, linear(Module::Up, &normed)?);
        let silu = gate.div(&(gate.neg()?.exp()? + 1.0)?)?;
        &x + linear(Module::Down, &silu.mul(&up)?)?
    }

    /// Logits (K) of one prompt's classes at its last token.
    pub fn logits(&self, prompt: &Prompt, draw: Draw) -> Result<Tensor> {
        let table = [self.config.vocab_size, self.config.hidden_size];
        let embedding = self.frozen("model.embed_tokens.weight", &table)?;
        let mut x = rows(&embedding, &prompt.ids)?;
        for block in 0..self.config.num_layers {
            x = self.block(block, &x, prompt, draw)?;
        }
        let last = prompt.ids.len() - 1;
        let x = self.norm(&x.narrow(0, last, 1)?, "model.norm.weight")?;
        let head = if self.config.tie_word_embeddings {
            embedding
        } else {
            self.frozen("lm_head.weight", &table)?
        };
        let mut logits = x.matmul(&rows(&head, &prompt.answers)?.t()?)?;
        let site = Site {
            block: self.config.num_layers,
            module: Module::LmHead,
        };
        if let Some(factors) = self.factors.get(&site) {
            let h = self.down(site, &x, (prompt, last), draw)?;
            let b = rows(&factors.b, &prompt.answers)?;
            logits = (logits + (h.matmul(&b.t()?)? * self.scaling)?)?;
        }
        logits.squeeze(0)
    }

    /// Gradients as `<path>.{A,B,rho}`, and by the names of what is beside these.
    pub fn gradients(&self, tape: &GradStore) -> Result<BTreeMap<String, Vec<f32>>> {
        let mut named = BTreeMap::new();
        for (site, factors) in &self.factors {
            let mut parts = vec![("A", &factors.a), ("B", &factors.b)];
            parts.extend(factors.rho.iter().map(|rho| ("rho", rho)));
            let network = factors.network.iter();
            parts.extend(network.map(|(factor, var)| (factor.name(), var)));
            for (part, var) in parts {
                let gradient = match tape.get(var) {
                    Some(gradient) => gradient.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?,
                    None => vec![0.0; var.elem_count()],
                };
                named.insert(format!("{}.{part}", site.path()), gradient);
            }
        }
        Ok(named)
    }
}

/// σ of ρ.
fn std_of(sigma: Sigma, rho: &Tensor) -> Result<Tensor> {
    match sigma {
        Sigma::Square => rho.mul(rho),
        Sigma::Softplus => (rho.exp()? + 1.0)?.log(),
        Sigma::Exp => rho.exp(),
        Sigma::SquaredLogistic => (rho.neg()?.exp()? + 1.0)?.recip()?.sqr(),
    }
}

/// −ln softmax(logits)[label], a scalar.
pub fn nll(logits: &Tensor, label: usize) -> Result<Tensor> {
    let picked = logits.narrow(0, label, 1)?.squeeze(0)?;
    logits.exp()?.sum_all()?.log()? - picked
}

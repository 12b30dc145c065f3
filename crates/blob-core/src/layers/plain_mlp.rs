//! The plain MLP of a block: y = Down·gelu(Up·x + b) + b, as in arXiv:1706.03762 §3.3.
//!
//! Shapes: x (n, d), the inner layer (n, f), y (n, d).

use super::Linear;
use super::mlp::At;
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::activation::{Activated, Activation};
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Device, Tensor};

/// Its layers.
pub struct PlainMlp {
    /// Up, (f, d).
    pub up: Linear,
    /// Between them.
    pub activation: Activation,
    /// Down, (d, f).
    pub down: Linear,
    /// Where the activation runs.
    pub device: Device,
}

/// What the backward pass needs.
pub(super) struct PlainMlpKept {
    /// What Up gave, (n, f).
    inner: Tensor,
    up: Option<Kept>,
    down: Option<Kept>,
}

impl PlainMlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> [&Linear; 2] {
        [&self.up, &self.down]
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self) -> usize {
        self.up.width()
    }

    fn activated<'a>(&self, x: &'a Tensor) -> Source<'a> {
        Source::Activated(Activated {
            activation: self.activation,
            x,
            device: self.device,
        })
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        At { rows, of }: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<PlainMlpKept>)> {
        let up = self.up.on(rows, of);
        let input = linear::input(source, &[&up])?;
        let [(inner, of_up)] = linear::forward([&up], &input, of.pass)?;
        drop(input);
        let mut down = self.down.on(rows, of);
        down.addend = addend;
        let input = linear::input(self.activated(&inner), &[&down])?;
        let [(y, of_down)] = linear::forward([&down], &input, of.pass)?;
        let kept = keep.then_some(PlainMlpKept {
            inner,
            up: of_up,
            down: of_down,
        });
        Ok((y, kept))
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &PlainMlpKept,
        (source, dy): (Source<'_>, &Tensor),
        At { rows, of }: At<'_>,
        want_dx: bool,
        gradients: &mut Parameters,
    ) -> Result<Option<Tensor>> {
        let wants = |dx| Wants {
            dx,
            addend: None,
            pass: of.pass,
        };
        let is_read = of.adapts(&self.up);
        let down = self.down.returning(rows, of, (kept.down.as_ref(), dy));
        let activated = self.activated(&kept.inner);
        let below = linear::backward(&[down], activated, wants(want_dx || is_read), gradients)?;
        let (Some(dactivated), Source::Activated(inner)) = (below, activated) else {
            return Ok(None);
        };
        let dinner = inner.backward(&dactivated)?;
        let up = self.up.returning(rows, of, (kept.up.as_ref(), &dinner));
        linear::backward(&[up], source, wants(want_dx), gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Adapted;
    use super::*;
    use crate::adapter::{Module, Site};
    use crate::ops::Precision;
    use crate::ops::oracle::{
        Terms, assert_close, assert_gradient, assert_parameters_close, pass_of, tensor, weight,
    };
    use crate::pass::Pass;
    use candle_core::{self as candle, DType};

    /// Of the stream and of the inner layer.
    const WIDTHS: [usize; 2] = [7, 20];
    const SITES: [Site; 2] = [site(Module::Up), site(Module::Down)];

    const fn site(module: Module) -> Site {
        Site { block: 0, module }
    }

    fn mlp(activation: Activation, device: Device) -> PlainMlp {
        let [d, f] = WIDTHS;
        let linear = |site, seed, (m, k)| Linear {
            site,
            weight: weight(seed, (m, k), Precision::F32, device),
            bias: Some(tensor(seed + 1, 1, m).reshape(m).unwrap()),
        };
        PlainMlp {
            up: linear(SITES[0], 10, (f, d)),
            activation,
            down: linear(SITES[1], 20, (d, f)),
            device,
        }
    }

    /// y, dx and the gradients of the terms, where there are any.
    fn run(mlp: &PlainMlp, [x, dy]: [&Tensor; 2], (pass, terms): (&Pass, &Terms)) -> Ran {
        let adapter = Some(terms.adapter()).filter(|adapter| adapter.has(SITES[0]));
        let of = Adapted { pass, adapter };
        let at = At {
            rows: &pass.all_rows,
            of,
        };
        let (y, kept) = mlp.forward(Source::Rows(x), Some(dy), at, true).unwrap();
        let (kept, mut gradients) = (kept.unwrap(), terms.zeros());
        let read = (Source::Rows(x), dy);
        let dx = mlp.backward(&kept, read, at, true, &mut gradients).unwrap();
        (y, dx.unwrap(), gradients)
    }

    type Ran = (Tensor, Tensor, Parameters);

    /// y without terms, by plain operations, in the type of x.
    fn plain(mlp: &PlainMlp, x: &candle::Tensor) -> Result<candle::Tensor> {
        let layer = |linear: &Linear, seed, x: &candle::Tensor| -> Result<candle::Tensor> {
            let (m, k) = (linear.weight.rows(), linear.weight.columns());
            let w = tensor(seed, m, k).to_dtype(x.dtype())?;
            let b = tensor(seed + 1, 1, m).to_dtype(x.dtype())?;
            Ok(x.matmul(&w.t()?)?.broadcast_add(&b)?)
        };
        let inner = layer(&mlp.up, 10, x)?;
        let activated = match mlp.activation {
            Activation::Gelu => inner.gelu_erf()?,
            Activation::GeluTanh => inner.gelu()?,
            Activation::Silu => inner.silu()?,
        };
        layer(&mlp.down, 20, &activated)
    }

    #[test]
    fn it_is_the_plain_composition_and_has_its_gradient() {
        let (pass, terms) = (
            pass_of(&[3, 2], 1),
            Terms::new(&[(site(Module::Q), (2, 2))]),
        );
        let [x, dy] = [tensor(1, 5, WIDTHS[0]), tensor(2, 5, WIDTHS[0])];
        for activation in Activation::ALL {
            for device in Device::ALL {
                let mlp = mlp(activation, device);
                let (y, dx, _) = run(&mlp, [&x, &dy], (&pass, &terms));
                let expected = plain(&mlp, &x.to_dtype(DType::F64).unwrap()).unwrap();
                let expected = (expected + dy.to_dtype(DType::F64).unwrap()).unwrap();
                assert_close(&y, &expected, 1e-5);
                assert_gradient(&dx, &x, &dy, |x| plain(&mlp, x));
            }
        }
    }

    #[test]
    fn sampled_terms_of_both_layers_have_the_gradients_of_the_tape() {
        let [d, f] = WIDTHS;
        let terms = Terms::new(&[(SITES[0], (f, d)), (SITES[1], (d, f))]);
        let pass = pass_of(&[3, 2], 2);
        let [x, dy] = [tensor(1, 10, d), tensor(2, 10, d)];
        for activation in Activation::ALL {
            let on = |device| run(&mlp(activation, device), [&x, &dy], (&pass, &terms));
            let expected = on(Device::Reference);
            for own in Device::ALL.map(on) {
                assert_close(&own.0, &expected.0, 1e-5);
                assert_close(&own.1, &expected.1, 1e-4);
                assert_parameters_close(&own.2, &expected.2, 1e-4);
            }
        }
    }
}

//! The MLP of two layers, y = Down·m(First·x + a) + b:
//!
//! ```text
//! plain   m(z) = φ(z)                        as in arXiv:1706.03762 §3.3
//! gated   m(z) = φ(g) ∘ u,  [ g | u ] = z    as Phi-3 (arXiv:2404.14219), ModernBERT (2412.13663)
//! ```
//!
//! Shapes: x (n, d), z (n, f) or (n, 2·f), y (n, d).

use super::Linear;
use super::mlp::At;
use crate::Result;
use crate::adapter::Parameters;
use crate::ops::activation::{Activated, Activation};
use crate::ops::gated::Gates;
use crate::ops::linear::{self, Source, Wants};
use crate::ops::low_rank::Kept;
use crate::ops::{Device, Tensor, columns};

/// Its layers.
pub struct TwoLayerMlp {
    /// Up, (f, d), or gate and up, (2·f, d).
    pub first: Linear,
    /// m.
    pub nonlinearity: Nonlinearity,
    /// φ.
    pub activation: Activation,
    /// Down, (d, f).
    pub down: Linear,
    /// Where φ runs.
    pub device: Device,
}

/// The map m of a hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// φ(z).
    Activation,
    /// φ(g) ∘ u.
    Gates,
}

/// What the backward pass needs.
pub(super) struct TwoLayerMlpKept {
    inner: Inner,
    first: Option<Kept>,
    down: Option<Kept>,
}

/// z.
enum Inner {
    Whole(Tensor),
    Gates(Gates),
}

impl TwoLayerMlp {
    /// All layers, in the order of their sites.
    pub(super) fn linears(&self) -> [&Linear; 2] {
        [&self.first, &self.down]
    }

    /// Values that a forward pass keeps of each row.
    pub(super) fn kept_values(&self) -> usize {
        self.first.width()
    }

    fn inner(&self, z: Tensor) -> Result<Inner> {
        Ok(match self.nonlinearity {
            Nonlinearity::Activation => Inner::Whole(z),
            Nonlinearity::Gates => {
                let parts = columns::cut(&z, [self.first.width() / 2; 2])?;
                Inner::Gates(Gates::of(self.activation, parts, &self.down.weight)?)
            }
        })
    }

    /// φ of a whole z.
    fn activated<'a>(&self, x: &'a Tensor) -> Activated<'a> {
        Activated {
            activation: self.activation,
            x,
            device: self.device,
        }
    }

    /// m(z), which Down reads.
    fn hidden<'a>(&self, inner: &'a Inner) -> Source<'a> {
        match inner {
            Inner::Whole(z) => Source::Activated(self.activated(z)),
            Inner::Gates(gates) => Source::Gated(gates),
        }
    }

    /// dL/dz of dL/dm.
    fn inner_backward(&self, inner: &Inner, dhidden: &Tensor) -> Result<Tensor> {
        match inner {
            Inner::Whole(z) => self.activated(z).backward(dhidden),
            Inner::Gates(gates) => {
                let [d_gate, d_up] = gates.backward(dhidden)?;
                columns::join([&d_gate, &d_up])
            }
        }
    }

    /// y + `addend` (n, d), and what the backward pass needs when `keep`.
    pub(super) fn forward<'a>(
        &'a self,
        source: Source<'_>,
        addend: Option<&'a Tensor>,
        At { rows, of }: At<'a>,
        keep: bool,
    ) -> Result<(Tensor, Option<TwoLayerMlpKept>)> {
        let first = self.first.on(rows, of);
        let input = linear::input(source, &[&first])?;
        let [(z, of_first)] = linear::forward([&first], &input, of.pass)?;
        drop(input);
        let inner = self.inner(z)?;
        let mut down = self.down.on(rows, of);
        down.addend = addend;
        let input = linear::input(self.hidden(&inner), &[&down])?;
        let [(y, of_down)] = linear::forward([&down], &input, of.pass)?;
        let kept = keep.then_some(TwoLayerMlpKept {
            inner,
            first: of_first,
            down: of_down,
        });
        Ok((y, kept))
    }

    /// dL/d(source) of dL/dy, when it is wanted; adds the terms' gradients.
    pub(super) fn backward(
        &self,
        kept: &TwoLayerMlpKept,
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
        let is_read = of.adapts(&self.first);
        let down = self.down.returning(rows, of, kept.down.as_ref(), dy);
        let hidden = self.hidden(&kept.inner);
        let dhidden = linear::backward(&[down], hidden, wants(want_dx || is_read), gradients)?;
        let Some(dhidden) = dhidden else {
            return Ok(None);
        };
        let is_alone = !is_read && want_dx && !of.pass.mode.check_finite;
        if let (Inner::Whole(z), true) = (&kept.inner, is_alone) {
            of.pass.abort.check()?;
            let dx = (self.activated(z)).backward_through(&dhidden, &self.first.weight)?;
            if dx.is_some() {
                return Ok(dx);
            }
        }
        let dz = self.inner_backward(&kept.inner, &dhidden)?;
        let first = self.first.returning(rows, of, kept.first.as_ref(), &dz);
        linear::backward(&[first], source, wants(want_dx), gradients)
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

    fn mlp(activation: Activation, device: Device) -> TwoLayerMlp {
        let [d, f] = WIDTHS;
        let linear = |site, seed, (m, k)| Linear {
            site,
            weight: weight(seed, (m, k), Precision::F32, device),
            bias: Some(tensor(seed + 1, 1, m).reshape(m).unwrap()),
        };
        TwoLayerMlp {
            first: linear(SITES[0], 10, (f, d)),
            nonlinearity: Nonlinearity::Activation,
            activation,
            down: linear(SITES[1], 20, (d, f)),
            device,
        }
    }

    /// y, dx and the gradients of the terms, where there are any.
    fn run(mlp: &TwoLayerMlp, [x, dy]: [&Tensor; 2], (pass, terms): (&Pass, &Terms)) -> Ran {
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
    fn plain(mlp: &TwoLayerMlp, x: &candle::Tensor) -> Result<candle::Tensor> {
        let layer = |linear: &Linear, seed, x: &candle::Tensor| -> Result<candle::Tensor> {
            let (m, k) = (linear.weight.rows(), linear.weight.columns());
            let w = tensor(seed, m, k).to_dtype(x.dtype())?;
            let b = tensor(seed + 1, 1, m).to_dtype(x.dtype())?;
            Ok(x.matmul(&w.t()?)?.broadcast_add(&b)?)
        };
        let inner = layer(&mlp.first, 10, x)?;
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

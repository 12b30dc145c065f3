//! What layers read, made ready for their products.

use super::{Projection, Weight};
use crate::Result;
use crate::kernels::cpu::activation::ActivatedRows;
use crate::kernels::cpu::gemm::{Direction, Operand};
use crate::kernels::cpu::rms_norm::NormedRows;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, Rounded};
use crate::ops::activation::Activated;
use crate::ops::gated::Gates;
use crate::ops::norm::{Norm, NormKind};
use crate::ops::{Implementation, Operation, Tensor, read, shapes};

/// Where the rows of an input come from: kernels compute them while they are staged, unless a
/// low-rank term reads them too.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A matrix, (n, k).
    Rows(&'a Tensor),
    /// What a norm makes of a matrix, (n, k).
    Normed(&'a Norm, &'a Tensor),
    /// What is behind the gates, (n, k).
    Gated(&'a Gates),
    /// What an activation makes of a matrix, (n, k).
    Activated(Activated<'a>),
}

impl Source<'_> {
    /// The rows themselves.
    pub(super) fn rows(&self) -> Result<Tensor> {
        match self {
            Self::Rows(x) => Ok((*x).clone()),
            Self::Normed(norm, x) => norm.forward(x),
            Self::Gated(gates) => gates.hidden(),
            Self::Activated(of) => of.rows(),
        }
    }

    /// The rows as products in bf16 on this GPU read them.
    #[cfg(feature = "cuda")]
    fn rounded_on(&self, gpu: Gpu) -> Result<Rounded> {
        match self {
            Self::Normed(norm, x) => norm.rounded_on(gpu, x),
            Self::Rows(_) | Self::Gated(_) | Self::Activated(_) => self.rows()?.rounded_on(gpu),
        }
    }
}

/// Rows made ready for products with all weights of one width and precision.
pub struct Input {
    n: usize,
    /// Where a term reads them.
    pub(in crate::ops) values: Option<Tensor>,
    pub(in crate::ops) staged: Staged,
}

/// As products take it.
pub(in crate::ops) enum Staged {
    Cpu(Operand),
    /// (n, k); rounded where products are in bf16 on a GPU.
    Rows(Tensor),
}

impl Input {
    pub(in crate::ops) fn new(n: usize, values: Option<Tensor>, staged: Staged) -> Self {
        Self { n, values, staged }
    }

    /// n
    pub fn rows(&self) -> usize {
        self.n
    }
}

/// Makes ready what these layers read.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when the width is not that of the layers.
pub fn input(source: Source<'_>, layers: &[&Projection<'_>]) -> Result<Input> {
    let Some(first) = layers.first() else {
        let values = source.rows()?;
        return Ok(Input::new(values.dim(0)?, None, Staged::Rows(values)));
    };
    let is_read = layers.iter().any(|layer| layer.term.is_some());
    let weight = first.weight;
    let k = weight.columns();
    if weight.implementation(Operation::Linear) != Implementation::CpuKernel {
        let (rows, values) = rows_of(source, weight, is_read)?;
        let n = rows.dim(0)?;
        shapes::check("x of the layer", &rows, &[n, k])?;
        return Ok(Input::new(n, values, Staged::Rows(rows)));
    }
    if let (Source::Normed(norm, x), false) = (source, is_read)
        && matches!(norm.kind, NormKind::Rms)
    {
        let (n, _) = norm.shape_of(x)?;
        shapes::check("x of the layer", x, &[n, k])?;
        let (weight_of_norm, x) = (read(&norm.weight)?, read(x)?);
        let norm = norm.rms(&weight_of_norm);
        let rows = NormedRows { norm, x: &x };
        let staged = rows.staged_for(weight.cpu()?, n)?;
        return Ok(Input::new(n, None, Staged::Cpu(staged)));
    }
    if let (Source::Gated(gates), false) = (source, is_read)
        && let Some(staged) = gates.staged_for(weight)?
    {
        return Ok(Input::new(gates.rows(), None, Staged::Cpu(staged)));
    }
    if let (Source::Activated(of), false) = (source, is_read)
        && of.implementation() == Implementation::CpuKernel
    {
        let n = of.x.dim(0)?;
        shapes::check("x of the layer", of.x, &[n, k])?;
        let (activation, x) = (of.activation, read(of.x)?);
        let rows = ActivatedRows { activation, x: &x };
        let staged = rows.staged_for(weight.cpu()?, n)?;
        return Ok(Input::new(n, None, Staged::Cpu(staged)));
    }
    let values = source.rows()?;
    let n = values.dim(0)?;
    shapes::check("x of the layer", &values, &[n, k])?;
    let staged = weight
        .cpu()?
        .stage(Direction::Forward, &read(&values)?, n)?;
    Ok(Input::new(n, Some(values), Staged::Cpu(staged)))
}

/// Rows as products read them, and as terms do, where there are any.
fn rows_of(
    source: Source<'_>,
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "of GPUs"))]
    weight: &Weight,
    is_read: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    #[cfg(feature = "cuda")]
    if let Some(gpu) = weight.rounds_on() {
        return if is_read {
            let values = source.rows()?;
            Ok((values.rounded_on(gpu)?.into(), Some(values)))
        } else {
            Ok((source.rounded_on(gpu)?.into(), None))
        };
    }
    let values = source.rows()?;
    Ok((values.clone(), is_read.then_some(values)))
}

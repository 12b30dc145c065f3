//! A frozen linear layer with an optional low-rank term: y = x·W₀ᵀ + term(x).
//!
//! `W₀` (m, k) has no gradient. The term and a residual are added inside the product; what comes back is summed
//! over all layers with one input (`InputGradient`).

use candle_core::Tensor;

use crate::kernels::cpu::gemm::{
    Addend, Combined, Direction, Epilogue, FrozenMatrix, LowRankUpdate, Operand, Precision,
    RowSource,
};
use crate::kernels::cpu::rms_norm::NormedRows;
use crate::kernels::cpu::swiglu::Gating;
use crate::ops::low_rank::{Kept, Term};
use crate::ops::rms_norm::Norm;
use crate::ops::{contract, read, wrap};
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// `W₀`, as it is stored.
pub struct FrozenLinear {
    weight: FrozenMatrix,
    /// (m), added to every row.
    bias: Option<Tensor>,
}

impl FrozenLinear {
    /// Takes a weight of shape (m, k).
    pub fn new(weight: StoredMatrix, precision: Precision) -> Result<Self> {
        let weight = FrozenMatrix::new(weight, precision)?;
        Ok(Self { weight, bias: None })
    }

    /// The layer with a bias (m).
    #[must_use]
    pub fn with_bias(mut self, bias: Tensor) -> Self {
        self.bias = Some(bias);
        self
    }

    /// The name of the type that the weight is stored in.
    pub fn type_name(&self) -> &'static str {
        self.weight.type_name()
    }

    /// `W₀`
    pub(super) fn weight(&self) -> &FrozenMatrix {
        &self.weight
    }

    /// Bytes of the weight in memory.
    pub fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// Brings an input (n, k) into the products' order; layers with one input share it.
    pub(crate) fn stage(&self, x: &Tensor) -> Result<Operand> {
        self.weight.stage(Direction::Forward, &read(x)?, x.dim(0)?)
    }

    /// [`Self::stage`] of n rows that are computed on the way.
    pub(crate) fn stage_rows(&self, rows: &impl RowSource, n: usize) -> Result<Operand> {
        self.weight.stage_rows(rows, n)
    }

    /// [`Self::stage`] of what `norm` makes of x (n, k), which nothing else reads.
    pub(crate) fn stage_normed(&self, norm: &Norm, x: &Tensor) -> Result<Operand> {
        let (n, _) = norm.shape_of(x)?;
        contract::shape("x of the layer", x, &[n, self.weight.columns()])?;
        let (weight, x) = (read(&norm.weight)?, read(x)?);
        let norm = norm.on(&weight);
        self.weight.stage_rows(&NormedRows { norm, x: &x }, n)
    }

    /// (n, k) → (n, m), and what the term needs for its adjoint; `addend` (n, m) is added. The input itself
    /// is for the term alone.
    pub(crate) fn forward(
        &self,
        (x, staged): (Option<&Tensor>, &Operand),
        term: Option<&Term>,
        addend: Option<&Tensor>,
    ) -> Result<(Tensor, Option<Kept>)> {
        let (rows, outputs) = (staged.rows(), self.weight.rows());
        let kept = match (term, x) {
            (Some(term), Some(x)) => Some(term.down(&read(x)?)),
            (Some(term), None) => {
                return Err(Error::InvalidInput(format!(
                    "{} must be given its input, got none",
                    term.site.path()
                )));
            }
            (None, _) => None,
        };
        let b = term.map(Term::b_transposed).unwrap_or_default();
        let updates: Vec<LowRankUpdate> = match (term, &kept) {
            (Some(term), Some(kept)) => term.updates(kept, &b),
            _ => Vec::new(),
        };
        let addend = addend.map(read).transpose()?;
        let epilogue = Epilogue {
            updates: &updates,
            addend: addend.as_deref().map_or(Addend::None, Addend::Matrix),
        };
        let mut y = self.weight.product(Direction::Forward, staged, &epilogue)?;
        drop(updates);
        if let Some(bias) = &self.bias {
            let bias = read(bias)?;
            for row in y.chunks_exact_mut(outputs.max(1)) {
                row.iter_mut().zip(&*bias).for_each(|(y, bias)| *y += bias);
            }
        }
        Ok((wrap(y, (rows, outputs))?, kept))
    }
}

/// silu(x·Gᵀ) ∘ x·Uᵀ of a staged x (n, k), staged for `down`; and both factors rounded to bf16, in words (n·m), when
/// `keep`.
pub(crate) fn gated(
    [gate, up, down]: [&FrozenLinear; 3],
    staged: &Operand,
    keep: bool,
) -> Result<(Operand, Option<Vec<u32>>)> {
    let shape = (staged.rows(), gate.weight.rows());
    let (gate, up) = (&gate.weight, &up.weight);
    let (hidden, factors) = gate.multiply_combined::<Gating>(up, staged, keep)?;
    let hidden = match hidden {
        Combined::Staged(hidden) => hidden,
        Combined::Matrix(hidden) => down.stage(&wrap(hidden, shape)?)?,
    };
    Ok((hidden, factors))
}

//! Laplace's approximation around a trained adapter (Laplace-LoRA, arXiv:2308.13111; Kronecker
//! factors: Ritter et al., ICLR 2018; answers linearised: Immer et al., arXiv:2008.08216).
//!
//! ```text
//! p(θ | D) ≈ N(θ*, (F + λI)⁻¹)       θ*: the adapter as it is, λ: precision of a prior N(0, 1/λ)
//! F = Σ_n J_nᵀ H_n J_n ≈ blockdiag( L ⊗ S )                           generalised Gauss–Newton
//! L = (1/T) Σ_t a_t a_tᵀ      S = Σ_t Σ_c g_tc g_tcᵀ                  H_n = Σ_c r_c r_cᵀ
//! ```
//!
//! A block of F belongs to one matrix of the adapter: A or B of a layer, or the head's W with its
//! bias; its gradient is Σ_t g_tᵀ a_t over the T rows that it saw. J_n is the Jacobian of prompt
//! n's logits, H_n = diag(π) − ππᵀ the Hessian of its loss, r_c what is sent back. The rows of a
//! prompt share one loss and are treated as if each had its own: KFAC's rule `expand` (Eschenhagen
//! et al., arXiv:2311.00636 §3), whence the mean in L. Exact for one row; for many of them where
//! the layer and the loss are linear-Gaussian.
//!
//! Both factors are kept by their eigenvectors v, q and eigenvalues l, s, of a wide one the K
//! largest (`sum`): so F and F + λI are diagonal in v ⊗ q, and λ where no direction is kept.

mod adapter;
mod evidence;
mod fit;
mod jacobians;
mod likelihood;
mod linearised;
mod link;
mod matrix_rows;
mod predictive;
mod sum;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use evidence::Fitted;
pub use fit::{Fit, FitConfig, MOST_RANK};
pub use likelihood::{Likelihood, Softmax};
pub use linearised::{KEPT_BYTES, Linearisation, Linearised};
pub use link::Link;
pub(crate) use predictive::{Asked, predictive};

use crate::adapter::{Adapter, Factor, Layout, Site};

/// A matrix of an adapter: `A`, `B`, or `Weight`, which stands for W with its bias as one more
/// column.
pub(crate) type MatrixId = (Site, Factor);

/// The eigenvectors of a factor with their eigenvalues, falling.
#[derive(Debug, Clone, PartialEq)]
pub struct Directions {
    width: usize,
    values: Vec<f64>,
    /// (values, width)
    vectors: Vec<f32>,
}

/// Directions below this share of the largest are not kept.
const NEGLIGIBLE: f64 = 1e-9;

impl Directions {
    /// Of unit vectors.
    pub(crate) fn new(width: usize, pairs: impl Iterator<Item = (f64, Vec<f64>)>) -> Self {
        let mut all = Self {
            width,
            values: Vec::new(),
            vectors: Vec::new(),
        };
        for (value, vector) in pairs {
            let largest = all.values.first().copied().unwrap_or(value);
            if value > NEGLIGIBLE * largest {
                all.values.push(f64::from(value as f32)); // as files hold it
                all.vectors.extend(vector.iter().map(|&v| v as f32));
            }
        }
        all
    }

    /// Of values that fall, and unit vectors (values, d).
    pub(crate) fn of_values(width: usize, values: Vec<f64>, vectors: Vec<f32>) -> Self {
        Self {
            width,
            values,
            vectors,
        }
    }

    /// d
    pub fn width(&self) -> usize {
        self.width
    }

    /// Eigenvalues.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Unit vectors, (values, d).
    pub fn vectors(&self) -> &[f32] {
        &self.vectors
    }

    /// Whether nothing is outside of them.
    fn is_complete(&self) -> bool {
        self.values.len() == self.width
    }
}

/// The curvature of one matrix (o, i), by its factors L (i, i) and S (o, o).
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixCurvature {
    /// L.
    pub input: Directions,
    /// S.
    pub output: Directions,
}

impl MatrixCurvature {
    /// l_i·s_j, (i, j).
    fn eigenvalues(&self) -> impl Iterator<Item = f64> + '_ {
        let of = |l: &f64| {
            let l = *l;
            self.output.values.iter().map(move |s| l * s)
        };
        self.input.values.iter().flat_map(of)
    }
}

/// F, block by block: the curvature of each matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Curvature {
    pub(crate) matrices: BTreeMap<MatrixId, MatrixCurvature>,
}

impl Curvature {
    /// That of a matrix, if there is one.
    pub fn matrix(&self, site: Site, factor: Factor) -> Option<&MatrixCurvature> {
        self.matrices.get(&(site, factor))
    }

    /// The first block of the backbone that a Jacobian must reach.
    fn first_block(&self) -> usize {
        self.matrices
            .keys()
            .map(|(site, _)| site.block)
            .min()
            .unwrap_or(0)
    }
}

/// F and λ: what an adapter holds beside its factors.
#[derive(Debug, Clone, PartialEq)]
pub struct Laplace {
    /// F.
    pub curvature: Arc<Curvature>,
    /// λ.
    pub precision: f64,
}

/// The matrices of an adapter, each with its shape (o, i); those of the backbone's blocks below
/// `from_block` are left out.
pub(crate) fn matrices_of(layout: &Layout, from_block: usize) -> BTreeMap<MatrixId, [usize; 2]> {
    let own = layout.own_layers();
    let mut matrices = BTreeMap::new();
    for (&site, term) in layout.terms() {
        for factor in [Factor::A, Factor::B] {
            matrices.insert((site, factor), term.of(factor));
        }
    }
    if own.trained {
        for (&site, &(outputs, inputs)) in &own.shapes {
            matrices.insert((site, Factor::Weight), [outputs, inputs + 1]);
        }
    }
    matrices.retain(|(site, _), _| site.block >= from_block);
    matrices
}

/// Σ θ² over what the matrices cover.
fn squared_norm(adapter: &Adapter, matrices: impl Iterator<Item = MatrixId>) -> f64 {
    let (layout, values) = (
        adapter.parameters().layout(),
        adapter.parameters().member(0),
    );
    let square = |factor: Factor, site: Site| -> f64 {
        let range = layout.range(site, factor).unwrap_or(0..0);
        let values = values[range].iter();
        values
            .map(|&value| f64::from(value) * f64::from(value))
            .sum()
    };
    matrices
        .map(|(site, factor)| match factor {
            Factor::Weight => square(Factor::Weight, site) + square(Factor::Bias, site),
            factor => square(factor, site),
        })
        .sum()
}

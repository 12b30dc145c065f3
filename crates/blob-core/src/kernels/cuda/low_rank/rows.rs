//! Whose factors rows see, and where their noise comes from.

use std::ops::Range;

use crate::Result;
use crate::kernels::cuda::memory::View;
use crate::kernels::cuda::{Gpu, Words};

/// Where one member's factors lie: their first values among all parameters and gradients.
#[derive(Clone, Copy)]
pub struct FactorPlaces {
    /// A, (r, k)
    pub a: usize,
    /// B, (m, r)
    pub b: usize,
    /// ρ, (r, k), where A is Gaussian.
    pub rho: Option<usize>,
    /// The network of a context, where there is one.
    pub network: Option<NetworkPlaces>,
}

/// The same of W₁ (H, r), b₁ (H), W₂ (2r², H) and b₂ (2r²).
pub type NetworkPlaces = [usize; 4];

/// Who the rows of the input are, (n) each, and the streams of their groups. Copies share the
/// memory.
#[derive(Debug, Clone)]
pub struct Identities {
    positions: Words,
    rows: Words,
    /// Two words for each group.
    keys: Words,
}

impl Identities {
    /// Copies of positions in prompts, of what prompts are called, and of the groups' keys.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub fn new(gpu: Gpu, positions: &[u32], rows: &[u32], keys: &[[u32; 2]]) -> Result<Self> {
        Ok(Self {
            positions: gpu.words(positions)?,
            rows: gpu.words(rows)?,
            keys: gpu.words(keys.as_flattened())?,
        })
    }

    /// Where a group's key lies.
    pub(super) fn key(&self, group: &Group) -> View<'_, u32> {
        self.keys.slice(2 * group.index..2 * group.index + 2)
    }

    /// Positions and names of a group's rows.
    pub(super) fn of(&self, group: &Group) -> [View<'_, u32>; 2] {
        [&self.positions, &self.rows].map(|values| values.slice(group.rows.clone()))
    }
}

/// Where a group's noise comes from. A tag is the counter's word of layer, purpose and sample.
#[derive(Clone, Copy)]
pub struct Noise {
    /// Tag of E.
    pub gaussian: u32,
    /// Tag of the signs of inputs.
    pub inputs: u32,
    /// Tag of the signs of ranks.
    pub ranks: u32,
    /// Whose signs rows see.
    pub signs: Signs,
    /// The sign of E.
    pub sign: f32,
    /// σ = ln(1 + e^ρ), or ρ².
    pub is_softplus: bool,
}

/// Whose signs rows see; as kernels count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    /// None.
    Absent = 0,
    /// Those of their place in their prompt.
    OfTokens = 1,
    /// Those of their prompt.
    OfPrompts = 2,
}

/// Where the ε of a group's matrices comes from, under a context.
#[derive(Clone, Copy)]
pub struct Epsilon {
    /// Its tag.
    pub tag: u32,
    /// Whose it is.
    pub whose: Whose,
    /// Its sign.
    pub sign: f32,
}

/// Whose ε rows see; as kernels count, which have 0 for the mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// That of their place in their prompt.
    OfToken = 1,
    /// That of their prompt.
    OfPrompt = 2,
    /// That of all rows.
    OfAll = 3,
}

/// The dropout of a group's inputs.
#[derive(Clone, Copy)]
pub struct Dropout {
    /// p, above 0.
    pub probability: f32,
    /// Tag of the mask of the mean's input.
    pub mean: u32,
    /// Tag of that of the noise's input.
    pub noise: u32,
}

/// Rows that see one member's factors under one draw.
pub struct Group {
    /// Which rows.
    pub rows: Range<usize>,
    /// Whose factors.
    pub member: usize,
    /// Its place among the groups of the rows: whose stream of noise and dropout it has.
    pub index: usize,
    /// `None`: the mean.
    pub noise: Option<Noise>,
    /// Under a context; `None`: the mean.
    pub epsilon: Option<Epsilon>,
    /// Of the inputs.
    pub dropout: Option<Dropout>,
}

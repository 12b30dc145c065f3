//! Who looks on while gradients come back through an adapter's layers.
//!
//! A gradient is a sum over rows; the curvature of a loss (`laplace`) needs the rows themselves:
//!
//! ```text
//! term    y = s·h·Bᵀ    h = x·Aᵀ     dL/dA = Σ_t p_tᵀ x_t   dL/dB = Σ_t dy_tᵀ (s·h_t)   p = s·dy·B
//! own     y = x·Wᵀ + b                dL/dW = Σ_t dy_tᵀ x_t    dL/db = Σ_t dy_t
//! ```
//!
//! An observer sees x (n, k) and dy (n, m) of every layer once per backward pass, the last layer
//! first. It belongs to the pass, as the flag that stops it does, and changes no number.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::DType;

use crate::Result;
use crate::adapter::{LowRankRef, Site};
use crate::ops::Tensor;
use crate::ops::head::Classes;

/// dL/dy of a layer.
#[derive(Clone, Copy)]
pub enum OutputGradient<'a> {
    /// (n, m)
    Rows(&'a [f32]),
    /// Of a vocabulary: dL/dz of each class; all else is 0.
    Classes(&'a Classes, &'a [f32]),
}

/// One layer of an adapter in one backward pass.
pub struct Seen<'a> {
    /// Where it sits.
    pub site: Site,
    /// The factors of a low-rank term, and s; `None`: a layer of the adapter's own, with its bias.
    pub term: Option<(LowRankRef<'a>, f32)>,
    /// The rows of each prompt.
    pub segments: &'a [Range<usize>],
    /// (n, k)
    pub x: &'a [f32],
    /// dL/dy.
    pub dy: OutputGradient<'a>,
}

/// What looks on.
pub trait Observer: Send {
    /// Takes a layer in.
    ///
    /// # Errors
    /// What the observer cannot do; it ends the pass.
    fn see(&mut self, seen: &Seen<'_>) -> Result<()>;
}

/// An observer as passes hold it.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<dyn Observer>>);

impl Watch {
    /// By an observer that its owner asks afterwards.
    pub fn by<O: Observer + 'static>(observer: &Arc<Mutex<O>>) -> Self {
        Self(Arc::<Mutex<O>>::clone(observer))
    }

    pub(crate) fn see(&self, seen: &Seen<'_>) -> Result<()> {
        let mut observer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        observer.see(seen)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// The values of a matrix in the host's memory, for an observer.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.host()?.to_dtype(DType::F32)?.flatten_all()?;
    Ok(flat.to_vec1()?)
}

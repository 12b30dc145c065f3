//! Layers of the adapter's own, and what lies between and behind them; equations in `affine.cu`.

use std::ops::Range;

use super::pointwise::a_thread_per;
use super::unwritten::Unwritten;
use super::{Array, Gpu};
use crate::Result;

const FILE: &str = "affine";

/// A member's rows of x (n, k) and y (n, m), and where its W (m, k) and b (m) lie among all
/// parameters.
#[derive(Clone)]
pub struct Layer {
    /// Which rows.
    pub rows: Range<usize>,
    /// W.
    pub weight: Range<usize>,
    /// b.
    pub bias: Range<usize>,
    /// k
    pub inputs: usize,
    /// m
    pub outputs: usize,
}

impl Layer {
    /// n, k and m as kernels count.
    fn sizes(&self) -> [u32; 3] {
        [self.rows.len(), self.inputs, self.outputs].map(|size| size as u32)
    }

    /// Where its rows of a width lie.
    fn part(&self, width: usize) -> Range<usize> {
        self.rows.start * width..self.rows.end * width
    }

    /// Writes its rows of y, of x and all parameters.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`; the same of all functions here.
    pub(crate) fn forward(
        &self,
        x: &Array,
        parameters: &Array,
        y: &mut Unwritten<f32>,
    ) -> Result<()> {
        let (gpu, [n, k, m]) = (x.gpu(), self.sizes());
        let x = x.values().slice(self.part(self.inputs));
        let [w, b] = [&self.weight, &self.bias].map(|it| parameters.values().slice(it.clone()));
        let mut y = y.slice_mut(self.part(self.outputs));
        let kernel = gpu.kernel(FILE, "affine")?;
        let mut call = gpu.call(&kernel);
        call.arg(&x).arg(&w).arg(&b).arg(&mut y);
        call.arg(&n).arg(&k).arg(&m);
        gpu.run(call, a_thread_per(32 * self.rows.len() * self.outputs))
    }

    /// Writes its rows of dx, of dy and all parameters.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub(crate) fn input(
        &self,
        dy: &Array,
        parameters: &Array,
        dx: &mut Unwritten<f32>,
    ) -> Result<()> {
        let (gpu, [n, k, m]) = (dy.gpu(), self.sizes());
        let dy = dy.values().slice(self.part(self.outputs));
        let w = parameters.values().slice(self.weight.clone());
        let mut dx = dx.slice_mut(self.part(self.inputs));
        let kernel = gpu.kernel(FILE, "affine_input")?;
        let mut call = gpu.call(&kernel);
        call.arg(&dy).arg(&w).arg(&mut dx);
        call.arg(&n).arg(&k).arg(&m);
        gpu.run(call, a_thread_per(self.rows.len() * self.inputs))
    }

    /// Adds the gradients of W and b to `sums`, of x and dy.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub(crate) fn weight(&self, [x, dy]: [&Array; 2], sums: &mut Array) -> Result<()> {
        let (gpu, [n, k, m]) = (x.gpu(), self.sizes());
        let x = x.values().slice(self.part(self.inputs));
        let dy = dy.values().slice(self.part(self.outputs));
        let dw = sums.address_mut(self.weight.start)?;
        let db = sums.address_mut(self.bias.start)?;
        let kernel = gpu.kernel(FILE, "affine_weight")?;
        let mut call = gpu.call(&kernel);
        call.arg(&dy).arg(&x).arg(&dw).arg(&db);
        call.arg(&n).arg(&k).arg(&m);
        gpu.run(call, a_thread_per(self.weight.len()))
    }
}

/// What kernels compute between the two layers of a head.
#[derive(Clone, Copy)]
pub(crate) enum HeadActivation {
    /// tanh x
    Tanh,
    /// max(x, 0)
    Relu,
}

impl HeadActivation {
    /// As kernels ask.
    fn is_relu(self) -> u32 {
        match self {
            Self::Tanh => 0,
            Self::Relu => 1,
        }
    }
}

/// y of x.
///
/// # Errors
/// As [`Layer::forward`].
pub(crate) fn head_activation(gpu: Gpu, activation: HeadActivation, x: &Array) -> Result<Array> {
    let (count, is_relu) = (x.len(), activation.is_relu());
    let mut y = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "head_activation")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&mut y).arg(&count).arg(&is_relu);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, y, x.dims()))
}

/// dx of y and dy, of one shape.
///
/// # Errors
/// As [`Layer::forward`].
pub(crate) fn head_activation_backward(
    gpu: Gpu,
    activation: HeadActivation,
    [y, dy]: [&Array; 2],
) -> Result<Array> {
    let (count, is_relu) = (y.len(), activation.is_relu());
    let mut dx = gpu.empty(count)?;
    let kernel = gpu.kernel(FILE, "head_activation_backward")?;
    let mut call = gpu.call(&kernel);
    call.arg(y.values()).arg(dy.values()).arg(&mut dx);
    call.arg(&count).arg(&is_relu);
    gpu.run(call, a_thread_per(count))?;
    Ok(Array::of_kernel(gpu, dx, y.dims()))
}

/// The values of x at places in its run of values, (L).
///
/// # Errors
/// As [`Layer::forward`].
pub(crate) fn pick(x: &Array, places: &[u32]) -> Result<Array> {
    let (gpu, count) = (x.gpu(), places.len() as u32);
    let at = gpu.words(places)?;
    let mut z = gpu.empty(places.len())?;
    let kernel = gpu.kernel(FILE, "pick")?;
    let mut call = gpu.call(&kernel);
    call.arg(x.values()).arg(&*at).arg(&mut z).arg(&count);
    gpu.run(call, a_thread_per(places.len()))?;
    Ok(Array::of_kernel(gpu, z, &[places.len()]))
}

/// The adjoint of [`pick`], (n, d).
///
/// # Errors
/// As [`Layer::forward`].
pub(crate) fn put(dz: &Array, places: &[u32], (n, d): (usize, usize)) -> Result<Array> {
    let (gpu, count, values) = (dz.gpu(), places.len() as u32, (n * d) as u32);
    let at = gpu.words(places)?;
    let mut dx = gpu.empty(n * d)?;
    let kernel = gpu.kernel(FILE, "put")?;
    let mut call = gpu.call(&kernel);
    call.arg(dz.values()).arg(&*at).arg(&mut dx);
    call.arg(&count).arg(&values);
    gpu.run(call, a_thread_per(n * d))?;
    Ok(Array::of_kernel(gpu, dx, &[n, d]))
}

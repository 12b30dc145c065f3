//! Products with a frozen weight, by cuBLAS: both operands in f32 or in bf16, sums in f32; where a
//! row is to have the bits of its own alone, by [`super::fixed`].
//!
//! ```text
//! forward   y (n, m) = x·Wᵀ + b + addend        backward   dx (n, k) = dy·W + addend
//! ```
//!
//! Blocks stay as they are stored, and are decoded for a product into memory of its own, in the
//! products' type: so there is never more than one layer's.
//!
//! cuBLAS thinks in columns: a matrix in row order is its transpose there, and so is each result.

use std::ffi::{c_int, c_void};

use cudarc::cublas::{result, sys};
use half::bf16;

use super::fixed::{Class, Operands};
use super::memory::Memory;
use super::node::Node;
use super::unwritten::Unwritten;
use super::{Array, Gpu, Rounded, blocks, pointwise};
use crate::{Error, Result};

/// Bytes that cuBLAS has for parts of sums while graphs are made.
const WORKSPACE: usize = 32 << 20;

/// W (m, k) in a GPU's memory.
pub struct Matrix {
    gpu: Gpu,
    values: Values,
    /// (m, k)
    shape: (usize, usize),
}

enum Values {
    F32(Memory<f32>),
    Bf16(Memory<bf16>),
    /// Blocks, decoded for each product into memory of its own.
    Blocks(Memory<u8>, Decoded),
}

/// What a product decodes blocks to, and the kernel that does it.
#[derive(Clone, Copy)]
enum Decoded {
    F32(&'static str),
    Bf16(&'static str),
}

/// Rows of a product, in the type of its weight.
pub(crate) enum ProductRows {
    F32(Array),
    Bf16(Rounded),
}

impl ProductRows {
    /// How many there are, and how wide they are.
    fn dims(&self) -> [usize; 2] {
        match self {
            Self::F32(x) => x.matrix().into(),
            Self::Bf16(x) => *x.dims(),
        }
    }

    /// The address of the first.
    fn address(&self) -> u64 {
        match self {
            Self::F32(x) => x.values().address(),
            Self::Bf16(x) => x.values().address(),
        }
    }
}

impl Matrix {
    /// A copy of values in row order; rounded to bf16, as products will round x, unless `is_f32`.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub fn new(gpu: Gpu, values: &[f32], shape: (usize, usize), is_f32: bool) -> Result<Self> {
        let values = if is_f32 {
            Values::F32(gpu.keep(values)?)
        } else {
            let rounded: Vec<_> = values.iter().map(|value| bf16::from_f32(*value)).collect();
            Values::Bf16(gpu.keep(&rounded)?)
        };
        Ok(Self { gpu, values, shape })
    }

    /// A copy of blocks in row order; `decoders` as [`blocks::decoders`] gives them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of_blocks(
        gpu: Gpu,
        blocks: &[u8],
        [to_f32, to_bf16]: [&'static str; 2],
        shape: (usize, usize),
        is_f32: bool,
    ) -> Result<Self> {
        let decoded = if is_f32 {
            Decoded::F32(to_f32)
        } else {
            Decoded::Bf16(to_bf16)
        };
        let values = Values::Blocks(gpu.keep(blocks)?, decoded);
        Ok(Self { gpu, values, shape })
    }

    /// Bytes in the GPU's memory.
    pub fn bytes(&self) -> usize {
        let (m, k) = self.shape;
        match &self.values {
            Values::F32(_) => 4 * m * k,
            Values::Bf16(_) => 2 * m * k,
            Values::Blocks(blocks, _) => blocks.len(),
        }
    }

    /// (m, k)
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Whether products with it read rows in bf16.
    pub(crate) fn is_bf16(&self) -> bool {
        match self.values {
            Values::F32(_) | Values::Blocks(_, Decoded::F32(_)) => false,
            Values::Bf16(_) | Values::Blocks(_, Decoded::Bf16(_)) => true,
        }
    }

    /// Where it is.
    pub fn gpu(&self) -> Gpu {
        self.gpu
    }

    /// x (n, k)·Wᵀ + bias (m) + addend (n, m).
    pub(crate) fn forward(
        &self,
        x: &ProductRows,
        bias: Option<&Array>,
        addend: Option<&Array>,
    ) -> Result<Memory<f32>> {
        let (m, k) = self.shape;
        let mut y = self.product((x, true), [m, k], addend)?;
        if let Some(bias) = bias {
            pointwise::add_to_rows(self.gpu, &mut y, bias, x.dims()[0])?;
        }
        Ok(y)
    }

    /// dy (n, m)·W + addend (n, k).
    pub(crate) fn backward(&self, dy: &ProductRows, addend: Option<&Array>) -> Result<Memory<f32>> {
        let (m, k) = self.shape;
        self.product((dy, false), [k, m], addend)
    }

    /// (columns, n) = op(W)·x (inner, n), in cuBLAS's order, plus the addend; op transposes or not.
    fn product(
        &self,
        (x, is_transposed): (&ProductRows, bool),
        [columns, inner]: [usize; 2],
        addend: Option<&Array>,
    ) -> Result<Memory<f32>> {
        let (gpu, [n, width]) = (self.gpu, x.dims());
        let is_bf16 = self.is_bf16();
        if is_bf16 != matches!(x, ProductRows::Bf16(_)) {
            return Err(Error::InvalidInput(
                "rows of a product must have the type of its weight".into(),
            ));
        }
        let mut result = match addend {
            Some(addend) => Unwritten::over(gpu.copied(addend.values())?),
            None => gpu.empty(n * columns)?,
        };
        if n == 0 {
            return Ok(result.written());
        }
        let added = addend.map_or(n * columns, Array::len);
        if (width, added) != (inner, n * columns) {
            return Err(Error::InvalidInput(format!(
                "a product must have rows of {inner} and an addend ({n}, {columns}), \
                 got rows of {width} and {added} values"
            )));
        }
        let address = result.address();
        let class = Class {
            is_transposed,
            is_bf16,
            columns,
            inner,
        };
        let ask = |w| {
            let operands = Operands {
                w,
                x: x.address(),
                result: address,
                n,
                is_added: addend.is_some(),
            };
            gpu.counted().products += 1;
            let node = Node::Product(class, operands, gpu.fixes_products());
            // SAFETY: W is (m, k), x and the result have just been measured, and nobody else has
            // the result.
            unsafe { gpu.ask(node) }
        };
        match &self.values {
            Values::F32(w) => ask(w.address()),
            Values::Bf16(w) => ask(w.address()),
            Values::Blocks(stored, Decoded::F32(decoder)) => {
                let w: Memory<f32> = blocks::decode(gpu, decoder, stored, self.shape)?;
                ask(w.address())
            }
            Values::Blocks(stored, Decoded::Bf16(decoder)) => {
                let w: Memory<bf16> = blocks::decode(gpu, decoder, stored, self.shape)?;
                ask(w.address())
            }
        }?;
        Ok(result.written())
    }
}

/// A size as cuBLAS counts.
fn int(size: usize) -> Result<c_int> {
    c_int::try_from(size).map_err(|_| {
        Error::InvalidInput(format!("a product must have sizes below 2^31, got {size}"))
    })
}

impl Gpu {
    /// Gives cuBLAS a place for parts of sums: while a graph is captured it cannot take any. As
    /// large as its own on the largest cards, so that it chooses as it would.
    pub(super) fn give_products_memory(self) -> Result<()> {
        if self.workspace().get().is_some() {
            return Ok(());
        }
        self.bind()?;
        let place = self.of_driver(WORKSPACE);
        let place = place.map_err(|error| self.not_given(error, WORKSPACE))?;
        let handle = *self.blas().handle();
        // SAFETY: the place is the handle's from now on, for the life of the process.
        let given =
            unsafe { sys::cublasSetWorkspace_v2(handle, place as *mut c_void, WORKSPACE) }.result();
        given.map_err(|error| self.product_failed(error))?;
        self.workspace().get_or_init(|| place);
        Ok(())
    }
}

impl Operands {
    /// Asks for the product; by its class's own algorithm where that is fixed.
    ///
    /// # Safety
    /// The operands lie where they say, in the sizes of the class; the result is the caller's.
    pub(super) unsafe fn multiply(self, gpu: Gpu, class: Class, is_fixed: bool) -> Result<()> {
        if is_fixed {
            // SAFETY: the caller's promise.
            return unsafe { gpu.fixed().run(gpu, class, self) };
        }
        let (one, beta) = (1.0_f32, f32::from(u8::from(self.is_added)));
        let [columns, n, inner] = [int(class.columns)?, int(self.n)?, int(class.inner)?];
        let (operation, stride) = if class.is_transposed {
            (sys::cublasOperation_t::CUBLAS_OP_T, inner)
        } else {
            (sys::cublasOperation_t::CUBLAS_OP_N, columns)
        };
        let of = if class.is_bf16 {
            sys::cudaDataType::CUDA_R_16BF
        } else {
            sys::cudaDataType::CUDA_R_32F
        };
        let address = |pointer: u64| pointer as *mut c_void;
        // SAFETY: the caller's promise; the scalars lie on the host, where the handle looks for
        // them.
        let asked = unsafe {
            result::gemm_ex(
                *gpu.blas().handle(),
                operation,
                sys::cublasOperation_t::CUBLAS_OP_N,
                columns,
                n,
                inner,
                (&raw const one).cast(),
                address(self.w),
                of,
                stride,
                address(self.x),
                of,
                inner,
                (&raw const beta).cast(),
                address(self.result),
                sys::cudaDataType::CUDA_R_32F,
                columns,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        asked.map_err(|error| gpu.product_failed(error))
    }
}

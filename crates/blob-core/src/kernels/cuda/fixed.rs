//! Products whose bits depend on a row alone: by cuBLASLt, with one algorithm for each weight
//! (docs/adr/0043).
//!
//! An algorithm is chosen once for a class of products: shape, type and direction of a weight. It
//! is the heuristic's first for [`ROWS`] rows, without sums that are split over the inner size and
//! without a work space, where parts of sums would be kept; nothing is timed. It then serves any
//! number of rows, each of which has its sums in one order: that of the algorithm's tiles.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::Gpu;
use super::failure::{missing, product_failed};
use crate::{Error, Result};

/// The number of rows that algorithms are chosen for: a batch of some texts.
const ROWS: usize = 1024;

/// Products that one algorithm serves; matrices in cuBLAS's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Class {
    /// Whether the weight is transposed.
    pub(super) is_transposed: bool,
    pub(super) is_bf16: bool,
    /// Of the result.
    pub(super) columns: usize,
    /// Of the sum.
    pub(super) inner: usize,
}

/// result (columns, n) = op(W)·x (inner, n), plus the result where it is an addend, where they lie.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Operands {
    pub(super) w: u64,
    pub(super) x: u64,
    pub(super) result: u64,
    pub(super) n: usize,
    pub(super) is_added: bool,
}

/// The algorithms of a GPU.
#[derive(Default)]
pub(super) struct Algorithms {
    handle: OnceLock<Handle>,
    chosen: Mutex<BTreeMap<Class, sys::cublasLtMatmulAlgo_t>>,
}

/// cuBLASLt, for the life of the process.
struct Handle(sys::cublasLtHandle_t);

// SAFETY: cuBLASLt may be called with one handle by several threads at once.
unsafe impl Send for Handle {}
// SAFETY: the same.
unsafe impl Sync for Handle {}

impl Algorithms {
    /// Opens cuBLASLt where it is not yet.
    pub(super) fn open(&self, ordinal: usize) -> Result<()> {
        if self.handle.get().is_some() {
            return Ok(());
        }
        // SAFETY: opening NVIDIA's library runs its initialisers, which is what they are for.
        if !unsafe { sys::is_culib_present() } {
            let hint = "install cuBLAS whole, with libcublasLt, or leave --deterministic out";
            return Err(missing(ordinal, "there is no libcublasLt", hint));
        }
        let handle = result::create_handle().map_err(|error| product_failed(ordinal, error.0))?;
        self.handle.get_or_init(|| Handle(handle));
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.chosen().len()
    }

    fn chosen(&self) -> MutexGuard<'_, BTreeMap<Class, sys::cublasLtMatmulAlgo_t>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, gpu: Gpu) -> Result<sys::cublasLtHandle_t> {
        self.open(gpu.ordinal())?;
        Ok(self.handle.get().map_or(std::ptr::null_mut(), |it| it.0))
    }

    fn algorithm(&self, gpu: Gpu, class: Class) -> Result<sys::cublasLtMatmulAlgo_t> {
        let mut chosen = self.chosen();
        if let Some(algorithm) = chosen.get(&class) {
            return Ok(*algorithm);
        }
        let of_many = Product::new(class, ROWS).map_err(|error| failed(gpu, class, error))?;
        let algorithm = of_many
            .first_algorithm(self.handle(gpu)?)
            .map_err(|error| failed(gpu, class, error))?;
        chosen.insert(class, algorithm);
        Ok(algorithm)
    }

    /// Asks for a product by the algorithm of its class.
    ///
    /// # Safety
    /// As for [`Operands::multiply`].
    pub(super) unsafe fn run(&self, gpu: Gpu, class: Class, of: Operands) -> Result<()> {
        let algorithm = self.algorithm(gpu, class)?;
        let product = Product::new(class, of.n).map_err(|error| failed(gpu, class, error))?;
        let address = |pointer: u64| pointer as *mut c_void;
        let (one, beta) = (1.0_f32, f32::from(u8::from(of.is_added)));
        // SAFETY: the caller's promise; the scalars lie on the host, where the description looks
        // for them.
        let asked = unsafe {
            result::matmul(
                self.handle(gpu)?,
                product.operation,
                (&raw const one).cast(),
                (&raw const beta).cast(),
                address(of.w),
                product.w,
                address(of.x),
                product.x,
                address(of.result),
                product.result,
                address(of.result),
                product.result,
                &raw const algorithm,
                std::ptr::null_mut(),
                0,
                gpu.stream().cu_stream().cast(),
            )
        };
        asked.map_err(|error| failed(gpu, class, error))
    }
}

/// What cuBLASLt returned for a class.
fn failed(gpu: Gpu, class: Class, error: CublasError) -> Error {
    if error.0 != sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED {
        return product_failed(gpu.ordinal(), error.0);
    }
    let Class { columns, inner, .. } = class;
    let what = format!("cuBLASLt has no algorithm of one order for {columns} sums of {inner}");
    missing(gpu.ordinal(), &what, "leave --deterministic out")
}

/// How a product is described.
struct Product {
    operation: sys::cublasLtMatmulDesc_t,
    w: sys::cublasLtMatrixLayout_t,
    x: sys::cublasLtMatrixLayout_t,
    result: sys::cublasLtMatrixLayout_t,
}

impl Product {
    fn new(class: Class, n: usize) -> std::result::Result<Self, CublasError> {
        let Class {
            is_transposed,
            is_bf16,
            columns,
            inner,
        } = class;
        let f32 = sys::cudaDataType::CUDA_R_32F;
        let of = if is_bf16 {
            sys::cudaDataType::CUDA_R_16BF
        } else {
            f32
        };
        let mut product = Self {
            operation: std::ptr::null_mut(),
            w: std::ptr::null_mut(),
            x: std::ptr::null_mut(),
            result: std::ptr::null_mut(),
        };
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        product.operation = result::create_matmul_desc(compute, f32)?;
        let transposed = c_int::from(is_transposed);
        // SAFETY: the description was just made, and cuBLASLt copies four bytes.
        unsafe {
            result::set_matmul_desc_attribute(
                product.operation,
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
                (&raw const transposed).cast(),
                size_of::<c_int>(),
            )?;
        }
        let [rows, others] = if is_transposed {
            [inner, columns]
        } else {
            [columns, inner]
        };
        let layout = |of, rows: usize, columns: usize| {
            let ld = rows.cast_signed() as i64;
            result::create_matrix_layout(of, rows as u64, columns as u64, ld)
        };
        product.w = layout(of, rows, others)?;
        product.x = layout(of, inner, n)?;
        product.result = layout(f32, columns, n)?;
        Ok(product)
    }

    /// The heuristic's first algorithm that keeps no part of a sum.
    fn first_algorithm(
        &self,
        handle: sys::cublasLtHandle_t,
    ) -> std::result::Result<sys::cublasLtMatmulAlgo_t, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let preference = Preference(result::create_matmul_pref()?);
        let (no_bytes, no_scheme) = (0_usize, 0_u32);
        let mut found = MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::zeroed();
        let mut count = 0;
        // SAFETY: everything was made above and lives on; cuBLASLt copies the wishes and writes at
        // most one result.
        unsafe {
            let scheme = (&raw const no_scheme).cast();
            let wish = Wish::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK;
            result::set_matmul_pref_attribute(preference.0, wish, scheme, size_of::<u32>())?;
            let bytes = (&raw const no_bytes).cast();
            let wish = Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference.0, wish, bytes, size_of::<usize>())?;
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle,
                self.operation,
                self.w,
                self.x,
                self.result,
                self.result,
                preference.0,
                1,
                found.as_mut_ptr(),
                &raw mut count,
            )
            .result()?;
        }
        if count == 0 {
            let none = sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED;
            return Err(CublasError(none));
        }
        // SAFETY: there is one.
        let found = unsafe { found.assume_init() };
        found.state.result()?;
        Ok(found.algo)
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: each is this product's own, or null where making it failed. What is left where
        // that fails is some host memory.
        unsafe {
            if !self.operation.is_null() {
                let _ = result::destroy_matmul_desc(self.operation);
            }
            for layout in [self.w, self.x, self.result] {
                if !layout.is_null() {
                    let _ = result::destroy_matrix_layout(layout);
                }
            }
        }
    }
}

struct Preference(sys::cublasLtMatmulPreference_t);

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it is this one's own.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

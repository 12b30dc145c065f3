//! A GPU: opened once, for the life of the process, as the driver keeps its primary context.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cudarc::cublas::CudaBlas;
use cudarc::driver::{CudaContext, CudaModule, CudaStream, DriverError, LaunchConfig, result, sys};

use super::accounts::Accounts;
use super::call::{Call, Function};
use super::driver::open_driver;
use super::failure::{OTHER_KERNELS, failed, full, missing, product_failed};
use super::fixed::Algorithms;
use super::image::image;
use super::node::Node;
use super::queue::Queue;
use super::traffic::Traffic;
use super::uploads::Uploads;
use crate::{Error, Result};

/// Bytes of shared memory that any kernel may have.
const SHARED_UNASKED: usize = 48 << 10;

/// A GPU that has been opened.
#[derive(Clone, Copy)]
pub struct Gpu(&'static Opened);

struct Opened {
    context: &'static Context,
    /// Whether each weight's products have one algorithm, whatever the number of rows.
    fixes_products: bool,
    /// Whether what repeats runs as a graph.
    repeats: bool,
}

struct Context {
    ordinal: usize,
    name: String,
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    fixed: Algorithms,
    /// Where cuBLAS keeps parts of sums, if that is not its own.
    workspace: OnceLock<u64>,
    /// By what they are opened for: products that are fixed, graphs of what repeats, both.
    others: [OnceLock<&'static Opened>; 3],
    traffic: Mutex<Traffic>,
    accounts: Mutex<Accounts>,
    queue: Mutex<Queue>,
    uploads: Uploads,
    modules: BTreeMap<&'static str, Arc<CudaModule>>,
    kernels: Mutex<BTreeMap<&'static str, Function>>,
}

/// The `.cu` files.
const FILES: [&str; 12] = [
    "affine",
    "attention",
    "blocks",
    "contextual",
    "disentangled",
    "draws",
    "head",
    "low_rank",
    "noise",
    "norm",
    "optimizer",
    "pointwise",
];

impl Gpu {
    /// Opens GPU `ordinal`; later calls give the same. `kernels` is a folder with `NAME.fatbin` for
    /// each `.cu` file, as `npm run build:cuda` leaves them.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` saying what is missing: driver, GPU, cuBLAS or kernels for it;
    /// `BPEFT_OUT_OF_MEMORY`.
    pub fn open(ordinal: usize, kernels: &Path) -> Result<Self> {
        static OPEN: Mutex<BTreeMap<usize, Gpu>> = Mutex::new(BTreeMap::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gpu) = open.get(&ordinal) {
            gpu.synchronize()?; // one that was lost stays so
            return Ok(*gpu);
        }
        let context = Box::leak(Box::new(Context::new(ordinal, kernels)?));
        let gpu = Self(
            Opened {
                context,
                fixes_products: false,
                repeats: false,
            }
            .kept(),
        );
        open.insert(ordinal, gpu);
        Ok(gpu)
    }

    /// The same GPU with one algorithm for the products of each weight, so that no row's bits
    /// depend on how many there are ([`super::fixed`]).
    ///
    /// # Errors
    /// `BPEFT_DEVICE` where there is no cuBLASLt.
    pub fn with_fixed_products(self) -> Result<Self> {
        self.0.context.fixed.open(self.ordinal())?;
        Ok(self.opened_for(true, self.repeats()))
    }

    /// The same GPU where what repeats runs as a graph ([`super::queue`]).
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub fn with_graphs(self) -> Result<Self> {
        self.give_products_memory()?;
        Ok(self.opened_for(self.fixes_products(), true))
    }

    fn opened_for(self, fixes_products: bool, repeats: bool) -> Self {
        let context = self.0.context;
        let at = match (fixes_products, repeats) {
            (false, false) => return self,
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
        };
        let opened = Opened {
            context,
            fixes_products,
            repeats,
        };
        Self(context.others[at].get_or_init(|| opened.kept()))
    }

    /// Whether it is one of [`Self::with_graphs`].
    pub fn repeats(self) -> bool {
        self.0.repeats
    }

    /// Whether it is one of [`Self::with_fixed_products`].
    pub fn fixes_products(self) -> bool {
        self.0.fixes_products
    }

    /// How many algorithms products have been fixed to.
    pub fn fixed_algorithms(self) -> usize {
        self.0.context.fixed.len()
    }

    /// Its place among the GPUs of the machine.
    pub fn ordinal(self) -> usize {
        self.0.context.ordinal
    }

    /// What its maker calls it.
    pub fn name(self) -> &'static str {
        &self.0.context.name
    }

    /// Bytes of memory that are free, and all.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`.
    pub fn memory(self) -> Result<(usize, usize)> {
        self.synchronize()?;
        let context = self.stream().context();
        context.mem_get_info().map_err(|error| self.failed(error))
    }

    /// Bytes that arrays of this process could have: those of [`Self::memory`] that are free, and
    /// what the arena keeps.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`.
    pub(super) fn room(self) -> Result<usize> {
        let (free, _) = self.memory()?;
        Ok(free + self.accounts().free())
    }

    /// Most bytes of its memory that arrays of this process had at once.
    pub fn peak_memory(self) -> usize {
        self.accounts().most()
    }

    pub(super) fn accounts_of_context(self) -> &'static Mutex<Accounts> {
        &self.0.context.accounts
    }

    pub(super) fn traffic_of_context(self) -> &'static Mutex<Traffic> {
        &self.0.context.traffic
    }

    /// Waits for all that was asked of it.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when something of it failed.
    pub fn synchronize(self) -> Result<()> {
        let settled = self.settle();
        let waited = self.stream().synchronize();
        self.let_go_of_words();
        waited.map_err(|error| self.failed(error)).and(settled)
    }

    pub(super) fn queue_of_context(self) -> &'static Mutex<Queue> {
        &self.0.context.queue
    }

    pub(super) fn uploads(self) -> &'static Uploads {
        &self.0.context.uploads
    }

    /// Makes it the GPU of this thread, for calls that name none.
    pub(super) fn bind(self) -> Result<()> {
        let bound = self.stream().context().bind_to_thread();
        bound.map_err(|error| self.failed(error))
    }

    pub(super) fn stream(self) -> &'static Arc<CudaStream> {
        &self.0.context.stream
    }

    pub(super) fn blas(self) -> &'static CudaBlas {
        &self.0.context.blas
    }

    pub(super) fn workspace(self) -> &'static OnceLock<u64> {
        &self.0.context.workspace
    }

    pub(super) fn fixed(self) -> &'static Algorithms {
        &self.0.context.fixed
    }

    pub(super) fn failed(self, error: cudarc::driver::DriverError) -> Error {
        failed(self.ordinal(), error)
    }

    /// As [`Self::failed`], of memory that was asked for.
    pub(super) fn not_given(self, error: DriverError, bytes: usize) -> Error {
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            return full(self.ordinal(), bytes);
        }
        self.failed(error)
    }

    pub(super) fn product_failed(self, error: cudarc::cublas::result::CublasError) -> Error {
        product_failed(self.ordinal(), error.0)
    }

    /// A kernel of a `.cu` file.
    pub(super) fn kernel(self, file: &'static str, name: &'static str) -> Result<Function> {
        let kernels = &self.0.context.kernels;
        let mut kernels = kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(name) {
            return Ok(*kernel);
        }
        let module = self.0.context.modules.get(file).ok_or_else(|| {
            let hint = "add it to the files of kernels::cuda";
            missing(self.ordinal(), &format!("there is no {file}.cu"), hint)
        })?;
        let loaded = module.load_function(name);
        let loaded = loaded.map_err(|error| self.failed(error))?;
        self.bind()?;
        let kernel = Function::new(loaded.cu_function(), name);
        kernels.insert(name, kernel);
        Ok(kernel)
    }

    /// As [`Self::kernel`], of one that a launch gives so many bytes of shared memory.
    pub(super) fn kernel_with(
        self,
        file: &'static str,
        name: &'static str,
        bytes: usize,
    ) -> Result<Function> {
        let kernel = self.kernel(file, name)?;
        if bytes > SHARED_UNASKED {
            use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST;
            let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
            // SAFETY: the function is of a module that stays loaded.
            let set =
                unsafe { result::function::set_function_attribute(kernel.handle, MOST, bytes) };
            set.map_err(|error| self.failed(error))?;
        }
        Ok(kernel)
    }

    /// A launch, to be given its arguments in the kernel's order.
    #[expect(
        clippy::unused_self,
        reason = "a launch is a GPU's, of a kernel that others keep"
    )]
    pub(super) fn call(self, kernel: &Function) -> Call {
        Call::new(*kernel)
    }

    /// Asks for a launch. Each function of this folder passes arrays as long as its kernel's header
    /// says, by the sizes that it was given with them: no type holds it to that.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when the kernel takes other arguments, and as [`Self::ask`].
    pub(super) fn run(self, call: Call, shape: LaunchConfig) -> Result<()> {
        if !call.is_whole() {
            let what = format!(
                "{} takes other arguments than it is given",
                call.function().name
            );
            return Err(missing(self.ordinal(), &what, OTHER_KERNELS));
        }
        if shape.grid_dim.0 == 0 {
            return Ok(()); // of no rows
        }
        self.counted().launches += 1;
        // SAFETY: the call is whole, so that the driver reads no other memory of the host's; the
        // arrays are long enough, as above.
        unsafe { self.ask(Node::Launch(call, shape.into())) }
    }
}

impl Opened {
    /// For the life of the process.
    fn kept(self) -> &'static Self {
        Box::leak(Box::new(self))
    }
}

impl Context {
    fn new(ordinal: usize, kernels: &Path) -> Result<Self> {
        open_driver(ordinal)?;
        let of = |error| failed(ordinal, error);
        let context = CudaContext::new(ordinal).map_err(of)?;
        let stream = context.new_stream().map_err(of)?;
        // SAFETY: one stream orders all of this GPU's work, so that no event has to.
        unsafe { context.disable_event_tracking() };
        let mut modules = BTreeMap::new();
        for file in FILES {
            let image = image(ordinal, kernels, file)?;
            modules.insert(file, context.load_module(image).map_err(of)?);
        }
        let blas = CudaBlas::new(Arc::clone(&stream));
        let (_, memory) = context.mem_get_info().map_err(of)?;
        Ok(Self {
            ordinal,
            name: context.name().map_err(of)?,
            blas: blas.map_err(|error| product_failed(ordinal, error.0))?,
            fixed: Algorithms::default(),
            workspace: OnceLock::new(),
            others: [const { OnceLock::new() }; 3],
            stream,
            traffic: Mutex::default(),
            accounts: Mutex::new(Accounts::new(memory)),
            queue: Mutex::default(),
            uploads: Uploads::default(),
            modules,
            kernels: Mutex::default(),
        })
    }
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        self.ordinal() == other.ordinal()
    }
}

impl Eq for Gpu {}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuda:{}", self.ordinal())
    }
}

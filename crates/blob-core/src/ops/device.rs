//! Where a model's weights lie, and what runs its operations there.

use std::path::Path;

use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::Gpu;
use crate::listed::listed;

use super::Tensor;

/// A closed set: every operation of this room knows each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor, by the kernels of [`crate::kernels::cpu`].
    #[default]
    Cpu,
    /// The processor, by plain candle operations: what a new device starts with, right and slow,
    /// and what every kernel is held against. What is no [`Operation`] runs here as on the
    /// processor.
    Reference,
    /// A GPU, by the kernels of [`crate::kernels::cuda`].
    #[cfg(feature = "cuda")]
    Cuda(Gpu),
}

listed! {
    /// An operation that a device may have a kernel for.
    ///
    /// Not in this list is what follows its operands: where they lie on a GPU by the kernels
    /// that it has, elsewhere by loops of the host, which are held against candle in their
    /// tests. These are [`super::rows`], [`super::columns`], [`super::segments`],
    /// [`super::soft_cap`], [`super::head_activation`] and [`super::cross_entropy`]. The base's
    /// [`super::dropout`] is drawn on the host. Updates are no operations either: each method
    /// says which kernels it has ([`crate::method::Method`]).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Operation {
        /// Rows of a frozen table.
        Embedding,
        /// RMS norm.
        Norm,
        /// Layer norm.
        LayerNorm,
        /// Frozen linear layers of one input, with their low-rank terms, biases and addends.
        Linear,
        /// Gated linear units.
        Gated,
        /// GELU.
        Activation,
        /// Rotary positions.
        Rope,
        /// Masked attention.
        Attention,
        /// Attention over distances.
        Disentangled,
        /// Class logits.
        Head,
        /// Layers of the adapter's own.
        Affine,
    }
}

/// What runs an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Implementation {
    /// A kernel of [`crate::kernels::cpu`].
    CpuKernel,
    /// A kernel of [`crate::kernels::cuda`] on this GPU.
    #[cfg(feature = "cuda")]
    CudaKernel(Gpu),
    /// Plain candle operations.
    Reference,
}

impl Device {
    /// The devices that every machine has.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Reference];

    /// GPU `ordinal`, opened once; `kernels` is the folder of its kernels' binaries.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` saying what is missing: a build with `cuda`, driver, GPU, cuBLAS or kernels;
    /// `BPEFT_OUT_OF_MEMORY`.
    #[cfg(feature = "cuda")]
    pub fn cuda(ordinal: usize, kernels: &Path) -> Result<Self> {
        Ok(Self::Cuda(Gpu::open(ordinal, kernels)?))
    }

    /// GPU `ordinal`: this build has none.
    ///
    /// # Errors
    /// `BPEFT_DEVICE`.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(ordinal: usize, _kernels: &Path) -> Result<Self> {
        Err(crate::Error::Device {
            device: format!("cuda:{ordinal}"),
            what: "this engine is built for the processor alone".into(),
            hint: "install the engine for GPUs, @bpeft/cuda13-linux-x64-gnu, or take --device cpu",
        })
    }

    /// The same device where a row's bits depend on that row alone, whatever rows are beside it: a
    /// GPU fixes the algorithms of its products, a processor is so by itself (docs/adr/0043).
    ///
    /// # Errors
    /// `BPEFT_DEVICE` where cuBLASLt is missing.
    pub fn deterministic(self) -> Result<Self> {
        match self {
            Self::Cpu | Self::Reference => Ok(self),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Ok(Self::Cuda(gpu.with_fixed_products()?)),
        }
    }

    /// The same device where what repeats runs as a graph of launches: a GPU's; a processor has
    /// none (docs/adr/0044).
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub fn with_graphs(self) -> Result<Self> {
        match self {
            Self::Cpu | Self::Reference => Ok(self),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Ok(Self::Cuda(gpu.with_graphs()?)),
        }
    }

    /// The device as options spell it.
    pub fn spelled(self) -> String {
        match self {
            Self::Cpu | Self::Reference => self.name().into(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => format!("{gpu:?}"),
        }
    }

    /// What its maker calls the GPU.
    pub fn gpu_name(self) -> Option<String> {
        match self {
            Self::Cpu | Self::Reference => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Some(gpu.name().into()),
        }
    }

    /// Most bytes of a GPU's memory that arrays of this process had at once; `None` of a processor.
    pub fn peak_bytes(self) -> Option<u64> {
        match self {
            Self::Cpu | Self::Reference => None,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Some(gpu.peak_memory() as u64),
        }
    }

    /// The device's kind in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Reference => "reference",
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => "cuda",
        }
    }

    /// What runs an operation here, so that a new device begins with references and gets its
    /// kernels one by one.
    ///
    /// What operations ask beside it: a frozen matrix ([`super::linear::Weight`]) and an attention
    /// ([`super::attention::AttentionShape`]) of a GPU run by references where they are in eight
    /// bits, or too wide for the kernels. What is no [`Operation`] asks where its operands lie.
    pub fn implementation(self, operation: Operation) -> Implementation {
        match (self, operation) {
            (Self::Cpu, _) => Implementation::CpuKernel,
            (Self::Reference, _) => Implementation::Reference,
            #[cfg(feature = "cuda")]
            (
                Self::Cuda(gpu),
                Operation::Embedding
                | Operation::Norm
                | Operation::LayerNorm
                | Operation::Linear
                | Operation::Gated
                | Operation::Activation
                | Operation::Rope
                | Operation::Attention
                | Operation::Disentangled
                | Operation::Head
                | Operation::Affine,
            ) => Implementation::CudaKernel(gpu),
        }
    }

    /// The tensor where operations of this device read it without a copy.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a copy to a GPU can fail")
    )]
    pub(crate) fn place(self, tensor: Tensor) -> Result<Tensor> {
        match self {
            Self::Cpu | Self::Reference => Ok(tensor),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Ok(tensor.on(gpu)?.into()),
        }
    }
}

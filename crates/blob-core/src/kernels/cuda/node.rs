//! One thing that a GPU is asked for: what a graph is made of.

use std::hash::Hash;

use cudarc::driver::{DriverError, LaunchConfig, result};

use super::Gpu;
use super::call::Call;
use super::fixed::{Class, Operands};
use crate::Result;

/// Everything that it depends on but what lies in memory: two equal ones do the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// A kernel.
    Launch(Call, Grid),
    /// A product with a frozen weight; whether by the algorithm that is its class's own.
    Product(Class, Operands, bool),
    /// So many bytes of zeros.
    Zeros { address: u64, bytes: usize },
    /// So many bytes from one address to another.
    Copy { from: u64, to: u64, bytes: usize },
}

/// Blocks, threads of a block, and bytes of shared memory.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Grid(pub(super) [u32; 7]);

impl From<LaunchConfig> for Grid {
    fn from(shape: LaunchConfig) -> Self {
        let (blocks, threads) = (shape.grid_dim, shape.block_dim);
        Self([
            blocks.0,
            blocks.1,
            blocks.2,
            threads.0,
            threads.1,
            threads.2,
            shape.shared_mem_bytes,
        ])
    }
}

impl Grid {
    pub(super) fn shape(&self) -> LaunchConfig {
        let [x, y, z, i, j, k, shared_mem_bytes] = self.0;
        LaunchConfig {
            grid_dim: (x, y, z),
            block_dim: (i, j, k),
            shared_mem_bytes,
        }
    }
}

impl Node {
    /// Asks the driver for it, behind all that it was asked before. The GPU is the thread's.
    ///
    /// # Safety
    /// As for [`Gpu::ask`].
    pub(super) unsafe fn issue(&self, gpu: Gpu) -> Result<()> {
        gpu.counted().calls += 1;
        let stream = gpu.stream().cu_stream();
        // SAFETY: the caller's promise; all memory was taken when it was asked for, and is given to
        // others for what is asked later alone.
        let asked: std::result::Result<(), DriverError> = unsafe {
            match self {
                Self::Launch(call, grid) => call.launch(stream, grid.shape()),
                Self::Zeros { address, bytes } => {
                    result::memset_d8_async(*address, 0, *bytes, stream)
                }
                Self::Copy { from, to, bytes } => {
                    result::memcpy_dtod_async(*to, *from, *bytes, stream)
                }
                Self::Product(class, of, is_fixed) => return of.multiply(gpu, *class, *is_fixed),
            }
        };
        asked.map_err(|error| gpu.failed(error))
    }
}

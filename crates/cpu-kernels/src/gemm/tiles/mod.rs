//! Tiles: the innermost loops, one file per kind of operand and instruction set.
//!
//! A tile multiplies up to [`MAX_HEIGHT`] rows by one panel and keeps its sums in registers. Its
//! heights are the lines of one table (`heights.rs`), from which every kernel's choice is
//! generated: a height that a kernel does not know does not compile.
//!
//! **Adding a height** is a line of that table. The tests run every kernel at every height.
//!
//! **Adding a kernel** is a file with a [`TileKernel`], and its place in [`run`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_int16;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
#[cfg(target_arch = "x86_64")]
mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(target_arch = "x86_64")]
mod halves;
mod heights;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_int8;
mod portable;
#[cfg(test)]
mod tests;

pub(super) use heights::{Height, MAX_HEIGHT, TileRows, at_height, heights, tiles};
pub(super) use kernel::{Accumulators, TileKernel, TileWork};

use super::format::Format;
use crate::isa::Available;
use crate::{InvalidInput, Result};

/// Does `work` with the fastest tile of an instruction set for operands of a format.
///
/// # Errors
/// `InvalidInput` for pairs of bf16 or of integers where there is no instruction for them.
pub(super) fn run(isa: Available, format: Format, work: impl TileWork) -> Result<()> {
    /// Runs by the first of some kernels that the set includes.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    macro_rules! run_by_first {
        ($($kernel:path),+) => {{
            $(if let Some(kernel) = <$kernel>::of(isa) {
                work.run(kernel);
                return Ok(());
            })+
        }};
    }
    #[cfg(target_arch = "x86_64")]
    match format {
        Format::Bf16Pair => run_by_first!(avx512_bf16::Avx512Bf16),
        Format::Int8Quad => run_by_first!(avx512_vnni::Avx512Vnni, avx_vnni::AvxVnni),
        Format::Int16Pair => run_by_first!(avx2_int16::Avx2Int16),
        Format::Float | Format::RoundedFloat => run_by_first!(avx512::Avx512, avx2::Avx2),
    }
    #[cfg(target_arch = "aarch64")]
    match format {
        Format::Int8Quad => run_by_first!(neon_int8::NeonDot, neon_int8::NeonLong),
        Format::Float | Format::RoundedFloat => run_by_first!(neon::Neon),
        Format::Bf16Pair | Format::Int16Pair => {}
    }
    match format {
        Format::Int8Quad => work.run(portable::PortableInt8),
        Format::Float | Format::RoundedFloat => work.run(portable::PortableFloat),
        Format::Bf16Pair | Format::Int16Pair => {
            return Err(InvalidInput(format!(
                "pairs of bf16 must run on avx512bf16 and pairs of integers on avx2, got {}",
                isa.isa().name()
            )));
        }
    }
    Ok(())
}

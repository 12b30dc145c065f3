//! Which tile a product runs on: the widest one that this machine has.

#[cfg(target_arch = "x86_64")]
use super::tile_avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::tile_avx512::Avx512;
#[cfg(target_arch = "x86_64")]
use super::tile_avx512_bf16::Avx512Bf16;
use super::tile_portable::Portable;
use super::{Block, Kernel, Precision, Product, StagedRow, Step, pack};
use crate::{Error, Result};

/// An instruction set that a product can run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dispatch {
    /// bf16 by `vdpbf16ps`; `f32` as [`Self::Avx512`].
    Avx512Bf16,
    /// 512-bit fused multiply-add; bf16 operands are widened to `f32`.
    Avx512,
    /// 256-bit fused multiply-add; bf16 operands are widened to `f32`.
    Avx2,
    /// Plain Rust; bf16 operands are widened to `f32`.
    Portable,
}

impl Dispatch {
    /// All paths, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether this machine has the path.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// Computes `product` on this path.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when this machine does not have the path.
    pub(super) fn run(
        self,
        precision: Precision,
        product: &Product,
        out: &mut [f32],
    ) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        match (self, precision) {
            (Self::Avx512Bf16, Precision::Bf16) => {
                let kernel = Avx512Bf16::detect().ok_or_else(|| self.missing())?;
                product.run(kernel, out);
                return Ok(());
            }
            (Self::Avx512Bf16, Precision::F32) | (Self::Avx512, _) => {
                let kernel = Avx512::detect().ok_or_else(|| self.missing())?;
                run_widening(kernel, precision, product, out);
                return Ok(());
            }
            (Self::Avx2, _) => {
                let kernel = Avx2::detect().ok_or_else(|| self.missing())?;
                run_widening(kernel, precision, product, out);
                return Ok(());
            }
            (Self::Portable, _) => {}
        }
        if self != Self::Portable {
            return Err(self.missing());
        }
        run_widening(Portable, precision, product, out);
        Ok(())
    }

    fn missing(self) -> Error {
        Error::InvalidInput(format!(
            "a matrix product must run on instructions of this machine, got {}",
            self.name()
        ))
    }
}

/// The fastest path of this machine; [`super::PackedMatrix::multiply`] uses it.
pub fn dispatch() -> Dispatch {
    Dispatch::ALL
        .into_iter()
        .find(|path| path.is_available())
        .unwrap_or(Dispatch::Portable)
}

/// Runs a kernel of `f32` operands on panels of either precision.
fn run_widening<K: Kernel>(kernel: K, precision: Precision, product: &Product, out: &mut [f32]) {
    match precision {
        Precision::F32 => product.run(kernel, out),
        Precision::Bf16 => product.run(Widened(kernel), out),
    }
}

/// A kernel of `f32` operands that is fed values rounded to bf16.
#[derive(Clone, Copy)]
struct Widened<K>(K);

impl<K: Kernel> Kernel for Widened<K> {
    const WIDENS: bool = true;

    fn stage(self, x: &[f32], staged: &mut [u32]) {
        pack::stage_rounded(x, staged);
    }

    fn tile(self, height: usize, x: &[StagedRow], panel: &[Step], block: &mut Block) {
        self.0.tile(height, x, panel, block);
    }
}

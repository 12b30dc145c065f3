//! Tiles in registers of 256 bits: quarters of 6 × 16 sums in 12 registers.
//!
//! Kernels differ in how a word of x is spread, how products are added, and how sums become floats;
//! the walk over rows, halves of the columns and steps is written here once.

#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::__m256;

use crate::gemm::step::PANEL_WIDTH;

/// A kernel `$kernel` for the instruction set `$isa`, whose instructions need `$features`: sums of
/// `$vector` that begin with `$zero`, to which a word of x and a register of weights add.
macro_rules! tile_by_halves {
    (
        $(#[$doc:meta])*
        $kernel:ident of $isa:ident with $features:literal, $vector:ty: $zero:expr;
        spread |$word:ident| $spread:expr;
        add |$sum:ident, $x:ident, $w:ident| $added:expr;
        floats |$integers:ident| $floats:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $kernel(());

        impl $kernel {
            /// Where the instruction set includes it.
            pub(super) fn of(isa: $crate::isa::Available) -> Option<Self> {
                isa.includes($crate::isa::Isa::$isa).then_some(Self(()))
            }
        }

        impl TileKernel for $kernel {
            fn tile(self, height: Height, x: &[u32], panel: &[PanelStep], sums: &mut Accumulators) {
                // SAFETY: a value of `Self` exists only where the machine has the instructions.
                unsafe {
                    half_tile::<0>(height, x, panel, sums);
                    half_tile::<1>(height, x, panel, sums);
                }
            }
        }

        /// All rows of one half of the columns, in the parts that the table of heights says.
        #[target_feature(enable = $features)]
        fn half_tile<const HALF: usize>(
            height: Height,
            x: &[u32],
            panel: &[PanelStep],
            sums: &mut Accumulators,
        ) {
            in_parts!(height, ALL, FROM, PART => tile::<ALL, FROM, PART, HALF>(x, panel, sums));
        }

        /// Rows `FROM..FROM + PART` of the `ALL` and columns `16·HALF..16·HALF + 16` of the tile.
        #[target_feature(enable = $features)]
        fn tile<const ALL: usize, const FROM: usize, const PART: usize, const HALF: usize>(
            x: &[u32],
            panel: &[PanelStep],
            out: &mut Accumulators,
        ) {
            let mut sums = [[$zero; 2]; PART];
            for (x, step) in x.as_chunks::<ALL>().0.iter().zip(panel) {
                // SAFETY: both are 128 plain bytes.
                let words: [[$vector; 2]; 2] = unsafe { std::mem::transmute(step.0) };
                let weights = words[HALF];
                for (sums, $word) in sums.iter_mut().zip(&x[FROM..]) {
                    let $x = $spread;
                    for (sum, $w) in sums.iter_mut().zip(weights) {
                        let $sum = *sum;
                        *sum = $added;
                    }
                }
            }
            for (sums, row) in sums.into_iter().zip(&mut out.0[FROM..]) {
                let [low, high] = sums;
                let floats = [
                    { let $integers = low; $floats },
                    { let $integers = high; $floats },
                ];
                $crate::gemm::tiles::halves::store_half::<HALF>(floats, row);
            }
        }
    };
}
pub(super) use tile_by_halves;

/// Writes columns `16·HALF..16·HALF + 16` of a row.
#[inline(always)]
pub(super) fn store_half<const HALF: usize>(sums: [__m256; 2], row: &mut [f32; PANEL_WIDTH]) {
    // SAFETY: both are 64 plain bytes.
    let lanes: [f32; 16] = unsafe { std::mem::transmute(sums) };
    row[16 * HALF..16 * HALF + 16].copy_from_slice(&lanes);
}

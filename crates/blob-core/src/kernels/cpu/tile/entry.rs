//! What a 32-bit word of a small matrix holds.

use crate::kernels::cpu::simd::{Level, WIDTH, bf16_bits, write_bf16_pairs};

/// How numbers are written into words, and words multiplied.
pub(crate) trait Entry {
    /// Neighbouring depths in one word.
    const DEPTHS: usize;

    /// Writes one row's depths as words; what the last word lacks is zero.
    fn along<L: Level>(values: &[f32], words: &mut [u32]);

    /// Words of 16 columns from their neighbouring depths, of which `DEPTHS` are read.
    fn across<L: Level>(depths: &[[f32; WIDTH]; 2]) -> [u32; WIDTH];

    /// `sums_j + Σ_depths a·b_j`
    fn multiply_add<L: Level>(a: u32, b: &[u32; WIDTH], sums: L::Vector) -> L::Vector;
}

/// One `f32`, as it is.
pub(crate) struct Exact;

impl Entry for Exact {
    const DEPTHS: usize = 1;

    #[inline(always)]
    fn along<L: Level>(values: &[f32], words: &mut [u32]) {
        for (word, value) in words.iter_mut().zip(values) {
            *word = value.to_bits();
        }
    }

    #[inline(always)]
    fn across<L: Level>(depths: &[[f32; WIDTH]; 2]) -> [u32; WIDTH] {
        depths[0].map(f32::to_bits)
    }

    #[inline(always)]
    fn multiply_add<L: Level>(a: u32, b: &[u32; WIDTH], sums: L::Vector) -> L::Vector {
        L::axpy(f32::from_bits(a), L::load(&b.map(f32::from_bits)), sums)
    }
}

/// One `f32` that was rounded to bf16: for machines that multiply `f32` only, or faster.
pub(crate) struct Rounded;

impl Entry for Rounded {
    const DEPTHS: usize = 1;

    #[inline(always)]
    fn along<L: Level>(values: &[f32], words: &mut [u32]) {
        for (word, value) in words.iter_mut().zip(values) {
            *word = bf16_bits(*value);
        }
    }

    #[inline(always)]
    fn across<L: Level>(depths: &[[f32; WIDTH]; 2]) -> [u32; WIDTH] {
        depths[0].map(bf16_bits)
    }

    #[inline(always)]
    fn multiply_add<L: Level>(a: u32, b: &[u32; WIDTH], sums: L::Vector) -> L::Vector {
        Exact::multiply_add::<L>(a, b, sums)
    }
}

/// Two depths rounded to bf16, the first in the low half.
pub(crate) struct Pairs;

impl Entry for Pairs {
    const DEPTHS: usize = 2;

    #[inline(always)]
    fn along<L: Level>(values: &[f32], words: &mut [u32]) {
        write_bf16_pairs::<L>(values, words);
    }

    #[inline(always)]
    fn across<L: Level>([first, second]: &[[f32; WIDTH]; 2]) -> [u32; WIDTH] {
        L::bf16_columns(first, second)
    }

    #[inline(always)]
    fn multiply_add<L: Level>(a: u32, b: &[u32; WIDTH], sums: L::Vector) -> L::Vector {
        L::pair_axpy(a, b, sums)
    }
}

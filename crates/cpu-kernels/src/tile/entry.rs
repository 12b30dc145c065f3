//! What a 32-bit word of a small matrix holds.

use crate::simd::{Level, WIDTH, bf16_bits, write_bf16_pairs};

/// How numbers are written into words, and words multiplied.
pub(crate) trait Entry: Copy {
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
pub(crate) type Exact = Single<false>;
/// One `f32` that was rounded to bf16: for machines that multiply `f32` only, or faster.
pub(crate) type Rounded = Single<true>;

/// One `f32`.
#[derive(Clone, Copy)]
pub(crate) struct Single<const ROUNDED: bool>;

impl<const ROUNDED: bool> Single<ROUNDED> {
    #[inline(always)]
    fn word(value: f32) -> u32 {
        if ROUNDED {
            bf16_bits(value)
        } else {
            value.to_bits()
        }
    }
}

impl<const ROUNDED: bool> Entry for Single<ROUNDED> {
    const DEPTHS: usize = 1;

    #[inline(always)]
    fn along<L: Level>(values: &[f32], words: &mut [u32]) {
        for (word, value) in words.iter_mut().zip(values) {
            *word = Self::word(*value);
        }
    }

    #[inline(always)]
    fn across<L: Level>(depths: &[[f32; WIDTH]; 2]) -> [u32; WIDTH] {
        depths[0].map(Self::word)
    }

    #[inline(always)]
    fn multiply_add<L: Level>(a: u32, b: &[u32; WIDTH], sums: L::Vector) -> L::Vector {
        L::axpy(f32::from_bits(a), L::load(&b.map(f32::from_bits)), sums)
    }
}

/// Two depths rounded to bf16, the first in the low half.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Pairs;

impl Entry for Bf16Pairs {
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

//! The integer tile on AVX2: sixths of 4 × 16 sums in 8 registers, four depths per step.
//!
//! AVX2 multiplies unsigned by signed bytes too (`vpmaddubsw`), but adds the pairs in 16 bits,
//! where 2·255·127 does not fit. So bytes are widened to 16 bits, the even depths apart from the
//! odd ones, and `vpmaddwd` adds their pairs in 32 bits, exactly.
#![expect(unsafe_code, reason = "calls beyond the baseline instructions")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_madd_epi16,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi16,
    _mm256_srai_epi16, _mm256_srli_epi16,
};
use std::mem::transmute;

use super::avx2::store_half;
use super::heights::{Height, heights};
use super::kernel::{Accumulators, TileKernel};
use crate::gemm::step::Step;
use crate::isa::{Available, Isa};

/// Proof that this machine has AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2Int8(());

impl Avx2Int8 {
    /// Where the instruction set includes it.
    pub(super) fn of(isa: Available) -> Option<Self> {
        isa.includes(Isa::Avx2).then_some(Self(()))
    }
}

impl TileKernel for Avx2Int8 {
    fn tile(self, height: Height, x: &[u32], panel: &[Step], sums: &mut Accumulators) {
        // SAFETY: a value of `Self` exists only where the machine has the instructions.
        unsafe {
            half_tile::<0>(height, x, panel, sums);
            half_tile::<1>(height, x, panel, sums);
        }
    }
}

/// All rows of one half of the columns, in the parts that the table of heights says.
#[target_feature(enable = "avx2")]
fn half_tile<const HALF: usize>(
    height: Height,
    x: &[u32],
    panel: &[Step],
    sums: &mut Accumulators,
) {
    macro_rules! parts {
        (() $($variant:ident $rows:literal
            { $($from_f32:literal),+: $part_f32:literal } { $($from:literal),+: $part:literal },)+
        ) => {
            match height {
                $(Height::$variant => {
                    const { assert!([$($from),+].len() * $part == $rows) };
                    $(tile::<$rows, $from, $part, HALF>(x, panel, sums);)+
                })+
            }
        };
    }
    heights!(parts());
}

/// Rows `FROM..FROM + PART` of the `ALL` and columns `16·HALF..16·HALF + 16` of the tile.
#[target_feature(enable = "avx2")]
fn tile<const ALL: usize, const FROM: usize, const PART: usize, const HALF: usize>(
    x: &[u32],
    panel: &[Step],
    out: &mut Accumulators,
) {
    let low_bytes = _mm256_set1_epi16(0xff);
    let mut sums = [[_mm256_setzero_si256(); 2]; PART];
    for (x, step) in x.as_chunks::<ALL>().0.iter().zip(panel) {
        // SAFETY: both are 128 plain bytes.
        let words: [[__m256i; 2]; 2] = unsafe { transmute(step.0) };
        let [w0, w1] = words[HALF];
        let even = [w0, w1].map(|w| _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(w)));
        let odd = [w0, w1].map(|w| _mm256_srai_epi16::<8>(w));
        for (sums, x) in sums.iter_mut().zip(&x[FROM..]) {
            let x = _mm256_set1_epi32(x.cast_signed());
            let (x_even, x_odd) = (_mm256_and_si256(x, low_bytes), _mm256_srli_epi16::<8>(x));
            for (column, sum) in sums.iter_mut().enumerate() {
                let even = _mm256_madd_epi16(x_even, even[column]);
                let odd = _mm256_madd_epi16(x_odd, odd[column]);
                *sum = _mm256_add_epi32(*sum, _mm256_add_epi32(even, odd));
            }
        }
    }
    for ([low, high], row) in sums.into_iter().zip(&mut out.0[FROM..]) {
        store_half::<HALF>([_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high)], row);
    }
}

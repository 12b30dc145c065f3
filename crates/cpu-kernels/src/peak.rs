//! Register-only loops: how fast one core multiplies at most, by the instructions of each tile.
//!
//! A loop adds products to twelve sums, enough to hide the latency of two instructions a cycle, and
//! touches no memory. A tile that takes longer waits for something else.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "calls beyond the baseline instructions")
)]

use crate::gemm::Precision;
use crate::isa::Isa;

/// Operations per second (an addition or a multiplication each) of the instructions that the tile
/// of an instruction set multiplies with, forward: the best of some runs on this thread. None for
/// portable Rust, which names no instruction, and for NEON, which has run under an emulator alone.
///
/// # Errors
/// `InvalidInput` when this machine does not have the instruction set.
pub fn of_instructions(isa: Isa, precision: Precision) -> crate::Result<Option<f64>> {
    let isa = isa.available()?;
    #[cfg(target_arch = "x86_64")]
    return x86::loop_of(isa, precision).map(x86::rate).transpose();
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (isa, precision);
        Ok(None)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::{
        __m256, __m256i, __m512, __m512bh, __m512i, _mm256_add_epi32, _mm256_dpbusd_avx_epi32,
        _mm256_fmadd_ps, _mm256_madd_epi16, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    };
    use std::hint::black_box;
    use std::mem::transmute;

    use crate::Result;
    use crate::gemm::Precision;
    use crate::isa::{Available, Isa};
    use crate::rate::least_seconds;

    const SUMS: usize = 12;
    const TURNS: usize = 1 << 20;
    /// 1.0 in `f32`, pairs of about 1 in bf16, small integers in 16 and in 8 bits.
    const WORD: u32 = 0x3f80_0000;

    /// A loop of `TURNS` turns, and the operations of one of its instructions.
    #[derive(Clone, Copy)]
    pub(super) struct Loop {
        run: unsafe fn(),
        operations: usize,
    }

    pub(super) fn loop_of(isa: Available, precision: Precision) -> Option<Loop> {
        let is_int8 = matches!(precision, Precision::Int8 | Precision::Int8Mixed);
        let (run, operations): (unsafe fn(), _) = if is_int8 {
            if isa.has_avx512_vnni() {
                (bytes_of_512, 128)
            } else if isa.includes(Isa::AvxVnni) {
                (bytes_of_256, 64)
            } else if isa.includes(Isa::Avx2) {
                (integers_of_256, 32)
            } else {
                return None;
            }
        } else if precision == Precision::Bf16 && isa.includes(Isa::Avx512Bf16) {
            (bf16_of_512, 64)
        } else if isa.includes(Isa::Avx512) {
            (floats_of_512, 32)
        } else if isa.includes(Isa::Avx2) {
            (floats_of_256, 16)
        } else {
            return None;
        };
        Some(Loop { run, operations })
    }

    pub(super) fn rate(it: Loop) -> Result<f64> {
        let seconds = least_seconds(|| {
            // SAFETY: `loop_of` chose it for a set that this machine has.
            unsafe { (it.run)() };
            Ok(())
        })?;
        Ok((TURNS * SUMS * it.operations) as f64 / seconds)
    }

    /// A function that adds products of registers; before each of them the compiler forgets what a
    /// factor is, so that none is computed once for all.
    macro_rules! register_loop {
        ($name:ident, $features:literal, $register:ident: [$vector:ty; $words:literal],
            |$sum:ident, $x:ident, $w:ident| $added:expr
        ) => {
            #[target_feature(enable = $features)]
            fn $name() {
                type Words<const COUNT: usize> = [[u32; $words]; COUNT];
                // SAFETY: all are plain bytes.
                let (mut sums, [mut $x, $w]) = unsafe {
                    (
                        transmute::<Words<SUMS>, [$vector; SUMS]>([[0; $words]; SUMS]),
                        transmute::<Words<2>, [$vector; 2]>(black_box([[WORD; $words]; 2])),
                    )
                };
                for _ in 0..TURNS {
                    for sum in &mut sums {
                        // SAFETY: a comment for the assembler.
                        unsafe {
                            asm!(
                                "/* {0} */",
                                inout($register) $x,
                                options(nomem, nostack, preserves_flags)
                            );
                        }
                        let $sum = *sum;
                        *sum = $added;
                    }
                }
                black_box(sums);
            }
        };
    }
    register_loop!(floats_of_256, "avx2,fma", ymm_reg: [__m256; 8],
        |sum, x, w| _mm256_fmadd_ps(x, w, sum));
    register_loop!(integers_of_256, "avx2", ymm_reg: [__m256i; 8],
        |sum, x, w| _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)));
    register_loop!(bytes_of_256, "avx2,avxvnni", ymm_reg: [__m256i; 8],
        |sum, x, w| _mm256_dpbusd_avx_epi32(sum, x, w));
    register_loop!(floats_of_512, "avx512f", zmm_reg: [__m512; 16],
        |sum, x, w| _mm512_fmadd_ps(x, w, sum));
    register_loop!(bf16_of_512, "avx512f,avx512bf16", zmm_reg: [__m512; 16],
        |sum, x, w| _mm512_dpbf16_ps(sum, bf16(x), bf16(w)));
    register_loop!(bytes_of_512, "avx512f,avx512vnni", zmm_reg: [__m512i; 16],
        |sum, x, w| _mm512_dpbusd_epi32(sum, x, w));

    #[inline(always)]
    fn bf16(words: __m512) -> __m512bh {
        // SAFETY: both are 64 plain bytes.
        unsafe { transmute(words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_x86_has_a_rate_in_each_precision() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for precision in Precision::ALL {
                let rate = of_instructions(isa, precision).unwrap();
                let is_rate = rate.map(|rate| rate.is_finite() && rate > 0.0);
                let has_one = !matches!(isa, Isa::Neon | Isa::Portable);
                let expected = has_one.then_some(true);
                assert_eq!(is_rate, expected, "{isa:?} {precision:?}: {rate:?}");
            }
        }
    }
}

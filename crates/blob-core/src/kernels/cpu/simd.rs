//! One body, several instruction sets: the widest one that the machine has is chosen at run time.
//!
//! A [`Kernel`] is plain Rust over slices and fixed-size arrays; inlined into a function with
//! `target_feature`, its loops vectorise to that width. AVX2 and AVX-512 give the same bits (both
//! fuse multiply and add, and lane counts are the kernel's own); the portable path rounds twice.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; a `Path` proves that the machine has them"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

/// Floats in [`Level::Vector`].
pub(crate) const WIDTH: usize = 16;

/// An instruction set that a body is compiled for; only [`run_on`] picks one.
pub(crate) trait Level {
    /// Rows of a matrix tile whose accumulators, one vector each, fit the registers: 2, 4 or 8.
    const TILE_ROWS: usize;

    /// Sixteen floats in as many registers as they need: where a loop must not leave the registers,
    /// auto-vectorising is not enough.
    type Vector: Copy;

    /// `a·b + c`, in one rounding where the hardware has it.
    fn fused(a: f32, b: f32, c: f32) -> f32;

    /// Reads a vector.
    fn load(values: &[f32; WIDTH]) -> Self::Vector;

    /// Writes a vector.
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]);

    /// `factor·b + c`, lane by lane as [`Level::fused`].
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// `a·b + c`, lane by lane as [`Level::fused`].
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The lanes whose bit is set change their sign.
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector;

    /// `a + b`, lane by lane.
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;

    /// `factor·a`, lane by lane.
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector;

    /// One value in each lane.
    fn splat(value: f32) -> Self::Vector;

    /// Unsigned bytes as floats.
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector;

    /// Signed bytes as floats.
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector;

    /// Values rounded to bf16 (to nearest, ties to even; NaN stays NaN), the first of a pair in the low
    /// half of its word.
    #[inline(always)]
    fn bf16_pairs(values: &[f32; 2 * WIDTH]) -> [u32; WIDTH] {
        std::array::from_fn(|pair| {
            (bf16_bits(values[2 * pair]) >> 16) | bf16_bits(values[2 * pair + 1])
        })
    }

    /// The nearest integers to `factor·values` (ties to even), which must be in −127…127, four to a word,
    /// the first in the lowest byte. What is not finite gives anything.
    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        /// 1.5·2²³: adding it leaves the nearest integer in the low bits.
        const ROUNDER: f32 = 12_582_912.0;
        std::array::from_fn(|word| {
            u32::from_le_bytes(std::array::from_fn(|byte| {
                let level = (values[4 * word + byte] * factor + ROUNDER) - ROUNDER;
                (level as i8).cast_unsigned()
            }))
        })
    }

    /// The transpose of a square of words.
    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        std::array::from_fn(|column| std::array::from_fn(|row| square[row][column]))
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Level for Avx512 {
    const TILE_ROWS: usize = 8;
    type Vector = x86::__m512;

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); sixteen floats are readable.
        unsafe { x86::_mm512_loadu_ps(values.as_ptr()) }
    }

    #[inline(always)]
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]) {
        // SAFETY: the instruction set is there (`run_on`); sixteen floats are writable.
        unsafe { x86::_mm512_storeu_ps(values.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_fmadd_ps(x86::_mm512_set1_ps(factor), b, c) }
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_mask_xor_ps(vector, bits, vector, x86::_mm512_set1_ps(-0.0)) }
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_mul_ps(x86::_mm512_set1_ps(factor), a) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { x86::_mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let bytes = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            x86::_mm512_cvtepi32_ps(x86::_mm512_cvtepu8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let bytes = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            x86::_mm512_cvtepi32_ps(x86::_mm512_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    fn bf16_pairs(values: &[f32; 2 * WIDTH]) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let halves: [x86::__m512i; 2] = std::mem::transmute(*values);
            let mut rounded = [x86::_mm256_setzero_si256(); 2];
            // A closure would lose the instruction set.
            for (rounded, bits) in rounded.iter_mut().zip(halves) {
                let odd = x86::_mm512_and_si512(
                    x86::_mm512_srli_epi32::<16>(bits),
                    x86::_mm512_set1_epi32(1),
                );
                let bias = x86::_mm512_add_epi32(odd, x86::_mm512_set1_epi32(0x7fff));
                let size = x86::_mm512_and_si512(bits, x86::_mm512_set1_epi32(0x7fff_ffff));
                let is_nan =
                    x86::_mm512_cmpgt_epi32_mask(size, x86::_mm512_set1_epi32(0x7f80_0000));
                let quiet = x86::_mm512_or_si512(bits, x86::_mm512_set1_epi32(0x0040_0000));
                let sum =
                    x86::_mm512_mask_mov_epi32(x86::_mm512_add_epi32(bits, bias), is_nan, quiet);
                *rounded = x86::_mm512_cvtepi32_epi16(x86::_mm512_srli_epi32::<16>(sum));
            }
            std::mem::transmute(rounded)
        }
    }

    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        // SAFETY: the instruction set is there (`run_on`); all are plain bytes.
        unsafe {
            let quarters: [x86::__m512; 4] = std::mem::transmute(*values);
            let factor = x86::_mm512_set1_ps(factor);
            let mut levels = [x86::_mm_setzero_si128(); 4];
            for (levels, values) in levels.iter_mut().zip(quarters) {
                // The conversion rounds to nearest, ties to even.
                let integers = x86::_mm512_cvtps_epi32(x86::_mm512_mul_ps(values, factor));
                *levels = x86::_mm512_cvtepi32_epi8(integers);
            }
            std::mem::transmute(levels)
        }
    }

    /// Sixteen registers, in four rounds of exchanges: of words, of pairs, of quarters, of halves.
    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        use x86::{
            __m512i, _mm512_shuffle_i32x4 as quarters, _mm512_unpackhi_epi32 as high_words,
            _mm512_unpackhi_epi64 as high_pairs, _mm512_unpacklo_epi32 as low_words,
            _mm512_unpacklo_epi64 as low_pairs,
        };
        // SAFETY: the instruction set is there (`run_on`); rows and registers are 64 plain bytes each.
        unsafe {
            let rows: [__m512i; WIDTH] = std::mem::transmute(*square);
            let mut words = rows;
            for i in (0..WIDTH).step_by(2) {
                words[i] = low_words(rows[i], rows[i + 1]);
                words[i + 1] = high_words(rows[i], rows[i + 1]);
            }
            // Register 4·g + c: column c of each quarter, of the rows of group g.
            let mut pairs = words;
            for group in (0..WIDTH).step_by(4) {
                pairs[group] = low_pairs(words[group], words[group + 2]);
                pairs[group + 1] = high_pairs(words[group], words[group + 2]);
                pairs[group + 2] = low_pairs(words[group + 1], words[group + 3]);
                pairs[group + 3] = high_pairs(words[group + 1], words[group + 3]);
            }
            let mut columns = pairs;
            for c in 0..4 {
                let [a, b, e, f] = [pairs[c], pairs[4 + c], pairs[8 + c], pairs[12 + c]];
                let even = [quarters::<0x88>(a, b), quarters::<0x88>(e, f)];
                let odd = [quarters::<0xdd>(a, b), quarters::<0xdd>(e, f)];
                columns[c] = quarters::<0x88>(even[0], even[1]);
                columns[4 + c] = quarters::<0x88>(odd[0], odd[1]);
                columns[8 + c] = quarters::<0xdd>(even[0], even[1]);
                columns[12 + c] = quarters::<0xdd>(odd[0], odd[1]);
            }
            std::mem::transmute(columns)
        }
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Level for Avx2 {
    const TILE_ROWS: usize = 4;
    type Vector = [x86::__m256; 2];

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        let [low, high] = [values[..8].as_ptr(), values[8..].as_ptr()];
        // SAFETY: the instruction set is there (`run_on`); eight floats are readable from each.
        unsafe { [x86::_mm256_loadu_ps(low), x86::_mm256_loadu_ps(high)] }
    }

    #[inline(always)]
    fn store([low, high]: Self::Vector, values: &mut [f32; WIDTH]) {
        let (first, second) = values.split_at_mut(8);
        // SAFETY: the instruction set is there (`run_on`); eight floats are writable from each.
        unsafe {
            x86::_mm256_storeu_ps(first.as_mut_ptr(), low);
            x86::_mm256_storeu_ps(second.as_mut_ptr(), high);
        }
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            let factor = x86::_mm256_set1_ps(factor);
            [
                x86::_mm256_fmadd_ps(factor, b[0], c[0]),
                x86::_mm256_fmadd_ps(factor, b[1], c[1]),
            ]
        }
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_fmadd_ps(a[0], b[0], c[0]),
                x86::_mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_add_ps(a[0], b[0]),
                x86::_mm256_add_ps(a[1], b[1]),
            ]
        }
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            let factor = x86::_mm256_set1_ps(factor);
            [
                x86::_mm256_mul_ps(factor, a[0]),
                x86::_mm256_mul_ps(factor, a[1]),
            ]
        }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`).
        unsafe { [x86::_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let low = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            let high = x86::_mm_srli_si128::<8>(low);
            [
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepu8_epi32(low)),
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepu8_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: the instruction set is there (`run_on`); both are 16 plain bytes.
        unsafe {
            let low = std::mem::transmute::<[u8; WIDTH], x86::__m128i>(bytes);
            let high = x86::_mm_srli_si128::<8>(low);
            [
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepi8_epi32(low)),
                x86::_mm256_cvtepi32_ps(x86::_mm256_cvtepi8_epi32(high)),
            ]
        }
    }

    #[inline(always)]
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector {
        let masks: [f32; WIDTH] =
            std::array::from_fn(|lane| f32::from_bits(u32::from(bits >> lane & 1) << 31));
        let masks = Self::load(&masks);
        // SAFETY: the instruction set is there (`run_on`).
        unsafe {
            [
                x86::_mm256_xor_ps(vector[0], masks[0]),
                x86::_mm256_xor_ps(vector[1], masks[1]),
            ]
        }
    }
}

/// What every target has.
pub(crate) struct Portable;

impl Level for Portable {
    const TILE_ROWS: usize = 2;
    type Vector = [f32; WIDTH];

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            a.mul_add(b, c)
        } else {
            a * b + c // without the instruction, `mul_add` is a library call
        }
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        *values
    }

    #[inline(always)]
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]) {
        *values = vector;
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, mut c: Self::Vector) -> Self::Vector {
        for lane in 0..WIDTH {
            c[lane] = Self::fused(factor, b[lane], c[lane]);
        }
        c
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, mut c: Self::Vector) -> Self::Vector {
        for lane in 0..WIDTH {
            c[lane] = Self::fused(a[lane], b[lane], c[lane]);
        }
        c
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        a.map(|a| factor * a)
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        [value; WIDTH]
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        bytes.map(|byte| f32::from(byte.cast_signed()))
    }

    #[inline(always)]
    fn flip(mut vector: Self::Vector, bits: u16) -> Self::Vector {
        for (lane, value) in vector.iter_mut().enumerate() {
            *value = f32::from_bits(value.to_bits() ^ (u32::from(bits >> lane & 1) << 31));
        }
        vector
    }
}

/// The bits of an `f32` rounded to bf16 (to nearest, ties to even; NaN stays NaN), in the high half.
///
/// Without a branch, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn bf16_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let quiet = bits | 0x0040_0000;
    let is_nan = bits & 0x7fff_ffff > 0x7f80_0000;
    (if is_nan { quiet } else { rounded }) & 0xffff_0000
}

/// Work that is compiled for each instruction set. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    /// What it returns.
    type Output;

    /// The body.
    fn run<L: Level>(self) -> Self::Output;
}

/// An instruction set that this machine has; only detection makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Path {
    /// What every machine has.
    pub(crate) const PORTABLE: Self = Self(Set::Portable);

    /// The widest.
    pub(crate) fn best() -> Self {
        super::gemm::dispatch().level()
    }

    /// AVX-512 with byte, word and quadword instructions.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn avx512() -> Option<Self> {
        has_avx512().then_some(Self(Set::Avx512))
    }

    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn avx2() -> Option<Self> {
        has_avx2().then_some(Self(Set::Avx2))
    }

    /// All of them, the portable one first.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let mut paths = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            paths.extend(has_avx2().then_some(Self(Set::Avx2)));
            paths.extend(has_avx512().then_some(Self(Set::Avx512)));
        }
        paths
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

/// Runs `kernel` on the widest instruction set of this machine.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    run_on(Path::best(), kernel)
}

/// Runs `kernel` on a given instruction set.
pub(crate) fn run_on<K: Kernel>(path: Path, kernel: K) -> K::Output {
    match path.0 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Path` that holds `Avx512` was made after `has_avx512`.
        Set::Avx512 => unsafe { avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Path` that holds `Avx2` was made after `has_avx2`.
        Set::Avx2 => unsafe { avx2(kernel) },
        Set::Portable => kernel.run::<Portable>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

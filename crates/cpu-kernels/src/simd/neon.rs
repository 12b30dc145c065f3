//! NEON; a vector is four registers.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; an `Available` proves that they are there"
)]

use std::arch::aarch64 as arm;
use std::mem::transmute;

use super::level::{Level, WIDTH};
use super::neon_words;

pub(super) struct Neon;

/// The registers of a vector.
const REGISTERS: usize = WIDTH / 4;

/// Applies a function of registers to each register of some vectors, without a loop: thousands of
/// loops in one function, as a kernel has, take the compiler many minutes.
macro_rules! each {
    ([$($name:ident in $vector:expr),+] => $result:expr) => {
        [
            each!(0: [$($name in $vector),+] => $result),
            each!(1: [$($name in $vector),+] => $result),
            each!(2: [$($name in $vector),+] => $result),
            each!(3: [$($name in $vector),+] => $result),
        ]
    };
    ($register:literal: [$($name:ident in $vector:expr),+] => $result:expr) => {{
        $(let $name = $vector[$register];)+
        $result
    }};
}

impl Level for Neon {
    const TILE_ROWS: usize = 4;
    type Vector = [arm::float32x4_t; REGISTERS];

    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn load(values: &[f32; WIDTH]) -> Self::Vector {
        // SAFETY: both are 64 plain bytes.
        unsafe { transmute(*values) }
    }

    #[inline(always)]
    fn store(vector: Self::Vector, values: &mut [f32; WIDTH]) {
        // SAFETY: both are 64 plain bytes.
        *values = unsafe { transmute::<Self::Vector, [f32; WIDTH]>(vector) };
    }

    #[inline(always)]
    fn axpy(factor: f32, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: every processor of this architecture has the instructions.
        unsafe { each!([b in b, c in c] => arm::vfmaq_n_f32(c, b, factor)) }
    }

    #[inline(always)]
    fn fma(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe { each!([a in a, b in b, c in c] => arm::vfmaq_f32(c, a, b)) }
    }

    #[inline(always)]
    fn flip(vector: Self::Vector, bits: u16) -> Self::Vector {
        let signs = signs(bits);
        // SAFETY: as above.
        unsafe {
            each!([vector in vector, sign in signs] => {
                let words = arm::vreinterpretq_u32_f32(vector);
                arm::vreinterpretq_f32_u32(arm::veorq_u32(words, sign))
            })
        }
    }

    #[inline(always)]
    fn clear(vector: Self::Vector, bits: u16) -> Self::Vector {
        let signs = signs(bits);
        // SAFETY: as above.
        unsafe {
            each!([vector in vector, sign in signs] => {
                let mask = arm::vshrq_n_s32::<31>(arm::vreinterpretq_s32_u32(sign));
                let words = arm::vreinterpretq_u32_f32(vector);
                let kept = arm::vbicq_u32(words, arm::vreinterpretq_u32_s32(mask));
                arm::vreinterpretq_f32_u32(kept)
            })
        }
    }

    #[inline(always)]
    fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every processor of this architecture has the instructions.
        unsafe { each!([a in a, b in b] => arm::vaddq_f32(a, b)) }
    }

    #[inline(always)]
    fn larger(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe { each!([a in a, b in b] => arm::vbslq_f32(arm::vcltq_f32(a, b), b, a)) }
    }

    #[inline(always)]
    fn smaller(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe { each!([a in a, b in b] => arm::vbslq_f32(arm::vcltq_f32(b, a), b, a)) }
    }

    #[inline(always)]
    fn reciprocal(a: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe { each!([a in a] => arm::vdivq_f32(arm::vdupq_n_f32(1.0), a)) }
    }

    #[inline(always)]
    fn times_power(a: Self::Vector, n: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe {
            let bias = arm::vdupq_n_s32(127);
            each!([a in a, n in n] => {
                // In two factors: 2ⁿ alone leaves the range of f32 at either end.
                let n = arm::vcvtq_s32_f32(n);
                let half = arm::vshrq_n_s32::<1>(n);
                let rest = arm::vsubq_s32(n, half);
                let half = arm::vshlq_n_s32::<23>(arm::vaddq_s32(half, bias));
                let rest = arm::vshlq_n_s32::<23>(arm::vaddq_s32(rest, bias));
                let product = arm::vmulq_f32(a, arm::vreinterpretq_f32_s32(half));
                arm::vmulq_f32(product, arm::vreinterpretq_f32_s32(rest))
            })
        }
    }

    #[inline(always)]
    fn sum(vector: Self::Vector) -> f32 {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = vector;
            let four = arm::vaddq_f32(arm::vaddq_f32(a, c), arm::vaddq_f32(b, d));
            let two = arm::vadd_f32(arm::vget_low_f32(four), arm::vget_high_f32(four));
            arm::vget_lane_f32::<0>(two) + arm::vget_lane_f32::<1>(two)
        }
    }

    #[inline(always)]
    fn largest(vector: Self::Vector) -> f32 {
        // SAFETY: as above.
        unsafe {
            let [a, b, c, d] = vector;
            let pick = |a, b| arm::vbslq_f32(arm::vcltq_f32(a, b), b, a);
            let four = pick(pick(a, c), pick(b, d));
            let (low, high) = (arm::vget_low_f32(four), arm::vget_high_f32(four));
            let two = arm::vbsl_f32(arm::vclt_f32(low, high), high, low);
            let (first, second) = (arm::vget_lane_f32::<0>(two), arm::vget_lane_f32::<1>(two));
            if first < second { second } else { first }
        }
    }

    #[inline(always)]
    fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: every processor of this architecture has the instructions.
        unsafe { each!([a in a, b in b] => arm::vmulq_f32(a, b)) }
    }

    #[inline(always)]
    fn scale(factor: f32, a: Self::Vector) -> Self::Vector {
        // SAFETY: as above.
        unsafe { each!([a in a] => arm::vmulq_n_f32(a, factor)) }
    }

    #[inline(always)]
    fn splat(value: f32) -> Self::Vector {
        // SAFETY: as above.
        unsafe { [arm::vdupq_n_f32(value); REGISTERS] }
    }

    #[inline(always)]
    fn bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: as above; both are 16 plain bytes.
        unsafe {
            let bytes = transmute::<[u8; WIDTH], arm::uint8x16_t>(bytes);
            let low = arm::vmovl_u8(arm::vget_low_u8(bytes));
            let high = arm::vmovl_high_u8(bytes);
            [
                arm::vcvtq_f32_u32(arm::vmovl_u16(arm::vget_low_u16(low))),
                arm::vcvtq_f32_u32(arm::vmovl_high_u16(low)),
                arm::vcvtq_f32_u32(arm::vmovl_u16(arm::vget_low_u16(high))),
                arm::vcvtq_f32_u32(arm::vmovl_high_u16(high)),
            ]
        }
    }

    #[inline(always)]
    fn signed_bytes(bytes: [u8; WIDTH]) -> Self::Vector {
        // SAFETY: as above.
        unsafe {
            let bytes = transmute::<[u8; WIDTH], arm::int8x16_t>(bytes);
            let low = arm::vmovl_s8(arm::vget_low_s8(bytes));
            let high = arm::vmovl_high_s8(bytes);
            [
                arm::vcvtq_f32_s32(arm::vmovl_s16(arm::vget_low_s16(low))),
                arm::vcvtq_f32_s32(arm::vmovl_high_s16(low)),
                arm::vcvtq_f32_s32(arm::vmovl_s16(arm::vget_low_s16(high))),
                arm::vcvtq_f32_s32(arm::vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn int8_quads(values: &[f32; 4 * WIDTH], factor: f32) -> [u32; WIDTH] {
        // SAFETY: both are 256 plain bytes.
        let quarters: [Self::Vector; 4] = unsafe { transmute(*values) };
        let words = each!([values in quarters] => neon_words::levels(values, factor));
        // SAFETY: both are 64 plain bytes.
        unsafe { transmute(words) }
    }

    const LOOKS_UP: bool = true;

    #[inline(always)]
    fn floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        neon_words::looked_up(table, indices)
    }

    #[inline(always)]
    fn rounded_floats_of(table: Self::Vector, indices: &[u8; 2 * WIDTH]) -> [u32; 2 * WIDTH] {
        let mut values = [0.0; WIDTH];
        Self::store(table, &mut values);
        let rounded = values.map(|value| f32::from_bits(super::level::bf16_bits(value)));
        neon_words::looked_up(Self::load(&rounded), indices)
    }

    #[inline(always)]
    fn int8_quads_of(
        table: Self::Vector,
        factor: f32,
        indices: &[u8; 2 * WIDTH],
    ) -> [u32; WIDTH / 2] {
        neon_words::levels_of(table, factor, indices)
    }

    #[inline(always)]
    fn transpose(square: &[[u32; WIDTH]; WIDTH]) -> [[u32; WIDTH]; WIDTH] {
        neon_words::transposed(square)
    }
}

/// Bit j of `bits` as the sign of lane j, and zeros.
#[inline(always)]
fn signs(bits: u16) -> [arm::uint32x4_t; REGISTERS] {
    const SHIFTS: [[i32; 4]; REGISTERS] = [
        [31, 30, 29, 28],
        [27, 26, 25, 24],
        [23, 22, 21, 20],
        [19, 18, 17, 16],
    ];
    // SAFETY: every processor of this architecture has the instructions; lanes are plain bytes.
    unsafe {
        let (bits, sign) = (arm::vdupq_n_u32(u32::from(bits)), arm::vdupq_n_u32(1 << 31));
        each!([shifts in SHIFTS] => {
            let moved = arm::vshlq_u32(bits, transmute::<[i32; 4], arm::int32x4_t>(shifts));
            arm::vandq_u32(moved, sign)
        })
    }
}

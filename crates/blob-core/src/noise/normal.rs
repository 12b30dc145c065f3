//! Standard normals by Box–Muller, with our own logarithm, sine and cosine.
//!
//! ```text
//! u(w) = (⌊w / 2⁹⌋ + ½)·2⁻²³     n₀ = √(−2 ln u(w₀))·cos 2πu(w₁)   n₁ = √(−2 ln u(w₀))·sin 2πu(w₁)
//! ```
//!
//! The polynomials (minimax, of the Cephes single-precision family) are evaluated in `f32` with
//! explicit fused multiply-adds in one fixed order (`mul_add` on every instruction set, never
//! `Level::fused`), so that every processor gives the same bits.
//! `u` has 23 bits, so it is exact in `f32` and never 0 or 1; |n| ≤ √(48 ln 2) ≈ 5.77.

#![expect(
    clippy::inline_always,
    reason = "a body takes on an instruction set only where it is inlined into its entry point"
)]

use rayon::prelude::*;

use crate::kernels::cpu::simd::{self, Kernel, Level};

/// Fills `out` with normals, four to each of the blocks that `words` draws.
pub(super) fn fill(out: &mut [f32], words: impl Fn(u32) -> [u32; 4] + Sync) {
    out.par_chunks_mut(CHUNK)
        .enumerate()
        .for_each(|(chunk, out)| {
            simd::run(Fill {
                out,
                first: chunk * (CHUNK / 4),
                words: &words,
            });
        });
}

/// Elements of one task; a multiple of four.
const CHUNK: usize = 2048;

struct Fill<'a, Words> {
    out: &'a mut [f32],
    first: usize,
    words: &'a Words,
}

impl<Words: Fn(u32) -> [u32; 4]> Kernel for Fill<'_, Words> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        for (block, four) in self.out.chunks_mut(4).enumerate() {
            let normals = box_muller((self.words)((self.first + block) as u32));
            four.copy_from_slice(&normals[..four.len()]);
        }
    }
}

/// Four normals of four words.
#[inline(always)]
fn box_muller(words: [u32; 4]) -> [f32; 4] {
    let [w0, w1, w2, w3] = words;
    let (a, b) = pair(w0, w1);
    let (c, d) = pair(w2, w3);
    [a, b, c, d]
}

#[inline(always)]
fn pair(w0: u32, w1: u32) -> (f32, f32) {
    let radius = (-2.0 * ln(open_unit(w0))).sqrt();
    let (sin, cos) = sin_cos_of_turns(open_unit(w1));
    (radius * cos, radius * sin)
}

/// A uniform of the open interval (0, 1), exact.
#[inline(always)]
fn open_unit(word: u32) -> f32 {
    ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0)
}

/// ln x for normal x in (0, 1): x = m·2ᵉ with m in [√½, √2), ln x = e ln 2 + ln m.
#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 23).cast_signed() - 126;
    let mut mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000); // [½, 1)
    if mantissa < std::f32::consts::FRAC_1_SQRT_2 {
        exponent -= 1;
        mantissa += mantissa;
    }
    let t = mantissa - 1.0;
    let z = t * t;
    let mut p = 7.037_683_6e-2f32;
    for c in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p.mul_add(t, c);
    }
    let e = exponent as f32;
    let mut y = p * t * z;
    y = e.mul_add(-2.121_944_4e-4, y); // low part of ln 2
    y = z.mul_add(-0.5, y);
    e.mul_add(0.693_359_4, t + y) // high part of ln 2
}

/// (sin 2πu, cos 2πu) for u in (0, 1): the nearest quarter turn is taken off exactly.
#[inline(always)]
fn sin_cos_of_turns(u: f32) -> (f32, f32) {
    let quarter = (4.0 * u + 0.5).floor();
    let angle = (4.0 * u - quarter) * std::f32::consts::FRAC_PI_2; // [−π/4, π/4]
    let z = angle * angle;
    let sin = {
        let p = (-1.951_529_6e-4f32)
            .mul_add(z, 8.332_161e-3)
            .mul_add(z, -1.666_665_5e-1);
        (p * z).mul_add(angle, angle)
    };
    let cos = {
        let p = 2.443_315_7e-5f32
            .mul_add(z, -1.388_731_6e-3)
            .mul_add(z, 4.166_664_6e-2);
        (p * z).mul_add(z, z.mul_add(-0.5, 1.0))
    };
    match quarter as i32 {
        0 | 4 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_sine_and_cosine_are_accurate_over_their_whole_range() {
        for w in (0..=u32::MAX).step_by(65_537) {
            let u = f64::from(open_unit(w));
            let exact = u.ln();
            assert!(
                (f64::from(ln(u as f32)) - exact).abs() <= 2e-7 * exact.abs().max(0.1),
                "ln {u}"
            );
            let (sin, cos) = sin_cos_of_turns(u as f32);
            let angle = 2.0 * std::f64::consts::PI * u;
            assert!(
                (f64::from(sin) - angle.sin()).abs() < 2e-7,
                "sin of {u} turns"
            );
            assert!(
                (f64::from(cos) - angle.cos()).abs() < 2e-7,
                "cos of {u} turns"
            );
        }
    }

    #[test]
    fn the_bits_are_pinned() {
        let bits =
            box_muller([0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]).map(f32::to_bits);
        assert_eq!(
            bits,
            [1_065_204_527, 3_211_572_915, 3_206_421_409, 3_203_846_569]
        );
    }
}

//! What every target has: arrays, which the compiler vectorises as far as the target allows.

use super::level::{Level, WIDTH};

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
    fn larger(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| if a[lane] < b[lane] { b[lane] } else { a[lane] })
    }

    #[inline(always)]
    fn smaller(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| if b[lane] < a[lane] { b[lane] } else { a[lane] })
    }

    #[inline(always)]
    fn reciprocal(a: Self::Vector) -> Self::Vector {
        a.map(|a| 1.0 / a)
    }

    #[inline(always)]
    fn times_power(a: Self::Vector, n: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| {
            // In two factors: 2ⁿ alone leaves the range of f32 at either end.
            let n = n[lane] as i32;
            a[lane] * power_of_two(n >> 1) * power_of_two(n - (n >> 1))
        })
    }

    #[inline(always)]
    fn sum(mut lanes: Self::Vector) -> f32 {
        let mut width = WIDTH / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn largest(mut lanes: Self::Vector) -> f32 {
        let mut width = WIDTH / 2;
        while width > 0 {
            for lane in 0..width {
                if lanes[lane] < lanes[lane + width] {
                    lanes[lane] = lanes[lane + width];
                }
            }
            width /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn multiply(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] * b[lane])
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

    #[inline(always)]
    fn clear(mut vector: Self::Vector, bits: u16) -> Self::Vector {
        for (lane, value) in vector.iter_mut().enumerate() {
            let kept = u32::from(bits >> lane & 1).wrapping_sub(1);
            *value = f32::from_bits(value.to_bits() & kept);
        }
        vector
    }
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n + 127).cast_unsigned() << 23)
}

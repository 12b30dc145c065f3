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
}

/// What every target has.
struct Portable;

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
    /// The widest.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if has_avx512() {
                return Self(Set::Avx512);
            }
            if has_avx2() {
                return Self(Set::Avx2);
            }
        }
        Self(Set::Portable)
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

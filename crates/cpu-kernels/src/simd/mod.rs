//! One body, several instruction sets: the process's own is chosen at run time.
//!
//! A [`Kernel`] is plain Rust over slices and fixed-size arrays; inlined into a function with
//! `target_feature`, its loops vectorise to that width. AVX2, AVX-512 and NEON give the same bits
//! (all fuse multiply and add, and lane counts are the kernel's own); portable code rounds twice.
//! AVX-512 BF16 rounds to bf16 and multiplies pairs by its own instructions, which take subnormal
//! numbers for zero and add a pair's products in their own order.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "calls of vector instructions are unsafe; an `Available` proves they are there"
    )
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_words;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_halves;
mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_words;
mod portable;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
pub use level::{Level, WIDTH};
pub(crate) use level::{ROUNDER, bf16_bits, padded, write_bf16_pairs};
#[cfg(target_arch = "aarch64")]
use neon::Neon;
use portable::Portable;

use super::isa::{self, Available, Isa};

/// Work that is compiled for each instruction set. `run` must be `#[inline(always)]`.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Whether it rounds to bf16, and is compiled once more for machines with an instruction for
    /// that.
    const ROUNDS: bool = false;

    /// The body.
    fn run<L: Level>(self) -> Self::Output;
}

/// Runs `kernel` on the instruction set of the process.
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    run_on(isa::chosen(), kernel)
}

/// Runs `kernel` on a given instruction set.
pub(crate) fn run_on<K: Kernel>(isa: Available, kernel: K) -> K::Output {
    match isa.isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Available` of `Avx512Bf16` exists only where the instructions do.
        Isa::Avx512Bf16 if K::ROUNDS => unsafe { avx512_bf16(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, of `Avx512`, which `Avx512Bf16` includes.
        Isa::Avx512Bf16 | Isa::Avx512 => unsafe { avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, of `Avx2`, which `AvxVnni` includes.
        Isa::AvxVnni | Isa::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon(kernel),
        Isa::Portable => kernel.run::<Portable>(),
        // Sets of other targets, which are never available.
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512Bf16 | Isa::Avx512 | Isa::AvxVnni | Isa::Avx2 => kernel.run::<Portable>(),
        #[cfg(not(target_arch = "aarch64"))]
        Isa::Neon => kernel.run::<Portable>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
fn avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<true>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512<false>>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

#[cfg(target_arch = "aarch64")]
#[inline(never)] // with the portable body in one function it compiles for longer than in two
fn neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon>()
}

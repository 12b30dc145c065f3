//! Which tile a product runs on: the fastest one that this machine has.

use super::Direction;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::format::{Format, Precision};
use super::product::Work;
#[cfg(target_arch = "x86_64")]
use super::tile_avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::tile_avx2_int8::Avx2Int8;
#[cfg(target_arch = "x86_64")]
use super::tile_avx512::Avx512;
#[cfg(target_arch = "x86_64")]
use super::tile_avx512_bf16::Avx512Bf16;
#[cfg(target_arch = "x86_64")]
use super::tile_avx512_vnni::Avx512Vnni;
use super::tile_portable::{Portable, PortableInt8};
use crate::kernels::cpu::simd;
use crate::{Error, Result};

/// An instruction set that a product can run on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dispatch {
    /// bf16 by `vdpbf16ps`; otherwise as [`Self::Avx512`].
    Avx512Bf16,
    /// 512-bit fused multiply-add; bf16 operands are `f32` words; int8 by `vpdpbusd` where there is VNNI.
    Avx512,
    /// 256-bit fused multiply-add; bf16 operands are `f32` words.
    Avx2,
    /// Plain Rust; bf16 operands are `f32` words.
    Portable,
}

impl Dispatch {
    /// All paths, the widest first.
    pub const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// The path of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// Whether this machine has the path.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Avx512Bf16::detect().is_some() && simd::Path::avx512().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Avx512::detect().is_some() && simd::Path::avx512().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// The instruction set of everything around the tile.
    pub(crate) fn level(self) -> simd::Path {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => simd::Path::avx512_bf16().unwrap_or(simd::Path::PORTABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => simd::Path::avx512().unwrap_or(simd::Path::PORTABLE),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => simd::Path::avx2().unwrap_or(simd::Path::PORTABLE),
            _ => simd::Path::PORTABLE,
        }
    }

    fn missing(self) -> Error {
        Error::InvalidInput(format!(
            "a matrix product must run on instructions of this machine, got {}",
            self.name()
        ))
    }

    /// What words hold on this path.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when this machine does not have the path.
    pub(super) fn format(self, precision: Precision, direction: Direction) -> Result<Format> {
        if !self.is_available() {
            return Err(self.missing());
        }
        Ok(match (precision, direction, self) {
            (Precision::F32, _, _) => Format::Float,
            (Precision::Int8 | Precision::Int8Mixed, Direction::Forward, _) => Format::Int8Quad,
            (_, _, Self::Avx512Bf16) => Format::Bf16Pair,
            _ => Format::RoundedFloat,
        })
    }

    /// Does `work` with the tile of this path.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when this machine does not have the path.
    pub(super) fn run(self, format: Format, work: impl Work) -> Result<()> {
        #[cfg(target_arch = "x86_64")]
        {
            let is_wide = matches!(self, Self::Avx512Bf16 | Self::Avx512);
            match format {
                Format::Bf16Pair => {
                    if let Some(kernel) = Avx512Bf16::detect() {
                        work.run(kernel);
                        return Ok(());
                    }
                }
                Format::Int8Quad => {
                    if let Some(kernel) = Avx512Vnni::detect().filter(|_| is_wide) {
                        work.run(kernel);
                        return Ok(());
                    }
                    if let Some(kernel) = Avx2Int8::detect().filter(|_| self != Self::Portable) {
                        work.run(kernel);
                        return Ok(());
                    }
                }
                Format::Float | Format::RoundedFloat => {
                    if let Some(kernel) = Avx512::detect().filter(|_| is_wide) {
                        work.run(kernel);
                        return Ok(());
                    }
                    if let Some(kernel) = Avx2::detect().filter(|_| self == Self::Avx2) {
                        work.run(kernel);
                        return Ok(());
                    }
                }
            }
        }
        match format {
            Format::Int8Quad => work.run(PortableInt8),
            Format::Float | Format::RoundedFloat => work.run(Portable),
            Format::Bf16Pair => {
                return Err(Error::InvalidInput(format!(
                    "pairs of bf16 must run on avx512bf16, got {}",
                    self.name()
                )));
            }
        }
        Ok(())
    }
}

/// The path that all kernels take: the fastest one of this machine, unless [`force`] chose another.
pub fn dispatch() -> Dispatch {
    match Dispatch::ALL.get(CHOSEN.load(Ordering::Relaxed)) {
        Some(path) => *path,
        None => choose(),
    }
}

/// Index of the path in [`Dispatch::ALL`]; anything else: not chosen yet.
static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

#[cold]
fn choose() -> Dispatch {
    let index = fastest(Dispatch::is_available, has_slow_bf16());
    // Another thread may have forced a path meanwhile.
    let chosen = CHOSEN.compare_exchange(usize::MAX, index, Ordering::Relaxed, Ordering::Relaxed);
    Dispatch::ALL[chosen.map_or_else(|forced| forced, |_| index)]
}

/// Index of the widest path in [`Dispatch::ALL`] that is there and not slower than the next.
fn fastest(is_available: impl Fn(Dispatch) -> bool, has_slow_bf16: bool) -> usize {
    let is_slow = |path| path == Dispatch::Avx512Bf16 && has_slow_bf16;
    Dispatch::ALL
        .iter()
        .position(|path| is_available(*path) && !is_slow(*path))
        .unwrap_or(Dispatch::ALL.len() - 1)
}

/// Whether `vdpbf16ps` is slower than multiply-adds of `f32`, as on Intel's processors. Measured per core: 80
/// against 129 GFLOP/s on a Xeon of the Emerald Rapids kind (family 6, model 207), 216 against 101 on an EPYC;
/// other processors of Intel are taken to be like that one.
///
/// By maker and not by a measurement, so that a machine gives the same bits every time.
#[cfg(target_arch = "x86_64")]
fn has_slow_bf16() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    is_intel([leaf.ebx, leaf.edx, leaf.ecx])
}

/// Of leaf 0's registers that spell the maker: ebx, edx, ecx.
#[cfg(target_arch = "x86_64")]
fn is_intel(maker: [u32; 3]) -> bool {
    maker.map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

#[cfg(not(target_arch = "x86_64"))]
fn has_slow_bf16() -> bool {
    false
}

/// Makes every kernel of the process take one path, to compare paths or to see another machine's numbers here.
///
/// # Errors
/// `BPEFT_INVALID_INPUT` when this machine does not have the path.
pub fn force(path: Dispatch) -> Result<()> {
    match Dispatch::ALL.iter().position(|other| *other == path) {
        Some(index) if path.is_available() => {
            CHOSEN.store(index, Ordering::Relaxed);
            Ok(())
        }
        _ => Err(path.missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_maker_is_read_in_the_order_in_which_it_is_spelt() {
        assert!(is_intel([0x756e_6547, 0x4965_6e69, 0x6c65_746e])); // as Intel documents CPUID
        assert!(!is_intel([0x756e_6547, 0x6c65_746e, 0x4965_6e69]));
        assert!(!is_intel([0x6874_7541, 0x6974_6e65, 0x444d_4163])); // AuthenticAMD
    }

    #[test]
    fn the_fastest_path_is_the_widest_unless_its_bf16_is_slow() {
        let chosen = |available: &[Dispatch], has_slow_bf16| {
            Dispatch::ALL[fastest(|path| available.contains(&path), has_slow_bf16)]
        };
        let [bf16, wide, avx2, portable] = Dispatch::ALL;
        for (available, has_slow_bf16, expected) in [
            (&[bf16, wide, avx2, portable][..], false, bf16),
            (&[bf16, wide, avx2, portable], true, wide),
            (&[wide, avx2, portable], false, wide),
            (&[wide, avx2, portable], true, wide),
            (&[avx2, portable], true, avx2),
            (&[portable], true, portable),
        ] {
            let path = chosen(available, has_slow_bf16);
            assert_eq!(path, expected, "{available:?}, slow: {has_slow_bf16}");
        }
    }
}

//! Instruction sets: their names, which of them this machine has, and the one that the process
//! uses.
//!
//! [`Isa`] is a name, and anyone may say it. `Available` is the proof that this machine has the
//! instructions; only detection makes one, and kernels run on nothing else. A function with
//! `#[target_feature]` may enable what the detection of its set asks for, and no more.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{InvalidInput, Result};

/// Whether this machine has all of some features of x86-64.
#[cfg(target_arch = "x86_64")]
macro_rules! has {
    ($($feature:tt),+) => { $(is_x86_feature_detected!($feature))&&+ };
}
#[cfg(not(target_arch = "x86_64"))]
macro_rules! has {
    ($($feature:tt),+) => {
        false
    };
}

/// Names of the features that kernels ask for, or may one day, and this machine has.
pub fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! note {
            ($($feature:tt),+) => {
                $(if is_x86_feature_detected!($feature) { found.push($feature); })+
            };
        }
        note!(
            "avx2",
            "fma",
            "f16c",
            "avxvnni",
            "avx512f",
            "avx512bw",
            "avx512dq",
            "avx512vl",
            "avx512vnni",
            "avx512bf16",
            "avx512fp16"
        );
    }
    #[cfg(target_arch = "aarch64")]
    {
        macro_rules! note {
            ($($feature:tt),+) => {
                $(if std::arch::is_aarch64_feature_detected!($feature) { found.push($feature); })+
            };
        }
        note!("neon", "dotprod", "i8mm", "bf16", "sve", "sve2");
    }
    found
}

/// An instruction set that kernels are compiled for; each extends another, down to portable Rust.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// AVX-512 with instructions for bf16: `vdpbf16ps` and `vcvtne2ps2bf16`.
    Avx512Bf16,
    /// 512-bit registers with byte, word and quadword instructions, and VNNI where there is that.
    Avx512,
    /// AVX2 with dot products of bytes: `vpdpbusd` without AVX-512, as on Intel's laptops.
    AvxVnni,
    /// 256-bit registers, fused multiply-add and half-precision conversion.
    Avx2,
    /// 128-bit registers and fused multiply-add of 64-bit Arm, and dot products of bytes where
    /// there are some.
    Neon,
    /// What every target has: plain Rust.
    Portable,
}

impl Isa {
    /// All of them, the fastest first; none comes before one that extends it.
    pub const ALL: [Self; 6] = [
        Self::Avx512Bf16,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx2,
        Self::Neon,
        Self::Portable,
    ];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16",
            Self::Avx512 => "avx512",
            Self::AvxVnni => "avxvnni",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// The instruction set of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// The set that it extends.
    fn base(self) -> Option<Self> {
        match self {
            Self::Avx512Bf16 => Some(Self::Avx512),
            Self::Avx512 | Self::AvxVnni => Some(Self::Avx2),
            Self::Avx2 | Self::Neon => Some(Self::Portable),
            Self::Portable => None,
        }
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Avx512Bf16 => Self::Avx512.is_available() && has!("avx512bf16"),
            Self::Avx512 => {
                Self::Avx2.is_available() && has!("avx512f", "avx512vl", "avx512bw", "avx512dq")
            }
            Self::AvxVnni => Self::Avx2.is_available() && has!("avxvnni"),
            Self::Avx2 => has!("avx2", "fma", "f16c"),
            Self::Neon => cfg!(target_arch = "aarch64"), // which always has it
            Self::Portable => true,
        }
    }

    /// Proof that this machine has it.
    ///
    /// # Errors
    /// `InvalidInput` when it does not.
    pub(crate) fn available(self) -> Result<Available> {
        if self.is_available() {
            return Ok(Available(self));
        }
        Err(InvalidInput(format!(
            "a matrix product must run on instructions of this machine, got {}",
            self.name()
        )))
    }
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Available(Isa);

impl Available {
    /// What every machine has.
    #[cfg(test)]
    pub(crate) const PORTABLE: Self = Self(Isa::Portable);

    /// Its name.
    #[inline(always)]
    pub(crate) fn isa(self) -> Isa {
        self.0
    }

    /// Whether it has the instructions of `other`.
    pub(crate) fn includes(self, other: Isa) -> bool {
        std::iter::successors(Some(self.0), |isa| isa.base()).any(|isa| isa == other)
    }

    /// Whether AVX-512 VNNI comes with it: dot products of bytes.
    pub(crate) fn has_avx512_vnni(self) -> bool {
        self.includes(Isa::Avx512) && has!("avx512vnni")
    }

    /// Whether NEON has dot products of bytes.
    #[cfg(target_arch = "aarch64")]
    pub(crate) fn has_dot_products(self) -> bool {
        self.includes(Isa::Neon) && std::arch::is_aarch64_feature_detected!("dotprod")
    }

    /// All of this machine, the portable one first.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let all = Isa::ALL.into_iter().rev();
        all.filter_map(|isa| isa.available().ok()).collect()
    }
}

/// The instruction set of all kernels: the fastest one of this machine, unless [`force`] chose
/// another.
pub fn current() -> Isa {
    chosen().isa()
}

/// [`current`], with its proof.
pub(crate) fn chosen() -> Available {
    match Isa::ALL.get(CHOSEN.load(Ordering::Relaxed)) {
        Some(isa) => Available(*isa), // `CHOSEN` was set after detection
        None => choose(),
    }
}

/// Index in [`Isa::ALL`] of a set that is available; anything else: not chosen yet.
static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);

#[cold]
fn choose() -> Available {
    let index = fastest(Isa::is_available, has_slow_bf16());
    // Another thread may have forced a set meanwhile.
    let chosen = CHOSEN.compare_exchange(usize::MAX, index, Ordering::Relaxed, Ordering::Relaxed);
    Available(Isa::ALL[chosen.map_or_else(|forced| forced, |_| index)])
}

/// Index in [`Isa::ALL`] of the widest set that is there and not slower than the next.
fn fastest(is_available: impl Fn(Isa) -> bool, has_slow_bf16: bool) -> usize {
    let is_slow = |isa| isa == Isa::Avx512Bf16 && has_slow_bf16;
    Isa::ALL
        .iter()
        .position(|isa| is_available(*isa) && !is_slow(*isa))
        .unwrap_or(Isa::ALL.len() - 1)
}

/// Whether `vdpbf16ps` is slower than multiply-adds of `f32`, as on Intel's processors. Measured
/// per core: 80 against 129 GFLOP/s on a Xeon of the Emerald Rapids kind (family 6, model 207), 216
/// against 101 on an EPYC; other processors of Intel are taken to be like that one.
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

/// Makes every kernel of the process use one instruction set, to compare them or to see another
/// machine's numbers here.
///
/// # Errors
/// `InvalidInput` when this machine does not have it.
pub fn force(isa: Isa) -> Result<()> {
    let Available(isa) = isa.available()?;
    CHOSEN.store(isa as usize, Ordering::Relaxed);
    Ok(())
}

// `isa as usize` is an index of `Isa::ALL`.
const _: () = {
    let mut index = 0;
    while index < Isa::ALL.len() {
        assert!(Isa::ALL[index] as usize == index);
        index += 1;
    }
};

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
    fn the_fastest_set_is_the_widest_unless_its_bf16_is_slow() {
        let chosen = |available: &[Isa], has_slow_bf16| {
            Isa::ALL[fastest(|isa| available.contains(&isa), has_slow_bf16)]
        };
        let [bf16, wide, vnni, avx2, neon, portable] = Isa::ALL;
        for (available, has_slow_bf16, expected) in [
            (&[bf16, wide, vnni, avx2, portable][..], false, bf16),
            (&[bf16, wide, vnni, avx2, portable], true, wide),
            (&[wide, avx2, portable], false, wide),
            (&[wide, avx2, portable], true, wide),
            (&[vnni, avx2, portable], true, vnni),
            (&[avx2, portable], true, avx2),
            (&[neon, portable], false, neon),
            (&[portable], true, portable),
        ] {
            let isa = chosen(available, has_slow_bf16);
            assert_eq!(isa, expected, "{available:?}, slow: {has_slow_bf16}");
        }
    }

    #[test]
    fn a_set_includes_itself_and_what_it_extends() {
        let [bf16, wide, vnni, avx2, neon, portable] = Isa::ALL;
        for (isa, included) in [
            (bf16, &[bf16, wide, avx2, portable][..]),
            (wide, &[wide, avx2, portable]),
            (vnni, &[vnni, avx2, portable]),
            (avx2, &[avx2, portable]),
            (neon, &[neon, portable]),
            (portable, &[portable]),
        ] {
            let found = Isa::ALL.into_iter();
            let found = found.filter(|other| Available(isa).includes(*other));
            assert!(found.eq(included.iter().copied()), "{isa:?}");
        }
        for available in Available::all() {
            let mut included = Isa::ALL.into_iter().filter(|isa| available.includes(*isa));
            assert!(included.all(Isa::is_available), "{available:?}");
        }
    }
}

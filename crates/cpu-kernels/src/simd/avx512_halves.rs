//! Halves of words in registers of AVX-512: rounding to bf16, and the orders of shuffles.

#![expect(
    unsafe_code,
    reason = "calls of vector instructions are unsafe; an `Available` proves that they are there"
)]

use std::arch::x86_64 as x86;

use super::level::WIDTH;

/// The halves of a register alternately.
pub(super) static INTERLEAVED: [u16; 32] = {
    let mut order = [0; 32];
    let mut at = 0;
    while at < 32 {
        order[at] = (at / 2 + 16 * (at % 2)) as u16;
        at += 1;
    }
    order
};

/// Halves of the words of two registers alternately: of their lower lanes, and of their upper
/// lanes.
pub(super) static ALTERNATELY: [[u16; 32]; 2] = {
    let mut orders = [[0; 32]; 2];
    let mut at = 0;
    while at < 64 {
        orders[at / 32][at % 32] = (at / 2 + 32 * (at % 2)) as u16;
        at += 1;
    }
    orders
};

/// Floats rounded to bf16 in the high half of each word; what is left below is not cleared.
#[inline(always)]
pub(super) fn rounded(values: x86::__m512) -> x86::__m512i {
    /// Signaling or quiet.
    const NAN: i32 = 0x81;
    // SAFETY: only called where the instruction set is there.
    unsafe {
        let bits = x86::_mm512_castps_si512(values);
        let odd = x86::_mm512_and_si512(
            x86::_mm512_srli_epi32::<16>(bits),
            x86::_mm512_set1_epi32(1),
        );
        let bias = x86::_mm512_add_epi32(odd, x86::_mm512_set1_epi32(0x7fff));
        let is_nan = x86::_mm512_fpclass_ps_mask::<NAN>(values);
        let quiet = x86::_mm512_set1_epi32(0x0040_0000);
        let sum = x86::_mm512_add_epi32(bits, bias);
        x86::_mm512_mask_or_epi32(sum, is_nan, bits, quiet)
    }
}

/// The high halves of two registers' words, one after another.
#[inline(always)]
pub(super) fn high_halves([first, second]: [x86::__m512i; 2]) -> [u32; WIDTH] {
    const HIGH: [u16; 32] = {
        let mut order = [0; 32];
        let mut at = 0;
        while at < 32 {
            order[at] = (2 * at + 1) as u16;
            at += 1;
        }
        order
    };
    // SAFETY: only called where the instruction set is there; all are plain bytes.
    unsafe {
        let order = x86::_mm512_loadu_si512(HIGH.as_ptr().cast());
        std::mem::transmute(x86::_mm512_permutex2var_epi16(first, order, second))
    }
}

//! Memory that is written before it is read.

#![expect(
    unsafe_code,
    reason = "memory is handed out before it is written; see `fresh`"
)]

/// Numbers.
///
/// # Safety
/// Every pattern of bits must be one.
pub(crate) unsafe trait AnyBits: Copy {}

// SAFETY: every pattern is a number, or not a number.
unsafe impl AnyBits for f32 {}
// SAFETY: every pattern is a number.
unsafe impl AnyBits for u32 {}

/// Memory for a kernel's result, with anything in it: zeros would be written twice.
#[expect(
    clippy::uninit_vec,
    reason = "every kernel writes each element of its result before anything reads it"
)]
pub(crate) fn fresh<T: AnyBits>(length: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(length);
    // SAFETY: the capacity is there, and any bits are a number; kernels only write it.
    unsafe { values.set_len(length) };
    values
}

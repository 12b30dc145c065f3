//! Memory that is written before it is read.

/// Numbers for which every pattern of bits is one.
pub(crate) trait AnyBits: Copy {}

impl AnyBits for f32 {}
impl AnyBits for u32 {}

/// Memory for a kernel's result, with anything in it: zeros would be written twice.
#[expect(
    unsafe_code,
    clippy::uninit_vec,
    reason = "every kernel writes each element of its result before anything reads it"
)]
pub(crate) fn fresh<T: AnyBits>(length: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(length);
    // SAFETY: the capacity is there, and every pattern of bits is a number; kernels only write it.
    unsafe { values.set_len(length) };
    values
}

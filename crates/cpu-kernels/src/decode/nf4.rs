//! NF4: 64 values as a size and the codes of `QLoRA` (arXiv:2305.14314 §3).

use super::bits::nibble;

/// The codes of NF4: quantiles of a normal variable, scaled to −1…1 (arXiv:2305.14314, appendix E).
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The largest size of a block of NF4.
#[inline(always)]
pub(super) fn nf4_size(bytes: &[u8; 36]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[inline(always)]
pub(super) fn nf4(bytes: &[u8; 36], x: &mut [f32; 64]) {
    let size = nf4_size(bytes);
    for (i, x) in x.iter_mut().enumerate() {
        let q = nibble(&bytes[4 + 16 * (i / 32)..], i % 32);
        *x = size * NF4[usize::from(q)];
    }
}

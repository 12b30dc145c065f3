//! Binaries of kernels, as the driver is given them.

use std::path::Path;

use cudarc::nvrtc::Ptx;

use super::failure::missing;
use crate::Result;

/// A file's binary. The driver reads as many bytes as the head says, so one that is cut short must
/// not reach it.
pub(super) fn image(ordinal: usize, kernels: &Path, file: &str) -> Result<Ptx> {
    let path = kernels.join(format!("{file}.fatbin"));
    let refused = |why: &str| {
        let what = format!(
            "its kernels must be fat binaries, {}: {why}",
            path.display()
        );
        let hint = "install the package for CUDA again, or correct BPEFT_CUDA_KERNELS";
        missing(ordinal, &what, hint)
    };
    let bytes = std::fs::read(&path).map_err(|error| refused(&error.to_string()))?;
    match bytes.first_chunk().and_then(length_of_image) {
        None => Err(refused("it is something else")),
        Some(length) if length > bytes.len() as u64 => Err(refused("it is cut short")),
        Some(_) => Ok(Ptx::from_binary(bytes)),
    }
}

/// Bytes of a fat binary, of its head: magic, version (u16), bytes of the head (u16) and of the
/// rest (u64).
fn length_of_image(head: &[u8; 16]) -> Option<u64> {
    let [m0, m1, m2, m3, _, _, h0, h1, rest @ ..] = *head;
    if [m0, m1, m2, m3] != [0x50, 0xED, 0x55, 0xBA] {
        return None;
    }
    u64::from_le_bytes(rest).checked_add(u16::from_le_bytes([h0, h1]).into())
}

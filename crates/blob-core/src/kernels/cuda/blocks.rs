//! Blocks of stored numbers, decoded for a product; equations in `blocks.cu`.

use cudarc::driver::{CudaSlice, DeviceRepr, PushKernelArg};

use super::Gpu;
use super::pointwise::{NOTHING, a_thread_per};
use crate::Result;
use crate::weights::TensorType;

/// The kernels that decode a type to f32 and to bf16; `None` for numbers that are no blocks.
pub(crate) fn decoders(kind: TensorType) -> Option<[&'static str; 2]> {
    Some(match kind {
        TensorType::F32 | TensorType::F16 | TensorType::Bf16 => return None,
        TensorType::Q4_0 => ["decode_q4_0_f32", "decode_q4_0_bf16"],
        TensorType::Q4_1 => ["decode_q4_1_f32", "decode_q4_1_bf16"],
        TensorType::Q5_0 => ["decode_q5_0_f32", "decode_q5_0_bf16"],
        TensorType::Q5_1 => ["decode_q5_1_f32", "decode_q5_1_bf16"],
        TensorType::Q8_0 => ["decode_q8_0_f32", "decode_q8_0_bf16"],
        TensorType::Q2K => ["decode_q2_k_f32", "decode_q2_k_bf16"],
        TensorType::Q3K => ["decode_q3_k_f32", "decode_q3_k_bf16"],
        TensorType::Q4K => ["decode_q4_k_f32", "decode_q4_k_bf16"],
        TensorType::Q5K => ["decode_q5_k_f32", "decode_q5_k_bf16"],
        TensorType::Q6K => ["decode_q6_k_f32", "decode_q6_k_bf16"],
        TensorType::Nf4 => ["decode_nf4_f32", "decode_nf4_bf16"],
    })
}

/// All values (rows, columns) of blocks in row order, by one of [`decoders`].
pub(super) fn decode<T: DeviceRepr>(
    gpu: Gpu,
    decoder: &'static str,
    stored: &CudaSlice<u8>,
    (rows, columns): (usize, usize),
) -> Result<CudaSlice<T>> {
    let mut values = gpu.empty(rows * columns)?;
    let sizes = [rows, columns].map(|size| size as u32);
    let kernel = gpu.kernel("blocks", decoder)?;
    let mut call = gpu.call(&kernel);
    call.arg(stored).arg(&NOTHING).arg(&mut values);
    call.arg(&sizes[0]).arg(&sizes[1]);
    gpu.run(call, a_thread_per(rows * columns))?;
    Ok(values)
}

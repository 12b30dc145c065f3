//! Stored numbers, decoded for a product or row by row; equations in `blocks.cu`.

use super::memory::{Memory, Number};
use super::pointwise::{NOTHING, a_thread_per};
use super::{Array, Gpu};
use crate::Result;
use crate::kernels::cpu::stored::{StoredMatrix, TensorType};

/// What decodes a type.
enum Decoder {
    /// Numbers that are no blocks: rows of them to f32.
    Rows(&'static str),
    /// Blocks: all of them or rows, to f32 and to bf16.
    Blocks([&'static str; 2]),
}

fn decoder(kind: TensorType) -> Decoder {
    Decoder::Blocks(match kind {
        TensorType::F32 => return Decoder::Rows("decode_f32_f32"),
        TensorType::F16 => return Decoder::Rows("decode_f16_f32"),
        TensorType::Bf16 => return Decoder::Rows("decode_bf16_f32"),
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

/// The kernels that decode a type to f32 and to bf16; `None` for numbers that are no blocks.
pub(crate) fn decoders(kind: TensorType) -> Option<[&'static str; 2]> {
    match decoder(kind) {
        Decoder::Rows(_) => None,
        Decoder::Blocks(both) => Some(both),
    }
}

/// The kernel that decodes rows of any type to f32.
fn row_decoder(kind: TensorType) -> &'static str {
    match decoder(kind) {
        Decoder::Rows(to_f32) | Decoder::Blocks([to_f32, _]) => to_f32,
    }
}

/// A stored matrix (V, d) in a GPU's memory, of which rows are read.
pub struct Table {
    gpu: Gpu,
    stored: Memory<u8>,
    decoder: &'static str,
    shape: (usize, usize),
}

impl Table {
    /// A copy of a stored matrix.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    pub(crate) fn new(gpu: Gpu, stored: &StoredMatrix) -> Result<Self> {
        let copy = gpu.keep::<u8>(&stored.in_order())?;
        Ok(Self {
            gpu,
            stored: copy,
            decoder: row_decoder(stored.kind()),
            shape: (stored.rows(), stored.columns()),
        })
    }

    /// (V, d)
    pub(crate) fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Where it is.
    pub(crate) fn gpu(&self) -> Gpu {
        self.gpu
    }

    /// Bytes in the GPU's memory.
    pub(crate) fn bytes(&self) -> usize {
        self.stored.len()
    }

    /// factor · its rows `ids`, (ids, d).
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn rows(&self, ids: &[u32], factor: f32) -> Result<Array> {
        let (gpu, (_, d)) = (self.gpu, self.shape);
        let named = gpu.words(ids)?;
        let of = Decoded {
            stored: &self.stored,
            ids: Some(&named),
            shape: (ids.len(), d),
            factor,
        };
        Ok(Array::of_kernel(
            gpu,
            of.decoded(gpu, self.decoder)?,
            &[ids.len(), d],
        ))
    }
}

/// All values (rows, columns) of blocks in row order, by one of [`decoders`].
pub(super) fn decode<T: Number>(
    gpu: Gpu,
    decoder: &'static str,
    stored: &Memory<u8>,
    shape: (usize, usize),
) -> Result<Memory<T>> {
    let all = Decoded {
        stored,
        ids: None,
        shape,
        factor: 1.0,
    };
    all.decoded(gpu, decoder)
}

/// What is decoded.
struct Decoded<'a> {
    stored: &'a Memory<u8>,
    /// `None`: all.
    ids: Option<&'a Memory<u32>>,
    /// Of the result.
    shape: (usize, usize),
    factor: f32,
}

impl Decoded<'_> {
    fn decoded<T: Number>(&self, gpu: Gpu, decoder: &'static str) -> Result<Memory<T>> {
        let (rows, columns) = self.shape;
        let mut values = gpu.empty(rows * columns)?;
        let sizes = [rows, columns].map(|size| size as u32);
        let kernel = gpu.kernel("blocks", decoder)?;
        let mut call = gpu.call(&kernel);
        call.arg(self.stored);
        match self.ids {
            Some(ids) => call.arg(ids),
            None => call.arg(&NOTHING),
        };
        call.arg(&mut values).arg(&sizes[0]).arg(&sizes[1]);
        call.arg(&self.factor);
        gpu.run(call, a_thread_per(rows * columns))?;
        Ok(values.written())
    }
}

//! A matrix as its file stores it: bytes, their type, and the order of the rows. Kernels decode
//! what they need of it.

#![expect(
    clippy::inline_always,
    reason = "a row is found inside the loops of kernels that decode it"
)]

mod finite;
mod tensor_type;

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

pub use self::tensor_type::TensorType;
use crate::{InvalidInput, Result};

/// A tensor in row-major order and Hugging Face's orientation, (out, in).
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// Order of the stored rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// As the matrix has them.
    AsStored,
    /// llama.cpp's: within a head, rows of both rotary halves alternate.
    Interleaved {
        /// Rows of a head.
        head_dim: usize,
    },
}

impl RowOrder {
    /// The stored row that becomes row `row`.
    fn stored(self, row: usize) -> usize {
        match self {
            Self::AsStored => row,
            Self::Interleaved { head_dim } => {
                let (head, within) = (row / head_dim, row % head_dim);
                let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
                head * head_dim + 2 * pair + half
            }
        }
    }
}

/// A matrix (rows, columns), row-major, mapped from a file or held in memory.
#[derive(Debug, Clone)]
pub struct StoredMatrix {
    bytes: Bytes,
    kind: TensorType,
    rows: usize,
    columns: usize,
    row_bytes: usize,
    order: RowOrder,
}

#[derive(Debug, Clone)]
enum Bytes {
    Mapped { map: Arc<Mmap>, at: Range<usize> },
    Owned(Arc<[u8]>),
}

impl Bytes {
    #[inline(always)]
    fn get(&self) -> &[u8] {
        match self {
            Self::Mapped { map, at } => &map[at.clone()],
            Self::Owned(bytes) => bytes,
        }
    }
}

impl StoredMatrix {
    /// Part `at` of a file, which must hold exactly (rows, columns) values of `kind`.
    ///
    /// # Errors
    /// `InvalidInput` when it does not.
    pub fn mapped(
        map: Arc<Mmap>,
        at: Range<usize>,
        kind: TensorType,
        (rows, columns): (usize, usize),
        order: RowOrder,
    ) -> Result<Self> {
        let row_bytes = kind.bytes(columns);
        let bytes = row_bytes.and_then(|bytes| bytes.checked_mul(rows));
        match (row_bytes, bytes) {
            (Some(row_bytes), Some(bytes)) if bytes == at.len() && at.end <= map.len() => {
                Ok(Self {
                    bytes: Bytes::Mapped { map, at },
                    kind,
                    rows,
                    columns,
                    row_bytes,
                    order,
                })
            }
            _ => Err(InvalidInput(format!(
                "({rows}, {columns}) values of {} must fill their part of the file, got {} bytes",
                kind.name(),
                at.len()
            ))),
        }
    }

    /// A matrix of `f32` in memory.
    ///
    /// # Errors
    /// `InvalidInput` when the tensor is not a matrix of as many values.
    pub fn from_tensor(tensor: &HostTensor) -> Result<Self> {
        let [rows, columns] = tensor.shape[..] else {
            return Err(InvalidInput(format!(
                "a linear weight must have two dimensions, got {:?}",
                tensor.shape
            )));
        };
        if rows.checked_mul(columns) != Some(tensor.data.len()) {
            return Err(InvalidInput(format!(
                "a weight must hold n·k = {rows}·{columns} values, got {}",
                tensor.data.len()
            )));
        }
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        Ok(Self {
            bytes: Bytes::Owned(bytes.into()),
            kind: TensorType::F32,
            rows,
            columns,
            row_bytes: 4 * columns,
            order: RowOrder::AsStored,
        })
    }

    /// A matrix in memory whose `bytes` hold (rows, columns) values of `kind`.
    ///
    /// # Errors
    /// `InvalidInput` when they do not.
    pub fn owned(
        bytes: Vec<u8>,
        kind: TensorType,
        (rows, columns): (usize, usize),
    ) -> Result<Self> {
        let row_bytes = kind.bytes(columns).unwrap_or_default();
        if row_bytes.checked_mul(rows) != Some(bytes.len()) {
            return Err(InvalidInput(format!(
                "({rows}, {columns}) values of {} must fill their bytes, got {}",
                kind.name(),
                bytes.len()
            )));
        }
        Ok(Self {
            bytes: Bytes::Owned(bytes.into()),
            kind,
            rows,
            columns,
            row_bytes,
            order: RowOrder::AsStored,
        })
    }

    /// The name of the stored type.
    pub fn type_name(&self) -> &'static str {
        self.kind.name()
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes as stored.
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes
    }

    /// How its numbers are stored.
    #[inline(always)]
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// All bytes, row after row.
    pub fn in_order(&self) -> std::borrow::Cow<'_, [u8]> {
        if self.order == RowOrder::AsStored {
            return self.bytes.get().into();
        }
        let mut bytes = Vec::with_capacity(self.bytes());
        for row in 0..self.rows {
            bytes.extend_from_slice(self.row_bytes(row));
        }
        bytes.into()
    }

    /// The bytes of a row, which are whole blocks.
    #[inline(always)]
    pub(crate) fn row_bytes(&self, row: usize) -> &[u8] {
        let start = self.order.stored(row) * self.row_bytes;
        &self.bytes.get()[start..start + self.row_bytes]
    }
}

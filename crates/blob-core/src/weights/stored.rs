//! A matrix as its file stores it; rows are brought to `f32` when they are needed.

#![expect(
    clippy::inline_always,
    reason = "decoding takes on an instruction set only where it is inlined into a kernel"
)]

use std::ops::Range;
use std::sync::Arc;

use memmap2::Mmap;

use super::dequantize::{Runs, TensorType};
use super::{HostTensor, RowOrder};
use crate::kernels::cpu::prefetch;
use crate::kernels::cpu::simd::{self, Kernel, Level};
use crate::{Error, Result};

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
    /// `BPEFT_INVALID_INPUT` when it does not.
    pub(super) fn mapped(
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
            _ => Err(Error::InvalidInput(format!(
                "({rows}, {columns}) values of {} must fill their part of the file, got {} bytes",
                kind.name(),
                at.len()
            ))),
        }
    }

    /// A matrix of `f32` in memory.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the tensor is not a matrix of as many values.
    pub fn from_tensor(tensor: &HostTensor) -> Result<Self> {
        let [rows, columns] = tensor.shape[..] else {
            return Err(Error::InvalidInput(format!(
                "a linear weight must have two dimensions, got {:?}",
                tensor.shape
            )));
        };
        if rows.checked_mul(columns) != Some(tensor.data.len()) {
            return Err(Error::InvalidInput(format!(
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
    /// `BPEFT_INVALID_INPUT` when they do not.
    pub(super) fn owned(
        bytes: Vec<u8>,
        kind: TensorType,
        (rows, columns): (usize, usize),
    ) -> Result<Self> {
        let row_bytes = kind.bytes(columns).unwrap_or_default();
        if row_bytes.checked_mul(rows) != Some(bytes.len()) {
            return Err(Error::InvalidInput(format!(
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

    /// Values of one block of the stored type; rows can be decoded from its multiples.
    pub(crate) fn block(&self) -> usize {
        self.kind.block().0
    }

    /// The columns from `from` on of as many rows, from row `first`, as `values` holds rows of `stride`; of each the
    /// first `width`. The range begins at a block and ends at one, or at the end of the row.
    #[inline(always)]
    pub(crate) fn decode<L: Level>(
        &self,
        (first, from): (usize, usize),
        values: &mut [f32],
        (stride, width): (usize, usize),
    ) {
        let (per_block, block_bytes) = self.kind.block();
        let skipped = from / per_block * block_bytes;
        let length = width / per_block * block_bytes;
        let rows = values
            .chunks_exact_mut(stride)
            .enumerate()
            .map(|(index, values)| {
                let bytes = self.row_bytes(first + index);
                (&bytes[skipped..skipped + length], &mut values[..width])
            });
        self.kind.dequantize::<L>(rows);
    }

    /// Whether rows can be read as [`Runs`].
    pub(crate) fn has_runs(&self) -> bool {
        self.kind.has_runs()
    }

    /// The runs of a row.
    #[inline(always)]
    pub(crate) fn runs(&self, row: usize) -> Runs<'_> {
        self.kind.runs(self.row_bytes(row))
    }

    /// Asks for the bytes of the columns from `from` on, `width` of them, of a row that will be read soon; any place is fine.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: usize, from: usize, width: usize) {
        if row < self.rows && from < self.columns {
            let (per_block, block_bytes) = self.kind.block();
            let bytes = &self.row_bytes(row)[from / per_block * block_bytes..];
            let length = bytes.len().min(width.div_ceil(per_block) * block_bytes);
            prefetch::read(&bytes[..length]);
        }
    }

    #[inline(always)]
    fn row_bytes(&self, row: usize) -> &[u8] {
        let start = self.order.stored(row) * self.row_bytes;
        &self.bytes.get()[start..start + self.row_bytes]
    }

    /// A whole row.
    pub fn row(&self, row: usize, values: &mut [f32]) {
        simd::run(DecodeRow {
            matrix: self,
            row,
            values,
        });
    }
}

struct DecodeRow<'a> {
    matrix: &'a StoredMatrix,
    row: usize,
    values: &'a mut [f32],
}

impl Kernel for DecodeRow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Level>(self) {
        let width = self.values.len();
        self.matrix
            .decode::<L>((self.row, 0), self.values, (width, width));
    }
}

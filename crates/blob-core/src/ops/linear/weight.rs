//! One frozen matrix: its stored bytes and how to multiply by them, on its device.

use candle_core as candle;

use crate::kernels::cpu::gemm::FrozenMatrix;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Gpu, blocks::decoders, product::Matrix};
use crate::ops::{Device, Implementation, Operation, Precision};
use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// W (m, k).
pub struct Weight {
    device: Device,
    precision: Precision,
    held: Held,
}

enum Held {
    Cpu(FrozenMatrix),
    /// Its values on the GPU, (m, k), and the type that they are stored in.
    #[cfg(feature = "cuda")]
    Cuda(Matrix, &'static str),
    /// The stored matrix and its values, (m, k).
    Reference(StoredMatrix, candle::Tensor),
}

impl Held {
    fn by_reference(stored: StoredMatrix) -> Result<Self> {
        let values = values(&stored)?;
        Ok(Self::Reference(stored, values))
    }

    /// Of blocks on the GPU itself, where they lie as they are stored.
    #[cfg(feature = "cuda")]
    fn on(gpu: Gpu, stored: &StoredMatrix, precision: Precision) -> Result<Self> {
        let shape = (stored.rows(), stored.columns());
        let is_f32 = precision == Precision::F32;
        let matrix = if let Some(decoders) = decoders(stored.kind()) {
            Matrix::of_blocks(gpu, &stored.in_order(), decoders, shape, is_f32)?
        } else {
            let values: Vec<f32> = values(stored)?.flatten_all()?.to_vec1()?;
            Matrix::new(gpu, &values, shape, is_f32)?
        };
        Ok(Self::Cuda(matrix, stored.type_name()))
    }
}

impl Weight {
    /// Takes W as it is stored.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when it has no row or column, or more than the precision can sum.
    pub fn new(stored: StoredMatrix, precision: Precision, device: Device) -> Result<Self> {
        let held = match device.implementation(Operation::Linear) {
            Implementation::CpuKernel => Held::Cpu(FrozenMatrix::new(stored, precision)?),
            #[cfg(feature = "cuda")]
            Implementation::CudaKernel(gpu) => match precision {
                Precision::F32 | Precision::Bf16 => Held::on(gpu, &stored, precision)?,
                Precision::Int8 | Precision::Int8Mixed => Held::by_reference(stored)?,
            },
            Implementation::Reference => Held::by_reference(stored)?,
        };
        Ok(Self {
            device,
            precision,
            held,
        })
    }

    /// m
    pub fn rows(&self) -> usize {
        match &self.held {
            Held::Cpu(matrix) => matrix.rows(),
            #[cfg(feature = "cuda")]
            Held::Cuda(matrix, _) => matrix.shape().0,
            Held::Reference(stored, _) => stored.rows(),
        }
    }

    /// k
    pub fn columns(&self) -> usize {
        match &self.held {
            Held::Cpu(matrix) => matrix.columns(),
            #[cfg(feature = "cuda")]
            Held::Cuda(matrix, _) => matrix.shape().1,
            Held::Reference(stored, _) => stored.columns(),
        }
    }

    /// What products round their operands to.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The name of the type that it is stored in.
    pub fn type_name(&self) -> &'static str {
        match &self.held {
            Held::Cpu(matrix) => matrix.type_name(),
            #[cfg(feature = "cuda")]
            Held::Cuda(_, name) => name,
            Held::Reference(stored, _) => stored.type_name(),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match &self.held {
            Held::Cpu(matrix) => matrix.bytes(),
            #[cfg(feature = "cuda")]
            Held::Cuda(matrix, _) => matrix.bytes(),
            Held::Reference(stored, values) => stored.bytes() + 4 * values.elem_count(),
        }
    }

    /// What runs an operation on it.
    pub fn implementation(&self, operation: Operation) -> Implementation {
        if let Held::Reference(..) = self.held {
            return Implementation::Reference;
        }
        self.device.implementation(operation)
    }

    /// As kernels of the CPU take it.
    pub(in crate::ops) fn cpu(&self) -> Result<&FrozenMatrix> {
        if let Held::Cpu(matrix) = &self.held {
            return Ok(matrix);
        }
        Err(self.elsewhere("cpu"))
    }

    /// As references take it, (m, k).
    pub(in crate::ops) fn reference(&self) -> Result<&candle::Tensor> {
        if let Held::Reference(_, values) = &self.held {
            return Ok(values);
        }
        Err(self.elsewhere("reference"))
    }

    /// The GPU whose products with it read rows in bf16.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn rounds_on(&self) -> Option<Gpu> {
        match &self.held {
            Held::Cuda(matrix, _) if matrix.is_bf16() => Some(matrix.gpu()),
            _ => None,
        }
    }

    /// As kernels of a GPU take it.
    #[cfg(feature = "cuda")]
    pub(in crate::ops) fn cuda(&self) -> Result<&Matrix> {
        if let Held::Cuda(matrix, _) = &self.held {
            return Ok(matrix);
        }
        Err(self.elsewhere("cuda"))
    }

    fn elsewhere(&self, expected: &str) -> Error {
        Error::InvalidInput(format!(
            "weights of one operation must lie on one device, {expected}, got {}",
            self.device.name()
        ))
    }
}

/// Of several weights, as kernels of the CPU take them.
pub(in crate::ops) fn frozen<'a>(
    weights: impl IntoIterator<Item = &'a Weight>,
) -> Result<Vec<&'a FrozenMatrix>> {
    weights.into_iter().map(Weight::cpu).collect()
}

/// All values of a stored matrix, (m, k).
pub(in crate::ops) fn values(stored: &StoredMatrix) -> Result<candle::Tensor> {
    let (m, k) = (stored.rows(), stored.columns());
    let mut values = vec![0.0; m * k];
    for (row, values) in values.chunks_exact_mut(k.max(1)).enumerate() {
        stored.row(row, values);
    }
    Ok(candle::Tensor::from_vec(
        values,
        (m, k),
        &candle::Device::Cpu,
    )?)
}

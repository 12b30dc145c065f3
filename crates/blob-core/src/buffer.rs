//! `f32` state that is updated in place: factors, moments, gradients.
//!
//! Tensors never change; a buffer is what does. The parameters of a whole adapter lie in one
//! ([`crate::adapter::Layout`]), so that an update is one run over values, and a norm one
//! reduction. Values lie where they were changed last; the other side gets a copy when it first
//! reads them, which serves until the next change.

use std::sync::OnceLock;

use crate::Result;
#[cfg(feature = "cuda")]
use crate::kernels::cuda::{Array, Gpu};

/// A flat run of `f32` values.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    len: usize,
    /// Where they are on neither side, all values are 0.
    host: OnceLock<Vec<f32>>,
    #[cfg(feature = "cuda")]
    device: OnceLock<Array>,
}

impl Buffer {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            len,
            ..Self::default()
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values, in the host's memory: those that a lost GPU took with it are NaN, and
    /// [`Self::fetch`] says so.
    pub fn host(&self) -> &[f32] {
        self.host.get_or_init(|| {
            let values = self.elsewhere();
            values.unwrap_or_else(|_| vec![f32::NAN; self.len])
        })
    }

    /// [`Self::host`], to be changed.
    pub fn host_mut(&mut self) -> &mut [f32] {
        self.host();
        #[cfg(feature = "cuda")]
        {
            self.device = OnceLock::new();
        }
        self.host.get_mut().map_or(&mut [], Vec::as_mut_slice)
    }

    /// Brings the values into the host's memory; waits for what changes them.
    ///
    /// # Errors
    /// `BPEFT_DEVICE` when the GPU that had them is lost.
    pub fn fetch(&self) -> Result<()> {
        if self.host.get().is_none() {
            let values = self.elsewhere()?;
            self.host.get_or_init(|| values);
        }
        Ok(())
    }

    /// The values, when the host has none.
    #[cfg_attr(
        not(feature = "cuda"),
        expect(clippy::unnecessary_wraps, reason = "a copy from a GPU can fail")
    )]
    fn elsewhere(&self) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if let Some(device) = self.device.get() {
            return device.read();
        }
        Ok(vec![0.0; self.len])
    }

    /// The values, in a GPU's memory.
    ///
    /// # Errors
    /// `BPEFT_OUT_OF_MEMORY`, `BPEFT_DEVICE`.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(&self, gpu: Gpu) -> Result<Array> {
        match self.device.get() {
            Some(device) if device.gpu() == gpu => Ok(device.clone()),
            Some(_) => Array::of_values(gpu, self.host()), // models on two GPUs ask in turn
            None => {
                let device = match self.host.get() {
                    Some(values) => Array::of_values(gpu, values)?,
                    None => Array::zeros(gpu, self.len)?,
                };
                Ok(self.device.get_or_init(|| device).clone())
            }
        }
    }

    /// [`Self::on`], to be changed.
    ///
    /// # Errors
    /// As [`Self::on`].
    #[cfg(feature = "cuda")]
    pub(crate) fn change_on(&mut self, gpu: Gpu) -> Result<&mut Array> {
        let device = self.on(gpu)?;
        drop(self.device.take());
        self.device.get_or_init(|| device);
        self.host = OnceLock::new();
        self.device
            .get_mut()
            .ok_or_else(|| crate::Error::InvalidInput("a buffer must have values".into()))
    }
}

/// Values that kernels made.
#[cfg(feature = "cuda")]
impl From<Array> for Buffer {
    fn from(values: Array) -> Self {
        Self {
            len: values.len(),
            host: OnceLock::new(),
            device: OnceLock::from(values),
        }
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Self {
        Self {
            len: values.len(),
            host: OnceLock::from(values),
            #[cfg(feature = "cuda")]
            device: OnceLock::new(),
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.host() == other.host()
    }
}

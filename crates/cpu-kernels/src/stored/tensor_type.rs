//! How the numbers of a tensor are stored: as they are, or in blocks of quantised ones.

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Four bits; a scale for 32 values.
    Q4_0,
    /// Four bits; a scale and a minimum for 32 values.
    Q4_1,
    /// Five bits; a scale for 32 values.
    Q5_0,
    /// Five bits; a scale and a minimum for 32 values.
    Q5_1,
    /// Eight bits; a scale for 32 values.
    Q8_0,
    /// Two bits; a scale and a minimum for 256 values, and smaller ones for 16 of them.
    Q2K,
    /// Three bits; a scale for 256 values, and smaller ones for 16 of them.
    Q3K,
    /// Four bits; a scale and a minimum for 256 values, and smaller ones for 32 of them.
    Q4K,
    /// Five bits; a scale and a minimum for 256 values, and smaller ones for 32 of them.
    Q5K,
    /// Six bits; a scale for 256 values, and smaller ones for 16 of them.
    Q6K,
    /// Four bits that name quantiles of a normal variable; a scale for 64 values.
    Nf4,
}

impl TensorType {
    /// Its name: ggml's, or NF4.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::Nf4 => "NF4",
        }
    }

    /// Values and bytes of one block.
    #[expect(clippy::inline_always, reason = "asked inside the loops that decode")]
    #[inline(always)]
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
            Self::Nf4 => (64, 36),
        }
    }

    /// Bytes of `values` numbers; `None` when they are no whole blocks or overflow.
    pub fn bytes(self, values: usize) -> Option<usize> {
        let (per_block, block_bytes) = self.block();
        values
            .is_multiple_of(per_block)
            .then(|| (values / per_block).checked_mul(block_bytes))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_block_has_no_size() {
        assert_eq!(TensorType::Q4_1.bytes(64), Some(40));
        assert_eq!(TensorType::Q4_1.bytes(65), None);
        assert_eq!(TensorType::F32.bytes(usize::MAX), None);
    }
}

//! How the numbers of a tensor are stored: as they are, or in blocks of quantised ones.

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Nf4,
}

/// Type codes of GGUF that the engine doesn't read, for the error message.
const UNREAD_GGML_TYPES: [(u32, &str); 20] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

impl TensorType {
    /// Every type of files, for messages.
    pub(crate) const SUPPORTED: &str =
        "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

    /// The type with GGUF's `code`, or the name of a type that the engine doesn't read.
    pub(crate) fn from_ggml(code: u32) -> Result<Self, String> {
        Ok(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => {
                let known = UNREAD_GGML_TYPES.iter().find(|(other, _)| *other == code);
                return Err(known.map_or_else(
                    || format!("ggml type {code}"),
                    |(_, name)| (*name).to_owned(),
                ));
            }
        })
    }

    /// Its name: ggml's, or NF4.
    pub(crate) fn name(self) -> &'static str {
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
    pub(crate) fn block(self) -> (usize, usize) {
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
    pub(crate) fn bytes(self, values: usize) -> Option<usize> {
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

    #[test]
    fn types_that_are_not_read_are_named() {
        assert_eq!(TensorType::from_ggml(23), Err("IQ4_XS".to_owned()));
        assert_eq!(TensorType::from_ggml(777), Err("ggml type 777".to_owned()));
    }
}

//! GGUF's codes of tensor types.

use super::TensorType;

/// Every type of files, for messages.
pub(super) const SUPPORTED: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

/// The type with GGUF's `code`, or the name of a type that the engine doesn't read.
pub(super) fn from_ggml(code: u32) -> Result<TensorType, String> {
    Ok(match code {
        0 => TensorType::F32,
        1 => TensorType::F16,
        2 => TensorType::Q4_0,
        3 => TensorType::Q4_1,
        6 => TensorType::Q5_0,
        7 => TensorType::Q5_1,
        8 => TensorType::Q8_0,
        10 => TensorType::Q2K,
        11 => TensorType::Q3K,
        12 => TensorType::Q4K,
        13 => TensorType::Q5K,
        14 => TensorType::Q6K,
        30 => TensorType::Bf16,
        _ => {
            let known = UNREAD_GGML_TYPES.iter().find(|(other, _)| *other == code);
            return Err(known.map_or_else(
                || format!("ggml type {code}"),
                |(_, name)| (*name).to_owned(),
            ));
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_are_not_read_are_named() {
        assert_eq!(from_ggml(23), Err("IQ4_XS".to_owned()));
        assert_eq!(from_ggml(777), Err("ggml type 777".to_owned()));
    }
}

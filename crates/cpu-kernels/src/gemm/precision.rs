//! What a product is asked for: how it rounds, and which way it goes.

/// What the operands of a product are rounded to; sums are `f32` in each case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Precision {
    /// Operands as they are.
    F32,
    /// Operands rounded to bfloat16, to nearest, ties to even.
    Bf16,
    /// Forward: operands rounded to eight bits, one scale per row. Backward: bf16.
    Int8,
    /// The same with inputs of at least 6 left as they are.
    Int8Mixed,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::Int8, Self::Int8Mixed];

    /// "f32", "bf16", "int8" or "int8-mixed".
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int8Mixed => "int8-mixed",
        }
    }

    /// Whether forward products run in eight bits.
    pub(super) fn is_int8(self) -> bool {
        matches!(self, Self::Int8 | Self::Int8Mixed)
    }
}

/// Which way a product goes through the weight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// (m, k) → (m, n)
    Forward,
    /// (m, n) → (m, k)
    Backward,
}

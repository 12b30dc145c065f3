//! The kinds of an adapter's parameters: what there is of each at a site.

use crate::listed::listed;

listed! {
    /// What a parameter is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Factor {
        /// `A`, or its mean `M`; (r, k).
        A,
        /// `B`, (m, r).
        B,
        /// ρ of a Gaussian `A`, (r, k).
        Rho,
        /// ρ of a Gaussian `B`, (m, r).
        RhoB,
        /// ln μ of Gaussian scales of the rows of `A`, (1, r).
        Scale,
        /// Their ρ, (1, r).
        RhoScale,
        /// W₁ of the network of a context, (H, r).
        ContextIn,
        /// Its b₁, (1, H).
        ContextInBias,
        /// Its W₂, (2r², H).
        ContextOut,
        /// Its b₂, (1, 2r²).
        ContextOutBias,
        /// `W` of a layer of the adapter's own, (m, k).
        Weight,
        /// Its `b`, (1, m).
        Bias,
    }
}

/// What a factor is a part of.
#[derive(PartialEq, Eq)]
enum FactorKind {
    /// `A` and `B`.
    LowRank,
    /// Their ρ.
    Rho,
    /// What a term has beside these.
    Beside,
    /// A layer of the adapter's own.
    Own,
}

impl Factor {
    fn kind(self) -> FactorKind {
        match self {
            Self::A | Self::B => FactorKind::LowRank,
            Self::Rho | Self::RhoB => FactorKind::Rho,
            Self::Scale
            | Self::RhoScale
            | Self::ContextIn
            | Self::ContextInBias
            | Self::ContextOut
            | Self::ContextOutBias => FactorKind::Beside,
            Self::Weight | Self::Bias => FactorKind::Own,
        }
    }

    fn all_where(is_wanted: fn(Self) -> bool) -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(move |&factor| is_wanted(factor))
    }

    /// Those of a low-rank term, in the order of the layout.
    pub fn of_terms() -> impl Iterator<Item = Self> {
        Self::all_where(|factor| !factor.is_own())
    }

    /// Of them those that are neither `A` nor `B`, nor a ρ of these.
    pub fn beside() -> impl Iterator<Item = Self> {
        Self::all_where(Self::is_beside)
    }

    /// Those of a layer of the adapter's own.
    pub fn own() -> impl Iterator<Item = Self> {
        Self::all_where(Self::is_own)
    }

    /// What saved states call it; PEFT's names are made of these.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "lora_A",
            Self::B => "lora_B",
            Self::Rho => "lora_A_rho",
            Self::RhoB => "lora_B_rho",
            Self::Scale => "lora_A_scale",
            Self::RhoScale => "lora_A_scale_rho",
            Self::ContextIn => "lora_E_in",
            Self::ContextInBias => "lora_E_in_bias",
            Self::ContextOut => "lora_E_out",
            Self::ContextOutBias => "lora_E_out_bias",
            Self::Weight => "weight",
            Self::Bias => "bias",
        }
    }

    /// Whether it is a matrix of a low-rank term.
    pub fn is_low_rank(self) -> bool {
        self.kind() == FactorKind::LowRank
    }

    /// Whether a term has it beside `A`, `B` and their ρ.
    pub fn is_beside(self) -> bool {
        self.kind() == FactorKind::Beside
    }

    /// Whether it is of a layer of the adapter's own.
    pub fn is_own(self) -> bool {
        self.kind() == FactorKind::Own
    }

    /// Whether files hold it without its one row.
    pub fn is_vector(self) -> bool {
        match self {
            Self::Scale
            | Self::RhoScale
            | Self::ContextInBias
            | Self::ContextOutBias
            | Self::Bias => true,
            Self::A
            | Self::B
            | Self::Rho
            | Self::RhoB
            | Self::ContextIn
            | Self::ContextOut
            | Self::Weight => false,
        }
    }
}

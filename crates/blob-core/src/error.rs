//! What can go wrong, as data, with a code that stays stable across releases.
//!
//! Every text has the same order: subject, rule, value received. [`Error::hint`] says what to do.

use std::path::PathBuf;

use crate::kernels::cpu::InvalidInput;

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;

/// One variant per failure that a caller can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration value breaks its rule; `BPEFT_INVALID_CONFIG`.
    #[error("{field} {rule}, got {value}")]
    InvalidConfig {
        /// Name of the field, in `snake_case`.
        field: &'static str,
        /// The rule, as a verb phrase ("must be positive").
        rule: &'static str,
        /// The value received.
        value: String,
    },
    /// The curvature of a Laplace fit would take more memory than it may; `BPEFT_INVALID_CONFIG`.
    #[error("{0}")]
    CurvatureTooLarge(String),
    /// A batch, a tensor or a row handed to the engine breaks its contract; `BPEFT_INVALID_INPUT`.
    #[error("{0}")]
    InvalidInput(String),
    /// A file does not exist or cannot be read or written; `BPEFT_IO`.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A model file is missing; `BPEFT_MODEL_NOT_FOUND`.
    #[error("no model at {}: {reason}", path.display())]
    ModelNotFound {
        /// Where it was looked for.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A model file is truncated, another file, or contradicts itself; `BPEFT_MODEL_CORRUPT`.
    #[error("{}: {reason}", path.display())]
    ModelCorrupt {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks, with the values.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A well-formed model uses something the engine does not know; `BPEFT_UNSUPPORTED`.
    #[error("{what} {value:?} is not supported; supported: {supported}")]
    Unsupported {
        /// What it is ("architecture", "tensor type", "tokenizer").
        what: &'static str,
        /// The name found in the file.
        value: String,
        /// What the engine knows.
        supported: String,
    },
    /// An adapter's folder holds another file in the place of its tensors; `BPEFT_ADAPTER`.
    #[error("{}: {reason}", path.display())]
    NotAnAdapter {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// An adapter file does not fit the model or the format; `BPEFT_ADAPTER`.
    #[error("{}: {reason}", path.display())]
    Adapter {
        /// The file or folder.
        path: PathBuf,
        /// The rule that it breaks, with the values.
        reason: String,
    },
    /// A saved training state does not fit; `BPEFT_CHECKPOINT`.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The rule that it breaks, with the values.
        reason: String,
    },
    /// The loss, or a value on the way to it, is NaN or infinite; `BPEFT_NOT_FINITE`.
    #[error("{}{what} is not finite (first seen in {layer})", of_step(*step))]
    NotFinite {
        /// The update, counted from 1; 0 = outside of training.
        step: u64,
        /// "loss", "gradient", "a parameter" or "a value".
        what: &'static str,
        /// The first layer or tensor whose values were not finite.
        layer: String,
    },
    /// A model file holds a weight, or a scale of weights, that is NaN or infinite;
    /// `BPEFT_NOT_FINITE`.
    #[error("{}: {tensor} must be finite, got NaN or infinity in row {row}", path.display())]
    WeightNotFinite {
        /// The file or folder.
        path: PathBuf,
        /// The first tensor that is not finite, by its Hugging Face name.
        tensor: String,
        /// Its first such row, from 0.
        row: usize,
    },
    /// A device, or what it needs, is missing, too old or has failed; `BPEFT_DEVICE`.
    #[error("{device}: {what}")]
    Device {
        /// As options name it.
        device: String,
        /// What is missing, or what its driver reported.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A device's memory does not hold what was asked for; `BPEFT_OUT_OF_MEMORY`.
    #[error("{device}: the memory is full: {}", room(*asked, *free, *total))]
    OutOfMemory {
        /// As options name it.
        device: String,
        /// Bytes that were asked for; 0 where a library asked.
        asked: usize,
        /// Bytes that were free.
        free: usize,
        /// Bytes of the device.
        total: usize,
    },
    /// Processes that train together do not meet, or are not of one run; `BPEFT_RANKS`.
    #[error("{0}")]
    Ranks(String, &'static str),
    /// Another of the processes that train together has ended, or is silent; `BPEFT_RANK_LOST`.
    #[error("rank {rank} is lost: {what}")]
    RankLost {
        /// Which of them.
        rank: usize,
        /// How that was seen.
        what: String,
    },
    /// What stopped another of the processes that train together, by its own code.
    #[error("{message}")]
    OfRank {
        /// One of [`Self::CODES`].
        code: &'static str,
        /// Which of them, and what it said.
        message: String,
    },
    /// The caller aborted the work; `BPEFT_ABORTED`.
    #[error("aborted")]
    Aborted,
    /// The model was disposed or its worker stopped; `BPEFT_WORKER_STOPPED`.
    #[error("the model's worker has stopped: {0}")]
    WorkerStopped(String),
    /// A failure of the tensor layer, which callers cannot act on; `BPEFT_INTERNAL`.
    #[error("internal tensor error: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl From<InvalidInput> for Error {
    fn from(InvalidInput(text): InvalidInput) -> Self {
        Self::InvalidInput(text)
    }
}

impl Error {
    /// Every stable code.
    pub const CODES: &'static [&'static str] = &[
        "BPEFT_INVALID_CONFIG",
        "BPEFT_INVALID_INPUT",
        "BPEFT_IO",
        "BPEFT_MODEL_NOT_FOUND",
        "BPEFT_MODEL_CORRUPT",
        "BPEFT_UNSUPPORTED",
        "BPEFT_ADAPTER",
        "BPEFT_CHECKPOINT",
        "BPEFT_NOT_FINITE",
        "BPEFT_DEVICE",
        "BPEFT_OUT_OF_MEMORY",
        "BPEFT_RANKS",
        "BPEFT_RANK_LOST",
        "BPEFT_ABORTED",
        "BPEFT_WORKER_STOPPED",
        "BPEFT_INTERNAL",
    ];

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidConfig { .. } | Self::CurvatureTooLarge(_) => "BPEFT_INVALID_CONFIG",
            Self::InvalidInput(_) => "BPEFT_INVALID_INPUT",
            Self::Io { .. } => "BPEFT_IO",
            Self::ModelNotFound { .. } => "BPEFT_MODEL_NOT_FOUND",
            Self::ModelCorrupt { .. } => "BPEFT_MODEL_CORRUPT",
            Self::Unsupported { .. } => "BPEFT_UNSUPPORTED",
            Self::Adapter { .. } | Self::NotAnAdapter { .. } => "BPEFT_ADAPTER",
            Self::Checkpoint { .. } => "BPEFT_CHECKPOINT",
            Self::NotFinite { .. } | Self::WeightNotFinite { .. } => "BPEFT_NOT_FINITE",
            Self::Device { .. } => "BPEFT_DEVICE",
            Self::OutOfMemory { .. } => "BPEFT_OUT_OF_MEMORY",
            Self::Ranks(..) => "BPEFT_RANKS",
            Self::RankLost { .. } => "BPEFT_RANK_LOST",
            Self::OfRank { code, .. } => code,
            Self::Aborted => "BPEFT_ABORTED",
            Self::WorkerStopped(_) => "BPEFT_WORKER_STOPPED",
            Self::Tensor(_) => "BPEFT_INTERNAL",
        }
    }

    /// What to do about it; empty where the message says it all.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InvalidConfig { .. } | Self::InvalidInput(_) | Self::Aborted => "",
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "the disk is full: free some space and run again with --resume"
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "check the path; a folder that was copied may lack this file"
            }
            Self::Io { .. } => "check that you may read and write it",
            Self::CurvatureTooLarge(_) => {
                "lower --curvature-rank, raise --curvature-memory (MiB), or take fewer layers by \
                 --stochastic-layers last:K"
            }
            Self::ModelNotFound { hint, .. }
            | Self::ModelCorrupt { hint, .. }
            | Self::NotAnAdapter { hint, .. }
            | Self::Device { hint, .. }
            | Self::Ranks(_, hint) => hint,
            Self::RankLost { .. } => {
                "see what that process wrote last; start all ranks again with --resume"
            }
            Self::OfRank { .. } => "see what that rank wrote",
            Self::OutOfMemory { .. } => {
                "take a smaller --batch-size or --eval-batch-size, --quantize the model, see by \
                 nvidia-smi who else uses the GPU, or take --device cpu"
            }
            Self::Unsupported { .. } => "convert the model, or open an issue that names this value",
            Self::Adapter { .. } => {
                "use the adapter with the model it was trained on, and its folder whole"
            }
            Self::Checkpoint { .. } => {
                "resume with the flags of the first run, or start over with --overwrite"
            }
            Self::WeightNotFinite { .. } => {
                "the file was damaged or written so: take the original's, and compare their hashes"
            }
            Self::NotFinite { step: 0, .. } => {
                "the model or the adapter makes such values of this input: leave the \
                 adapter out to see which"
            }
            Self::NotFinite { step: 1, what, .. } if *what != "a parameter" => {
                "nothing is trained yet, so no rate is the cause: the model or --init-adapter \
                 makes such values"
            }
            Self::NotFinite { .. } => {
                "lower --lr or --kl-lr; checkpoints written before are intact"
            }
            Self::WorkerStopped(_) => "load the model again",
            Self::Tensor(_) => {
                "this is a bug in bpeft: please report it with the command that led here"
            }
        }
    }

    /// What stopped another rank, by the code that it gave.
    #[must_use]
    pub fn of_rank(rank: usize, code: &str, message: &str) -> Self {
        let known = Self::CODES.iter().find(|known| **known == code);
        Self::OfRank {
            code: known.copied().unwrap_or("BPEFT_RANKS"),
            message: format!("rank {rank}: {message}"),
        }
    }

    /// Whether a NaN or an infinity was met in a computation.
    pub(crate) fn is_not_finite(&self) -> bool {
        matches!(self, Self::NotFinite { .. })
    }

    /// Wraps an I/O error with the path it is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn room(asked: usize, free: usize, total: usize) -> String {
    if total == 0 {
        return "not even the driver's own part of it is free".into();
    }
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    let asked = match asked {
        0 => "more was asked for".to_owned(),
        bytes => format!("{} MiB were asked for", mib(bytes)),
    };
    format!("{asked}, {} of {} MiB were free", free >> 20, mib(total))
}

fn of_step(step: u64) -> String {
    if step == 0 {
        String::new()
    } else {
        format!("step {step}: ")
    }
}

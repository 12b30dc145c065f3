//! How byte-level BPE models cut a text into words before merging: GGUF's `tokenizer.ggml.pre`.
//!
//! The patterns are those of llama.cpp's table, each applied to the pieces that the one before
//! left. What no pattern matches is a piece too, so a trailing `|\s+` is left out where it changes
//! nothing.

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";

/// The rules that go with one `tokenizer.ggml.pre`.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreTokenizer {
    patterns: &'static [&'static str],
    /// Whether texts are brought to NFC first.
    composes: bool,
    /// Whether a word that is a token is taken whole, whatever its merges say.
    pub(super) ignores_merges: bool,
    /// Whether BOS is put before a text when the file doesn't say.
    pub(super) adds_bos: bool,
}

impl PreTokenizer {
    /// The names that [`Self::named`] knows.
    pub(super) const SUPPORTED: &str = "default, gpt-2, smollm, starcoder, llama-bpe, llama3, \
        llama-v3, falcon3, smaug-bpe, dbrx, qwen2, stablelm2, tekken, deepseek-coder";

    pub(super) fn named(name: &str) -> Option<Self> {
        let plain = |patterns| Self {
            patterns,
            composes: false,
            ignores_merges: false,
            adds_bos: false,
        };
        let words = |patterns| Self {
            ignores_merges: true,
            adds_bos: true,
            ..plain(patterns)
        };
        Some(match name {
            "default" => plain(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
            "gpt-2" => plain(&[GPT2]),
            "smollm" | "starcoder" => plain(&[DIGIT, GPT2]),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => words(&[LLAMA3]),
            "tekken" => words(&[TEKKEN]),
            "smaug-bpe" | "dbrx" => plain(&[LLAMA3]),
            "stablelm2" => plain(&[QWEN2]),
            // llama.cpp doesn't normalise; the original tokenizer does
            "qwen2" => Self {
                composes: true,
                ..plain(&[QWEN2])
            },
            "deepseek-coder" => plain(&[
                r"[\r\n]",
                r"\s?\p{L}+",
                r"\s?\p{P}+",
                "[一-龥ࠀ-一가-\u{d7ff}]+",
                DIGIT,
            ]),
            _ => return None,
        })
    }

    /// The pipeline around `model`: normaliser, these patterns, bytes to the letters of byte-level
    /// BPE.
    pub(super) fn pipeline(self, model: BPE) -> tokenizers::Result<tokenizers::Tokenizer> {
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for pattern in self.patterns {
            let pattern = SplitPattern::Regex((*pattern).to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
        }
        steps.push(ByteLevel::new(false, false, false).into());
        let mut pipeline = tokenizers::Tokenizer::new(model);
        if self.composes {
            pipeline.with_normalizer(Some(NFC))?;
        }
        pipeline.with_pre_tokenizer(Some(Sequence::new(steps)));
        pipeline.with_decoder(Some(ByteLevel::new(false, false, false)));
        Ok(pipeline)
    }
}

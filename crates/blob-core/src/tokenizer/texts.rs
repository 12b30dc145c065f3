//! One text or two as an encoder reads them: special tokens around and between, cut to a length.
//!
//! Cut longest first: tokens go from the end of whichever text is longer, as `tokenizers` and
//! transformers do it (`truncation="longest_first"`).

use rayon::prelude::*;
use tokenizers::PostProcessor;
use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy, truncate_encodings};

use super::{Engine, Tokenizer, not_encodable};
use crate::{Error, Result};

/// A text, and the second of a pair.
pub type Texts = (String, Option<String>);

/// The tokens of one or two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedTexts {
    /// Special tokens included.
    pub ids: Vec<u32>,
    /// Which text each token belongs to, as the model was trained to see it; of RoBERTa's 0
    /// throughout.
    pub type_ids: Vec<u32>,
    /// Whether something was cut.
    pub truncated: bool,
}

impl Tokenizer {
    /// The tokens of `texts`, at most `max_length` with the special ones.
    ///
    /// # Errors
    /// `BPEFT_UNSUPPORTED` for a tokenizer that puts nothing around or between texts;
    /// `BPEFT_INVALID_INPUT` when `max_length` has no room for a token of each text, a second text
    /// is empty, or a text holds a token that the model has no row for.
    pub fn encode_texts(
        &self,
        first: &str,
        second: Option<&str>,
        max_length: usize,
    ) -> Result<EncodedTexts> {
        let Engine::HuggingFace(pipeline) = &self.engine else {
            return Err(Self::without_separator());
        };
        let is_pair = second.is_some();
        let processor = pipeline.get_post_processor();
        let special = processor.map_or(0, |processor| processor.added_tokens(is_pair));
        if special < 1 + usize::from(is_pair) {
            return Err(Self::without_separator());
        }
        let texts = 1 + usize::from(is_pair);
        if max_length < special + texts {
            return Err(Error::InvalidInput(format!(
                "a length must have room for {special} special tokens and {texts} more, got \
                 {max_length}"
            )));
        }
        if second.is_some_and(|second| second.trim().is_empty()) {
            return Err(Error::InvalidInput(
                "the second text of a pair must not be empty; leave it out if there is none".into(),
            ));
        }
        let encode = |text: &str| pipeline.encode(text, false).map_err(not_encodable);
        let (first_tokens, second_tokens) = (encode(first)?, second.map(encode).transpose()?);
        let length = |second: Option<&tokenizers::Encoding>, first: &tokenizers::Encoding| {
            first.len() + second.map_or(0, tokenizers::Encoding::len)
        };
        let whole = length(second_tokens.as_ref(), &first_tokens);
        let params = TruncationParams {
            max_length: max_length - special,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        let (first_tokens, second_tokens) =
            truncate_encodings(first_tokens, second_tokens, &params).map_err(not_encodable)?;
        let truncated = length(second_tokens.as_ref(), &first_tokens) < whole;
        let encoded = pipeline
            .post_process(first_tokens, second_tokens, true)
            .map_err(not_encodable)?;
        if let Some(id) = encoded.get_ids().iter().find(|id| !self.has_row(**id)) {
            return Err(self.without_row(first, *id));
        }
        Ok(EncodedTexts {
            ids: encoded.get_ids().to_vec(),
            type_ids: encoded.get_type_ids().to_vec(),
            truncated,
        })
    }

    /// [`Self::encode_texts`] for each, in parallel.
    ///
    /// # Errors
    /// As for one.
    pub fn encode_texts_batch(
        &self,
        texts: &[Texts],
        max_length: usize,
    ) -> Result<Vec<EncodedTexts>> {
        let encode =
            |(first, second): &Texts| self.encode_texts(first, second.as_deref(), max_length);
        texts.par_iter().map(encode).collect()
    }

    fn without_separator() -> Error {
        Error::Unsupported {
            what: "tokenizer of an encoder",
            value: "one that puts no special token before a text or between two".into(),
            supported: "a tokenizer.json whose post_processor gives [CLS] A [SEP] B [SEP]".into(),
        }
    }
}

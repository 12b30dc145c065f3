//! Text to token ids, from `tokenizer.json` or from GGUF metadata.
//!
//! Nothing is padded or truncated here: a row is as long as its text. "Special tokens" means what
//! the model's own rule puts before a text: BOS where the rule says so, otherwise nothing. What it
//! puts behind a text, such as EOS, is left out: the answer of a prompt is read where the text goes
//! on.
//!
//! Codes: `BPEFT_MODEL_NOT_FOUND` (no file), `BPEFT_MODEL_CORRUPT` (a vocabulary that contradicts
//! itself), `BPEFT_UNSUPPORTED` (an unknown tokenizer), `BPEFT_INVALID_INPUT` (ids without a
//! token).

mod gguf;
mod hugging_face;
mod pre_tokenizer;
mod sentencepiece;
mod texts;

use std::path::Path;

use rayon::prelude::*;

use self::sentencepiece::SentencePiece;
pub use self::texts::{EncodedTexts, Texts};
use crate::weights::{Checkpoint, TokenizerSource};
use crate::{Error, Result};

const BYTES_BOS: u32 = 256;
const BYTES_EOS: u32 = 257;

/// A tokenizer; cheap to use from many threads.
#[derive(Debug)]
pub struct Tokenizer {
    engine: Engine,
    kind: String,
    vocab_size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    /// What is put before a text: BOS, or nothing.
    opening: Vec<u32>,
    is_llama_class: bool,
    /// Rows of the model's embedding, where they are known.
    rows: Option<usize>,
}

#[derive(Debug)]
enum Engine {
    /// The pipeline of a `tokenizer.json`.
    HuggingFace(Box<tokenizers::Tokenizer>),
    /// Byte-level BPE put together from GGUF metadata.
    ByteLevel(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
    Bytes,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; its neighbours `tokenizer_config.json` and `config.json` say which
    /// tokens begin and end a text.
    pub fn from_file(tokenizer_json: &Path) -> Result<Self> {
        hugging_face::open(tokenizer_json)
    }

    /// A model's: `tokenizer.json` of its folder, or what the metadata of its GGUF file describe.
    pub fn of(model: &Checkpoint) -> Result<Self> {
        match model.tokenizer_source() {
            TokenizerSource::File(tokenizer_json) => Self::from_file(&tokenizer_json),
            TokenizerSource::Metadata(metadata) => gguf::build(metadata),
        }
    }

    /// The tokenizer of the built-in random model: ids 0 to 255 are the bytes of UTF-8 text, 256 is
    /// BOS (put before every text), 257 is EOS.
    pub fn bytes() -> Self {
        Self {
            engine: Engine::Bytes,
            kind: "bytes".to_owned(),
            vocab_size: 258,
            bos: Some(BYTES_BOS),
            eos: Some(BYTES_EOS),
            opening: vec![BYTES_BOS],
            is_llama_class: false,
            rows: None,
        }
    }

    /// The tokenizer of a model with `rows` tokens, which may know more: padding that was added
    /// later. Only a text that holds such a token is refused.
    #[must_use]
    pub fn for_rows(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }

    /// Token ids of `text`. Special tokens written out in the text are recognised either way.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when the text holds a token that the model has no row for.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let mut ids = if add_special_tokens {
            self.opening.clone()
        } else {
            Vec::new()
        };
        match &self.engine {
            Engine::HuggingFace(pipeline) | Engine::ByteLevel(pipeline) => {
                let encoded = pipeline.encode_fast(text, false).map_err(not_encodable)?;
                ids.extend_from_slice(encoded.get_ids());
            }
            Engine::SentencePiece(model) => model.encode(text, &mut ids),
            Engine::Bytes => ids.extend(text.bytes().map(u32::from)),
        }
        match ids.iter().find(|id| !self.has_row(**id)) {
            Some(id) => Err(self.without_row(text, *id)),
            None => Ok(ids),
        }
    }

    fn has_row(&self, id: u32) -> bool {
        self.rows.is_none_or(|rows| (id as usize) < rows)
    }

    fn without_row(&self, text: &str, id: u32) -> Error {
        const SHOWN: usize = 80;
        let token = match &self.engine {
            Engine::HuggingFace(pipeline) | Engine::ByteLevel(pipeline) => pipeline.id_to_token(id),
            _ => None,
        };
        let token = token.map_or_else(|| format!("token {id}"), |token| format!("{token:?}"));
        let beginning: String = text.chars().take(SHOWN).collect();
        let rows = self.rows.unwrap_or_default();
        Error::InvalidInput(format!(
            "a text must hold tokens of the model, which has {rows}, got {token} (id {id}) in the \
             one that begins {beginning:?}; take it out of the text"
        ))
    }

    /// [`encode`](Self::encode) for each text, in parallel; the results do not depend on the number
    /// of threads.
    pub fn encode_batch(
        &self,
        texts: &[String],
        add_special_tokens: bool,
    ) -> Result<Vec<Vec<u32>>> {
        texts
            .par_iter()
            .map(|text| self.encode(text, add_special_tokens))
            .collect()
    }

    /// The text of `ids`, without special tokens; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let unknown = |id: u32| {
            let size = self.vocab_size;
            Error::InvalidInput(format!(
                "token ids must name one of {size} tokens, got {id}"
            ))
        };
        match &self.engine {
            Engine::HuggingFace(pipeline) | Engine::ByteLevel(pipeline) => {
                if let Some(id) = ids.iter().find(|id| pipeline.id_to_token(**id).is_none()) {
                    return Err(unknown(*id));
                }
                pipeline
                    .decode(ids, true)
                    .map_err(|error| Error::InvalidInput(format!("tokens have no text: {error}")))
            }
            Engine::SentencePiece(model) => model.decode(ids).map_err(unknown),
            Engine::Bytes => {
                let mut bytes = Vec::with_capacity(ids.len());
                for id in ids {
                    match u8::try_from(*id) {
                        Ok(byte) => bytes.push(byte),
                        Err(_) if [BYTES_BOS, BYTES_EOS].contains(id) => {}
                        Err(_) => return Err(unknown(*id)),
                    }
                }
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        }
    }

    /// Number of tokens, special ones included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token that begins a text, if the model names one.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text, if the model names one.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.eos
    }

    /// Where it comes from: "tokenizer.json", "gguf:smollm" (byte-level BPE with this
    /// pre-tokenizer), "gguf:llama" (SentencePiece) or "bytes".
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Whether [`encode`](Self::encode) puts BOS before a text when special tokens are asked for.
    pub fn adds_bos(&self) -> bool {
        !self.opening.is_empty()
    }

    /// Whether it is of the kind of Llama 1 and 2: `▁` for spaces, bytes as fall-back. Only for
    /// these does the reference implementation append EOS to a prompt.
    pub fn is_llama_class(&self) -> bool {
        self.is_llama_class
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn not_encodable(error: tokenizers::Error) -> Error {
    Error::InvalidInput(format!("the text cannot be tokenised: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_tokenizer_gives_back_every_text() {
        let tokenizer = Tokenizer::bytes();
        for text in ["", "A) Saturn\nAnswer:", "naïve ☃ 🙂", "\0\u{7f}"] {
            let ids = tokenizer.encode(text, true).unwrap();
            assert_eq!(ids[0], 256);
            assert_eq!(ids.len(), 1 + text.len());
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            assert_eq!(tokenizer.encode(text, false).unwrap(), ids[1..]);
        }
        assert_eq!(tokenizer.vocab_size(), 258);
    }

    #[test]
    fn ids_without_a_token_are_refused() {
        let error = Tokenizer::bytes().decode(&[65, 258]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
        assert!(error.to_string().contains("258"), "{error}");
    }

    #[test]
    fn a_batch_is_its_texts_one_by_one() {
        let tokenizer = Tokenizer::bytes();
        let texts: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        let batch = tokenizer.encode_batch(&texts, true).unwrap();
        for (text, ids) in texts.iter().zip(batch) {
            assert_eq!(tokenizer.encode(text, true).unwrap(), ids);
        }
    }
}

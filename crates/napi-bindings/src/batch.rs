//! Ragged batches as typed arrays.

use blob_core::batch::{Batch, BatchParts};
use napi::bindgen_prelude::{Int32Array, Uint32Array};
use napi_derive::napi;

use crate::error::Result;

/// B prompts one after another, no padding: T tokens, S classes.
#[napi(object)]
pub struct NativeBatch {
    /// Token ids, (T).
    pub ids: Uint32Array,
    /// Prompt b is `ids[offsets[b]..offsets[b+1]]`; (B + 1).
    pub offsets: Uint32Array,
    /// Class tokens of all prompts, (S); for an encoder indices of classes.
    pub answers: Uint32Array,
    /// Classes of prompt b: `answers[answerOffsets[b]..answerOffsets[b+1]]`; (B + 1).
    pub answer_offsets: Uint32Array,
    /// Right class of each prompt within its own, −1 = unknown; (B).
    pub labels: Int32Array,
    /// Identity of each row for the noise, (B).
    pub rows: Uint32Array,
    /// Type of each token, as an encoder reads it, (T); all 0 unless given.
    pub types: Option<Uint32Array>,
}

impl NativeBatch {
    /// Copies the arrays on the JS thread, so that the caller may reuse them at once.
    pub(crate) fn to_batch(&self) -> Result<Batch> {
        let parts = BatchParts {
            ids: self.ids.to_vec(),
            offsets: self.offsets.to_vec(),
            answers: self.answers.to_vec(),
            answer_offsets: self.answer_offsets.to_vec(),
            labels: self.labels.to_vec(),
            rows: self.rows.to_vec(),
        };
        let batch = Batch::new(parts)?;
        Ok(match &self.types {
            Some(types) => batch.with_types(types.to_vec())?,
            None => batch,
        })
    }
}

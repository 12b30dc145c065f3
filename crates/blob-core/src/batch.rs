//! A ragged batch: prompts one after another, no padding, with the classes that compete in each.

use std::borrow::Cow;

use crate::{Error, Result};

/// Checked: every prompt has tokens and at least two classes, every label names one of them.
///
/// `B` prompts, `T` tokens, `S` = Σ classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    ids: Vec<u32>,
    offsets: Vec<u32>,
    answers: Vec<u32>,
    answer_offsets: Vec<u32>,
    labels: Vec<i32>,
    rows: Vec<u32>,
    types: Vec<u32>,
}

/// The parts of a [`Batch`], as callers hand them over.
#[derive(Debug, Clone, Default)]
pub struct BatchParts {
    /// Token ids, (T).
    pub ids: Vec<u32>,
    /// Prompt b is `ids[offsets[b]..offsets[b+1]]`; (B + 1).
    pub offsets: Vec<u32>,
    /// Class tokens of all prompts, (S); for an encoder indices of classes.
    pub answers: Vec<u32>,
    /// Classes of prompt b: `answers[answer_offsets[b]..answer_offsets[b+1]]`; (B + 1).
    pub answer_offsets: Vec<u32>,
    /// Index of the right class of each prompt, −1 = unknown; (B).
    pub labels: Vec<i32>,
    /// Identity of each row for the noise, (B).
    pub rows: Vec<u32>,
}

impl Batch {
    /// Checks the parts against each other.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` naming the part and the prompt.
    pub fn new(parts: BatchParts) -> Result<Self> {
        let BatchParts {
            ids,
            offsets,
            answers,
            answer_offsets,
            labels,
            rows,
        } = parts;
        let prompts = labels.len();
        if prompts == 0 {
            return Err(Error::InvalidInput(
                "a batch must hold at least one prompt, got 0".into(),
            ));
        }
        if rows.len() != prompts {
            return Err(Error::InvalidInput(format!(
                "rows must have one entry per label, got {} for {prompts}",
                rows.len()
            )));
        }
        check_offsets("offsets", &offsets, prompts, ids.len(), 1)?;
        check_offsets("answer_offsets", &answer_offsets, prompts, answers.len(), 2)?;
        for (prompt, &label) in labels.iter().enumerate() {
            let classes = answer_offsets[prompt + 1] - answer_offsets[prompt];
            if label < -1 || i64::from(label) >= i64::from(classes) {
                return Err(Error::InvalidInput(format!(
                    "label of prompt {prompt} must be -1 or one of its {classes} classes, \
                     got {label}"
                )));
            }
        }
        Ok(Self {
            types: vec![0; ids.len()],
            ids,
            offsets,
            answers,
            answer_offsets,
            labels,
            rows,
        })
    }

    /// The batch with the type of each token, as an encoder reads it; 0 unless given.
    ///
    /// # Errors
    /// `BPEFT_INVALID_INPUT` when there is not one per token.
    pub fn with_types(self, types: Vec<u32>) -> Result<Self> {
        if types.len() == self.ids.len() {
            return Ok(Self { types, ..self });
        }
        Err(Error::InvalidInput(format!(
            "types must have one entry per token, got {} for {}",
            types.len(),
            self.ids.len()
        )))
    }

    /// The prompts of all batches, one after another.
    pub fn joined(batches: &[Self]) -> Cow<'_, Self> {
        if let [batch] = batches {
            return Cow::Borrowed(batch);
        }
        let mut all = Self {
            ids: Vec::new(),
            offsets: vec![0],
            answers: Vec::new(),
            answer_offsets: vec![0],
            labels: Vec::new(),
            rows: Vec::new(),
            types: Vec::new(),
        };
        for batch in batches {
            let tokens = all.ids.len() as u32;
            let classes = all.answers.len() as u32;
            let moved = |offsets: &[u32], by: u32| -> Vec<u32> {
                offsets[1..].iter().map(|offset| offset + by).collect()
            };
            all.offsets.extend(moved(&batch.offsets, tokens));
            let answer_offsets = moved(&batch.answer_offsets, classes);
            all.answer_offsets.extend(answer_offsets);
            all.ids.extend(&batch.ids);
            all.answers.extend(&batch.answers);
            all.labels.extend(&batch.labels);
            all.rows.extend(&batch.rows);
            all.types.extend(&batch.types);
        }
        Cow::Owned(all)
    }

    /// Number of prompts, B; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Token ids, (T).
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Bounds of the prompts, (B + 1).
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// Class tokens of all prompts, or indices of classes, (S).
    pub fn answers(&self) -> &[u32] {
        &self.answers
    }

    /// Bounds of the prompts' classes, (B + 1).
    pub fn answer_offsets(&self) -> &[u32] {
        &self.answer_offsets
    }

    /// Right classes, −1 = unknown, (B).
    pub fn labels(&self) -> &[i32] {
        &self.labels
    }

    /// Identities for the noise, (B).
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Types of the tokens, (T).
    pub fn types(&self) -> &[u32] {
        &self.types
    }

    /// The token ids of prompt `b`.
    pub fn prompt(&self, b: usize) -> &[u32] {
        &self.ids[self.offsets[b] as usize..self.offsets[b + 1] as usize]
    }
}

fn check_offsets(
    name: &str,
    offsets: &[u32],
    prompts: usize,
    total: usize,
    least: u32,
) -> Result<()> {
    if offsets.len() != prompts + 1 || offsets[0] != 0 || offsets[prompts] as usize != total {
        return Err(Error::InvalidInput(format!(
            "{name} must be {} bounds from 0 to {total}, got {} from {:?} to {:?}",
            prompts + 1,
            offsets.len(),
            offsets.first(),
            offsets.last()
        )));
    }
    match offsets
        .windows(2)
        .position(|pair| pair[1] < pair[0].saturating_add(least))
    {
        Some(prompt) => Err(Error::InvalidInput(format!(
            "{name} must grow by at least {least} per prompt, got {} then {} at prompt {prompt}",
            offsets[prompt],
            offsets[prompt + 1]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> BatchParts {
        BatchParts {
            ids: vec![1, 2, 3],
            offsets: vec![0, 2, 3],
            answers: vec![7, 8, 7, 8, 9],
            answer_offsets: vec![0, 2, 5],
            labels: vec![1, -1],
            rows: vec![0, 1],
        }
    }

    #[test]
    fn keeps_each_prompt_apart() {
        let batch = Batch::new(parts()).unwrap();
        assert_eq!(
            (batch.len(), batch.prompt(0), batch.prompt(1)),
            (2, &[1, 2][..], &[3][..])
        );
    }

    #[test]
    fn types_are_one_per_token_and_stay_with_it() {
        let batch = Batch::new(parts()).unwrap();
        assert_eq!(batch.types(), [0, 0, 0]);
        let typed = batch.clone().with_types(vec![0, 1, 1]).unwrap();
        let both = [batch.clone(), typed];
        assert_eq!(Batch::joined(&both).types(), [0, 0, 0, 0, 1, 1]);
        let error = batch.with_types(vec![0]).unwrap_err();
        assert_eq!(error.code(), "BPEFT_INVALID_INPUT");
    }

    #[test]
    fn refuses_parts_that_contradict_each_other() {
        for (part, broken) in [
            (
                "labels",
                BatchParts {
                    labels: vec![2, 0],
                    ..parts()
                },
            ),
            (
                "labels",
                BatchParts {
                    labels: vec![-2, 0],
                    ..parts()
                },
            ),
            (
                "empty",
                BatchParts {
                    labels: vec![],
                    ..parts()
                },
            ),
            (
                "rows",
                BatchParts {
                    rows: vec![0],
                    ..parts()
                },
            ),
            (
                "empty prompt",
                BatchParts {
                    offsets: vec![0, 3, 3],
                    ..parts()
                },
            ),
            (
                "past the end",
                BatchParts {
                    offsets: vec![0, 2, 9],
                    ..parts()
                },
            ),
            (
                "falling",
                BatchParts {
                    offsets: vec![0, 4, 3],
                    ..parts()
                },
            ),
            (
                "one class",
                BatchParts {
                    answer_offsets: vec![0, 1, 5],
                    ..parts()
                },
            ),
            (
                "no offsets",
                BatchParts {
                    offsets: vec![],
                    ..parts()
                },
            ),
        ] {
            let error = Batch::new(broken).unwrap_err();
            assert_eq!(error.code(), "BPEFT_INVALID_INPUT", "{part}: {error}");
        }
    }
}

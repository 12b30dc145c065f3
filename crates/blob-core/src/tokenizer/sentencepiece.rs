//! SentencePiece's BPE, as in Llama 1 and 2 and Mistral (Kudo & Richardson 2018, arXiv:1808.06226).
//!
//! Spaces become `▁`, with one put before the text. From single characters on, the adjacent pair
//! whose union is the best-scored token is joined, the leftmost among equals, until none is left; a
//! character that is no token is spelled in bytes. Scores rank tokens, not pairs, so this is not
//! the BPE of ranked merges: where two pairs join to the same token, place decides.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

const SPACE: char = '▁';

/// One token, by what it does.
#[derive(Debug)]
pub(super) enum Piece {
    Normal {
        text: String,
        score: f32,
    },
    Byte(u8),
    /// Found in a text before anything else, without a text of its own.
    Control(String),
    /// Found in a text before anything else.
    UserDefined(String),
}

#[derive(Debug)]
pub(super) struct SentencePiece {
    pieces: Vec<Piece>,
    /// Normal pieces: id and score.
    normal: HashMap<String, (u32, f32)>,
    /// Control and user-defined pieces by their first byte, longest first.
    marks: HashMap<u8, Vec<u32>>,
    /// Token of each byte, or the unknown token.
    bytes: Box<[u32; 256]>,
    /// Whether a space is put before a text.
    prefix: bool,
}

/// A stretch of the text that is one token so far, in a doubly linked list.
struct Symbol {
    start: usize,
    end: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// Two neighbours whose union is a token.
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the union; a mismatch shows that a neighbour has been joined meanwhile.
    len: usize,
}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        let scores = self.score.partial_cmp(&other.score); // NaN was refused on reading
        scores
            .unwrap_or(Ordering::Equal)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Merge {}

impl SentencePiece {
    /// `None` when a byte has neither a token of its own nor an unknown token.
    pub(super) fn new(pieces: Vec<Piece>, unknown: Option<u32>, prefix: bool) -> Option<Self> {
        let mut normal = HashMap::new();
        let mut marks: HashMap<u8, Vec<u32>> = HashMap::new();
        let mut bytes = [unknown; 256];
        for (piece, id) in pieces.iter().zip(0..) {
            match piece {
                Piece::Normal { text, score } => {
                    normal.insert(text.clone(), (id, *score));
                }
                Piece::Byte(byte) => bytes[usize::from(*byte)] = Some(id),
                Piece::Control(text) | Piece::UserDefined(text) => {
                    if let Some(first) = text.bytes().next() {
                        marks.entry(first).or_default().push(id);
                    }
                }
            }
        }
        let len = |id: &u32| pieces[*id as usize].mark().len();
        for marks in marks.values_mut() {
            marks.sort_by_key(|id| std::cmp::Reverse(len(id)));
        }
        let mut byte_ids = Box::new([0; 256]);
        for (id, byte) in byte_ids.iter_mut().zip(bytes) {
            *id = byte?;
        }
        Some(Self {
            pieces,
            normal,
            marks,
            bytes: byte_ids,
            prefix,
        })
    }

    /// Appends the tokens of `text` to `ids`.
    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let mut start = 0;
        let mut at = 0;
        while at < text.len() {
            if let Some((id, len)) = self.mark_at(text, at) {
                self.encode_plain(&text[start..at], ids);
                ids.push(id);
                at += len;
                start = at;
            } else {
                at += 1;
            }
        }
        self.encode_plain(&text[start..], ids);
    }

    /// The longest control or user-defined token at byte `at`.
    fn mark_at(&self, text: &str, at: usize) -> Option<(u32, usize)> {
        let rest = &text.as_bytes()[at..];
        let marks = self.marks.get(rest.first()?)?;
        let found = marks.iter().find(|id| {
            let mark = self.pieces[**id as usize].mark();
            rest.starts_with(mark.as_bytes())
        })?;
        Some((*found, self.pieces[*found as usize].mark().len()))
    }

    /// Tokens of a stretch without control or user-defined tokens.
    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let mut spaced = String::with_capacity(text.len() + SPACE.len_utf8());
        if self.prefix {
            spaced.push(SPACE);
        }
        spaced.extend(
            text.chars()
                .map(|char| if char == ' ' { SPACE } else { char }),
        );
        for symbol in self.join(&spaced) {
            let text = &spaced[symbol];
            match self.normal.get(text) {
                Some((id, _)) => ids.push(*id),
                None => ids.extend(text.bytes().map(|byte| self.bytes[usize::from(byte)])),
            }
        }
    }

    /// Joins characters to tokens; the byte ranges of the result.
    fn join(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        let mut symbols: Vec<Symbol> = (text.char_indices().enumerate())
            .map(|(index, (start, char))| Symbol {
                start,
                end: start + char.len_utf8(),
                before: index.checked_sub(1),
                after: Some(index + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.after = None;
        }
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() {
            queue.extend(self.merge(text, &symbols, Some(right - 1), Some(right)));
        }
        while let Some(Merge {
            left, right, len, ..
        }) = queue.pop()
        {
            let is_current = symbols[left].after == Some(right)
                && symbols[right].end - symbols[left].start == len;
            if !is_current {
                continue;
            }
            let after = symbols[right].after;
            symbols[left].end = symbols[right].end;
            symbols[left].after = after;
            symbols[right].after = None;
            symbols[right].end = symbols[right].start; // gone
            if let Some(after) = after {
                symbols[after].before = Some(left);
            }
            queue.extend(self.merge(text, &symbols, symbols[left].before, Some(left)));
            queue.extend(self.merge(text, &symbols, Some(left), after));
        }
        let mut ranges = Vec::new();
        let mut next = (!symbols.is_empty()).then_some(0);
        while let Some(symbol) = next.map(|index| &symbols[index]) {
            ranges.push(symbol.start..symbol.end);
            next = symbol.after;
        }
        ranges
    }

    fn merge(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
    ) -> Option<Merge> {
        let (left, right) = (left?, right?);
        let union = &text[symbols[left].start..symbols[right].end];
        let (_, score) = self.normal.get(union)?;
        Some(Merge {
            score: *score,
            left,
            right,
            len: union.len(),
        })
    }

    /// The text of `ids`, without control tokens and the space that was put before it.
    ///
    /// # Errors
    /// The first id without a token.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, u32> {
        let mut bytes = Vec::new();
        for id in ids {
            match self.pieces.get(*id as usize).ok_or(*id)? {
                Piece::Normal { text, .. } => {
                    bytes.extend(text.replace(SPACE, " ").into_bytes());
                }
                Piece::UserDefined(text) => bytes.extend(text.bytes()),
                Piece::Byte(byte) => bytes.push(*byte),
                Piece::Control(_) => {}
            }
        }
        let text = match bytes.strip_prefix(b" ") {
            Some(rest) if self.prefix => rest,
            _ => &bytes,
        };
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

impl Piece {
    /// Text of a control or user-defined token.
    fn mark(&self) -> &str {
        match self {
            Self::Control(text) | Self::UserDefined(text) => text,
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(words: &[(&str, f32)], prefix: bool) -> SentencePiece {
        let mut pieces = vec![
            Piece::Control("<unk>".to_owned()),
            Piece::Control("<s>".to_owned()),
            Piece::UserDefined("<mark>".to_owned()),
            Piece::UserDefined("<mark>er".to_owned()),
        ];
        pieces.extend((0..=255).map(Piece::Byte));
        pieces.extend(words.iter().map(|(text, score)| Piece::Normal {
            text: (*text).to_owned(),
            score: *score,
        }));
        SentencePiece::new(pieces, Some(0), prefix).unwrap()
    }

    fn encode(model: &SentencePiece, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        model.encode(text, &mut ids);
        ids
    }

    #[test]
    fn the_best_score_is_joined_first_and_the_leftmost_among_equals() {
        let letters = [("a", -9.0), ("b", -9.0), ("c", -9.0)];
        let words = |more: &[(&'static str, f32)]| model(&[&letters, more].concat(), false);
        // 260, 261, 262 are the letters
        let left = words(&[("ab", -1.0), ("bc", -2.0)]);
        assert_eq!(encode(&left, "abc"), [263, 262]);
        let right = words(&[("ab", -2.0), ("bc", -1.0)]);
        assert_eq!(encode(&right, "abc"), [260, 264]);
        let equal = words(&[("aa", -1.0), ("aaa", -2.0)]);
        assert_eq!(encode(&equal, "aaaaa"), [263, 264]); // aa, then aa·a: not a·aa·aa
    }

    #[test]
    fn what_is_no_token_is_spelled_in_bytes() {
        let model = model(&[("▁", -1.0)], true);
        let snowman = [0xe2, 0x98, 0x83].map(|byte: u32| 4 + byte);
        let ids = encode(&model, "☃");
        assert_eq!(ids, [[260].as_slice(), &snowman].concat());
        assert_eq!(model.decode(&ids).unwrap(), "☃");
    }

    #[test]
    fn the_longest_marked_token_is_taken_whole_and_a_space_follows_it() {
        let model = model(&[("▁", -1.0), ("e", -2.0), ("▁e", -0.5)], true);
        assert_eq!(encode(&model, "<s>e<mark>er<mark>"), [1, 262, 3, 2]);
        assert_eq!(model.decode(&[1, 262, 3]).unwrap(), "e<mark>er");
        assert_eq!(encode(&model, ""), [] as [u32; 0]);
    }

    #[test]
    fn decoding_takes_away_only_the_space_that_encoding_put() {
        let model = model(&[("▁", -1.0), ("e", -2.0), ("▁e", -0.5)], true);
        for text in [" e", "e e", "  ", "e "] {
            assert_eq!(model.decode(&encode(&model, text)).unwrap(), text);
        }
        assert_eq!(model.decode(&[9999]), Err(9999));
    }
}

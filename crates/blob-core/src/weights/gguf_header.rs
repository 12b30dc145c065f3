//! The header of a GGUF file (versions 2 and 3, little-endian): metadata and the table of tensors.
//!
//! ```text
//! "GGUF"  version: u32  tensors: u64  pairs: u64
//! pairs × { key: text, type: u32, value }          text = length: u64, UTF-8 bytes
//! tensors × { name: text, n: u32, n × size: u64 (innermost first), type: u32, offset: u64 }
//! padding to general.alignment; tensor data, offsets counted from here
//! ```
//!
//! Texts and arrays stay in the file as checked byte ranges, so a header costs memory in proportion
//! to the keys and tensors that are really there, whatever lengths it claims.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::{corrupt, unsupported};
use crate::Result;

const DEFAULT_ALIGNMENT: usize = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;
const MOST_DIMENSIONS: usize = 4; // ggml's own limit
const DEEPEST_ARRAY: usize = 4;

/// A metadata value; texts and arrays are ranges of the file.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Unsigned(u64),
    Signed(i64),
    Float32(f32),
    Float64(f64),
    Bool(bool),
    Text(Range<usize>),
    Array {
        element: u32,
        len: usize,
        at: Range<usize>,
    },
}

/// One row of the table of tensors.
#[derive(Debug, Clone)]
pub(super) struct TensorInfo {
    pub(super) name: String,
    /// Sizes in Hugging Face order: outermost first.
    pub(super) shape: Vec<usize>,
    /// ggml's type code.
    pub(super) code: u32,
    /// First byte, counted from [`Header::data_start`].
    pub(super) offset: u64,
}

/// The parsed header.
#[derive(Debug)]
pub(crate) struct Header {
    metadata: HashMap<String, Value>,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) data_start: usize,
    pub(super) alignment: usize,
}

/// A header together with the bytes that it points into.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a> {
    pub(crate) header: &'a Header,
    pub(crate) bytes: &'a [u8],
    pub(crate) path: &'a Path,
}

impl Header {
    /// Parses the header at the start of `bytes`, the whole file at `path`.
    ///
    /// # Errors
    /// `BPEFT_MODEL_CORRUPT` for a truncated or contradictory header, `BPEFT_UNSUPPORTED` for
    /// other versions.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut cursor = Cursor { bytes, at: 0, path };
        if cursor.take(4)? != b"GGUF" {
            return Err(corrupt(path, "a GGUF file begins with \"GGUF\""));
        }
        let version = cursor.u32()?;
        if version != 2 && version != 3 {
            let value = if version.swap_bytes() <= 3 {
                "big-endian".to_owned()
            } else {
                version.to_string()
            };
            return Err(unsupported("GGUF version", value, "2, 3 (little-endian)"));
        }
        let (tensor_count, pair_count) = (cursor.u64()?, cursor.u64()?);

        let mut metadata = HashMap::new();
        for _ in 0..pair_count {
            let key = cursor.text()?.to_owned();
            let code = cursor.u32()?;
            let value = cursor.value(code)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(corrupt(path, format!("the key {key:?} occurs twice")));
            }
        }
        let mut tensors = Vec::new();
        for _ in 0..tensor_count {
            tensors.push(cursor.tensor()?);
        }

        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(size)) if size.is_power_of_two() && *size <= LARGEST_ALIGNMENT => {
                *size as usize
            }
            Some(other) => {
                let got = match other {
                    Value::Unsigned(size) => size.to_string(),
                    _ => "another type".to_owned(),
                };
                return Err(corrupt(
                    path,
                    format!("general.alignment must be a power of two up to 2^20, got {got}"),
                ));
            }
        };
        Ok(Self {
            metadata,
            tensors,
            data_start: cursor.at.next_multiple_of(alignment),
            alignment,
        })
    }
}

impl<'a> Metadata<'a> {
    /// The text under `key`.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(Value::Text(at)) => std::str::from_utf8(&self.bytes[at.clone()])
                .map(Some)
                .map_err(|_| self.wrong(key, "UTF-8 text")),
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    /// The non-negative integer under `key`.
    pub(crate) fn count(&self, key: &str) -> Result<Option<usize>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(count)) => usize::try_from(*count)
                .map(Some)
                .map_err(|_| self.wrong(key, "a size")),
            Some(Value::Signed(count)) => usize::try_from(*count)
                .map(Some)
                .map_err(|_| self.wrong(key, "a non-negative integer")),
            Some(_) => Err(self.wrong(key, "an integer")),
        }
    }

    /// The number under `key`. A stored `f32` becomes the decimal that was meant: 1e-5, not
    /// 9.99999975e-6, so that a GGUF copy of a model has exactly the configuration of the original.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        let number = match self.header.metadata.get(key) {
            None => return Ok(None),
            Some(Value::Float32(number)) => {
                (number.to_string().parse()).map_err(|_| self.wrong(key, "a number"))?
            }
            Some(Value::Float64(number)) => *number,
            Some(Value::Unsigned(number)) => *number as f64,
            Some(Value::Signed(number)) => *number as f64,
            Some(_) => return Err(self.wrong(key, "a number")),
        };
        Ok(Some(number))
    }

    /// The truth value under `key`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "a truth value")),
        }
    }

    /// The array of texts under `key`.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>> {
        let Some((mut cursor, len)) = self.array(key, &[TEXT], "an array of texts")? else {
            return Ok(None);
        };
        let texts = (0..len).map(|_| cursor.text());
        texts.collect::<Result<Vec<_>>>().map(Some)
    }

    /// The array of 32-bit floats under `key`.
    pub(crate) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let Some((mut cursor, len)) = self.array(key, &[FLOAT32], "an array of f32")? else {
            return Ok(None);
        };
        let floats = (0..len).map(|_| cursor.u32().map(f32::from_bits));
        floats.collect::<Result<Vec<_>>>().map(Some)
    }

    /// The array of 32-bit integers under `key`, as unsigned numbers.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<Vec<u32>>> {
        let rule = "an array of 32-bit integers";
        let Some((mut cursor, len)) = self.array(key, &[UNSIGNED32, SIGNED32], rule)? else {
            return Ok(None);
        };
        (0..len)
            .map(|_| cursor.u32())
            .collect::<Result<Vec<_>>>()
            .map(Some)
    }

    /// The array of truth values under `key`.
    pub(crate) fn flags(&self, key: &str) -> Result<Option<Vec<bool>>> {
        let Some((mut cursor, len)) = self.array(key, &[BOOL], "an array of truth values")? else {
            return Ok(None);
        };
        let flags = (0..len).map(|_| cursor.flag());
        flags.collect::<Result<Vec<_>>>().map(Some)
    }

    fn array(&self, key: &str, codes: &[u32], rule: &str) -> Result<Option<(Cursor<'a>, usize)>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(Value::Array { element, len, at }) if codes.contains(element) => {
                let cursor = Cursor {
                    bytes: &self.bytes[..at.end],
                    at: at.start,
                    path: self.path,
                };
                Ok(Some((cursor, *len)))
            }
            Some(_) => Err(self.wrong(key, rule)),
        }
    }

    fn wrong(&self, key: &str, rule: &str) -> crate::Error {
        corrupt(self.path, format!("{key} must be {rule}"))
    }
}

const UNSIGNED32: u32 = 4;
const SIGNED32: u32 = 5;
const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// Reads forward and never past the end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    path: &'a Path,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let found = (self.at.checked_add(len)).and_then(|end| self.bytes.get(self.at..end));
        let Some(found) = found else {
            return Err(corrupt(
                self.path,
                format!(
                    "the header needs {len} bytes at byte {}, the file ends at byte {}",
                    self.at,
                    self.bytes.len()
                ),
            ));
        };
        self.at += len;
        Ok(found)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => {
                let rule = "a truth value must be 0 or 1";
                Err(corrupt(self.path, format!("{rule}, got {other}")))
            }
        }
    }

    /// A length or size that has to fit the address space.
    fn size(&mut self) -> Result<usize> {
        let size = self.u64()?;
        usize::try_from(size).map_err(|_| corrupt(self.path, format!("a length of {size} bytes")))
    }

    fn text_range(&mut self) -> Result<Range<usize>> {
        let len = self.size()?;
        self.take(len)?;
        Ok(self.at - len..self.at)
    }

    fn text(&mut self) -> Result<&'a str> {
        let len = self.size()?;
        let start = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|_| corrupt(self.path, format!("the text at byte {start} is not UTF-8")))
    }

    fn value(&mut self, code: u32) -> Result<Value> {
        Ok(match code {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.array()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            UNSIGNED32 => Value::Unsigned(u64::from(self.u32()?)),
            SIGNED32 => Value::Signed(i64::from(self.u32()?.cast_signed())),
            FLOAT32 => Value::Float32(f32::from_bits(self.u32()?)),
            BOOL => Value::Bool(self.flag()?),
            TEXT => Value::Text(self.text_range()?),
            ARRAY => {
                let (element, len) = (self.u32()?, self.size()?);
                let start = self.at;
                self.skip_elements(element, len, 1)?;
                Value::Array {
                    element,
                    len,
                    at: start..self.at,
                }
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(self.u64()?.cast_signed()),
            12 => Value::Float64(f64::from_bits(self.u64()?)),
            _ => return Err(self.unknown_code(code)),
        })
    }

    fn skip_elements(&mut self, element: u32, len: usize, depth: usize) -> Result<()> {
        let size = match element {
            0 | 1 | BOOL => 1,
            2 | 3 => 2,
            UNSIGNED32 | SIGNED32 | FLOAT32 => 4,
            10..=12 => 8,
            TEXT => {
                for _ in 0..len {
                    self.text_range()?;
                }
                return Ok(());
            }
            ARRAY if depth < DEEPEST_ARRAY => {
                for _ in 0..len {
                    let (element, len) = (self.u32()?, self.size()?);
                    self.skip_elements(element, len, depth + 1)?;
                }
                return Ok(());
            }
            _ => return Err(self.unknown_code(element)),
        };
        // a product that overflows is longer than any file
        self.take(len.saturating_mul(size)).map(|_| ())
    }

    fn tensor(&mut self) -> Result<TensorInfo> {
        let name = self.text()?.to_owned();
        let dimensions = self.u32()? as usize;
        if dimensions > MOST_DIMENSIONS {
            return Err(corrupt(
                self.path,
                format!(
                    "{name:?} must have at most {MOST_DIMENSIONS} dimensions, got {dimensions}"
                ),
            ));
        }
        let mut shape = (0..dimensions)
            .map(|_| self.size())
            .collect::<Result<Vec<_>>>()?;
        shape.reverse();
        Ok(TensorInfo {
            name,
            shape,
            code: self.u32()?,
            offset: self.u64()?,
        })
    }

    fn unknown_code(&self, code: u32) -> crate::Error {
        corrupt(
            self.path,
            format!("unknown value type {code} before byte {}", self.at),
        )
    }
}

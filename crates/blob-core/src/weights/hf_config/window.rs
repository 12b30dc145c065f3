//! Which blocks of a decoder have a sliding window, as its `config.json` says.

use std::path::Path;

use super::super::architecture::{
    Architecture, MAX_WINDOW_LAYERS, SLIDING_WINDOW, Windows, all_but_every,
};
use super::super::{corrupt, unsupported};
use super::HfConfig;
use crate::Result;
use crate::backbone::Window;

pub(super) const SLIDING: &str = "sliding_attention";
pub(super) const FULL: &str = "full_attention";
const CHUNKED: &str = "chunked_attention";

/// Up to which length a kind of window hides nothing, and which kind.
pub(super) type Foreign = Option<(usize, String)>;

/// The window and the blocks that have it; and where one begins that is not computed.
pub(super) fn window(
    hf: &HfConfig,
    architecture: &Architecture,
    num_layers: usize,
    path: &Path,
) -> Result<(Option<Window>, Foreign)> {
    let usual = (architecture.windows != Windows::Stated).then_some(SLIDING_WINDOW);
    let size = hf.sliding_window.unwrap_or(usual);
    let types = hf.layer_types.as_deref();
    let mut foreign = None;
    let (size, blocks) = match architecture.windows {
        Windows::None => return Ok((None, None)),
        Windows::Everywhere | Windows::Stated => {
            let others = types.filter(|types| types.iter().any(|kind| kind != SLIDING));
            if let (Some(size), Some(types)) = (size, others) {
                // Which blocks have the window is left open; up to its size it does not matter.
                let (_, chunks) = sliding(types, num_layers, hf.attention_chunk_size, path)?;
                let mixed = (size, "a sliding window in some layers".to_owned());
                return Ok((
                    None,
                    chunks.filter(|chunks| chunks.0 < size).or(Some(mixed)),
                ));
            }
            (size, (0..num_layers).collect())
        }
        Windows::AllButEvery(nth) => {
            let nth = hf.sliding_window_pattern.unwrap_or(nth).max(1);
            let blocks = match types {
                Some(types) => {
                    let (blocks, chunks) =
                        sliding(types, num_layers, hf.attention_chunk_size, path)?;
                    foreign = chunks;
                    blocks
                }
                None => all_but_every(nth, num_layers),
            };
            (size, blocks)
        }
        Windows::ByBlock => {
            let size = size.filter(|_| hf.use_sliding_window == Some(true));
            let first = hf.max_window_layers.unwrap_or(MAX_WINDOW_LAYERS);
            let blocks = match types {
                Some(types) => {
                    let (blocks, chunks) =
                        sliding(types, num_layers, hf.attention_chunk_size, path)?;
                    foreign = chunks;
                    blocks
                }
                None if size.is_some() => (first..num_layers).collect(),
                None => Vec::new(),
            };
            (size, blocks)
        }
    };
    match size {
        _ if blocks.is_empty() => Ok((None, foreign)),
        Some(size) => Ok((Some(Window { size, blocks }), foreign)),
        None if matches!(architecture.windows, Windows::Everywhere | Windows::Stated) => {
            Ok((None, None))
        }
        None => {
            let reason = "layer_types name sliding_attention, but there is no sliding window";
            Err(corrupt(path, reason))
        }
    }
}

/// The blocks whose type is [`SLIDING`]; and the size of chunks, if some attend within chunks.
fn sliding(
    types: &[String],
    num_layers: usize,
    chunk: Option<usize>,
    path: &Path,
) -> Result<(Vec<usize>, Foreign)> {
    if types.len() != num_layers {
        let rule = format!("layer_types must have num_hidden_layers = {num_layers} entries");
        return Err(corrupt(path, format!("{rule}, got {}", types.len())));
    }
    let (mut blocks, mut chunks) = (Vec::new(), None);
    for (block, kind) in types.iter().enumerate() {
        match kind.as_str() {
            SLIDING => blocks.push(block),
            FULL => {}
            CHUNKED if chunk.is_some() => chunks = chunk.map(|size| (size, CHUNKED.to_owned())),
            other => {
                return Err(unsupported(
                    "layer type",
                    other,
                    "full_attention, sliding_attention",
                ));
            }
        }
    }
    Ok((blocks, chunks))
}

//! Text to token ids, from `tokenizer.json` or from GGUF metadata.

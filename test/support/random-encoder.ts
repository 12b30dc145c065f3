/**
 * A folder with a small random RoBERTa in safetensors: tokens are bytes behind four special ones.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { byteTokenizer, safetensors } from './random-model.ts';
import { temporaryFolder } from './temporary-folder.ts';

const [HIDDEN, INNER, LAYERS, HEADS, POSITIONS] = [32, 64, 2, 4, 512];
const SPECIAL = ['<s>', '<pad>', '</s>', '<unk>'] as const;
const VOCABULARY = 256 + SPECIAL.length;

export function randomEncoder(): string {
  const folder = temporaryFolder();
  const config = {
    ...{ architectures: ['RobertaModel'], model_type: 'roberta', hidden_act: 'gelu' },
    ...{ hidden_size: HIDDEN, intermediate_size: INNER, num_hidden_layers: LAYERS },
    ...{
      num_attention_heads: HEADS,
      vocab_size: VOCABULARY,
      type_vocab_size: 1,
      layer_norm_eps: 1e-5,
    },
    ...{
      max_position_embeddings: POSITIONS + 2,
      pad_token_id: 1,
      bos_token_id: 0,
      eos_token_id: 2,
    },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer()));
  writeFileSync(join(folder, 'model.safetensors'), safetensors(shapes()));
  return folder;
}

function tokenizer(): object {
  const bytes = byteTokenizer();
  const vocab: Record<string, number> = Object.fromEntries(SPECIAL.map((text, id) => [text, id]));
  for (const [letter, byte] of Object.entries(bytes.model.vocab))
    vocab[letter] = byte + SPECIAL.length;
  const special = SPECIAL.map((content, id) => ({
    ...{
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    },
  }));
  return {
    ...bytes,
    added_tokens: special,
    post_processor: {
      ...{ type: 'RobertaProcessing', sep: ['</s>', 2], cls: ['<s>', 0] },
      ...{ trim_offsets: true, add_prefix_space: false },
    },
    model: { ...bytes.model, vocab },
  };
}

function shapes(): Map<string, readonly number[]> {
  const all = new Map<string, readonly number[]>([
    ['embeddings.word_embeddings.weight', [VOCABULARY, HIDDEN]],
    ['embeddings.position_embeddings.weight', [POSITIONS + 2, HIDDEN]],
    ['embeddings.token_type_embeddings.weight', [1, HIDDEN]],
    ['embeddings.LayerNorm.weight', [HIDDEN]],
    ['embeddings.LayerNorm.bias', [HIDDEN]],
  ]);
  for (let layer = 0; layer < LAYERS; layer += 1) {
    for (const [name, rows, columns] of [
      ['attention.self.query', HIDDEN, HIDDEN],
      ['attention.self.key', HIDDEN, HIDDEN],
      ['attention.self.value', HIDDEN, HIDDEN],
      ['attention.output.dense', HIDDEN, HIDDEN],
      ['attention.output.LayerNorm', HIDDEN, null],
      ['intermediate.dense', INNER, HIDDEN],
      ['output.dense', HIDDEN, INNER],
      ['output.LayerNorm', HIDDEN, null],
    ] as const) {
      const at = `encoder.layer.${layer}.${name}`;
      all.set(`${at}.weight`, columns === null ? [rows] : [rows, columns]);
      all.set(`${at}.bias`, [rows]);
    }
  }
  return all;
}

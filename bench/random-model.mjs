// node bench/random-model.mjs SHAPE FILE.gguf [--layers L] [--type q4_0|bf16]: a Llama of a known
// shape whose weights are random, to time what no test machine could download. Shapes: tiny, 135m
// (SmolLM2), 1b (Llama 3.2), 7b (Llama 2). The tokenizer knows single bytes.
//
// Every weight has the standard deviation 0.02; levels are uniform, from a fixed seed. Blocks of
// Q4_0 have one scale.

import { closeSync, openSync, renameSync, writeSync } from 'node:fs';
import { parseArgs } from 'node:util';

/** hidden, feed-forward, layers, heads, kv heads, vocabulary, tied head */
const SHAPES = {
  tiny: { d: 64, f: 160, layers: 2, heads: 4, kvHeads: 2, vocab: 512, isTied: true },
  '135m': { d: 576, f: 1536, layers: 30, heads: 9, kvHeads: 3, vocab: 49_152, isTied: true },
  '1b': { d: 2048, f: 8192, layers: 16, heads: 32, kvHeads: 8, vocab: 128_256, isTied: true },
  '7b': { d: 4096, f: 11_008, layers: 32, heads: 32, kvHeads: 32, vocab: 32_000, isTied: false },
};
const ALIGNMENT = 32;
const F32 = { code: 0, values: 1, bytes: 4 };
/** 0.02 over the standard deviation of −8…7, in half precision. */
const SCALE = 0x1c71;
const TYPES = {
  q4_0: {
    ...{ code: 2, values: 32, bytes: 18 },
    finish: (blocks) => {
      for (let at = 0; at < blocks.length; at += 18) blocks.writeUInt16LE(SCALE, at);
    },
  },
  bf16: {
    ...{ code: 30, values: 1, bytes: 2 },
    finish: (blocks) => {
      const value = new Float32Array(1);
      const bits = new Uint32Array(value.buffer);
      for (let at = 0; at < blocks.length; at += 2) {
        value[0] = (blocks.readInt16LE(at) / 32_768) * 0.02 * Math.sqrt(3);
        blocks.writeUInt16LE(bits[0] >>> 16, at);
      }
    },
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { layers: { type: 'string' }, type: { type: 'string', default: 'q4_0' } },
});
const [name, target] = positionals;
const shape = SHAPES[name];
const stored = TYPES[values.type];
if (shape === undefined || target === undefined || stored === undefined) {
  process.stderr.write(
    `usage: node bench/random-model.mjs ${Object.keys(SHAPES).join('|')} FILE.gguf [--layers L]
  [--type ${Object.keys(TYPES).join('|')}]\n`,
  );
  process.exit(2);
}
const layers = Number(values.layers ?? shape.layers);

const u32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const f32 = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};
const text = (value) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const pair = (key, type, ...value) => Buffer.concat([text(key), u32(type), ...value]);
const count = (key, value) => pair(key, 4, u32(value));
const words = (key, list) => pair(key, 9, u32(8), u64(list.length), ...list.map(text));

/** GPT-2's visible characters for the 256 bytes. */
function byteTokens() {
  const isVisible = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let extra = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isVisible(byte) ? byte : extra++),
  );
}

const metadata = [
  pair('general.architecture', 8, text('llama')),
  count('llama.block_count', layers),
  count('llama.embedding_length', shape.d),
  count('llama.feed_forward_length', shape.f),
  count('llama.attention.head_count', shape.heads),
  count('llama.attention.head_count_kv', shape.kvHeads),
  count('llama.context_length', 8192),
  pair('llama.attention.layer_norm_rms_epsilon', 6, f32(1e-5)),
  pair('tokenizer.ggml.model', 8, text('gpt2')),
  pair('tokenizer.ggml.pre', 8, text('gpt-2')),
  words('tokenizer.ggml.tokens', [...byteTokens(), '<|endoftext|>']),
  words('tokenizer.ggml.merges', []),
  count('tokenizer.ggml.eos_token_id', 256),
];

const { d, f } = shape;
const kv = (d / shape.heads) * shape.kvHeads;
const tensors = [
  ['token_embd.weight', [d, shape.vocab], stored],
  ['output_norm.weight', [d], F32],
  ...(shape.isTied ? [] : [['output.weight', [d, shape.vocab], stored]]),
];
for (let layer = 0; layer < layers; layer += 1) {
  const block = (part, ...rest) => [`blk.${layer}.${part}.weight`, ...rest];
  tensors.push(block('attn_norm', [d], F32), block('ffn_norm', [d], F32));
  tensors.push(
    block('attn_q', [d, d], stored),
    block('attn_k', [d, kv], stored),
    block('attn_v', [d, kv], stored),
  );
  tensors.push(
    block('attn_output', [d, d], stored),
    block('ffn_gate', [d, f], stored),
    block('ffn_up', [d, f], stored),
  );
  tensors.push(block('ffn_down', [f, d], stored));
}

const sizeOf = (dims, { values: perBlock, bytes }) =>
  (dims.reduce((all, dim) => all * dim, 1) / perBlock) * bytes;
const aligned = (offset) => Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
let offset = 0;
const infos = tensors.map(([tensor, dims, type]) => {
  const info = Buffer.concat([
    text(tensor),
    u32(dims.length),
    ...dims.map(u64),
    u32(type.code),
    u64(offset),
  ]);
  offset = aligned(offset + sizeOf(dims, type));
  return info;
});
const header = Buffer.concat([
  Buffer.from('GGUF'),
  u32(3),
  u64(tensors.length),
  u64(metadata.length),
  ...metadata,
  ...infos,
]);

/** Some blocks, over and over: a length that no row of any shape divides. */
const blocks = Buffer.alloc(stored.bytes * 262_147);
let state = 1;
for (let at = 0; at < blocks.length; at += 4) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  blocks.writeUInt32LE((state ^ (state >>> 13)) >>> 0, Math.min(at, blocks.length - 4));
}
stored.finish(blocks);

const file = openSync(`${target}.part`, 'w');
let at = 0;
const write = (bytes) => {
  writeSync(file, bytes, 0, bytes.length, at);
  at += bytes.length;
};
write(header);
write(Buffer.alloc(aligned(at) - at));
const start = at;
for (const [, dims, type] of tensors) {
  const size = sizeOf(dims, type);
  if (type === F32) {
    write(Buffer.concat(Array.from({ length: dims[0] }, () => f32(1))));
  } else {
    for (let left = size; left > 0; left -= Math.min(left, blocks.length)) {
      write(blocks.subarray(0, Math.min(left, blocks.length)));
    }
  }
  write(Buffer.alloc(aligned(at - start) - (at - start)));
}
closeSync(file);
renameSync(`${target}.part`, target);
process.stdout.write(`${target}: ${tensors.length} tensors, ${(at / 1e9).toFixed(2)} GB\n`);

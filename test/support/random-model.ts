/** The files of a small random Llama in safetensors, as a repository holds them. */

const [VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS] = [257, 32, 64, 2, 4, 2];

export function randomModel(): Record<string, Buffer | string> {
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: HIDDEN,
    intermediate_size: INNER,
    num_hidden_layers: LAYERS,
    num_attention_heads: HEADS,
    num_key_value_heads: KEY_HEADS,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    tie_word_embeddings: false,
    vocab_size: VOCABULARY,
  };
  return {
    'config.json': JSON.stringify(config),
    'tokenizer.json': JSON.stringify(byteTokenizer()),
    'README.md': '# A random model\n',
    'pytorch_model.bin': 'a pickle that nobody should download',
    'model.safetensors': safetensors(shapes()),
  };
}

function shapes(): Map<string, readonly number[]> {
  const keys = (HIDDEN / HEADS) * KEY_HEADS;
  const all = new Map<string, readonly number[]>([
    ['model.embed_tokens.weight', [VOCABULARY, HIDDEN]],
    ['model.norm.weight', [HIDDEN]],
    ['lm_head.weight', [VOCABULARY, HIDDEN]],
  ]);
  for (let layer = 0; layer < LAYERS; layer += 1) {
    for (const [name, shape] of [
      ['self_attn.q_proj', [HIDDEN, HIDDEN]],
      ['self_attn.k_proj', [keys, HIDDEN]],
      ['self_attn.v_proj', [keys, HIDDEN]],
      ['self_attn.o_proj', [HIDDEN, HIDDEN]],
      ['mlp.gate_proj', [INNER, HIDDEN]],
      ['mlp.up_proj', [INNER, HIDDEN]],
      ['mlp.down_proj', [HIDDEN, INNER]],
      ['input_layernorm', [HIDDEN]],
      ['post_attention_layernorm', [HIDDEN]],
    ] as const) {
      all.set(`model.layers.${layer}.${name}.weight`, shape);
    }
  }
  return all;
}

/** Uniform weights in ±0.1, the same ones each time; norms are 1. */
export function safetensors(tensors: ReadonlyMap<string, readonly number[]>): Buffer {
  let state = 1;
  const draw = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return 0.2 * (state / 2 ** 32) - 0.1;
  };
  const header: Record<string, object> = {};
  const data: Buffer[] = [];
  let at = 0;
  for (const [name, shape] of tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = Float32Array.from({ length: count }, () => (shape.length === 1 ? 1 : draw()));
    header[name] = { dtype: 'F32', shape, data_offsets: [at, at + values.byteLength] };
    data.push(Buffer.from(values.buffer));
    at += values.byteLength;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...data]);
}

/** Byte-level BPE without merges: a token for each byte, under GPT-2's letter for it. */
export function byteTokenizer() {
  const isShown = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  const hidden = bytes.filter((byte) => !isShown(byte));
  const letter = (byte: number) =>
    String.fromCodePoint(isShown(byte) ? byte : 256 + hidden.indexOf(byte));
  const byteLevel = {
    type: 'ByteLevel',
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  };
  return {
    version: '1.0',
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(bytes.map((byte) => [letter(byte), byte])),
      merges: [],
    },
  };
}

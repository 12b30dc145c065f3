/** How the frozen weights are multiplied and kept. */

export const PRECISIONS = ['f32', 'bf16', 'int8', 'int8-mixed'] as const;

/**
 * What the operands of products with frozen weights are rounded to; `bf16` also rounds those inside
 * attention. `int8`: forward in eight bits, back through the rounded weight in bf16; `int8-mixed`:
 * inputs of at least 6 stay as they are (LLM.int8()).
 */
export type Precision = (typeof PRECISIONS)[number];

export const QUANTIZATIONS = ['none', 'q8_0', 'q4_k', 'int8', 'nf4'] as const;

/**
 * What the matrices of the blocks are quantised to where they are stored larger: `q8_0` and `q4_k`
 * are ggml's types, `int8` has one scale per row (LLM.int8()), `nf4` is QLoRA's four bits.
 */
export type Quantization = (typeof QUANTIZATIONS)[number];

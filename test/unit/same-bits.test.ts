import { describe, expect, it } from 'vitest';
import { jsonDifference } from '../../tools/same-bits/compare.mjs';
import { parseTensors, tensorsDifference } from '../../tools/same-bits/tensors.mjs';

/** A safetensors file of f32 vectors, in the order given. */
function file(tensors: Record<string, readonly number[]>): Buffer {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, values] of Object.entries(tensors)) {
    const end = at + 4 * values.length;
    header[name] = { dtype: 'F32', shape: [values.length], data_offsets: [at, end] };
    at = end;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const data = Object.values(tensors).map((values) => Buffer.from(Float32Array.from(values).buffer));
  return Buffer.concat([length, text, ...data]);
}

const difference = (before: Record<string, readonly number[]>, after: Record<string, readonly number[]>) =>
  tensorsDifference(parseTensors(file(before)), parseTensors(file(after)));

describe('tensors', () => {
  it('are the same in another order', () => {
    expect(difference({ a: [1, 2], b: [3] }, { b: [3], a: [1, 2] })).toBeNull();
  });

  it('tell the first name, how many values and by how much', () => {
    expect(difference({ b: [1, 2, 3], a: [0] }, { b: [1, 1.5, 3.25], a: [0] })).toBe(
      'b: 2 of 3 values differ, by at most 0.500',
    );
    expect(difference({ b: [1], a: [1] }, { b: [2], a: [0] })).toBe(
      'a: 1 of 1 values differ, by at most 1.00 (and 1 more tensors)',
    );
  });

  it('differ in bits that numbers do not show', () => {
    expect(difference({ a: [0] }, { a: [-0] })).toBe('a: 1 of 1 values differ, by at most 0.00');
    expect(difference({ a: [0, 1] }, { a: [Number.NaN, 2] })).toMatch(/2 of 2 .* at most NaN$/);
  });

  it('may be missing, or have another shape', () => {
    expect(difference({ a: [1] }, {})).toBe('a: only in BEFORE');
    expect(difference({}, { a: [1] })).toBe('a: only in AFTER');
    expect(difference({ a: [1] }, { a: [1, 2] })).toBe('a: F32 [1] in BEFORE, F32 [2] in AFTER');
  });
});

describe('JSON', () => {
  it('is compared but for times and wording', () => {
    const before = { step: 1, nll: 0.5, ms: 3, evaluations: [{ acc: 1, seconds: 2 }] };
    expect(jsonDifference(before, { ...before, ms: 4 })).toBeNull();
    const after = { ...before, evaluations: [{ acc: 0.5, seconds: 3 }] };
    expect(jsonDifference(before, after)).toBe('evaluations.0.acc: 1 in BEFORE, 0.5 in AFTER');
  });

  it('misses no field that only one has, nor another kind of value', () => {
    expect(jsonDifference({ a: 1 }, { a: 1, b: null })).toBe('b: undefined in BEFORE, null in AFTER');
    expect(jsonDifference([1], [1, 2])).toBe('1: undefined in BEFORE, 2 in AFTER');
    expect(jsonDifference({ a: [] }, { a: {} })).toBe('a: [] in BEFORE, {} in AFTER');
  });
});

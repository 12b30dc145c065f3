import { describe, expect, it } from 'vitest';
import { jsonDifferences } from '../../tools/same-bits/compare.mjs';
import { parseTensors, tensorsDifferences } from '../../tools/same-bits/tensors.mjs';

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
  const data = Object.values(tensors).map((values) =>
    Buffer.from(Float32Array.from(values).buffer),
  );
  return Buffer.concat([length, text, ...data]);
}

type Tensors = Record<string, readonly number[]>;

const differences = (before: Tensors, after: Tensors) =>
  tensorsDifferences(parseTensors(file(before)), parseTensors(file(after)));

describe('tensors', () => {
  it('are the same in another order', () => {
    expect(differences({ a: [1, 2], b: [3] }, { b: [3], a: [1, 2] })).toEqual([]);
  });

  it('tell names, how many values differ and by how much', () => {
    expect(
      differences({ c: [1, 2, 3], b: [0], a: [4] }, { c: [1, 1.5, 3.25], b: [0], a: [2] }),
    ).toEqual([
      ['a', '1 of 1 values differ, by at most 2.00'],
      ['c', '2 of 3 values differ, by at most 0.500'],
    ]);
  });

  it('differ in bits that numbers do not show', () => {
    expect(differences({ a: [0] }, { a: [-0] })).toEqual([
      ['a', '1 of 1 values differ, by at most 0.00'],
    ]);
    const [[, found] = []] = differences({ a: [0, 1] }, { a: [Number.NaN, 2] });
    expect(found).toBe('2 of 2 values differ, by at most NaN');
  });

  it('may be missing, or have another shape', () => {
    expect(differences({ a: [1] }, {})).toEqual([['a', 'only in BEFORE']]);
    expect(differences({}, { a: [1] })).toEqual([['a', 'only in AFTER']]);
    expect(differences({ a: [1] }, { a: [1, 2] })).toEqual([
      ['a', 'F32 [1] in BEFORE, F32 [2] in AFTER'],
    ]);
  });
});

describe('JSON', () => {
  it('is compared but for times and wording', () => {
    const before = { step: 1, nll: 0.5, ms: 3, evaluations: [{ acc: 1, seconds: 2 }] };
    expect(jsonDifferences(before, { ...before, ms: 4 })).toEqual([]);
    const after = { ...before, evaluations: [{ acc: 0.5, seconds: 3 }] };
    expect(jsonDifferences(before, after)).toEqual([
      ['evaluations.acc', 'at 0: 1 in BEFORE, 0.5 in AFTER'],
    ]);
  });

  it('tells each field once, with the first value that differs', () => {
    const before = { probs: [0.5, 0.25, 0.25], row: 1 };
    expect(jsonDifferences(before, { probs: [0.5, 0.3, 0.2], row: 2 }, 'line 4: ')).toEqual([
      ['probs', 'line 4: at 1: 0.25 in BEFORE, 0.3 in AFTER'],
      ['row', 'line 4: 1 in BEFORE, 2 in AFTER'],
    ]);
  });

  it('misses no field that only one has, nor another kind of value', () => {
    expect(jsonDifferences({ a: 1 }, { a: 1, b: null })).toEqual([
      ['b', 'missing in BEFORE, null in AFTER'],
    ]);
    expect(jsonDifferences([1], [1, 2])).toEqual([['', 'at 1: missing in BEFORE, 2 in AFTER']]);
    expect(jsonDifferences({ a: [] }, { a: {} })).toEqual([['a', '[] in BEFORE, {} in AFTER']]);
  });
});

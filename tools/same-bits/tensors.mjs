// Safetensors files, compared tensor by tensor (format: https://huggingface.co/docs/safetensors).

import { readFileSync } from 'node:fs';

const float16 = (bits) => {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return exponent === 0
    ? sign * fraction * 2 ** -24
    : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
};
const bfloat16 = (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0];

/** dtype → bytes of a value, and how to read one as a number. */
const TYPES = {
  F64: { size: 8, read: (view, at) => view.getFloat64(at, true) },
  F32: { size: 4, read: (view, at) => view.getFloat32(at, true) },
  F16: { size: 2, read: (view, at) => float16(view.getUint16(at, true)) },
  BF16: { size: 2, read: (view, at) => bfloat16(view.getUint16(at, true)) },
  I64: { size: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  U64: { size: 8, read: (view, at) => Number(view.getBigUint64(at, true)) },
  I32: { size: 4, read: (view, at) => view.getInt32(at, true) },
  U32: { size: 4, read: (view, at) => view.getUint32(at, true) },
  I8: { size: 1, read: (view, at) => view.getInt8(at) },
  U8: { size: 1, read: (view, at) => view.getUint8(at) },
  BOOL: { size: 1, read: (view, at) => view.getUint8(at) },
};

/** Name → `{ dtype, shape, bytes }` of each tensor that a file's bytes hold. */
export function parseTensors(file) {
  const length = Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...header } = JSON.parse(file.toString('utf8', 8, 8 + length));
  const data = file.subarray(8 + length);
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => [name, { dtype, shape, bytes: data.subarray(start, end) }],
    ),
  );
}

export const readTensors = (path) => parseTensors(readFileSync(path));

/** How many values differ in their bits, and by how much at most; null where none does. */
function differingValues(before, after) {
  const { size, read } = TYPES[before.dtype];
  const [a, b] = [before, after].map(
    ({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  );
  let count = 0;
  let largest = 0;
  for (let at = 0; at < before.bytes.length; at += size) {
    if (before.bytes.compare(after.bytes, at, at + size, at, at + size) === 0) continue;
    count += 1;
    // Not a number stays: every later maximum with it is not a number either.
    largest = Math.max(largest, Math.abs(read(a, at) - read(b, at)));
  }
  return count === 0 ? null : { count, of: before.bytes.length / size, largest };
}

/** What one tensor differs in, in words; null: every bit is the same. */
function tensorDifference(before, after) {
  if (before === undefined) return 'only in AFTER';
  if (after === undefined) return 'only in BEFORE';
  const [a, b] = [before, after].map(({ dtype, shape }) => `${dtype} [${shape}]`);
  if (a !== b) return `${a} in BEFORE, ${b} in AFTER`;
  if (TYPES[before.dtype] === undefined)
    return before.bytes.equals(after.bytes) ? null : `bytes of ${a} differ`;
  const found = differingValues(before, after);
  if (found === null) return null;
  const { count, of, largest } = found;
  return `${count} of ${of} values differ, by at most ${largest.toPrecision(3)}`;
}

/** `[name, what differs]` of each tensor that differs, by name; wherever in its file it lies. */
export function tensorsDifferences(before, after) {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .map((name) => [name, tensorDifference(before.get(name), after.get(name))])
    .filter(([, difference]) => difference !== null);
}

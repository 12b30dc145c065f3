import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import type { WandbRecord } from '../../../ts/wandb/records.ts';
import { TransactionLog } from '../../../ts/wandb/transaction-log.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const BLOCK = 32_768;

/**
 * Payloads of the records, as a reader of LevelDB's log format sees them; it stops at what is not
 * whole.
 */
function payloads(bytes: Buffer): Buffer[] {
  expect(bytes.subarray(0, 7)).toEqual(Buffer.from([0x3a, 0x57, 0x26, 0x42, 0xe1, 0xbe, 0]));
  const found: Buffer[] = [];
  let parts: Buffer[] | null = null;
  for (let at = 7; at + 7 <= bytes.length; ) {
    const left = BLOCK - (at % BLOCK);
    if (left < 7) {
      expect(bytes.subarray(at, at + left).every((byte) => byte === 0)).toBe(true);
      at += left;
      continue;
    }
    const [crc, length, type] = [
      bytes.readUInt32LE(at),
      bytes.readUInt16LE(at + 4),
      bytes[at + 6] ?? 0,
    ];
    const payload = bytes.subarray(at + 7, at + 7 + length);
    if (payload.length < length) break;
    expect(7 + length).toBeLessThanOrEqual(left);
    expect(crc).toBe(crc32(bytes.subarray(at + 6, at + 7 + length)));
    expect([1, 2].includes(type)).toBe(parts === null);
    parts = [...(parts ?? []), payload];
    if (type === 1 || type === 4) {
      found.push(Buffer.concat(parts));
      parts = null;
    }
    at += 7 + length;
  }
  return found;
}

/** A record whose bytes, with its number in front, are `length` long. */
function recordOf(length: number): WandbRecord {
  return (record) => record.bytes(200, new Uint8Array(length).fill(7));
}

async function written(lengths: readonly number[]): Promise<Buffer> {
  const path = join(temporaryFolder(), 'run-a.wandb');
  const log = await TransactionLog.create(path);
  log.write(lengths.map(recordOf));
  await log.close();
  return readFileSync(path);
}

// What is left of the first block decides: whole, padded by each length, cut with an empty first
// part, over blocks.
it.each([
  ['small records', [1, 2, 3]],
  ['a record over three blocks', [10, 80_000, 10]],
  ...Array.from({ length: 12 }, (_, gap) => [
    `${gap} bytes left in the block`,
    [BLOCK - 7 - 7 - 2 - 5 - gap, 20],
  ]),
] as [string, number[]][])('writes %s as a log reader expects', async (_, lengths) => {
  const records = payloads(await written(lengths));
  expect(records).toHaveLength(lengths.length);
  for (const [index, record] of records.entries()) {
    expect(record.subarray(0, 2)).toEqual(Buffer.from([0x08, index + 1])); // field 1, the number
    expect(record.subarray(-(lengths[index] ?? 0)).every((byte) => byte === 7)).toBe(true);
  }
});

it('is valid up to its last whole record wherever it is cut', async () => {
  const bytes = await written([40, 33_000, 50]);
  const whole = payloads(bytes);
  for (const cut of [8, 20, 60, 100, 20_000, 32_768, 33_000, bytes.length - 1]) {
    const kept = payloads(bytes.subarray(0, cut));
    expect(kept).toEqual(whole.slice(0, kept.length));
    expect(kept.length).toBeLessThan(3);
  }
});

it('refuses to write over a log that is there', async () => {
  const path = join(temporaryFolder(), 'run-a.wandb');
  await (await TransactionLog.create(path)).close();
  await expect(TransactionLog.create(path)).rejects.toMatchObject({ code: 'EEXIST' });
});

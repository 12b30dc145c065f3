import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { unpacked } from '../../../../ts/datasets/files/unpack.ts';
import { resolveDataset } from '../../../../ts/datasets/registry.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const line = (row: number) =>
  `{"text": "the parcel number ${row} never came", "label": "${row % 2 === 1 ? 'complaint' : 'praise'}"}\n`;
const rows = Buffer.from(Array.from({ length: 200 }, (_, row) => line(row)).join(''));

/**
 * The rows, packed by the reference program: `zstandard.ZstdCompressor(level=19,
 * write_checksum=True)`.
 */
const ZSTD = Buffer.from(
  [
    'KLUv/WS+MX0LAKbSMBqAOW30xuijofHG5A4G5g5FdnfvdHK0GEvVAzcAJAAkAPZq4ln9aQrJ4jAGxYAGkhCF5OAsaZ',
    'AsyBFAEpMoitQc6DikAZNojiUph8Q5EuFBDgHyLNKDMAKqqqqamZmZmYmIiIiIeHd3d3dnZmZmZlZVVVVV9f///9u2',
    'bQd4VrcZmVcTz+ouo/Jq4lndN7pXE8/q9mriWd3IyLu7u7u7qhrWxLO612i9mnhWtxqpVxPP6mmj9GriWd1ohF5NPK',
    'v7jM6rGYDLqBGAyzrTvgGgFSXFaiIQBP4fQUBBkCAYIbg/M1POpzN8pOl8Pvmo5afzQ9N/X4KUn+czP6r8fJ75qObn',
    '88lHLT/PT35U+fk881Gbz+czuG+gLB4/n8FuIHSJ9Hy2Xh+v5+b1+nptPi/PZ9vz8XpuXi+f1+bz8nxtPR+v5+btIS',
    'OSHVob2hVaE1obtBa0C7QGtPtTtVRaIwFZXQRzNiFBy//OTtUE/CqkBNhg',
  ].join(''),
  'base64',
);

async function* pieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

async function unpack(bytes: Uint8Array, length: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of unpacked(pieces(bytes, length), 'rows')) chunks.push(chunk);
  return Buffer.concat(chunks);
}

it.each([1, 7, 1 << 16])(
  'unpacks gzip and zstd that come in pieces of %d bytes',
  async (length) => {
    expect((await unpack(rows, length)).equals(rows)).toBe(true);
    expect((await unpack(gzipSync(rows), length)).equals(rows)).toBe(true);
    expect((await unpack(ZSTD, length)).equals(rows)).toBe(true);
    const half = rows.indexOf('\n', rows.length / 2);
    const members = Buffer.concat([
      gzipSync(rows.subarray(0, half)),
      gzipSync(rows.subarray(half)),
    ]);
    expect((await unpack(members, length)).equals(rows)).toBe(true);
  },
);

it.each([
  ['gzip', gzipSync(rows)],
  ['zstd', ZSTD],
])('refuses %s that ends too early', async (name, bytes) => {
  for (const length of [bytes.length - 9, Math.floor(bytes.length / 2), 20]) {
    await expect(unpack(bytes.subarray(0, length), 64)).rejects.toMatchObject({
      code: 'BPEFT_DATASET',
      message: expect.stringContaining(`rows: is packed with ${name}, and damaged: `),
      hint: 'copy or download the file again',
    });
  }
});

it('gives no other content for one altered bit of zstd, wherever it is', async () => {
  const wrong: number[] = [];
  for (let at = 0; at < ZSTD.length; at += 1) {
    const altered = Buffer.from(ZSTD);
    altered[at] = (altered[at] ?? 0) ^ (1 << (at % 8));
    // A few bits mean nothing; what does not begin as zstd does is no longer taken for it.
    const isRight = await unpack(altered, 1 << 16).then(
      (bytes) => bytes.equals(at < 4 ? altered : rows),
      ({ code }) => code === 'BPEFT_DATASET',
    );
    if (!isRight) wrong.push(at);
  }
  expect(wrong).toEqual([]);
});

/** `x`, and nothing, as the reference program packs them. */
const X = Buffer.from('28b52ffd04580900007823110483', 'hex');
const NOTHING = Buffer.from('28b52ffd240001000099e9d851', 'hex');

it('unpacks frames of zstd one after another, and passes over those that hold no content', async () => {
  const skipped = Buffer.concat([Buffer.from('5d2a4d1803000000', 'hex'), Buffer.from('any')]);
  const frames = Buffer.concat([X, skipped, NOTHING, ZSTD, X, skipped]);
  const whole = Buffer.concat([Buffer.from('x'), rows, Buffer.from('x')]);
  for (const length of [1, 13, 4096])
    expect((await unpack(frames, length)).equals(whole)).toBe(true);
  await expect(unpack(Buffer.concat([X, Buffer.from('more')]), 64)).rejects.toMatchObject({
    message: expect.stringContaining('what follows a frame is none'),
  });
});

it.each([
  [
    'a window of a gigabyte',
    '28b52ffd04a0',
    /needs a window of 1073741824 bytes, and may need 134/,
  ],
  ['a length of 2^60 bytes', '28b52ffde00000000000000010', /needs a window of 1152921504606846976/],
  ['a block that is larger than the window', '28b52ffd0400f3ff1f00', /a block has \d+ bytes/],
  ['a dictionary', '28b52ffd055807', /it needs a dictionary/],
  ['another length', '28b52ffd200209000078', /a frame unpacks to 1 bytes, and says 2/],
])('refuses zstd that claims %s', async (_, hex, reason) => {
  await expect(unpack(Buffer.from(hex, 'hex'), 64)).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringMatching(reason),
  });
});

it.each(['train.jsonl.gz', 'train.csv.gz', 'train.jsonl.zst', 'TRAIN.JSON.GZ'])(
  'reads a folder with %s, and records the hash of the file as it is',
  async (name) => {
    const folder = join(temporaryFolder(), 'own');
    mkdirSync(folder);
    const table = rows
      .toString()
      .replaceAll(/\{"text": "(.*)", "label": "(.*)"\}/g, '$1,$2')
      .replace(/^/, 'text,label\n');
    const content = name.endsWith('.zst') ? ZSTD : gzipSync(name.includes('csv') ? table : rows);
    writeFileSync(join(folder, name), content);
    const { items, files, split, labelNames } = await (await resolveDataset(folder)).load(null);
    expect([split.toLowerCase(), labelNames, items.length]).toEqual([
      'train',
      ['complaint', 'praise'],
      200,
    ]);
    expect(items[199]?.texts).toEqual(['the parcel number 199 never came']);
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect(files).toEqual([{ path: name, sha256, rows: 200 }]);
  },
);

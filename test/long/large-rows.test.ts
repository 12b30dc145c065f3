import { expect, it } from 'vitest';
import { largeStream } from '../support/large-stream.ts';

it.each(['none', 'gzip'] as const)(
  'reads 10 GB of rows, packed with %s, in 200 MB of memory',
  async (packer) => {
    const { code, stdout } = await largeStream(10_000, packer);
    const { rows, items, maxMb } = JSON.parse(stdout);
    expect([code, items]).toEqual([0, rows]);
    expect(maxMb).toBeLessThan(200);
  },
);

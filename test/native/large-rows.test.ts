import { expect, it } from 'vitest';
import { largeStream } from '../support/large-stream.ts';

it('reads 500 MB of rows, twice, in 200 MB of memory', async () => {
  const { code, stdout, stderr } = await largeStream(500, 'none');
  expect([code, stderr]).toEqual([0, '']);
  const { rows, items, bytes, maxMb } = JSON.parse(stdout);
  expect(bytes).toBeGreaterThanOrEqual(500e6);
  expect(items).toBe(rows);
  expect(maxMb).toBeLessThan(200);
});

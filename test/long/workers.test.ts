import { expect, it } from 'vitest';
import { manyWorkers } from '../support/many-workers.ts';

it('is loaded by 1,000 worker threads in turn', async () => {
  expect(await manyWorkers(1000)).toMatchObject({
    code: 0,
    signal: null,
    stdout: '1000 workers, main: hi\n',
  });
});

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bpeft, program, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it('reports a real run as a page with pictures, and as a card beside its adapter', async () => {
  const folder = temporaryFolder();
  const [run, page] = [join(folder, 'run'), join(folder, 'report.html')];
  const trained = await bpeft(
    ...trainArgs(run, '--max-steps', '3', '--eval-limit', '12', '--quiet'),
  );
  expect(trained.code).toBe(0);
  expect(await bpeft('report', run, '--out', page)).toMatchObject({ code: 0, stdout: '' });
  const text = readFileSync(page, 'utf8');
  expect(text.match(/<svg /g)).toHaveLength(7);
  expect(text).toContain('ARC-Easy validation, 10 samples');
  const elsewhere = await bpeft('report', run, '--card', '--out', join(folder, 'card.md'));
  expect(elsewhere).toMatchObject({ code: 2, stderr: expect.stringContaining('takes no --out') });
  expect(await bpeft('report', run, '--card')).toMatchObject({ code: 0 });
  expect(readFileSync(join(run, 'adapter', 'README.md'), 'utf8')).toContain('# run');
  // Charts are built in, and so are their licences.
  expect(existsSync(join(program, '../../report/page/chart.LICENSES.txt'))).toBe(true);
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { cellsOf } from '../../../ts/compare/jobs.ts';
import { readTable } from '../../../ts/compare/table.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

function written(rows: string): string {
  const config = join(temporaryFolder(), 'table.yaml');
  writeFileSync(
    config,
    `model: builtin:random
dataset: builtin:exam-topics
split: [test]
link: bridge
batch_size: 4
eval_limit: 20
methods:
  mle:
${rows}`,
  );
  return config;
}

const jobsOf = async (rows: string) =>
  cellsOf(await readTable(written(rows)), 'out').map(({ row, jobs }) => ({
    row,
    jobs: jobs.map(({ command, options }) => ({ command, options })),
  }));

it('gives rows made of the same adapters their own ways to answer', async () => {
  const [, shared, sampled] = await jobsOf(`
  laplace: { from: mle, curvature_rank: 4 }
  laplace-sampled: { method: laplace, from: mle, link: sample }
`);
  expect(shared?.jobs.map(({ command }) => command)).toEqual(['bayesianize', 'eval']);
  expect(shared?.jobs[0]?.options).toMatchObject({ method: 'laplace', curvatureRank: 4 });
  expect(shared?.jobs[1]?.options).toMatchObject({ link: 'bridge', split: ['test'], limit: 20 });
  expect(sampled?.jobs[0]?.options).not.toHaveProperty('link');
  expect(sampled?.jobs[1]?.options).toMatchObject({ link: 'sample', samples: [10] });
});

it.each([
  ['a value that breaks its rule', 'laplace: { from: mle, link: logit }', 'link must be one of'],
  ['a name that neither command knows', 'tfb: { from: mle, lnk: sample }', 'unknown setting "lnk"'],
])('refuses %s', async (_, row, message) => {
  await expect(readTable(written(`  ${row}\n`))).rejects.toThrow(message);
});

it('refuses a limit that would cut the rows of some methods alone', async () => {
  const path = written('  tfb: { from: mle }\n');
  writeFileSync(path, `limit: 8\n${readFileSync(path, 'utf8')}`);
  await expect(readTable(path)).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    hint: 'write eval_limit, which cuts all',
  });
});

it.each(['exam-topics-methods', 'exam-topics-smollm2', 'minilm-methods'])(
  'reads cmd/configs/%s.yaml',
  async (name) => {
    const { rows } = await readTable(
      join(import.meta.dirname, `../../../cmd/configs/${name}.yaml`),
    );
    expect(rows.map(({ name: row }) => row)).toEqual(
      expect.arrayContaining(['mle', 'laplace-last']),
    );
  },
);

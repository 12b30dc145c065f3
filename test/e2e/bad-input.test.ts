import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { bpeft, fixtureData } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const row = { question: 'Which?', choices: ['a', 'b'], answer: 0 };

/** A dataset folder whose training file holds these lines. */
function dataset(lines: readonly string[]): string {
  const folder = join(temporaryFolder(), 'own');
  mkdirSync(folder);
  writeFileSync(join(folder, 'train.jsonl'), lines.map((line) => `${line}\n`).join(''));
  return folder;
}

async function refused(model: string, data: string, ...more: string[]) {
  const out = join(temporaryFolder(), 'run');
  const args = [
    'train',
    '--model',
    model,
    '--dataset',
    data,
    '--data-dir',
    fixtureData,
    '--out',
    out,
    '--json',
    '--quiet',
  ];
  const { code, stdout, stderr } = await bpeft(...args, ...more);
  expect([code, stderr]).toEqual([2, '']);
  expect(existsSync(out)).toBe(false);
  return (JSON.parse(stdout) as { error: { code: string; message: string; hint: string | null } })
    .error;
}

it('names a missing model file', async () => {
  expect(await refused('./nowhere.gguf', 'ARC-Easy')).toMatchObject({
    code: 'BPEFT_MODEL_NOT_FOUND',
  });
});

it.each([
  ['no GGUF at all', Buffer.from('this is not a model')],
  ['a header and nothing else', Buffer.concat([Buffer.from('GGUF'), Buffer.from([3, 0, 0, 0])])],
])('refuses a file that is %s', async (_, bytes) => {
  const path = join(temporaryFolder(), 'x.gguf');
  writeFileSync(path, bytes);
  expect(await refused(path, 'ARC-Easy')).toMatchObject({ code: 'BPEFT_MODEL_CORRUPT' });
});

it('names the nearest dataset', async () => {
  expect(await refused('builtin:random', 'ARC-Esay')).toMatchObject({
    code: 'BPEFT_DATASET',
    hint: expect.stringContaining('did you mean "ARC-Easy"?'),
  });
});

it('names file, line and field of a malformed row', async () => {
  const data = dataset([JSON.stringify(row), JSON.stringify({ ...row, answer: 7 })]);
  const { code, message } = await refused('builtin:random', data);
  expect(code).toBe('BPEFT_DATASET');
  expect(message).toMatch(/train\.jsonl.*2.*answer/s);
});

it.each([
  ['an empty file', []],
  ['fewer rows than one batch needs', [JSON.stringify(row)]],
])('refuses %s', async (_, lines) => {
  const error = await refused('builtin:random', dataset(lines), '--last-batch', 'drop');
  expect(error.code).toBe('BPEFT_DATASET');
});

it('lists the splits that exist', async () => {
  const error = await refused('builtin:random', 'ARC-Easy', '--split', 'tset');
  expect([error.code, error.message + error.hint]).toEqual([
    'BPEFT_DATASET',
    expect.stringMatching(/validation/),
  ]);
});

it('does not cut question or choices of a prompt that is too long', async () => {
  const error = await refused('builtin:random', 'ARC-Easy', '--max-seq-len', '100');
  expect([error.code, error.hint]).toEqual([
    'BPEFT_PROMPT_TOO_LONG',
    expect.stringContaining('--max-seq-len'),
  ]);
});

it('refuses labels of several tokens', async () => {
  const error = await refused('builtin:random', 'boolq', '--max-seq-len', '2000');
  expect([error.code, error.message]).toEqual([
    'BPEFT_LABEL_TOKENS',
    expect.stringContaining('true'),
  ]);
});

it('names an unknown target module', async () => {
  const error = await refused(
    'builtin:random',
    'ARC-Easy',
    '--max-seq-len',
    '700',
    '--target-modules',
    'q_porj',
  );
  expect(error.message).toContain('q_porj');
});

it('stops with the step when the loss is no number, and keeps what was there', async () => {
  const out = join(temporaryFolder(), 'run');
  const { code, stdout } = await bpeft(
    ...[
      'train',
      '--model',
      'builtin:random',
      '--dataset',
      'ARC-Easy',
      '--data-dir',
      fixtureData,
      '--max-seq-len',
      '700',
    ],
    ...[
      '--out',
      out,
      '--json',
      '--lr',
      '1e30',
      '--warmup-ratio',
      '0',
      '--checkpoint-every',
      '1',
      '--max-steps',
      '20',
    ],
  );
  expect(code).toBe(1);
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
  expect(error).toMatchObject({
    code: 'BPEFT_NOT_FINITE',
    message: expect.stringMatching(/step \d+/),
  });
  expect(existsSync(join(out, 'state', 'latest'))).toBe(true);
});

it.each([
  [['--threads', '100000'], '--threads must be at most 1024, got 100000'],
  [['--eval-samples', '65537'], '--eval-samples must be at most 65536, got 65537'],
  [['--target-modules', 'q_proj,w_proj'], '--target-modules must be one of q_proj, k_proj'],
  [['--kl-lr', '1e30'], `the KL alone leaves the numbers' range with --kl-lr 1e+30`],
  [['--max-steps', '9007199254740991'], 'a run must have at most 10000000 updates'],
])('refuses %j before it writes anything', async (flags, message) => {
  const error = await refused('builtin:random', dataset([JSON.stringify(row)]), ...flags);
  expect(error).toMatchObject({ code: 'BPEFT_USAGE', message: expect.stringContaining(message) });
});

it('names an input of predict that is not there, as one JSON document', async () => {
  const { code, stdout, stderr } = await bpeft(
    'predict',
    '--run',
    'unused',
    'nowhere.jsonl',
    '--json',
  );
  expect([code, stderr]).toEqual([2, '']);
  expect(JSON.parse(stdout).error.message).toContain('cannot read the input nowhere.jsonl');
});

it('names what is no input and what is no adapter', async () => {
  const folder = temporaryFolder();
  const unread = join(folder, 'unread'); // no dataset either: the adapter is asked for first
  const missing = await refused('builtin:random', unread, '--init-adapter', folder);
  expect(missing).toMatchObject({
    code: 'BPEFT_ADAPTER',
    message: expect.stringContaining('no adapter_config.json'),
  });
  const { code, stderr } = await bpeft('predict', '--run', folder, folder);
  expect([code, stderr]).toEqual([2, expect.stringContaining('it is a folder')]);
});

it('says that the outcome cannot be written before it reads a row', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const unread = join(folder, 'unread');
  for (const args of [
    ['train', '--model', 'builtin:random', '--dataset', unread, '--out', join(file, 'run')],
    ['predict', '--run', unread, file, '--out', join(file, 'x.jsonl')],
  ]) {
    const { code, stderr } = await bpeft(...args);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`BPEFT_IO: cannot write ${file}`)]);
    expect(stderr).toContain(`${file} is no folder`);
  }
});

it('names the line of a training row without an answer, or its number in a list', async () => {
  const { answer: _, ...open } = row;
  const lines = [row, row].map((one) => JSON.stringify(one));
  const folder = dataset([...lines, '', JSON.stringify(open)]);
  const [table, list] = [join(folder, 'rows.csv'), join(folder, 'rows.json')];
  writeFileSync(table, 'question,choice1,choice2,answer\n"Which\none?",a,b,0\nWhich?,a,b,\n');
  writeFileSync(list, JSON.stringify([row, open]));
  const short = ['--batch-size', '1', '--max-steps', '1'];
  for (const [data, place] of [
    [folder, `${join(folder, 'train.jsonl')}:4`],
    [table, `${table}:4`],
    [list, `${list}, row 2 (line 1)`],
  ] as const) {
    const split = data === folder ? ['--split', 'train'] : [];
    expect(await refused('builtin:random', data, ...short, ...split)).toMatchObject({
      code: 'BPEFT_DATASET',
      message: `${place}: has no answer to train on`,
    });
  }
});

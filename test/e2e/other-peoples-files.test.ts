import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { evaluate, predict, type RunEvent, train } from 'bpeft';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BpeftProcess, bpeft, fixtureData, outcome, trainArgs } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const short = ['--max-steps', '2', '--eval-limit', '4', '--eval-samples', '0'];
const row = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn'] };
const locked = ['--model', 'builtin:random', '--dataset', 'ARC-Easy', '--data-dir', fixtureData];
const fromItself = (run: string) => [
  ...trainArgs(run, ...short),
  ...['--init-adapter', join(run, 'adapter')],
];
let trained: string;

async function* bytes(text: string) {
  yield Buffer.from(text);
}

/** A copy of the run that each test may lose. */
function copyOfRun(): string {
  const run = join(temporaryFolder(), 'run');
  cpSync(trained, run, { recursive: true });
  return run;
}

beforeAll(async () => {
  trained = join(mkdtempSync(join(tmpdir(), 'bpeft-others-')), 'trained');
  const made = await bpeft(...trainArgs(trained, ...short, '--quiet'));
  expect(made).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(dirname(trained), { recursive: true, force: true }));

it.each([
  ['eval', (run: string) => ['eval', '--run', run, '--limit', '2', '--out', run]],
  ['eval into its adapter', (run: string) => ['eval', '--run', run, '--out', join(run, 'adapter')]],
  ['training', (run: string) => trainArgs(join(run, 'state'), ...short)],
  ['training that begins from it', (run: string) => fromItself(run)],
  ['a report', (run: string) => ['report', run, '--out', join(run, 'result.json')]],
  ['a lock file', (run: string) => ['lock', join(run, 'result.json'), ...locked]],
  [
    'prediction',
    (run: string) => ['predict', '--run', run, '-', '--out', join(run, 'result.json')],
  ],
])('does not let %s replace a training run', async (_, command) => {
  const run = copyOfRun();
  const before = { ...outcome(run), result: readFileSync(join(run, 'result.json'), 'utf8') };
  const overwrite = command(run)[0] === 'lock' ? [] : ['--overwrite'];
  const { code, stderr } = await bpeft(...command(run), ...overwrite, '--quiet');
  expect([code, stderr]).toEqual([2, expect.stringContaining('hint: give')]);
  expect({ ...outcome(run), result: readFileSync(join(run, 'result.json'), 'utf8') }).toEqual(
    before,
  );
});

it('takes - for standard output where a file is written, and makes no file of that name', async () => {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, 'rows.jsonl'), `${JSON.stringify(row)}\n`);
  const run = copyOfRun();
  const ask = async (...args: string[]) => {
    const { code, stdout } = await new BpeftProcess([...args, '--quiet'], { cwd }).finished;
    expect([code, readdirSync(cwd)]).toEqual([0, ['rows.jsonl']]);
    return stdout;
  };
  const asked = ['predict', '--run', run, '--samples', '0', 'rows.jsonl'];
  expect(await ask(...asked, '--out', '-')).toBe(await ask(...asked));
  writeFileSync(join(run, 'asked.json'), '{"out": "-"}');
  expect(await ask(...asked, '--config', join(run, 'asked.json'))).toBe(await ask(...asked));
  expect(await ask('report', run, '--out', '-')).toContain('<!doctype html>');
  expect(await ask('report', run, '--out', '-', '--format', 'csv')).toBe(
    await ask('report', run, '--format', 'csv'),
  );
  expect(JSON.parse(await ask('lock', '-', ...locked))).toMatchObject({ format: 1, adapter: null });
});

it.each([
  ['train', ...locked],
  ['eval', '--run', 'run'],
  ['bayesianize', '--run', 'run'],
  ['demo'],
  ['compare', '--config', 'table.json'],
])('says that - is no folder to %s in', async (...args) => {
  const cwd = temporaryFolder();
  const finished = await new BpeftProcess([...args, '--out', '-'], { cwd }).finished;
  expect(finished).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--out must be a folder, which standard output is not'),
  });
  expect(readdirSync(cwd)).toEqual([]);
});

it('locks over a lock file alone, never over the model', async () => {
  const folder = temporaryFolder();
  const [model, mine] = [join(folder, 'model.gguf'), join(folder, 'mine.json')];
  writeFileSync(model, 'weights');
  for (const path of [model, join(folder, 'other.json')]) {
    writeFileSync(path, 'weights');
    expect(await bpeft('lock', path, ...locked)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is no lock file, and is not replaced'),
    });
    expect(readFileSync(path, 'utf8')).toBe('weights');
  }
  for (let times = 0; times < 2; times++) {
    expect(await bpeft('lock', mine, ...locked)).toMatchObject({ code: 0 });
  }
  expect(await bpeft('lock', join(folder, 'new/mine.json'), ...locked)).toMatchObject({ code: 0 });
});

it.each([
  ['a dataset', 'rows.jsonl', 2, 'the lock file rows.jsonl is a dataset, which would be replaced'],
  ['a folder', '.', 1, 'cannot write .: . is no file'],
])('says of a lock file that is %s what was typed', async (_, typed, code, message) => {
  const cwd = temporaryFolder();
  writeFileSync(join(cwd, 'rows.jsonl'), `${JSON.stringify({ ...row, answer: 1 })}\n`);
  const args = ['lock', typed, '--model', 'builtin:random', '--dataset', 'rows.jsonl'];
  const finished = await new BpeftProcess(args, { cwd }).finished;
  expect(finished).toMatchObject({ code, stderr: expect.stringContaining(message) });
  expect(finished.stderr).toContain('hint: name another file');
  expect(finished.stderr).not.toContain('--out');
});

it('does not let a training replace an evaluation, but another evaluation', async () => {
  const run = copyOfRun();
  const out = join(temporaryFolder(), 'evaluation');
  const evaluation = ['eval', '--run', run, '--limit', '2', '--out', out, '--quiet'];
  expect(await bpeft(...evaluation, '--samples', '3,0')).toMatchObject({ code: 0 });
  for (const how of ['--overwrite', '--resume']) {
    expect(await bpeft(...trainArgs(out, ...short, how))).toMatchObject({ code: 2 });
  }
  expect(readdirSync(join(out, 'predictions'))).toHaveLength(2);
  expect(await bpeft(...evaluation, '--samples', '0')).toMatchObject({ code: 2 });
  expect(await bpeft(...evaluation, '--samples', '0', '--overwrite')).toMatchObject({ code: 0 });
  expect(readdirSync(out, { recursive: true }).sort()).toEqual([
    'predictions',
    'predictions/ARC-Easy-validation-n0.jsonl',
    'result.json',
  ]);
});

it('does not train into the folder of its data, whose splits the metrics would become', async () => {
  const data = join(temporaryFolder(), 'data');
  cpSync(join(fixtureData, 'arc_easy'), data, { recursive: true });
  const before = readdirSync(data);
  const args = ['train', '--model', 'builtin:random', '--dataset', data, '--out', data];
  expect(await bpeft(...args, ...short)).toMatchObject({ code: 2 });
  expect(readdirSync(data)).toEqual(before);
});

it.each<[string, (run: string, data: string) => string[]]>([
  [
    'report as a split',
    (run, data) => ['report', run, '--format', 'csv', '--out', join(data, 'a.csv')],
  ],
  [
    'report over a split',
    (run, data) => ['report', run, '--overwrite', '--out', join(data, 'validation.jsonl')],
  ],
  ['lock file as a split', (_, data) => ['lock', join(data, 'a.json'), ...locked]],
  [
    'comparison as splits',
    (_, data) => ['compare', '--config', join(data, 'c.yaml'), '--out', data],
  ],
])('writes no %s among rows', async (_, command) => {
  const data = join(temporaryFolder(), 'data');
  cpSync(join(fixtureData, 'arc_easy'), data, { recursive: true });
  writeFileSync(
    join(data, 'c.yaml'),
    'model: builtin:random\ndataset: builtin:exam-topics\nmax_steps: 1\nmax_seq_len: 700\neval_limit: 2\nmethods:\n  mle:\n',
  );
  const files = () => readdirSync(data).map((name) => readFileSync(join(data, name), 'utf8'));
  const before = files();
  expect(await bpeft(...command(copyOfRun(), data))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/would become a split|is a folder of rows/),
  });
  expect(files()).toEqual(before);
});

it('replaces an output file only when told to, and never the input', async () => {
  const run = copyOfRun();
  const [input, out] = [join(run, '..', 'rows.jsonl'), join(run, '..', 'answers.jsonl')];
  const rows = `${JSON.stringify(row)}\n`;
  writeFileSync(input, rows);
  const ask = (...more: string[]) => bpeft('predict', '--run', run, input, '--quiet', ...more);
  expect(await ask('--out', out)).toMatchObject({ code: 0 });
  expect(await ask('--out', out)).toMatchObject({ code: 2 });
  expect(await ask('--out', out, '--overwrite')).toMatchObject({ code: 0 });
  expect(await ask('--out', input, '--overwrite')).toMatchObject({ code: 2 });
  expect(readFileSync(input, 'utf8')).toBe(rows);
});

it('says which prompts were cut, or refuses them', async () => {
  const run = copyOfRun();
  const long = { ...row, context: 'Saturn has rings. '.repeat(200) };
  const rows = [row, long].map((one) => `${JSON.stringify(one)}\n`).join('');
  const input = { name: 'rows.jsonl', stream: bytes(rows) };
  const events: RunEvent[] = [];
  const answers = await predict({ run, samples: 0 }, input, { onEvent: (one) => events.push(one) });
  expect(answers.map(({ truncated }) => truncated)).toEqual([false, true]);
  expect(events).toContainEqual({
    type: 'warning',
    code: 'BPEFT_PROMPTS_TRUNCATED',
    message: 'rows.jsonl input: 1 of 2 prompts were cut to 700 tokens',
  });
  const again = { name: 'rows.jsonl', stream: bytes(rows) };
  await expect(predict({ run, samples: 0, onLong: 'error' }, again)).rejects.toMatchObject({
    code: 'BPEFT_PROMPT_TOO_LONG',
    message: expect.stringMatching(/rows\.jsonl:2: the prompt must fit 700 tokens, got \d{4}/),
  });
});

it('trains and evaluates to the end with a sink that throws, which it tells and closes once', async () => {
  const out = join(temporaryFolder(), 'run');
  const closed: string[] = [];
  const onEvent = {
    name: 'mine',
    event: () => {
      throw new Error('no power');
    },
    close: async ({ status }: { status: string }) => void closed.push(status),
  };
  const data = {
    model: 'builtin:random',
    dataset: 'ARC-Easy',
    dataDir: fixtureData,
    maxSeqLen: 700,
  };
  await train({ ...data, out, maxSteps: 2, evalLimit: 4, evalSamples: [0] }, { onEvent });
  expect(existsSync(join(out, 'result.json'))).toBe(true);
  expect(readFileSync(join(out, 'log.txt'), 'utf8').match(/BPEFT_SINK_FAILED/g)).toHaveLength(1);
  await evaluate({ run: out, samples: [0], limit: 4 }, { onEvent });
  await expect(evaluate({ run: out, samples: [-1] }, { onEvent })).rejects.toThrow();
  expect(closed).toEqual(['finished', 'finished', 'failed']);
});

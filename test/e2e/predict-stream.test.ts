import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  openPredictor,
  type Prediction,
  type Predictor,
  predict,
  predictStream,
  type RefusedRow,
  type RunEvent,
  train,
} from 'bpeft';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BpeftProcess, bpeft, fixtureData } from '../support/bpeft-process.ts';

const rings = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn', 'Venus'] };
const melts = { question: 'What melts?', choices: ['ice', 'stone'] };
let folder: string;
let run: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-stream-'));
  run = join(folder, 'run');
  await train({
    model: 'builtin:random',
    dataset: 'ARC-Easy',
    dataDir: fixtureData,
    maxSeqLen: 700,
    maxSteps: 20,
    lr: 0.01,
    evalLimit: 4,
    evalSamples: [0],
    out: run,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const jsonLines = (rows: readonly object[]) =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const parsed = (text: string) => {
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Prediction & Partial<RefusedRow>);
};

async function* bytes(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

/** The file's lines, once there are as many. */
async function linesOf(path: string, count: number): Promise<string> {
  for (;;) {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    if (text.split('\n').length > count) return text;
    await pause(20);
  }
}

it('answers rows while standard input is open, and hears Ctrl-C while it waits for more', async () => {
  const out = join(folder, 'interrupted.jsonl');
  const asking = new BpeftProcess(['predict', '--run', run, '--samples', '2', '-', '--out', out]);
  asking.send(jsonLines([rings]));
  await linesOf(out, 1);
  asking.send(jsonLines([melts, rings]));
  const answered = await linesOf(out, 3);
  asking.kill('SIGINT');
  const { code, stderr } = await asking.finished;
  expect(code).toBe(130);
  expect(stderr).toContain('interrupted after 3 rows');
  expect(stderr).toContain(`their answers are in ${out}`);
  expect(readFileSync(out, 'utf8')).toBe(answered);
  expect(parsed(answered).map(({ row }) => row)).toEqual([0, 1, 2]);
});

it('hears Ctrl-C before the first row has come', async () => {
  const waiting = new BpeftProcess(['predict', '--run', run, '-']);
  waiting.send('{"question"');
  await waiting.hasEngine();
  waiting.kill('SIGINT');
  expect((await waiting.finished).code).toBe(130);
});

it('puts the error of a bad row in its place and goes on, or leaves the row out', async () => {
  const path = join(folder, 'bad.jsonl');
  const lines = [
    JSON.stringify(rings),
    '{"question": "no end',
    JSON.stringify({ question: 'no choices', id: 'q3' }),
    JSON.stringify({ ...rings, choices: ['one'] }),
    JSON.stringify(melts),
  ];
  writeFileSync(path, `${lines.join('\n')}\n`);
  const { code, stdout, stderr } = await bpeft('predict', '--run', run, '--samples', '0', path);
  expect(code).toBe(0);
  const answers = parsed(stdout);
  expect(answers.map(({ row }) => row)).toEqual([0, 1, 2, 3, 4]);
  expect(answers.map(({ error }) => error?.code)).toEqual([
    undefined,
    'BPEFT_DATASET',
    'BPEFT_DATASET',
    'BPEFT_DATASET',
    undefined,
  ]);
  expect(answers[1]?.error?.message).toContain('bad.jsonl:2: is not valid JSON');
  expect(answers[2]).toMatchObject({
    id: 'q3',
    error: { message: expect.stringContaining('choices') },
  });
  expect(stderr).toContain(
    'warning BPEFT_BAD_ROWS: 3 of 5 rows could not be answered; the first: bad.jsonl:2',
  );

  const skipped = await bpeft(
    'predict',
    '--run',
    run,
    '--samples',
    '0',
    path,
    '--bad-rows',
    'skip',
  );
  expect(parsed(skipped.stdout)).toEqual(answers.filter(({ error }) => error === undefined));
});

it('takes a row of a table that has too many cells for a bad row', async () => {
  const path = join(folder, 'bad.csv');
  const rows = [
    'Which planet has rings?,Mars,Saturn',
    'A, comma too many,Mars,Saturn',
    'What melts?,ice,stone',
  ];
  writeFileSync(path, `question,choice1,choice2\n${rows.join('\n')}\n`);
  const { code, stdout } = await bpeft('predict', '--run', run, '--samples', '0', path);
  expect(code).toBe(0);
  expect(parsed(stdout).map(({ row, error }) => [row, error?.message])).toEqual([
    [0, undefined],
    [
      1,
      expect.stringContaining(
        'bad.csv:3: is not valid CSV: 4 cells where the header has 3 columns',
      ),
    ],
    [2, undefined],
  ]);
});

it('fails with the first complaint where no row can be answered', async () => {
  const path = join(folder, 'no-rows.jsonl');
  writeFileSync(path, 'not JSON\nnor this\n');
  const { code, stderr } = await bpeft('predict', '--run', run, path);
  expect(code).toBe(2);
  expect(stderr).toContain('no-rows.jsonl:1: is not valid JSON');
});

it('refuses a prompt that is too long where that is asked for, and answers its neighbours', async () => {
  const long = { ...rings, context: 'Saturn has rings. '.repeat(200) };
  const input = { name: 'rows.jsonl', stream: bytes(jsonLines([rings, melts, long, rings])) };
  const found: (Prediction | RefusedRow)[] = [];
  for await (const line of predictStream({ run, samples: 0, onLong: 'error' }, input))
    found.push(line);
  expect(found.map((line) => ('error' in line ? line.error.code : line.prediction !== ''))).toEqual(
    [true, true, 'BPEFT_PROMPT_TOO_LONG', true],
  );
  expect({ ...found[3], row: 0 }).toEqual(found[0]);
});

it('reads no further ahead than a few batches, so that memory does not grow with the rows', async () => {
  const rows = 2000;
  let read = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (; read < rows; read += 1) yield Buffer.from(jsonLines([read % 7 === 0 ? melts : rings]));
  }
  const events: RunEvent[] = [];
  const input = { name: 'many', stream: endless() };
  const context = { onEvent: (event: RunEvent) => events.push(event) };
  let answered = 0;
  let ahead = 0;
  for await (const line of predictStream({ run, samples: 0, evalBatchSize: 8 }, input, context)) {
    expect(line.row).toBe(answered);
    answered += 1;
    ahead = Math.max(ahead, read - answered);
  }
  expect(answered).toBe(rows);
  expect(ahead).toBeLessThanOrEqual(3 * 8);
});

it('stops reading when its caller stops', async () => {
  let read = 0;
  let isClosed = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        read += 1;
        yield Buffer.from(jsonLines([rings]));
      }
    } finally {
      isClosed = true;
    }
  }
  const input = { name: 'endless', stream: endless() };
  for await (const { row } of predictStream({ run, samples: 0 }, input)) if (row === 3) break;
  await pause(0);
  expect(isClosed).toBe(true);
  expect(read).toBeLessThan(100);
});

it('answers rows of a list or of a stream as they come, and leaves the rest of the stream where it is', async () => {
  await using predictor = await openPredictor({ run, evalBatchSize: 1 });
  const listed: string[] = [];
  for await (const line of predictor.stream([rings, melts]))
    listed.push('error' in line ? '' : line.prediction);
  let asked = 0;
  async function* endless() {
    for (;;) {
      asked += 1;
      yield asked % 2 === 1 ? rings : melts;
    }
  }
  const streamed: string[] = [];
  for await (const line of predictor.stream(endless())) {
    streamed.push('error' in line ? '' : line.prediction);
    if (streamed.length === 2) break;
  }
  expect(streamed).toEqual(listed);
  expect(asked).toBeLessThan(50);
});

it('gives nothing for nothing', async () => {
  await using predictor = await openPredictor({ run });
  expect(await predictor.predict([])).toEqual([]);
  expect(await predict({ run }, { name: 'empty', stream: bytes('') })).toEqual([]);
  const out = join(folder, 'empty.jsonl');
  expect(await predict({ run, out }, { name: 'empty', stream: bytes() })).toEqual([]);
  expect(readFileSync(out, 'utf8')).toBe('');
});

it('takes rows where it takes a file, and says what it takes where it got neither', async () => {
  const [answer] = await predict({ run }, [rings]);
  const [same] = await predict({ run }, { name: 'rows', stream: bytes(JSON.stringify(rings)) });
  expect(answer).toEqual(same);
  // @ts-expect-error as a caller without types may send it
  await expect(predict({ run }, 'rows.jsonl')).rejects.toMatchObject({
    code: 'BPEFT_USAGE',
    hint: expect.stringContaining('createReadStream'),
  });
});

it('rejects the rows of a call with what is wrong with the first that is none', async () => {
  await using predictor = await openPredictor({ run });
  // @ts-expect-error as a caller without types may send it
  await expect(predictor.predict([rings, { question: 'no choices' }])).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: expect.stringMatching(/^input:2: choices/),
  });
});

it('stops a call in the middle, with the reason of its signal', async () => {
  await using predictor = await openPredictor({ run, samples: 4, evalBatchSize: 4 });
  const controller = new AbortController();
  const reason = new Error('the client hung up');
  const seen: number[] = [];
  const input = {
    name: 'many',
    stream: bytes(jsonLines(Array.from({ length: 400 }, () => rings))),
  };
  const answers = (async () => {
    for await (const { row } of predictor.stream(input, { signal: controller.signal })) {
      seen.push(row);
      if (row === 7) controller.abort(reason);
    }
  })();
  await expect(answers).rejects.toMatchObject({
    name: 'AbortError',
    code: 'BPEFT_ABORTED',
    cause: reason,
  });
  expect(seen.length).toBeLessThan(20);
});

/** Answers without their places. */
const questionsOf = (answers: readonly Prediction[]) =>
  answers.map(({ row: _, id: __, ...rest }) => rest);

it('answers a question alike wherever it stands, by its tokens or by its id', async () => {
  await using predictor: Predictor = await openPredictor({ run, samples: 3, evalBatchSize: 3 });
  const together = questionsOf(await predictor.predict([rings, melts, melts, rings]));
  expect(together[3]).toEqual(together[0]);
  expect(together[2]).toEqual(together[1]);
  expect(questionsOf(await predictor.predict([melts]))[0]).toEqual(together[1]);
  expect(together[0]?.probs).not.toEqual(together[1]?.probs);

  const named = [{ ...rings, id: 'a' }, { ...rings, id: 'b' }, rings, { ...rings, id: 'a' }];
  const [first, other, unnamed, again] = questionsOf(await predictor.predict(named));
  expect(again).toEqual(first);
  expect(other?.probs).not.toEqual(first?.probs);
  expect(unnamed).toEqual(together[0]);
  expect(first?.probs).not.toEqual(unnamed?.probs);

  await using otherSeed = await openPredictor({ run, samples: 3, seed: 2 });
  expect(questionsOf(await otherSeed.predict([rings]))[0]?.probs).not.toEqual(together[0]?.probs);
});

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BpeftProcess, type Finished } from '../support/bpeft-process.ts';
import { randomEncoder } from '../support/random-encoder.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface World {
  readonly model: string;
  readonly data: string;
}

/** A random encoder, and rows of our own with three classes. */
function world(): World {
  const data = temporaryFolder();
  mkdirSync(join(data, 'cb'));
  const rows = Array.from({ length: 12 }, (_, row) => ({
    premise: `it rains in town ${row}`,
    hypothesis: `town ${row % 3} is ${['wet', 'dry', 'far'][row % 3]}`,
    label: row % 3,
  }));
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const split of ['train', 'validation'])
    writeFileSync(join(data, 'cb', `${split}.jsonl`), lines);
  return { model: randomEncoder(), data };
}

function bpeft(...args: string[]): Promise<Finished> {
  return new BpeftProcess(args).finished;
}

function train({ model, data }: World, out: string, ...more: string[]): Promise<Finished> {
  const usual = ['--max-steps', '12', '--batch-size', '4', '--lr', '0.01', '--out', out];
  return bpeft('train', '--model', model, '--dataset', 'cb', '--data-dir', data, ...usual, ...more);
}

const read = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

it('trains BLoB on pairs with three classes, evaluates and predicts by class', async () => {
  const [out, own] = [join(temporaryFolder(), 'run'), world()];
  const { model, data } = own;
  expect(await train(own, out, '--eval-samples', '4,0')).toMatchObject({ code: 0 });
  const { run, evaluations } = read(out, 'result.json');
  expect(run).toMatchObject({ target_modules: ['query', 'value'], head: 'trained' });
  expect(evaluations.map(({ samples, n }: { samples: number; n: number }) => [samples, n])).toEqual(
    [
      [4, 12],
      [0, 12],
    ],
  );
  expect(evaluations[0].metrics.mcc).not.toBeNull();
  expect(read(out, 'adapter/adapter_config.json')).toMatchObject({ task_type: 'SEQ_CLS' });
  expect(read(out, 'adapter/bpeft.json').label_tokens).toEqual({
    ...{ entailment: 0, contradiction: 1, neutral: 2 },
  });

  const again = await bpeft(
    'eval',
    '--run',
    out,
    '--model',
    model,
    '--data-dir',
    data,
    '--samples',
    '0',
    '--json',
  );
  expect(JSON.parse(again.stdout).evaluations[0].metrics).toEqual(evaluations[1].metrics);

  const input = join(temporaryFolder(), 'rows.jsonl');
  writeFileSync(input, '{"premise": "it rains", "hypothesis": "it is wet"}\n');
  const { code, stdout } = await bpeft('predict', '--run', out, '--model', model, input);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ labels: ['entailment', 'contradiction', 'neutral'] });
});

it('trains, evaluates and predicts with more classes than a decoder has tokens for', async () => {
  const CLASSES = 2000;
  const [data, out] = [temporaryFolder(), join(temporaryFolder(), 'run')];
  const rows = Array.from({ length: CLASSES }, (_, row) => ({ text: `${row}`, label: `c${row}` }));
  const lines = (some: typeof rows) => some.map((row) => `${JSON.stringify(row)}\n`).join('');
  writeFileSync(join(data, 'train.jsonl'), lines(rows));
  writeFileSync(join(data, 'validation.jsonl'), lines(rows.slice(0, 8)));
  const model = randomEncoder();
  const args = ['train', '--model', model, '--dataset', data, '--max-steps', '2', '--out', out];
  expect(await bpeft(...args, '--eval-samples', '2')).toMatchObject({ code: 0 });
  expect(read(out, 'result.json').evaluations[0]).toMatchObject({ n: 8, samples: 2 });
  const input = join(data, 'validation.jsonl');
  const { code, stdout } = await bpeft('predict', '--run', out, '--model', model, input);
  expect(code).toBe(0);
  const answers = stdout.trim().split('\n');
  expect(answers).toHaveLength(8);
  const { labels, probs, prediction } = JSON.parse(answers[0] ?? '');
  expect(labels).toEqual(rows.map(({ label }) => label).sort());
  expect(probs).toHaveLength(CLASSES);
  expect(labels).toContain(prediction);
});

it.each([
  ['frozen', ['query', 'value']],
  ['lora', ['query', 'value', 'classifier.dense', 'classifier.out_proj']],
])('keeps a head that is %s in the adapter', async (head, modules) => {
  const [out, own] = [join(temporaryFolder(), 'run'), world()];
  const { model, data } = own;
  expect(await train(own, out, '--method', 'mle', '--head', head)).toMatchObject({ code: 0 });
  const { run, evaluations } = read(out, 'result.json');
  expect(run).toMatchObject({ head, target_modules: modules });
  const again = await bpeft('eval', '--run', out, '--model', model, '--data-dir', data, '--json');
  expect(JSON.parse(again.stdout).evaluations[0].metrics).toEqual(evaluations[0].metrics);
});

it('goes on with a run as if it had never stopped', async () => {
  const [whole, parts, own] = [join(temporaryFolder(), 'a'), join(temporaryFolder(), 'b'), world()];
  const { model, data } = own;
  await train(own, whole);
  const child = new BpeftProcess([
    ...['train', '--model', model, '--dataset', 'cb', '--data-dir', data, '--max-steps', '12'],
    ...['--batch-size', '4', '--lr', '0.01', '--out', parts, '--checkpoint-every', '1'],
  ]);
  await child.seen('step 5/12');
  child.kill('SIGKILL');
  await child.finished;
  expect(await train(own, parts, '--checkpoint-every', '1', '--resume')).toMatchObject({ code: 0 });
  const adapter = (run: string) => readFileSync(join(run, 'adapter/adapter_model.safetensors'));
  expect(adapter(parts).equals(adapter(whole))).toBe(true);
});

it.each([
  [
    'a prompt longer than the positions',
    ['--max-seq-len', '600'],
    '--max-seq-len must be at most 512, the positions that this encoder has learnt, got 600',
  ],
  [
    'a layer that it lacks',
    ['--target-modules', 'q_lin'],
    '--target-modules must be layers of roberta, got q_lin',
  ],
])('refuses %s', async (_, flags, message) => {
  const { code, stderr } = await train(world(), join(temporaryFolder(), 'run'), ...flags);
  expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
});

it('refuses a head in a decoder', async () => {
  const args = ['--model', 'builtin:random', '--dataset', 'builtin:exam-topics', '--head', 'lora'];
  const { code, stderr } = await bpeft(
    'train',
    ...args,
    '--max-steps',
    '1',
    '--out',
    temporaryFolder(),
  );
  expect([code, stderr]).toEqual([
    2,
    expect.stringContaining('--head is about the head of an encoder'),
  ]);
});

it('makes an adapter Bayesian by Laplace, over all layers and over the head alone', async () => {
  const [run, own] = [join(temporaryFolder(), 'run'), world()];
  const { model, data } = own;
  expect(await train(own, run, '--method', 'mle')).toMatchObject({ code: 0 });
  const from = ['--model', model, '--data-dir', data];
  for (const layers of ['all', 'last:1']) {
    const out = join(temporaryFolder(), 'laplace');
    const usual = ['--method', 'laplace', '--run', run, '--out', out, ...from];
    const made = await bpeft('bayesianize', ...usual, '--stochastic-layers', layers);
    expect(made).toMatchObject({ code: 0 });
    expect(read(out, 'bpeft.json').laplace.determined).toBeGreaterThan(0);
    const asked = ['--adapter', out, ...from, '--samples', '1,0', '--json'];
    const { stdout } = await bpeft('eval', ...asked);
    const [closed, mean] = JSON.parse(stdout).evaluations;
    expect([closed.samples, mean.samples]).toEqual([1, 0]);
    expect(closed.metrics.nll).not.toBe(mean.metrics.nll);
  }
});

import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BpeftProcess, type Finished } from '../support/bpeft-process.ts';
import { type EmulatedGpu, emulatedGpu, shortRows } from '../support/emulated-gpu.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let gpu: EmulatedGpu;
let onCpu: string;
let settings: readonly string[];

const STEPS = 4;

beforeAll(async () => {
  gpu = emulatedGpu();
  const data = mkdtempSync(join(tmpdir(), 'bpeft-gpu-'));
  for (const split of ['train', 'validation'])
    writeFileSync(join(data, `${split}.jsonl`), shortRows());
  const run = ['--model', 'builtin:random', '--dataset', data, '--batch-size', '2', '--lr', '0.01'];
  settings = [
    ...run,
    '--max-steps',
    String(STEPS),
    '--checkpoint-every',
    '2',
    '--eval-samples',
    '2',
    '--rank',
    '2',
  ];
  onCpu = join(data, 'cpu');
  await done(bpeft(['train', ...settings, '--out', onCpu, '--device', 'cpu']));
});

function bpeft(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  return new BpeftProcess(args, { environment: { ...gpu, ...environment } }).finished;
}

async function done(process: Promise<Finished>): Promise<Finished> {
  const finished = await process;
  expect(finished).toMatchObject({ code: 0 });
  return finished;
}

const json = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8'));

function losses(run: string): number[] {
  const lines = readFileSync(join(run, 'metrics.jsonl'), 'utf8').trim().split('\n');
  const events = lines.map((line) => JSON.parse(line) as { type: string; nll: number; kl: number });
  return events.filter(({ type }) => type === 'step').flatMap(({ nll, kl }) => [nll, kl]);
}

/** f32 on both: products sum in another order. */
function sameRun(run: string): void {
  expect(losses(onCpu)).toHaveLength(2 * STEPS);
  expect(losses(run)).toEqual(losses(onCpu).map((value) => expect.closeTo(value, 3)));
  const [metrics, expected] = [run, onCpu].map((of) => json(of, 'result.json').metrics);
  expect(metrics.nll).toBeCloseTo(expected.nll, 3);
}

it('trains and evaluates on a GPU with the numbers of the CPU, and records where', async () => {
  const out = join(temporaryFolder(), 'run');
  await done(bpeft(['train', ...settings, '--out', out, '--device', 'cuda']));
  sameRun(out);
  const { hardware, config } = json(out, 'config.json');
  expect([hardware.device, hardware.gpu, config.device]).toEqual([
    'cuda:0',
    'Emulated device 0',
    'cuda',
  ]);
  const again = join(out, 'again');
  const evaluate = ['eval', '--run', out, '--samples', '2', '--out', again];
  await done(bpeft(evaluate, { BPEFT_DEVICE: 'cuda:1', CUDA_EMU_DEVICES: '2' }));
  expect(json(again, 'result.json').metrics).toEqual(json(out, 'result.json').metrics);
});

it.each([
  ['cuda', 'cpu'],
  ['cpu', 'cuda'],
])('goes on with a run of %s on %s', async (first, second) => {
  const out = join(temporaryFolder(), 'run');
  const begun = new BpeftProcess(['train', ...settings, '--out', out, '--device', first], {
    environment: { ...gpu },
  });
  await begun.seen('checkpoint of step 2 written');
  begun.kill('SIGKILL');
  await begun.finished;
  const { stderr } = await done(bpeft(['train', '--out', out, '--resume', '--device', second]));
  expect(stderr).toMatch(/resumed after step [24]/);
  sameRun(out);
});

it('answers with the same bits in any batch where algorithms are fixed, and records that', async () => {
  const predictions = async (batch: string, ...flags: readonly string[]) => {
    const out = join(temporaryFolder(), 'again');
    const evaluate = ['eval', '--run', onCpu, '--samples', '2', '--eval-batch-size', batch];
    await done(bpeft([...evaluate, '--device', 'cuda', ...flags, '--out', out]));
    const { run } = json(out, 'result.json');
    const [file = ''] = readdirSync(join(out, 'predictions'));
    const rows = readFileSync(join(out, 'predictions', file), 'utf8');
    return { isFixed: run.deterministic, rows };
  };
  const alone = await predictions('1', '--deterministic');
  expect(alone.isFixed).toBe(true);
  expect(await predictions('8', '--deterministic')).toEqual(alone);
  const chosen = [await predictions('1'), await predictions('8')];
  expect(chosen[0]?.isFixed).toBe(false);
  expect(chosen[0]?.rows).not.toBe(chosen[1]?.rows);
});

it('repeats by graphs with the bits of plain steps, also where a driver captures none', async () => {
  const run = async (flags: readonly string[], variables: Readonly<Record<string, string>>) => {
    const out = join(temporaryFolder(), 'graphs');
    const environment = { CUDA_EMU_TRACE: '1', ...variables };
    const args = ['train', ...settings, '--device', 'cuda', ...flags, '--out', out];
    const { stderr } = await done(bpeft(args, environment));
    const launched = Number(/(\d+) cuGraphLaunch/.exec(stderr)?.[1] ?? 0);
    const { metrics } = json(out, 'result.json');
    return { numbers: { losses: losses(out), metrics }, launched, ...json(out, 'config.json') };
  };
  const plain = await run([], {});
  const byGraphs = await run(['--cuda-graphs'], {});
  const refused = await run(['--cuda-graphs'], { CUDA_EMU_GRAPHS: '0' });
  expect([byGraphs.numbers, refused.numbers]).toEqual([plain.numbers, plain.numbers]);
  expect([plain.launched, refused.launched]).toEqual([0, 0]);
  expect(byGraphs.launched).toBeGreaterThan(0);
  expect([plain, byGraphs].map(({ config }) => config.cuda_graphs)).toEqual([false, true]);
});

it('takes a GPU by itself where there is one', async () => {
  const out = join(temporaryFolder(), 'run');
  await done(bpeft(['train', ...settings, '--out', out]));
  expect(json(out, 'config.json').hardware.device).toBe('cuda:0');
  sameRun(out);
});

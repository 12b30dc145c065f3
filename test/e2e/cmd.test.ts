import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { RunResult } from '../../ts/run/records/result.ts';
import { fixtureData } from '../support/bpeft-process.ts';
import { randomEncoder } from '../support/random-encoder.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '../..');

/** Runs a script of cmd/ on the random model. */
function script(
  name: string,
  environment: Record<string, string>,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = { ...process.env, MODEL: 'builtin:random', DATA_DIR: fixtureData, ...environment };
  const child = spawn('bash', [join(root, 'cmd', name)], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

const names = (stderr: string) => [...stderr.matchAll(/^== .*\/(.*)$/gm)].map(([, name]) => name);
const scaledDown = '--batch-size 2 --max-steps 8 --eval-limit 4 --eval-samples 2';

const ofLlama = {
  protocol: 'reference',
  processes: 2,
  max_steps: 5000,
  batch_size: 4,
  lr: 1e-4,
  warmup_ratio: 0.06,
  max_seq_len: 300,
  precision: 'int8-mixed',
  rank: 8,
  alpha: 16,
};
/** The fixture of obqa has too few rows for two processes of four. */
const sized = (path: string) =>
  path.includes('-ood-')
    ? { flags: '--json --batch-size 2', batch_size: 2 }
    : { flags: '--json', batch_size: 4 };
const ofBlob = {
  ...{ method: 'blob', kl_lr: 0.01, init_eps: 0.05, prior_std: 0.2, train_samples: 1 },
  ...{ kl_weighting: 'pulse', kl_gamma: 8, eval_samples: [10] },
};

it.each([
  ['blob/blob-llama-all.sh', 'ARC-Easy-sample10', {}],
  ['blob/blob-llama-all-single-gpu.sh', 'ARC-Easy-sample10', { processes: 1 }],
  [
    'blob/blob-mean-llama-all-single-gpu.sh',
    'ARC-Easy-sample1',
    { processes: 1, eval_samples: [0] },
  ],
  ['blob/blob-llama-ood-all.sh', 'obqa', { dataset: 'obqa', kl_cycle: 'epoch' }],
])(
  'plans the runs of %s with the settings of its row, and writes nothing',
  async (path, run, own) => {
    const out = temporaryFolder();
    const environment = { ...{ DRY_RUN: '1', OUT_DIR: out, SEEDS: '1' }, DATASETS: 'ARC-Easy' };
    const { flags, ...size } = sized(path);
    const { code, stdout, stderr } = await script(path, { ...environment, EXTRA: flags });
    const name = `blob-${run}-eps0.05-kllr0.01-beta0.2-gamma8-seed1`;
    expect([code, names(stderr)]).toEqual([0, [name]]);
    expect(JSON.parse(stdout).config).toMatchObject({ ...ofLlama, ...ofBlob, ...size, ...own });
    expect(readdirSync(out)).toEqual([]);
  },
);

const roberta = ['rte', 'cola'] as const;

/** A few rows of our own, in the fields of the official files. */
function glueData(): string {
  const data = temporaryFolder();
  const rows = {
    rte: { sentence1: 'It rains.', sentence2: 'It is wet.' },
    cola: { sentence: 'It rains.' },
  };
  for (const name of roberta) {
    mkdirSync(join(data, name));
    const lines = Array.from({ length: 9 }, (_, row) =>
      JSON.stringify({ ...rows[name], label: row % 2 }),
    );
    for (const split of ['train', 'validation'])
      writeFileSync(join(data, name, `${split}.jsonl`), lines.join('\n'));
  }
  return data;
}

const ofRoberta = {
  protocol: 'reference',
  processes: 4,
  max_steps: 5000,
  batch_size: 32,
  lr: 5e-4,
  warmup_ratio: 0.06,
  max_seq_len: 256,
  rank: 8,
  alpha: 8,
  head: 'lora',
  lora_dropout: 0,
  weight_decay: 0,
};

it.each([
  ['blob', 'blob-rte-sample10-eps0.05-kllr0.002-beta0.2-gamma8-seed1', { ...ofBlob, kl_lr: 0.002 }],
  ['mle', 'mle-rte-seed1', { method: 'mle' }],
  ['map', 'map-rte-seed1', { method: 'map', weight_decay: 1e-5 }],
  [
    'mcdropout',
    'mcdropout-rte-sample10-seed1',
    { method: 'mc-dropout', lora_dropout: 0.1, eval_samples: [10] },
  ],
  ['deepensemble', 'deepensemble-rte-seed1', { method: 'ensemble', members: 3 }],
])(
  'plans %s-roberta-all with the settings of its row, and writes nothing',
  async (method, name, own) => {
    const out = temporaryFolder();
    const environment = { ...{ DRY_RUN: '1', OUT_DIR: out, SEEDS: '1' }, DATASETS: 'rte' };
    const inputs = { MODEL: randomEncoder(), DATA_DIR: glueData(), EXTRA: '--json' };
    const path = `${method}/${method}-roberta-all.sh`;
    const { code, stdout, stderr } = await script(path, { ...environment, ...inputs });
    expect([code, names(stderr)]).toEqual([0, [name]]);
    expect(JSON.parse(stdout).config).toMatchObject({ ...ofRoberta, ...own });
    expect(readdirSync(out)).toEqual([]);
  },
);

it('runs blob-roberta-all scaled down', async () => {
  const out = temporaryFolder();
  const inputs = { MODEL: randomEncoder(), DATA_DIR: glueData() };
  const environment = { OUT_DIR: out, SEEDS: '1', DATASETS: roberta.join(' '), EXTRA: scaledDown };
  expect(await script('blob/blob-roberta-all.sh', { ...environment, ...inputs })).toMatchObject({
    code: 0,
  });
  for (const name of roberta) {
    const run = join(
      ...[out, 'BLoB-roberta-all', `blob-${name}-sample10-eps0.05-kllr0.002-beta0.2-gamma8-seed1`],
    );
    expect(JSON.parse(readFileSync(join(run, 'result.json'), 'utf8'))).toMatchObject({
      protocol: 'reference',
      run: { processes: 4, kl_lr: 0.002, lr: 0.0005, alpha: 8, head: 'lora', last_batch: 'keep' },
    });
  }
});

const dropout = { method: 'mc-dropout', lora_dropout: 0.1, eval_samples: [10] };

it.each([
  [
    'mle/mle-llama-all.sh',
    'mle-ARC-Easy-seed1',
    { method: 'mle', weight_decay: 0, lora_dropout: 0 },
  ],
  ['mle/mle-llama-ood-all.sh', 'mle-obqa-seed1', { method: 'mle', dataset: 'obqa' }],
  ['map/map-llama-all.sh', 'map-ARC-Easy-seed1', { method: 'map', weight_decay: 1e-5 }],
  [
    'map/map-llama-ood-all.sh',
    'map-obqa-seed1',
    { method: 'map', dataset: 'obqa', weight_decay: 1e-5 },
  ],
  ['mcdropout/mcdropout-llama-all.sh', 'mcdropout-ARC-Easy-sample10-seed1', dropout],
  ['mcdropout/mcdropout-llama-ood-all.sh', 'mcdropout-obqa-sample10-seed1', dropout],
  [
    'deepensemble/deepensemble-llama-all.sh',
    'deepensemble-ARC-Easy-seed1',
    { method: 'ensemble', members: 3 },
  ],
  [
    'deepensemble/deepensemble-llama-ood-all.sh',
    'deepensemble-obqa-seed1',
    { members: 3, dataset: 'obqa' },
  ],
  ['tfblora/mle-llama-all.sh', 'mle-ARC-Easy-seed1', { method: 'mle', processes: 1 }],
  ['tfblora/map-acc-llama-all.sh', 'map-ARC-Easy-seed1', { method: 'map', processes: 1 }],
  ['laplace/laplace-llama-all.sh', 'map-ARC-Easy-seed1', { method: 'map', processes: 1 }],
  [
    'scalabl/scalabl-llama-all.sh',
    'scalabl-ARC-Easy-sample10-eps0.05-kllr0.2-seed1',
    { method: 'scalabl', scale_kl_lr: 0.2, scale_prior_std: 1, processes: 1 },
  ],
  [
    'clora/clora-llama-all.sh',
    'clora-ARC-Easy-sample10-seed1',
    { method: 'c-lora', context_lr: 0.02, context_kl: 1e-6, max_steps: 1500, processes: 1 },
  ],
  [
    'tfblora/blob-llama-all.sh',
    'blob-ARC-Easy-seed1',
    { method: 'blob', kl_lr: 0.0075, prior_std: 0.15, processes: 1 },
  ],
])('plans %s with the settings of its row in the reference', async (path, name, own) => {
  const out = temporaryFolder();
  const { flags: EXTRA, ...size } = sized(path);
  const environment = { DRY_RUN: '1', OUT_DIR: out, SEEDS: '1', DATASETS: 'ARC-Easy', EXTRA };
  const { code, stdout, stderr } = await script(path, environment);
  expect([code, names(stderr)]).toEqual([0, [name]]);
  expect(JSON.parse(stdout).config).toMatchObject({ ...ofLlama, ...size, ...own });
  expect(readdirSync(out)).toEqual([]);
});

/** What a dry run says would be made of its trainings. */
const planned = (stderr: string) =>
  [...stderr.matchAll(/^would run bpeft (.*)$/gm)].map(([, command]) => command);
const dry = { DRY_RUN: '1', EXTRA: '--batch-size 2' };
const byNll = '--tolerance 0.003';
const byAnswers = '--criterion accuracy --eval-batch-size 50 --tolerance 0.01';

it.each([
  ['blob-llama-all', byNll],
  ['map-llama-all', byNll],
  ['mle-llama-all', byNll],
  ['blob-acc-llama-all', byAnswers],
  ['map-acc-llama-all', byAnswers],
  ['mle-acc-llama-all', byAnswers],
])('plans the search and the evaluation of tfblora/%s with those of its row', async (name, own) => {
  const environment = { ...dry, OUT_DIR: temporaryFolder(), SEEDS: '2', DATASETS: 'ARC-Easy' };
  const { code, stderr } = await script(`tfblora/${name}.sh`, environment);
  const [search, evaluation, ...more] = planned(stderr);
  expect([code, more]).toEqual([0, []]);
  const settings = '--anchors 500 --samples 10 --sigma-max 0.015 --iterations 5';
  expect(search).toMatch(/^bayesianize --run .* --method tfb --protocol reference /);
  for (const flags of [settings, '--eval-batch-size 50', own]) expect(search).toContain(flags);
  expect(search?.includes('--criterion')).toBe(own === byAnswers);
  expect(evaluation).toMatch(
    /^eval --adapter .* --dataset ARC-Easy --samples 10 --eval-batch-size 50 --seed 2$/,
  );
});

it.each([
  ['blob', ['0.00975', '0.00975', '0.00975']],
  ['map', ['0.00625', '0.00625', '0.0045']],
  ['mle', ['0.005375', '0.00625', '0.005375']],
])('plans tfblora/%s-acc-llama-ood-all with the sigma of each seed', async (method, sigmas) => {
  const environment = { ...dry, OUT_DIR: temporaryFolder() };
  const { code, stderr } = await script(`tfblora/${method}-acc-llama-ood-all.sh`, environment);
  expect(code).toBe(0);
  expect(names(stderr)).toEqual([1, 2, 3].map((seed) => `${method}-obqa-seed${seed}`));
  const of = (command: string) => planned(stderr).filter((it) => it?.startsWith(command));
  const made = of('bayesianize').map((it) => it?.replace(/^.*-adapter /, ''));
  const fixed = (sigma: string) => `--criterion accuracy --iterations 0 --sigma-max ${sigma}`;
  expect(made).toEqual(
    sigmas.map((sigma) => `--method tfb --protocol reference ${fixed(sigma)} --samples 10`),
  );
  const asked = of('eval').map((it) => it?.replace(/^.* --dataset /, ''));
  const datasets = ['ARC-Challenge', 'ARC-Easy', 'MMLU-chem', 'MMLU-phy'];
  expect(asked).toEqual(
    [1, 2, 3].flatMap((seed) =>
      datasets.map((name) => `${name} --samples 10 --eval-batch-size 50 --seed ${seed}`),
    ),
  );
});

it('plans tfblora/blob-llama-test as one dataset and one seed of blob-llama-all', async () => {
  const environment = { ...dry, OUT_DIR: temporaryFolder(), DATASETS: 'ARC-Easy' };
  const { code, stderr } = await script('tfblora/blob-llama-test.sh', environment);
  expect([code, names(stderr)]).toEqual([0, ['blob-ARC-Easy-seed1']]);
});

it('plans Laplace over all layers and over the last', async () => {
  const environment = { ...dry, OUT_DIR: temporaryFolder(), SEEDS: '1', DATASETS: 'ARC-Easy' };
  const { stderr } = await script('laplace/laplace-llama-all.sh', environment);
  const made = planned(stderr).filter((it) => it?.startsWith('bayesianize'));
  const layers = made.map((it) => it?.replace(/^.*-adapter /, ''));
  expect(layers).toEqual(
    ['all', 'last:1'].map((layer) => `--method laplace --stochastic-layers ${layer}`),
  );
});

it.each([
  ['mle', 'mle-obqa-on-ARC-Easy-seed1', '--dataset ARC-Easy'],
  ['mcdropout', 'mcdropout-obqa-on-ARC-Easy-sample10-seed1', '--dataset ARC-Easy --samples 10'],
])('plans the evaluations of %s-llama-ood-all', async (method, name, flags) => {
  const environment = { ...dry, OUT_DIR: temporaryFolder(), SEEDS: '1', DATASETS: 'ARC-Easy' };
  const { stderr } = await script(`${method}/${method}-llama-ood-all.sh`, environment);
  expect(planned(stderr)).toEqual([expect.stringMatching(new RegExp(`/${name} ${flags}$`))]);
});

it('runs Laplace of MAP scaled down, over all layers and the last, and not again', async () => {
  const out = temporaryFolder();
  const environment = { OUT_DIR: out, SEEDS: '1', DATASETS: 'ARC-Easy', EXTRA: scaledDown };
  const first = await script('laplace/laplace-llama-all.sh', environment);
  expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('prior precision')]);
  for (const layers of ['all', 'last:1']) {
    const name = `laplace-${layers}-ARC-Easy-seed1`;
    const text = readFileSync(join(out, 'laplace', name, 'result.json'), 'utf8');
    const result = JSON.parse(text) as RunResult;
    expect(result).toMatchObject({ method: 'laplace', evaluations: [{ samples: 1 }] });
  }
  const again = await script('laplace/laplace-llama-all.sh', environment);
  expect(again.stderr).not.toContain('prior precision');
});

it('runs TFB of MLE scaled down, search and evaluation, and not again when it is finished', async () => {
  const out = temporaryFolder();
  const environment = { OUT_DIR: out, SEEDS: '1', DATASETS: 'ARC-Easy', EXTRA: scaledDown };
  const first = await script('tfblora/mle-llama-all.sh', environment);
  expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('sigma 0.008')]);
  const name = 'tfblora-mle-th0.003-ARC-Easy-sample10-beta0.015-iter5-seed1';
  const result = JSON.parse(
    readFileSync(join(out, 'tfblora', name, 'result.json'), 'utf8'),
  ) as RunResult;
  expect(result).toMatchObject({
    method: 'tfb',
    protocol: 'reference',
    evaluations: [{ samples: 10 }],
  });
  const again = await script('tfblora/mle-llama-all.sh', environment);
  expect(again.stderr).not.toContain('sigma 0.008');
});

it('runs blob-llama-ood-all scaled down, and not again when it is finished', async () => {
  const out = temporaryFolder();
  const environment = { OUT_DIR: out, SEEDS: '1', DATASETS: 'ARC-Challenge', EXTRA: scaledDown };
  expect(await script('blob/blob-llama-ood-all.sh', environment)).toMatchObject({ code: 0 });
  const project = join(out, 'BLoB-llama-ood-all');
  const settings = 'eps0.05-kllr0.01-beta0.2-gamma8-seed1';
  const read = (run: string) =>
    JSON.parse(readFileSync(join(project, run, 'result.json'), 'utf8')) as RunResult;
  expect(read(`blob-obqa-${settings}`)).toMatchObject({
    protocol: 'reference',
    run: { processes: 2, kl_cycle: 'epoch', kl_lr: 0.01, prior_std: 0.2, lr: 0.0001 },
  });
  expect(read(`blob-ARC-Challenge-sample10-${settings}`).evaluations).toMatchObject([
    { samples: 10 },
  ]);
  const again = await script('blob/blob-llama-ood-all.sh', environment);
  expect(again.stderr).not.toContain('step 1/');
});

it('says what it needs', async () => {
  const { code, stderr } = await script('blob/blob-llama-all.sh', { MODEL: '' });
  expect([code === 0, stderr]).toEqual([
    false,
    expect.stringContaining('MODEL must name a model folder'),
  ]);
});

it('trains the grid of exam-topics scaled down', async () => {
  const out = temporaryFolder();
  const environment = {
    OUT_DIR: out,
    STEPS: '20',
    KL_LRS: '0.001 0.01',
    EXTRA: '--max-seq-len 700 --eval-limit 2',
  };
  expect(await script('exam-topics/train-grid.sh', environment)).toMatchObject({ code: 0 });
  expect(readdirSync(join(out, 'exam-topics')).sort()).toEqual([
    'blob-20-kllr0.001',
    'blob-20-kllr0.01',
    'mle-20',
  ]);
  expect(existsSync(join(out, 'exam-topics/mle-20/result.json'))).toBe(true);
});

it('plans the runs of exam-topics/as-arc-easy.sh through the prompts of ARC-Easy, without writing', async () => {
  const out = temporaryFolder();
  const data = temporaryFolder();
  mkdirSync(join(data, 'exam_topics'));
  for (const split of ['train', 'test']) {
    copyFileSync(
      join(fixtureData, 'exam_topics/train.jsonl'),
      join(data, 'exam_topics', `${split}.jsonl`),
    );
  }
  const environment = { DRY_RUN: '1', OUT_DIR: out, DATA_DIR: data };
  const { code, stderr } = await script('exam-topics/as-arc-easy.sh', environment);
  expect([code, names(stderr)]).toEqual([
    0,
    ['mle-150-1e-4-seed1', 'mle-150-1e-4-seed2', 'mle-450-3e-4-seed1'],
  ]);
  expect(stderr.match(/dry run: nothing was written/g)).toHaveLength(3);
  expect(stderr.match(/steps +(\d+) updates/g)).toEqual([
    'steps      150 updates',
    'steps      150 updates',
    'steps      450 updates',
  ]);
  expect(readdirSync(out)).toEqual([]);
});

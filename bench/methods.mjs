// node bench/methods.mjs [--model builtin:tiny] [--rounds 9] [--threads 2] [--out FILE.json]: what
// a method costs beside the plain runs that its arithmetic amounts to. All in one process and in
// turn, by the processor's time, so that neither the clock nor other work decides; medians of the
// rounds' ratios with 95 % intervals by order statistics.

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as engine from '../dist/engine/index.js';
import { searchOf, searchSigma } from '../dist/methods/tfb.js';
import { machine } from './machine.mjs';
import { blobAdapter, blobTrainer } from './run-of-blob.mjs';
import { median, medianInterval } from './statistics.mjs';
import { raggedBatches, uniformWorkload } from './workload.mjs';

const { Curvature, loadModel, Trainer } = engine;
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'builtin:tiny' },
    rounds: { type: 'string', default: '9' },
    threads: { type: 'string', default: '2' },
    out: { type: 'string' },
  },
});
const [MEMBERS, SAMPLES, BATCHES] = [3, 10, 8];
const model = await loadModel({ model: values.model, threads: Number(values.threads) });

/** Of 8 × 64 tokens each, all with rows of their own. */
const [{ rows, labels }] = uniformWorkload({
  ...{ batch: 8 * BATCHES, seqLen: 64, vocabSize: model.info.vocabSize },
}).batches;
const part = (all, index) => all.slice(8 * index, 8 * index + 8);
const batches = raggedBatches(engine, {
  answers: [330, 389, 340, 422],
  batches: Array.from({ length: BATCHES }, (_, index) => ({
    rows: part(rows, index),
    labels: part(labels, index),
  })),
});

async function point({ members = 1, dropout = 0 } = {}) {
  const adapter = await model.createAdapter({
    ...{ rank: 8, alpha: 16, dropout, members, seed: 1, posterior: null },
    targetModules: ['q_proj', 'v_proj', 'lm_head'],
  });
  const schedule = { total: 1e6, warmup: 0, warmupStart: 0, stride: 1 };
  const options = { lr: 1e-4, schedule, weightDecay: 0, adamEpsilon: 1e-6, maxGradNorm: 0 };
  const method = { id: 'mle', point: options };
  return { adapter, trainer: await Trainer.create(model, adapter, { seed: 1, method }) };
}

const blob = await blobAdapter(model, 8);
const trained = {
  single: await point(),
  'MC dropout': await point({ dropout: 0.1 }),
  BLoB: {
    adapter: blob,
    trainer: await blobTrainer(Trainer, model, blob, { updates: 1e6 }),
  },
  ensemble: await point({ members: MEMBERS }),
};

const epoch =
  ({ trainer }, members = 1) =>
  async () => {
    for (const batch of batches) await trainer.step(Array.from({ length: members }, () => batch));
  };
const answers =
  ({ adapter }, samples, { rows = batches, ...more } = {}) =>
  async () => {
    for (const batch of rows) await adapter.predict(batch, { ...NOISE, samples, ...more });
  };
const NOISE = { noise: 'token', seed: 1, stochasticLayers: null };

async function curvature() {
  const options = { rank: 10, memoryBytes: 2 ** 30, classTokens: 4, stochasticLayers: null };
  const gathered = await Curvature.create(model, trained.single.adapter, options);
  for (const batch of batches) await gathered.add(batch);
  await gathered.evidence();
  await gathered.dispose();
}

const anchors = batches.slice(0, 2);

/** The whole search, which looks equally often whatever it sees. */
async function search() {
  const { adapter } = trained.single;
  const unit = await adapter.isotropic({ rule: 'exact', stochasticLayers: null });
  const look = async (sigma) => {
    const one = await unit.withSigmaTimes(sigma);
    await answers({ adapter: one }, sigma === 0 ? 0 : SAMPLES, { rows: anchors })();
    await one.dispose();
    return sigma;
  };
  await look(0);
  await searchSigma(searchOf({ protocol: 'corrected', criterion: 'nll' }), look, () => {});
  await unit.dispose();
}

/** name → the work, the work it is held against, how many times that, and the bound. */
const CLAIMS = {
  [`training: an ensemble of ${MEMBERS}`]: [
    epoch(trained.ensemble, MEMBERS),
    epoch(trained.single),
    MEMBERS,
    '≤ 1.1',
  ],
  'training: MC dropout': [epoch(trained['MC dropout']), epoch(trained.single), 1, '≤ 1.1'],
  'training: BLoB': [epoch(trained.BLoB), epoch(trained.single), 1, '≤ 1.1'],
  [`answers: an ensemble of ${MEMBERS}`]: [
    answers(trained.ensemble, 0),
    answers(trained.single, 0),
    MEMBERS,
    '≤ 1.1',
  ],
  [`answers: MC dropout, N = ${SAMPLES}`]: [
    answers(trained['MC dropout'], SAMPLES, { dropout: 0.1 }),
    answers(trained.single, 0),
    SAMPLES,
    '≤ 1.1',
  ],
  [`answers: BLoB, N = ${SAMPLES}`]: [
    answers(trained.BLoB, SAMPLES),
    answers(trained.single, 0),
    SAMPLES,
    '≤ 1.1',
  ],
  'Laplace: all factors, against a training epoch': [curvature, epoch(trained.single), 1, '≤ 3'],
};
await trained.single.trainer.step([batches[0]]); // B = 0 has no directions
CLAIMS[`TFB: the search, against its anchors at N = ${SAMPLES}`] = [
  search,
  answers(trained.BLoB, SAMPLES, { rows: anchors }),
  1,
  '≤ 15',
];

async function cpuSeconds(work) {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const rounds = Object.fromEntries(Object.keys(CLAIMS).map((name) => [name, []]));
for (let round = 0; round <= Number(values.rounds); round += 1) {
  for (const [name, [work, against, times]] of Object.entries(CLAIMS)) {
    const seconds = { work: await cpuSeconds(work), against: await cpuSeconds(against) };
    // The first round warms up.
    if (round > 0) rounds[name].push(seconds.work / (times * seconds.against));
  }
}
await model.dispose();

process.stdout.write('| what | times its plain runs | 95 % interval | goal |\n|---|---|---|---|\n');
for (const [name, [, , , goal]] of Object.entries(CLAIMS)) {
  const { low, high } = medianInterval(rounds[name]);
  const shown = [median(rounds[name]), low, high].map((ratio) => ratio.toFixed(2));
  process.stdout.write(`| ${name} | ${shown[0]} | ${shown[1]} to ${shown[2]} | ${goal} |\n`);
}
if (values.out !== undefined)
  writeFileSync(values.out, `${JSON.stringify({ ...machine(), rounds }, null, 1)}\n`);

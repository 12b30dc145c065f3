// node bench/event-loop.mjs [--steps 200] [--rows 1000] [--json]: how long a timer waits while the
// library works in its process.
//
// A timer of 1 ms runs beside each piece of work; delay = how much later than asked for it fires
// (perf_hooks). The engine gets one thread less than the machine has processors, so that what is
// measured is waiting for JavaScript, not for a processor; `nothing` says what the machine itself
// makes a timer wait.

import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { compared } from '../dist/demo/compared.js';
import { evaluate, loadModel, openPredictor, resolveDataset, train } from '../dist/index.js';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '200' },
    rows: { type: 'string', default: '1000' },
    json: { type: 'boolean', default: false },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'bpeft-event-loop-'));
const threads = Math.max(1, availableParallelism() - 1);
const data = { model: 'builtin:tiny', dataset: 'builtin:exam-topics' };
const run = join(folder, 'run');

/** Milliseconds, of all delays while `work` runs. */
async function delayDuring(work) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  const start = performance.now();
  histogram.enable();
  await work();
  histogram.disable();
  const ms = (nanoseconds) => Math.round(nanoseconds / 1e4) / 100;
  return {
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
    seconds: Math.round(performance.now() - start) / 1000,
  };
}

/** Rows of four classes with probabilities that follow from their number. */
function contender(name, shift) {
  const rows = Array.from({ length: Number(values.rows) }, (_, row) => {
    const weights = [0, 1, 2, 3].map((k) => 1 + ((row * 31 + k * 17 + shift) % 97));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return {
      label: row % 4,
      probs: weights.map((weight) => weight / sum),
      mutualInformation: null,
    };
  });
  return { name, runs: [{ test: rows, ood: rows }] };
}

try {
  const model = await loadModel({ model: data.model, threads });
  const context = { model };
  const figures = { nothing: await delayDuring(() => pause(3000)) };
  figures.training = await delayDuring(() =>
    train(
      {
        ...data,
        out: run,
        maxSteps: Number(values.steps),
        checkpointEvery: 20,
        evalLimit: 1,
        evalSamples: [0],
      },
      context,
    ),
  );
  figures.evaluation = await delayDuring(() =>
    evaluate({ run, samples: [10], limit: 200, out: join(folder, 'eval') }, context),
  );
  const source = await resolveDataset(data.dataset);
  const { items } = await source.load('test');
  const questions = items.slice(0, 100).map(({ question, choices, texts, context: passage }) => ({
    ...(texts.length > 0 ? { text: texts[0] } : { question, choices }),
    ...(passage === null ? {} : { context: passage }),
  }));
  const predictor = await openPredictor({ run, samples: 10 }, context);
  figures.prediction = await delayDuring(() => predictor.predict(questions));
  await predictor.dispose();
  const contenders = [contender('a', 0), contender('b', 7), contender('c', 29)];
  figures.comparison = await delayDuring(() =>
    compared({ labelled: ['test'], foreign: 'ood', contenders }),
  );
  await model.dispose();
  figures.loading = await delayDuring(async () =>
    (await loadModel({ model: data.model })).dispose(),
  );
  if (values.json) process.stdout.write(`${JSON.stringify({ threads, figures }, null, 2)}\n`);
  else {
    process.stdout.write(`${threads} engine thread(s); delay of the event loop in ms\n`);
    for (const [work, { p50, p99, max, seconds }] of Object.entries(figures)) {
      process.stdout.write(
        `${work.padEnd(12)} p50 ${p50}  p99 ${p99}  max ${max}  (${seconds} s)\n`,
      );
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

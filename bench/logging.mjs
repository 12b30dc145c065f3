// node bench/logging.mjs [--steps 200] [--rounds 20] [--json]: what it costs to log a step.
//
// CPU time of the whole process, its threads for files included, for events as a training sends
// them: every sink hears `--steps` of them, one each 2 ms, so that each is written on its own.
// Sinks take turns, and so do nobody, whose time is taken off (the timer's), and all sinks
// together, with the terminal as their console. Medians over the rounds, in microseconds of CPU for
// each step, and in percent of a step of 50 ms.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { consoleSink, tensorboardSink, wandbSink } from '../dist/index.js';
import { LogFile } from '../dist/logging/log-file.js';
import { MetricsLog } from '../dist/run/records/metrics-log.js';
import { median } from './statistics.mjs';

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '200' },
    rounds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
  },
});
const steps = Number(values.steps);
const STEP_US = 50_000;

const folder = mkdtempSync(join(tmpdir(), 'bpeft-logging-'));
const nowhere = { isTTY: false, write: () => true };

const started = {
  ...{
    type: 'run-started',
    command: 'eval',
    method: 'blob',
    model: 'm',
    dataset: 'd',
    out: folder,
    steps,
  },
  ...{ resumedAt: null, plan: null, logged: 0 },
  record: {
    format: 1,
    command: 'train',
    config: {},
    model: {},
    datasets: {},
    versions: {},
    hardware: {},
  },
};

function step(number) {
  return {
    ...{
      type: 'step',
      step: number,
      steps,
      nll: 1.5 / number,
      kl: 60_000 / number,
      klWeight: 0.25,
    },
    ...{ accuracy: 0.75, lr: 1e-4 / number, klLr: 0.01 / number, sigmaMean: 0.002 * number },
    ...{ gradNorm: 2.5 / number, tokens: 500, ms: 50 + 1 / number },
  };
}

const metrics = await MetricsLog.open(join(folder, 'metrics.jsonl'), 0);
const sinks = {
  'metrics.jsonl': { event: (event) => metrics.write(event) },
  'log.txt': new LogFile(join(folder, 'log.txt')),
  console: consoleSink(nowhere, {}),
  terminal: consoleSink({ ...nowhere, isTTY: true, columns: 120 }, { environment: {} }),
  'W&B': wandbSink({
    environment: { WANDB_MODE: 'offline', WANDB_SILENT: 'true', WANDB_DIR: folder },
  }),
  TensorBoard: tensorboardSink(),
};
const all = Object.values(sinks).filter((sink) => sink !== sinks.console);
const heard = {
  nobody: [],
  ...Object.fromEntries(Object.entries(sinks).map(([name, sink]) => [name, [sink]])),
  all,
};
const names = Object.keys(heard);
const costs = Object.fromEntries(names.map((name) => [name, []]));

try {
  for (const sink of Object.values(sinks)) await sink.event(started);
  for (let round = 0; round <= Number(values.rounds); round += 1) {
    for (const name of names) {
      const before = process.cpuUsage();
      for (let number = 1; number <= steps; number += 1) {
        for (const sink of heard[name]) sink.event(step(number));
        await pause(2);
      }
      const { user, system } = process.cpuUsage(before);
      if (round > 0) costs[name].push((user + system) / steps); // the first round warms up
    }
  }
  for (const sink of Object.values(sinks)) await sink.close?.({ status: 'finished' });
  await metrics.close();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const idle = median(costs.nobody);
const table = names.slice(1).map((sink) => {
  const us = median(costs[sink]) - idle;
  return { sink, us: Math.round(us), percent: Math.round((1e4 * us) / STEP_US) / 100 };
});
if (values.json) console.log(JSON.stringify(table));
else
  for (const { sink, us, percent } of table)
    console.log(`${sink.padEnd(16)}${us} us  ${percent} %`);

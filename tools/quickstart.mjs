// npm run quickstart: from a fresh clone to two trained adapters and their calibration, side by side.
// The model is random, so it learns nothing: this shows the way, docs/results.md shows results.

import { isBuilt, run, setUp } from './steps.mjs';

if (!isBuilt() && !setUp()) {
  process.stderr.write('quickstart: the build failed\n');
  process.exit(1);
}

const shared = ['--model', 'builtin:random', '--data-dir', 'test/fixtures/data', '--dataset', 'ARC-Easy'];
const settings = [
  '--max-steps',
  '100',
  '--lr',
  '0.001',
  '--max-seq-len',
  '700',
  '--eval-samples',
  '10,0',
  '--overwrite',
  '--json',
];
const rows = [];
for (const method of ['mle', 'blob']) {
  const out = `runs/quickstart-${method}`;
  const { ok, stdout } = run(
    process.execPath,
    ['dist/cli/main.js', 'train', ...shared, '--method', method, '--out', out, ...settings],
    { capture: true, isSilent: true },
  );
  if (!ok) {
    process.stderr.write(stdout);
    process.exit(1);
  }
  const result = JSON.parse(stdout);
  for (const { samples, metrics } of result.evaluations) {
    const shown = (value) => (value === null ? '-' : Number(value).toFixed(3));
    rows.push([
      method,
      samples === 0 ? 'mean' : String(samples),
      ...['acc', 'ece', 'nll', 'brier', 'mutual_information'].map((name) => shown(metrics[name])),
      `${Math.round(result.training.tokens_per_s)}`,
    ]);
  }
}

const head = ['method', 'samples', 'acc', 'ece', 'nll', 'brier', 'mi', 'tokens/s'];
const line = (cells) => cells.map((cell) => cell.padStart(9)).join('');
process.stdout.write(`\n${[head, ...rows].map(line).join('\n')}\n\n`);
process.stdout.write('runs/quickstart-blob holds the adapter, the metrics and the predictions. Next:\n');
process.stdout.write('  npx bpeft eval --run runs/quickstart-blob --samples 10,0\n  npx bpeft --help\n');

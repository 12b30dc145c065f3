import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { metricsReport } from '../../ts/metrics/report.ts';
import { fileJson } from '../../ts/run/records/json.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface WrittenRun {
  readonly name?: string;
  readonly method?: string;
  readonly model?: string;
  readonly dataset?: string;
  readonly seed?: number;
  readonly settings?: Readonly<Record<string, unknown>>;
}

/** Answers of a model that is surer than right: row i is right unless a fourth. */
const ROWS = Array.from({ length: 40 }, (_, row) => {
  const certainty = 0.5 + (0.49 * (row % 10)) / 10;
  const isRight = row % 4 !== 0;
  return {
    row,
    label: isRight ? 0 : 1,
    probs: [certainty, 1 - certainty],
    entropy: 0.5,
    mutualInformation: 0.1,
  };
});

/** A folder as a finished training run leaves it; nobody trained. */
export function writtenRun(run: WrittenRun = {}): string {
  const {
    name = 'first',
    method = 'blob',
    model = 'builtin:tiny',
    dataset = 'ARC-Easy',
    seed = 1,
  } = run;
  const folder = join(temporaryFolder(), name);
  mkdirSync(join(folder, 'predictions'), { recursive: true });
  mkdirSync(join(folder, 'adapter'));
  const report = metricsReport(ROWS);
  const versions = { bpeft: '0.1.0', engine: '0.1.0', node: '20.0.0', dispatch: 'portable' };
  const config = {
    method,
    model,
    dataset,
    seed,
    protocol: 'corrected',
    max_steps: 3,
    ...run.settings,
  };
  const evaluation = {
    dataset,
    split: 'validation',
    samples: 10,
    n: 40,
    n_truncated: 0,
    seconds: 1,
  };
  const { metrics, definitions, reliability } = report;
  const head = {
    format: 1,
    method,
    model,
    dataset,
    seed,
    protocol: 'corrected',
    run: config,
    versions,
  };
  const training = { steps: 3, seconds: 2, tokens: 900, tokens_per_s: 450, peak_rss_mb: 300 };
  const found = { maxProbability: 0.625, entropy: 0.5, mutualInformation: null };
  const detection = { against: { dataset, split: 'train' }, auroc: found, fpr95: found };
  const evaluations = [{ ...evaluation, metrics, definitions, reliability, detection }];
  const write = (file: string, value: unknown) =>
    writeFileSync(join(folder, file), `${fileJson(value)}\n`);
  write('config.json', {
    format: 1,
    command: 'train',
    config,
    model: { name: model },
    versions,
    hardware: { cores: 2 },
  });
  write('result.json', { ...head, training, evaluations, metrics });
  const steps = [1, 2, 3].map((step) => ({
    ...{
      type: 'step',
      step,
      nll: 2 / step,
      kl: 100 - step,
      kl_weight: 0.5,
      accuracy: 0.5,
      sigma_mean: 0.01 * step,
    },
  }));
  const lines = (values: readonly object[]) =>
    values.map((value) => `${fileJson(value)}\n`).join('');
  writeFileSync(join(folder, 'metrics.jsonl'), lines(steps));
  writeFileSync(join(folder, 'predictions', `${dataset}-validation-n10.jsonl`), lines(ROWS));
  return folder;
}

import type { EvaluationDone, RunStarted, StepDone } from '../../ts/events/run-event.ts';
import { metricsReport } from '../../ts/metrics/report.ts';

/** A training of three updates that nobody ran. */
export function runStarted(more: Partial<RunStarted> = {}): RunStarted {
  return {
    type: 'run-started',
    command: 'train',
    method: 'blob',
    model: 'builtin:random',
    dataset: 'arc_easy',
    out: null,
    steps: 3,
    resumedAt: null,
    plan: null,
    logged: 0,
    record: {
      format: 1,
      command: 'train',
      config: { lr: 1e-4, seed: 7, target_modules: ['q_proj', 'v_proj'] },
      model: { name: 'builtin:random', revision: null, sha256: '00' },
      adapter: null,
      datasets: { train: null, evaluation: [] },
      versions: { bpeft: '0.1.0', engine: '0.1.0', node: '20.0.0', dispatch: 'portable' },
      hardware: { cpu: 'none', cores: 1, threads: 1, memoryGb: 1, device: 'cpu', gpu: null },
    },
    ...more,
  };
}

export function stepDone(step: number, more: Partial<StepDone> = {}): StepDone {
  return {
    type: 'step',
    step,
    steps: 3,
    nll: 1.5 / step,
    kl: 300 - step,
    klWeight: 0.25,
    accuracy: 0.75,
    lr: 1e-4 * step,
    klLr: 0.01,
    sigmaMean: 0.002,
    gradNorm: 2.5,
    tokens: 500,
    ms: 250,
    ...more,
  };
}

export function evaluationDone(more: Partial<EvaluationDone> = {}): EvaluationDone {
  const { n, metrics, definitions, reliability } = metricsReport([
    { probs: [0.9, 0.1], label: 0, mutualInformation: 0.01 },
    { probs: [0.3, 0.7], label: 0, mutualInformation: 0.02 },
    { probs: [0.2, 0.8], label: 1, mutualInformation: 0.03 },
  ]);
  return {
    type: 'evaluation',
    step: 3,
    isFinal: true,
    result: {
      dataset: 'arc_easy',
      split: 'validation',
      samples: 10,
      link: null,
      noise: 'token',
      sampling: 'antithetic',
      seed: 1,
      n,
      nTruncated: 0,
      metrics,
      definitions,
      reliability,
      detection: null,
      flipRatio: null,
      scaled: null,
      std: 0.125,
      seconds: 0.5,
    },
    ...more,
  };
}

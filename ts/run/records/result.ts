/**
 * What a run measured, in `result.json` under the same names in `snake_case`. Fractions, nats and
 * seconds; a metric that needs labels is null without.
 */

import { readFile } from 'node:fs/promises';
import type { Link } from '../../methods/method.ts';
import type { Detection } from '../../metrics/detection.ts';
import type { Metrics, MetricsReport } from '../../metrics/report.ts';
import type { AdapterIdentity } from './adapter-files.ts';
import { replaceJson } from './atomic.ts';
import type { DatasetRecord } from './dataset-record.ts';
import { fromFileJson } from './json.ts';
import type { RanksRecord } from './run-record.ts';
import type { Versions } from './versions.ts';

export interface EvaluationResult {
  readonly dataset: string;
  readonly split: string;
  /**
   * Answers that are averaged: posterior samples, of an ensemble those of all members; 0: the
   * posterior mean, and a point adapter always; 1: a closed form too.
   */
  readonly samples: number;
  /** How an adapter with a curvature answered; null: it has none, or answered at its mean. */
  readonly link: Link | null;
  readonly noise: string;
  /** `antithetic` (pairs) or `plain`. */
  readonly sampling: string;
  readonly seed: number;
  /** Rows evaluated, and those of them whose prompt was cut. */
  readonly n: number;
  readonly nTruncated: number;
  readonly metrics: Metrics;
  readonly definitions: MetricsReport['definitions'];
  readonly reliability: MetricsReport['reliability'];
  /** How far its rows stand out from those of the first evaluated split; null for that one. */
  readonly detection: Detection | null;
  /**
   * Share of rows whose answer the samples change (`metrics/flip-ratio.ts`): once the split was
   * evaluated at the posterior mean and with samples, with the later of the two; else null.
   */
  readonly flipRatio: number | null;
  /** The same rows under a temperature; null where none was asked for. */
  readonly scaled: ScaledResult | null;
  /** Spread of the samples' probabilities; null below two samples. */
  readonly std: number | null;
  readonly seconds: number;
}

/** Measures of the mean probabilities after temperature scaling. */
export interface ScaledResult {
  /** T: probabilities are p^(1/T), normalised. */
  readonly temperature: number;
  /** What it was fitted on, and the NLL there before and after; null where it was given. */
  readonly fit: {
    readonly dataset: string;
    readonly split: string;
    /** Rows with a right answer. */
    readonly n: number;
    readonly nll: number;
    readonly nllScaled: number;
  } | null;
  readonly metrics: Metrics;
  readonly reliability: MetricsReport['reliability'];
}

export interface TrainingResult {
  readonly steps: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly tokensPerS: number;
  readonly stepMs: { readonly median: number; readonly p10: number; readonly p90: number };
  readonly peakRssMb: number;
  readonly peakGpuMb: number | null;
}

export interface RunResult {
  readonly format: 1;
  readonly method: string;
  readonly model: string;
  readonly dataset: string;
  readonly seed: number;
  readonly protocol: string;
  readonly run: Readonly<Record<string, unknown>>;
  /** What training began from, or what was evaluated; null: a fresh one. */
  readonly adapter: AdapterIdentity | null;
  readonly training: TrainingResult | null;
  readonly evaluations: readonly EvaluationResult[];
  /** Of the first evaluation; null when none ran. */
  readonly metrics: Metrics | null;
  /** Where the rows come from, with their hashes; `train` is null where nothing was trained. */
  readonly data: {
    readonly train: DatasetRecord | null;
    readonly evaluation: readonly DatasetRecord[];
  };
  /** Of a training that several processes began; missing: one did. */
  readonly ranks?: RanksRecord | undefined;
  readonly versions: Versions;
}

/** Value at a fraction of the sorted values (nearest rank); 0 when there are none. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(fraction * sorted.length))] ?? 0;
}

/** What a run's updates took; `ms` of each of them. */
export function trainingResult({
  steps,
  seconds,
  tokens,
  ms,
  peakGpuBytes,
}: {
  readonly steps: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly ms: readonly number[];
  readonly peakGpuBytes: number | null;
}): TrainingResult {
  const round = (value: number) => Math.round(value * 100) / 100;
  return {
    steps,
    seconds: round(seconds),
    tokens,
    tokensPerS: seconds > 0 ? round(tokens / seconds) : 0,
    stepMs: {
      median: round(quantile(ms, 0.5)),
      p10: round(quantile(ms, 0.1)),
      p90: round(quantile(ms, 0.9)),
    },
    peakRssMb: peakRssMb(),
    peakGpuMb: peakGpuBytes === null ? null : Math.round(peakGpuBytes / 2 ** 20),
  };
}

/** Largest resident size of this process so far. */
export function peakRssMb(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

export async function writeResult(path: string, result: RunResult): Promise<void> {
  await replaceJson(path, result);
}

/** What {@link writeResult} has written. */
export async function readResult(path: string): Promise<RunResult> {
  return fromFileJson(await readFile(path, 'utf8')) as RunResult;
}

/**
 * A run folder as a report sees it. A folder may hold a finished run, one that is under way or was
 * killed, an evaluation, or damaged files: whatever can be read is shown, and a note says what is
 * missing.
 */

import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { BpeftError } from '../errors.ts';
import { scaledProbs } from '../metrics/temperature.ts';
import { type PredictionRow, readPredictions } from '../run/records/prediction-files.ts';

/** NaN and infinities are texts in JSON. */
const number = z.union([z.number(), z.literal(['Infinity', '-Infinity', 'NaN']).transform(Number)]);
const Metrics = z.record(z.string(), number.nullable());

const ByScore = z.record(z.string(), number.nullable());
const Detection = z.object({
  against: z.object({ dataset: z.string(), split: z.string() }),
  auroc: ByScore,
  fpr95: ByScore,
});

const Evaluation = z.looseObject({
  dataset: z.string(),
  split: z.string(),
  samples: z.int().nonnegative(),
  link: z.string().nullish(),
  n: z.int().nonnegative(),
  n_truncated: z.int().nonnegative().optional(),
  metrics: Metrics,
  definitions: z.record(z.string(), z.string()).optional(),
  detection: Detection.nullish(),
  flip_ratio: number.nullish(),
  scaled: z.looseObject({ temperature: z.number().positive(), metrics: Metrics }).nullish(),
  seconds: z.number().optional(),
});

const Head = z.looseObject({
  method: z.string(),
  model: z.string(),
  dataset: z.string(),
  seed: z.int(),
  protocol: z.string(),
});

const Result = z.looseObject({
  format: z.literal(1),
  ...Head.shape,
  run: z.record(z.string(), z.unknown()),
  training: z
    .looseObject({
      steps: z.int(),
      seconds: z.number(),
      tokens_per_s: z.number(),
      peak_rss_mb: z.number(),
    })
    .nullable(),
  evaluations: z.array(Evaluation),
  versions: z.record(z.string(), z.string()),
});

const Config = z.looseObject({
  format: z.literal(1),
  command: z.enum(['train', 'eval']),
  config: z.record(z.string(), z.unknown()),
  model: z.looseObject({ name: z.string() }),
  trained_on: z.string().nullish(),
  versions: z.record(z.string(), z.string()),
  hardware: z.record(z.string(), z.unknown()).optional(),
});

const Step = z.looseObject({
  type: z.literal('step'),
  step: z.int(),
  nll: number,
  kl: number.nullable(),
  kl_weight: number.nullable(),
  sigma_mean: number.nullable(),
  accuracy: number,
});
const LoggedEvaluation = z.looseObject({
  type: z.literal('evaluation'),
  step: z.int().nullable(),
  dataset: z.string(),
  split: z.string(),
  samples: z.int(),
  metrics: Metrics,
});

const Posterior = z.looseObject({
  type: z.literal('posterior'),
  step: z.int(),
  fractions: z.array(z.number()),
  /** layer → quantiles of σ */
  sigma: z.record(z.string(), z.array(number)),
});

export type LoggedPosterior = z.output<typeof Posterior>;
export type LoggedStep = z.output<typeof Step>;

export interface ReadEvaluation extends z.output<typeof Evaluation> {
  /** Every row with its probabilities; null where the file is missing or damaged. */
  readonly rows: readonly PredictionRow[] | null;
  /** T, where these are the measures after temperature scaling; null: as they came. */
  readonly temperature: number | null;
}

export interface ReportedRun {
  /** Name of the folder. */
  readonly name: string;
  readonly path: string;
  readonly isFinished: boolean;
  readonly command: 'train' | 'eval';
  /** What it is called beside others: its method, unless a table names it. */
  readonly label: string;
  readonly method: string;
  readonly model: string;
  readonly dataset: string;
  /** Dataset of the adapter; null: unknown. */
  readonly trainedOn: string | null;
  readonly seed: number | null;
  readonly protocol: string;
  /** As recorded, in `snake_case`. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly versions: Readonly<Record<string, string>>;
  readonly hardware: Readonly<Record<string, unknown>>;
  readonly training: z.output<typeof Result>['training'];
  /** Most memory of the process that made it; null: unknown. */
  readonly peakRssMb: number | null;
  readonly steps: readonly LoggedStep[];
  /** The last look at it; null without one. */
  readonly posterior: LoggedPosterior | null;
  readonly evaluations: readonly ReadEvaluation[];
  /** What is missing or damaged, for people. */
  readonly notes: readonly string[];
}

/** What its maker knows of a run beside its folder. */
export interface KnownRun {
  readonly label?: string;
  readonly peakRssMb?: number | null;
}

/** @throws {BpeftError} `BPEFT_USAGE`: no folder, or nothing of a run in it */
export async function readRun(path: string, known: KnownRun = {}): Promise<ReportedRun> {
  const notes: string[] = [];
  if (!(await stat(path).catch(() => null))?.isDirectory()) {
    throw new BpeftError('BPEFT_USAGE', `${path} is no folder`, {
      hint: 'name folders of bpeft runs',
    });
  }
  const result = await record(join(path, 'result.json'), Result, notes);
  const config = await record(join(path, 'config.json'), Config, notes);
  const logged = await metricsLog(join(path, 'metrics.jsonl'), notes);
  if (result === null && config === null) {
    const damaged = notes.length === 0 ? '' : `: ${notes.join('; ')}`;
    throw new BpeftError('BPEFT_USAGE', `${path} holds no run that can be read${damaged}`, {
      hint: 'name the folder of a bpeft run (it holds config.json or result.json)',
    });
  }
  if (!existsSync(join(path, 'result.json')))
    notes.push(unfinished(logged.steps, config?.config.max_steps));
  const settings = { ...config?.config, ...result?.run };
  const command = config?.command ?? (result?.training === null ? 'eval' : 'train');
  const dataset = result?.dataset ?? String(settings.dataset ?? 'unknown');
  const method = result?.method ?? String(settings.method ?? 'unknown');
  return {
    name: basename(resolve(path)),
    path,
    isFinished: result !== null,
    command,
    label: known.label ?? method,
    method,
    model: result?.model ?? config?.model.name ?? 'unknown',
    dataset,
    trainedOn: command === 'train' ? dataset : (config?.trained_on ?? null),
    seed: result?.seed ?? (typeof settings.seed === 'number' ? settings.seed : null),
    protocol: result?.protocol ?? String(settings.protocol ?? 'unknown'),
    config: settings,
    versions: result?.versions ?? config?.versions ?? {},
    hardware: config?.hardware ?? {},
    training: result?.training ?? null,
    peakRssMb: known.peakRssMb ?? result?.training?.peak_rss_mb ?? null,
    steps: logged.steps,
    posterior: logged.posterior,
    evaluations: await withRows(path, result?.evaluations ?? logged.evaluations, notes),
    notes,
  };
}

function unfinished(steps: readonly LoggedStep[], planned: unknown): string {
  const last = steps.at(-1)?.step ?? 0;
  return `not finished: ${last} steps${typeof planned === 'number' ? ` of ${planned}` : ''} are logged`;
}

async function withRows(
  path: string,
  evaluations: readonly z.output<typeof Evaluation>[],
  notes: string[],
): Promise<ReadEvaluation[]> {
  const read: ReadEvaluation[] = [];
  for (const evaluation of evaluations) {
    const { dataset, split, samples, n } = evaluation;
    const rows = await readPredictions(join(path, 'predictions'), evaluation).catch(() => null);
    // A log does not say how many rows there were.
    const isWhole = rows !== null && (n === 0 || rows.length === n) && rows.every(isRow);
    if (!isWhole && n > 0) {
      notes.push(
        `no whole predictions of ${dataset} ${split}, n${samples}: no intervals and curves`,
      );
    }
    const own = { ...evaluation, n: n || (isWhole ? rows.length : 0) };
    read.push({ ...own, rows: isWhole ? rows : null, temperature: null });
    const { scaled } = evaluation;
    if (scaled == null) continue;
    const { metrics, temperature } = scaled;
    const scaledRows = isWhole
      ? rows.map((row) => ({ ...row, probs: under(row.probs, temperature) }))
      : null;
    read.push({ ...own, metrics, detection: null, rows: scaledRows, temperature });
  }
  return read;
}

function under(probs: readonly number[], temperature: number): readonly number[] {
  return [...scaledProbs(probs, temperature)];
}

function isRow({ probs, label }: PredictionRow): boolean {
  return (
    Array.isArray(probs) && probs.every(Number.isFinite) && (label === null || label < probs.length)
  );
}

async function record<T>(path: string, schema: z.ZodType<T>, notes: string[]): Promise<T | null> {
  if (!existsSync(path)) return null;
  try {
    return schema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    notes.push(`${basename(path)} is damaged: ${reasonOf(error)}`);
    return null;
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof z.ZodError) {
    const [issue] = error.issues;
    return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`;
  }
  // Its message repeats bytes of the file, which may be anything.
  if (error instanceof SyntaxError) return 'it is no JSON';
  return error instanceof Error ? error.message : String(error);
}

async function metricsLog(
  path: string,
  notes: string[],
): Promise<{
  steps: LoggedStep[];
  posterior: LoggedPosterior | null;
  evaluations: z.output<typeof Evaluation>[];
}> {
  const steps: LoggedStep[] = [];
  let posterior: LoggedPosterior | null = null;
  const last = new Map<string, z.output<typeof Evaluation>>();
  if (!existsSync(path)) return { steps, posterior, evaluations: [] };
  let damaged = 0;
  for (const line of (await readFile(path, 'utf8')).split('\n').filter((text) => text !== '')) {
    const parsed = z.union([Step, Posterior, LoggedEvaluation]).safeParse(fromJson(line));
    if (!parsed.success) damaged += 1;
    else if (parsed.data.type === 'step') steps.push(parsed.data);
    else if (parsed.data.type === 'posterior') posterior = parsed.data;
    else {
      const { dataset, split, samples, metrics } = parsed.data;
      last.set(`${dataset} ${split} ${samples}`, { dataset, split, samples, n: 0, metrics });
    }
  }
  if (damaged > 0) notes.push(`${basename(path)}: ${damaged} damaged line(s) left out`);
  return { steps, posterior, evaluations: [...last.values()] };
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * What a table compares: methods × datasets × seeds, each method with settings of its own over
 * those that all share. The file is that of `--config`, with three lists and a mapping of methods:
 *
 * ```yaml
 * model: builtin:tiny
 * dataset: [builtin:exam-topics]
 * seed: [1, 2, 3]
 * samples: [10]              # of every method that has samples
 * split: [test, shift]
 * temperature: fit
 * epochs: 10                 # and any other setting of train or eval
 * methods:
 *   mle:
 *   blob: { kl_lr: 0.0075 }
 *   tfb: { from: mle }       # made of that row's adapters
 *   laplace: { from: mle, link: sample }   # what bayesianize does not know is its evaluation's
 *   blob-mild: { method: blob, prior_std: 0.1 }
 * ```
 */

import { basename, extname } from 'node:path';
import { z } from 'zod';
import { readConfigFile } from '../config/file.ts';
import { type Layer, mergeLayers, parseSettings } from '../config/parse.ts';
import { fileName, resolveTrain } from '../config/resolve.ts';
import { SCHEMAS } from '../config/schema.ts';
import { BpeftError } from '../errors.ts';
import { afterTraining, trains } from '../methods/registry.ts';
import { camelCase } from '../names.ts';

type Values = Readonly<Record<string, unknown>>;

/** One row of the table. */
export interface Row {
  readonly name: string;
  readonly method: string;
  /** The row whose adapters it makes Bayesian; null: it trains its own. */
  readonly from: string | null;
  /** Its own settings over the shared ones, of what makes its adapters. */
  readonly layers: readonly Layer[];
  /** And of what evaluates them, where that is a job of its own. */
  readonly evaluation: readonly Layer[];
}

export interface Table {
  /** Of its file. */
  readonly name: string;
  readonly datasets: readonly string[];
  readonly seeds: readonly number[];
  readonly samples: readonly number[];
  readonly rows: readonly Row[];
}

const oneOrMore = <S extends z.ZodType>(one: S) =>
  z.union([one.transform((value) => [value]), z.array(one).min(1)]);

const Lists = z.object({
  dataset: oneOrMore(z.string().min(1)),
  seed: oneOrMore(z.int().nonnegative()).default([1]),
  samples: oneOrMore(z.int().nonnegative()).default([10]),
  methods: z
    .record(
      z.string().regex(/^[A-Za-z0-9][\w.-]*$/, 'names have letters, digits, ".", "_" and "-"'),
      z.looseObject({ method: z.string().optional(), from: z.string().optional() }).nullable(),
    )
    .refine((methods) => Object.keys(methods).length > 0, 'at least one method'),
});

/** @throws {BpeftError} `BPEFT_USAGE`, before anything runs */
export async function readTable(path: string): Promise<Table> {
  const { values } = await readConfigFile(path);
  const { dataset, seed, samples, methods, ...shared } = values;
  const lists = Lists.safeParse({ dataset, seed, samples, methods });
  if (!lists.success) {
    const [issue] = lists.error.issues;
    const message = `${path}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is refused'}`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'docs/methods/comparing.md shows such a table',
    });
  }
  if (Object.hasOwn(shared, 'limit')) {
    const message = `${path}: limit would cut the rows of some methods alone`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'write eval_limit, which cuts all' });
  }
  const common: Layer = { origin: 'file', source: path, values: shared };
  const rows = Object.entries(lists.data.methods).map(([name, own]) =>
    rowOf(path, name, own ?? {}, common),
  );
  const table = {
    name: basename(path, extname(path)),
    datasets: distinct(path, 'dataset', lists.data.dataset.map(fileName), lists.data.dataset),
    seeds: distinct(path, 'seed', lists.data.seed, lists.data.seed),
    samples: [...new Set(lists.data.samples)],
    rows: inOrder(path, rows),
  };
  for (const row of table.rows) checkSettings(row, table);
  return table;
}

function rowOf(path: string, name: string, own: Values, common: Layer): Row {
  const { from, method: named, ...settings } = own;
  const method = typeof named === 'string' ? named : name;
  const asOptions = Object.fromEntries(
    Object.entries(settings).map(([key, value]) => [camelCase(key), value]),
  );
  const source = `${path}: methods.${name}`;
  const layer = (values: Values): Layer => ({ origin: 'file', source, isForOne: true, values });
  const isTrained = trains(method);
  if (!isTrained) afterTraining(method);
  if (isTrained === (from !== undefined)) {
    const rule = isTrained
      ? 'trains its own adapters, and takes no from'
      : 'needs from, a row that trains';
    throw new BpeftError('BPEFT_USAGE', `${source}: method ${method} ${rule}`, {
      hint: isTrained ? 'leave from out' : 'write from: NAME of such a row',
    });
  }
  if (typeof from !== 'string') {
    const layers = [common, layer({ method, ...asOptions })];
    return { name, method, from: null, layers, evaluation: [] };
  }
  const { made, asked } = parted(asOptions);
  return {
    ...{ name, method, from },
    layers: [common, layer({ method, ...made })],
    evaluation: [common, layer(asked)],
  };
}

/** Settings of a row that is made of another: those of making it, and those of evaluating alone. */
function parted(values: Values): { readonly made: Values; readonly asked: Values } {
  const isAsked = (key: string) =>
    Object.hasOwn(SCHEMAS.eval.shape, key) && !Object.hasOwn(SCHEMAS.bayesianize.shape, key);
  const entries = Object.entries(values);
  return {
    made: Object.fromEntries(entries.filter(([key]) => !isAsked(key))),
    asked: Object.fromEntries(entries.filter(([key]) => isAsked(key))),
  };
}

/** Rows that others are made of stand before them. */
function inOrder(path: string, rows: readonly Row[]): Row[] {
  for (const { name, from } of rows) {
    if (from === null || rows.some((row) => row.name === from && row.from === null)) continue;
    const message = `${path}: methods.${name}: from must name a row that trains, got ${from}`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'add that row to methods' });
  }
  return [...rows.filter(({ from }) => from === null), ...rows.filter(({ from }) => from !== null)];
}

/** What is wrong with a row is told before the first one runs. */
function checkSettings(row: Row, table: Table): void {
  const [dataset = ''] = table.datasets;
  if (row.from === null) {
    resolveTrain(parseSettings('train', [...row.layers, option({ dataset, seed: 0 })]));
    return;
  }
  parseSettings('bayesianize', row.layers);
  parseSettings('eval', row.evaluation, row.method);
}

function distinct<T>(
  path: string,
  key: string,
  keys: readonly unknown[],
  values: readonly T[],
): readonly T[] {
  if (new Set(keys).size === keys.length) return values;
  const message = `${path}: ${key} must name each once, got ${values.join(', ')}`;
  throw new BpeftError('BPEFT_USAGE', message, { hint: 'leave out the second' });
}

/** What a command is given of a row's settings: those that it has. */
export function optionsOf(
  { layers, evaluation, method }: Row,
  command: 'train' | 'bayesianize' | 'eval',
  own: Values,
): Values {
  return command === 'eval'
    ? mergeLayers(command, [...evaluation, option(own)], method)
    : mergeLayers(command, [...layers, option(own)]);
}

function option(values: Values): Layer {
  return { origin: 'option', values };
}

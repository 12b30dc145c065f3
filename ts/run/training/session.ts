/** Everything a training run needs before its first update; nothing is written yet. */

import { BatchOrder } from '../../batches/batch-order.ts';
import { type Division, UNDIVIDED } from '../../batches/share.ts';
import type { TrainConfig } from '../../config/resolve.ts';
import { affects } from '../../config/setting.ts';
import type { DatasetSource } from '../../datasets/registry.ts';
import { className } from '../../datasets/rows/class-names.ts';
import type { RowStream, SplitHead } from '../../datasets/rows/item.ts';
import type { Adapter, GaussianOver, Sigma } from '../../engine/adapter.ts';
import type { CallOptions } from '../../engine/call.ts';
import type { BayesianModel } from '../../engine/model.ts';
import { Trainer } from '../../engine/trainer.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { TRAINED_METHODS } from '../../methods/ids.ts';
import { klNeverActs } from '../../methods/kl-plan.ts';
import { METHOD_SETTINGS, trainingMethod, usualMethod } from '../../methods/registry.ts';
import type { Accounting } from '../../protocol/accounting.ts';
import { requireLabels, rowsOfTemperature } from '../evaluation/temperature.ts';
import { adapterFolder, loadedAdapter, tellOtherBase } from '../inputs/adapter-folder.ts';
import { requireAnswers } from '../inputs/answers.ts';
import { callOf, type RunContext, withModel } from '../inputs/context.ts';
import { checkPins, pinnedConfig, readPins } from '../inputs/pins.ts';
import { encodeSplit, openDataset, refuseSameName, type Split } from '../inputs/splits.ts';
import {
  type AdapterIdentity,
  adapterIdentity,
  type FoundAdapter,
} from '../records/adapter-files.ts';
import { readAdapterRecord } from '../records/adapter-record.ts';
import { engineNames, forModel, headOf } from './adapted-layers.ts';
import { account, type TrainPlan, trainerOptions, trainPlan } from './plan.ts';

/** Disposing of it frees the adapter and its optimizers; the model stays. */
export interface Session extends AsyncDisposable {
  readonly config: TrainConfig;
  readonly model: BayesianModel;
  readonly adapter: Adapter;
  /** What the adapter was before the run; null: fresh. */
  readonly initAdapter: AdapterIdentity | null;
  readonly trainer: Trainer;
  readonly order: BatchOrder;
  readonly train: Split;
  readonly evaluations: readonly Split[];
  /** What the temperature of the last evaluation is fitted on; null: it is not. */
  readonly heldOut: Split | null;
  readonly accounting: Accounting;
  readonly plan: TrainPlan;
  /** Which part of every batch this process trains on. */
  readonly division: Division;
}

/**
 * A session that lives as long as `work`: rows first, then the model, then what they make together.
 */
export async function withSession<T>(
  asked: TrainConfig,
  context: RunContext,
  emit: Listener,
  work: (session: Session) => Promise<T>,
  division: Division = UNDIVIDED,
): Promise<T> {
  const { group } = context;
  const call = { ...callOf(context), emit };
  const { lock } = asked;
  const pins = lock === undefined ? null : { lock, pins: await readPins(lock) };
  const config = pins === null ? asked : pinnedConfig(asked, pins.pins, pins.lock);
  const data = await trainingData(config, call);
  return withModel(config, { ...context, emit }, async (model) => {
    await using session = await prepareSession(config, data, model, { ...call, group, division });
    const records = [session.train, ...session.evaluations].map(({ record }) => record);
    const { initAdapter } = session;
    if (pins !== null)
      checkPins(pins.pins, pins.lock, { model: model.resolved, initAdapter, records });
    return await work(session);
  });
}

/** The rows that a run trains on and is evaluated on. */
interface TrainingData {
  readonly train: RowStream;
  readonly evaluations: readonly RowStream[];
  readonly heldOut: RowStream | null;
  readonly initAdapter: FoundAdapter | null;
}

/** What a run reads before any model is loaded, so that a wrong path or row is told at once. */
async function trainingData(
  config: TrainConfig,
  { emit, ...call }: CallOptions & { emit: Listener },
): Promise<TrainingData> {
  const first = config.initAdapter;
  const initAdapter =
    first === undefined ? null : await adapterFolder('--init-adapter', first, call);
  const source = await openDataset(config.dataset, config, call);
  const train = await source.stream(config.trainSplit ?? source.trainSplit, call);
  const labels = train.labelNames === null ? config.labels : [...train.labelNames];
  for (const message of idleOf(config, source, train))
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  const evaluations: RowStream[] = [];
  for (const name of config.evalDataset ?? [config.dataset]) {
    const evaluated = await openDataset(name, { ...config, labels }, call);
    if (config.split === undefined && !evaluated.splits.includes(evaluated.defaultSplit)) {
      const message = `${evaluated.name} has no split ${evaluated.defaultSplit}: it is not evaluated`;
      emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
      continue;
    }
    for (const split of config.split ?? [null]) {
      evaluations.push(await evaluated.stream(split, { limit: config.evalLimit, ...call }));
    }
  }
  refuseSameName(evaluations);
  const reading = { evaluated: evaluations, limit: config.evalLimit, ...call };
  const heldOut = await rowsOfTemperature(config.dataset, { ...config, labels }, reading);
  return { train, evaluations, heldOut, initAdapter };
}

/** Settings of rows that these do not depend on. */
function idleOf(
  { labels, task }: TrainConfig,
  { entry, kind, name }: DatasetSource,
  { labelNames }: SplitHead,
): string[] {
  const isOther =
    labels !== undefined && labels.map(className).join('\n') !== labelNames?.join('\n');
  const classes = labelNames === null ? 'choices in its rows' : 'classes of its own';
  return [
    ...(isOther ? [`--labels does nothing for ${name}, which has ${classes}`] : []),
    ...(entry !== null && task !== undefined && task !== kind
      ? [`--task ${task} does nothing for ${name}, which is ${kind}`]
      : []),
  ];
}

async function prepareSession(
  asked: TrainConfig,
  data: TrainingData,
  model: BayesianModel,
  call: Pick<RunContext, 'signal' | 'group'> & { emit: Listener; division: Division },
): Promise<Session> {
  const { division, emit, group, signal } = call;
  const config = forModel(asked, model.info);
  for (const message of model.info.notices ?? [])
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  // A wrong one is told before the rows are tokenised.
  const adapter = await firstAdapter(config, data.initAdapter?.folder ?? null, {
    model,
    emit,
    classes: data.train.classCount,
  });
  const encoding = { model, signal, emit, classes: adapter.info.head?.classes };
  const train = await encodeSplit(data.train, config, encoding);
  await requireAnswers(data.train, train.encoded, 'to train on');
  const accounting = account(config, train.encoded.examples.length);
  const order = new BatchOrder(train.encoded.examples, {
    batchSize: config.batchSize * division.merged,
    seed: config.seed,
    order: config.order,
    lastBatch: config.lastBatch,
    batchesPerUpdate: accounting.batchesPerUpdate / division.merged,
    members: adapter.info.members,
    name: train.encoded.name,
  });
  const evaluations: Split[] = [];
  for (const dataset of data.evaluations)
    evaluations.push(await encodeSplit(dataset, config, encoding));
  const heldOut = data.heldOut === null ? null : await encodeSplit(data.heldOut, config, encoding);
  if (heldOut !== null) requireLabels(heldOut);
  const trainer = await Trainer.create(model, adapter, trainerOptions(config, accounting), group);
  const plan = await trainPlan(config, train.encoded, accounting, {
    adapter: adapter.info,
    model: model.info,
  });
  const initAdapter =
    data.initAdapter === null ? null : await adapterIdentity(data.initAdapter, { signal });
  const message = klNeverActs(plan.kl, plan.steps);
  if (message !== null) emit({ type: 'warning', code: 'BPEFT_KL_NEVER_ACTS', message });
  const free = async () => {
    await trainer.dispose();
    await adapter.dispose();
  };
  return {
    ...{
      config,
      model,
      adapter,
      initAdapter,
      trainer,
      order,
      train,
      evaluations,
      heldOut,
      accounting,
      plan,
      division,
    },
    [Symbol.asyncDispose]: free,
  };
}

/** @throws {BpeftError} `BPEFT_USAGE`: the base has a head for another number of classes. */
function requireFittingHead(head: ReturnType<typeof headOf>, { info }: BayesianModel): void {
  if (head === undefined || head.fresh === true || info.head === null) return;
  if (info.head.classes === head.classes) return;
  const classes = `${info.head.classes} ${info.head.classes === 1 ? 'class' : 'classes'}`;
  const message = `the base's head has ${classes}, and the dataset ${head.classes}`;
  throw new BpeftError('BPEFT_USAGE', message, {
    hint: 'give --fresh-head to start one anew, or take a base model without a head',
  });
}

async function firstAdapter(
  config: TrainConfig,
  folder: string | null,
  { model, emit, classes }: { model: BayesianModel; emit: Listener; classes: number },
): Promise<Adapter> {
  const method = trainingMethod(config.method);
  const head = headOf(config, classes);
  const targetModules = engineNames(config.targetModules ?? [], model.info);
  if (folder === null) {
    requireFittingHead(head, model);
    return model.createAdapter({
      rank: config.rank,
      alpha: config.alpha,
      dropout: config.loraDropout,
      targetModules,
      ...(head === undefined ? {} : { head }),
      ...method.adapter(config),
      seed: config.seed,
    });
  }
  const record = await readAdapterRecord(folder);
  await tellOtherBase({ folder, record }, model, emit);
  const { sigma, over = 'a' } = method.adapter(config).posterior ?? { sigma: null, over: null };
  const recorded = record?.sigma ?? sigma;
  if (isOfFactors(sigma) && isOfFactors(recorded)) sameSetting('sigma', sigma, recorded);
  const adapter = await loadedAdapter({ folder, record }, model, isOfFactors(sigma) ? sigma : null);
  for (const message of adapter.info.notices)
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  const found = adapter.info.over;
  const isChosen = affects(METHOD_SETTINGS.gaussian, 'train', config.method);
  if (isChosen && isOfFactors(adapter.info.sigma))
    sameSetting('gaussian', config.gaussian, found ?? 'none');
  if (adapter.info.bayesian !== method.hasPosterior || found !== over) {
    const whose = found === null ? 'of curvature' : `over ${POSTERIORS[found]}`;
    const kind = adapter.info.bayesian ? `has a posterior ${whose}` : 'has no posterior';
    throw new BpeftError(
      'BPEFT_ADAPTER',
      `--init-adapter ${kind}, which method ${config.method} cannot start from`,
      { hint: `${beginning(record?.method ?? usualMethod(adapter.info))}leave --init-adapter out` },
    );
  }
  const { info } = adapter;
  sameSetting('rank', config.rank, info.rank);
  sameSetting('alpha', config.alpha, info.alpha);
  sameMembers(method.adapter(config).members ?? 1, info.members);
  sameSetting('lora-dropout', config.loraDropout, info.dropout);
  sameSetting(
    'target-modules',
    targetModules.toSorted().join(),
    info.targetModules.toSorted().join(),
  );
  if (head !== undefined) {
    const isTrained = info.head?.trained === true;
    sameSetting(
      'head',
      head.trained ? 'trained' : 'frozen or lora',
      isTrained ? 'trained' : 'frozen or lora',
    );
    requireClasses(folder, head.classes, info.head?.classes ?? 0);
  }
  return adapter;
}

/** What an adapter of a method begins. */
function beginning(method: string): string {
  const isTrained = TRAINED_METHODS.some((one) => one === method);
  return isTrained ? `train with --method ${method}, or ` : '';
}

const POSTERIORS: Readonly<Record<GaussianOver, string>> = {
  ...{ a: 'A', 'a-and-b': 'A and B', scales: 'scales', context: 'a context' },
};

/** Whether σ may follow from ρ in several ways. */
function isOfFactors(sigma: Sigma | null): sigma is 'square' | 'softplus' {
  return sigma === 'square' || sigma === 'softplus';
}

function requireClasses(folder: string, asked: number, found: number): void {
  if (asked === found) return;
  const message = `${folder}: the head must have the dataset's ${asked} classes, got ${found}`;
  throw new BpeftError('BPEFT_ADAPTER', message, {
    hint: 'train on data of the same classes, or anew',
  });
}

/**
 * What an adapter brings along cannot be set anew, and the run's records must say what it trains.
 */
function sameSetting(flag: string, asked: number | string, found: number | string): void {
  if (asFloat(asked) === asFloat(found)) return;
  const own = asFloat(found);
  throw new BpeftError(
    'BPEFT_USAGE',
    `--${flag} must be that of --init-adapter, ${own}, got ${asked}`,
    {
      hint: `give --${flag} ${own}`,
    },
  );
}

/** A single adapter has no `--members`: which method trains it decides. */
function sameMembers(asked: number, found: number): void {
  if (asked === found) return;
  const some = (members: number) => (members === 1 ? 'one member' : `${members} members`);
  const message = `--init-adapter has ${some(found)}, and the method asked for trains ${some(asked)}`;
  throw new BpeftError('BPEFT_USAGE', message, {
    hint:
      found === 1
        ? 'train it with another --method, or give an ensemble'
        : `train it with --method ensemble --members ${found}, or give one of its members`,
  });
}

/** The engine keeps numbers as f32: to their 7 digits, as one would write them. */
function asFloat(value: number | string): number | string {
  return typeof value === 'number' ? Number(value.toPrecision(7)) : value;
}

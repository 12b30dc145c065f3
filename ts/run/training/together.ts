/**
 * A training that several processes make: each has its rows of every batch, and its own copy of the
 * model. Rank 0 leads: it alone reads settings and the last checkpoint, evaluates, and writes.
 * The others follow it, and say nothing but why they fail.
 *
 * What rank 0 tells, in this order: the settings; then, once its session is ready, which files it
 * reads and where the run stands; its parameters; at the end the result.
 */

import { createHash } from 'node:crypto';
import { type Division, UNDIVIDED } from '../../batches/share.ts';
import type { TrainConfig } from '../../config/resolve.ts';
import type { TrainOptions } from '../../config/schema.ts';
import { checkedRanks, Group } from '../../engine/group.ts';
import { BpeftError } from '../../errors.ts';
import { packageVersion } from '../../package-version.ts';
import type { RunContext } from '../inputs/context.ts';
import type { Progress } from '../records/checkpoint.ts';
import type { RunResult } from '../records/result.ts';
import { RunFolder } from '../records/run-folder.ts';
import type { Session } from './session.ts';
import { withSession } from './session.ts';
import { compareRanks, nextUpdate } from './update.ts';

/** What a rank is told first. */
type Told =
  | { readonly config: TrainConfig; readonly merged: number }
  | { readonly result: RunResult };

/** By what the ranks see that they read the same files, and where the run goes on. */
interface Beginning {
  readonly inputs: Readonly<Record<string, string | null>>;
  readonly progress: Pick<Progress, 'step' | 'epoch' | 'batch'>;
}

/**
 * The result of `lead`, which rank 0 runs and a process that trains alone.
 * @throws {BpeftError} what ends one rank, on all of them
 */
export async function together(
  options: TrainOptions,
  context: RunContext,
  lead: (group: Group | null) => Promise<RunResult>,
): Promise<RunResult> {
  const ranks = context.ranks === undefined ? null : checkedRanks(context.ranks);
  if (ranks === null || ranks.worldSize === 1) return lead(null);
  const group = await Group.meet(ranks, identityOf(options), context);
  try {
    if (group.rank > 0) return await follow(group, options, context);
    const result = await lead(group);
    // Who has ended meanwhile misses nothing.
    await group.toldByFirst<Told>({ result }).catch(() => {});
    return result;
  } catch (error) {
    await group.stop(error).catch(() => {}); // it is told anyway
    throw error;
  } finally {
    group.leave();
  }
}

/** What must be the same on all: everything but where it is computed. */
function identityOf({ device: _, threads: __, ...options }: TrainOptions): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify([packageVersion(), entries]);
  return createHash('sha256').update(text).digest('hex');
}

/**
 * The settings of a run, and which part of every batch is this process's. As many processes as it
 * began with share the draws of a batch, however many go on with it.
 * @throws {BpeftError} `BPEFT_USAGE`: `--processes` says another number than there are.
 */
export async function dividedRun(
  config: TrainConfig,
  group: Group | null,
): Promise<{ readonly config: TrainConfig; readonly division: Division }> {
  const { rank, size } = group ?? { rank: 0, size: 1 };
  const begun = config.resume ? await new RunFolder(config.out).ranks() : null;
  if (begun !== null) return { config, division: { rank, size, merged: begun } };
  if (size === 1) return { config, division: UNDIVIDED };
  if (config.processes !== 1 && config.processes !== size) {
    throw new BpeftError(
      'BPEFT_USAGE',
      `--processes must be the number of processes that train, ${size}, got ${config.processes}`,
      { hint: 'leave --processes out where a launcher sets WORLD_SIZE' },
    );
  }
  return { config: { ...config, processes: size }, division: { rank, size, merged: size } };
}

/** Tells the others the settings, before rank 0 prepares its own session. */
export async function tellSettings(
  group: Group | null,
  config: TrainConfig,
  { merged }: Division,
  context: RunContext,
): Promise<void> {
  await group?.toldByFirst<Told>({ config, merged }, context);
}

/** All begin with the parameters of rank 0, where it stands. */
export async function beginTogether(
  group: Group | null,
  session: Session,
  progress: Beginning['progress'],
  { signal }: Pick<RunContext, 'signal'>,
): Promise<void> {
  if (group === null) return;
  const { step, epoch, batch } = progress;
  const inputs = inputsOf(session);
  await group.toldByFirst<Beginning>({ inputs, progress: { step, epoch, batch } }, { signal });
  await session.trainer.takeStateOfFirst({ signal });
}

/** A rank that is not 0, from meeting to end. */
async function follow(
  group: Group,
  options: TrainOptions,
  context: RunContext,
): Promise<RunResult> {
  const told = await group.toldByFirst<Told>(null, context);
  if ('result' in told) return told.result;
  const config: TrainConfig = {
    ...told.config,
    ...machineOf(options),
    ...{ evalDataset: [], temperature: undefined, temperatureSplit: undefined },
  };
  const division = { rank: group.rank, size: group.size, merged: told.merged };
  const work = (session: Session) => followed(group, session, context);
  await withSession(config, { ...context, group }, () => {}, work, division);
  // What ends rank 0 from here on concerns its records alone.
  const end = await group.toldByFirst<Told>(null, context);
  if ('result' in end) return end.result;
  throw new BpeftError('BPEFT_INTERNAL', 'rank 0 must tell its result, got other settings');
}

/** Where a rank computes, it says itself. */
function machineOf({ device, threads }: TrainOptions): Pick<TrainConfig, 'device' | 'threads'> {
  return { device: device ?? 'auto', threads: threads ?? undefined };
}

async function followed(group: Group, session: Session, context: RunContext): Promise<void> {
  const { config, order, plan, trainer } = session;
  const { inputs, progress } = await group.toldByFirst<Beginning>(null, context);
  requireSameInputs(group.rank, inputs, inputsOf(session));
  await trainer.takeStateOfFirst(context);
  order.seek({ epoch: progress.epoch, batch: progress.batch });
  let saved: number | null = progress.step > 0 ? progress.step : null;
  let due = saved;
  for (let step = progress.step; step < plan.steps; ) {
    try {
      step = (await nextUpdate(session, context)).report.step;
    } catch (error) {
      throw tellingLastCheckpoint(error, saved);
    }
    saved = due; // rank 0 came here, and so has written it
    await compareRanks(session, step, context);
    if (config.checkpointEvery > 0 && step % config.checkpointEvery === 0) due = step;
  }
}

/** Where rank 0 is lost, nobody else says what is kept. */
function tellingLastCheckpoint(error: unknown, saved: number | null): unknown {
  if (!(error instanceof BpeftError) || error.code !== 'BPEFT_RANK_LOST') return error;
  if (!error.message.startsWith('rank 0 ')) return error;
  const kept =
    saved === null ? 'no checkpoint was written before' : `the state after step ${saved} is kept`;
  const { hint } = error;
  return new BpeftError(error.code, `${error.message} (${kept})`, { hint, cause: error });
}

function inputsOf({ model, initAdapter, train }: Session): Beginning['inputs'] {
  const data = train.record.files.map(({ sha256 }) => sha256).join();
  return {
    model: model.resolved.sha256,
    adapter: initAdapter?.sha256 ?? null,
    'training data': data,
  };
}

/** @throws {BpeftError} `BPEFT_RANKS` naming what differs. */
function requireSameInputs(
  rank: number,
  first: Beginning['inputs'],
  own: Beginning['inputs'],
): void {
  const other = Object.keys(first).find((what) => first[what] !== own[what]);
  if (other === undefined) return;
  throw new BpeftError(
    'BPEFT_RANKS',
    `all ranks must read the same ${other}, rank ${rank} has other files than rank 0`,
    { hint: 'copy the files of rank 0 to every machine, or name a commit of the Hub' },
  );
}

/** `--dry-run`: the plan of a run and one real step of it; nothing is written. */

import { readBatches } from '../../batches/data-loader.ts';
import type { TrainConfig } from '../../config/resolve.ts';
import type { TrainOptions } from '../../config/schema.ts';
import { observed } from '../../events/sinks.ts';
import { type RunContext, withModelOf } from '../inputs/context.ts';
import { peakRssMb } from '../records/result.ts';
import { recordedSettings } from '../records/run-folder.ts';
import type { TrainPlan } from './plan.ts';
import { type Session, withSession } from './session.ts';
import { trainConfig } from './settings.ts';

export interface DryRun {
  readonly format: 1;
  readonly dryRun: true;
  readonly config: Readonly<Record<string, unknown>>;
  readonly plan: TrainPlan;
  /** Of one update over the longest prompts. */
  readonly step: { readonly tokens: number; readonly ms: number; readonly nll: number };
  readonly estimate: { readonly trainingSeconds: number; readonly peakRssMb: number };
}

export async function dryRun(options: TrainOptions, context: RunContext = {}): Promise<DryRun> {
  return observed(context.onEvent, {}, async ({ event: emit }) => {
    const config = await trainConfig(withModelOf(options, context, emit));
    return withSession(config, context, emit, (session) => measured(config, session, context));
  });
}

async function measured(
  config: TrainConfig,
  session: Session,
  context: RunContext,
): Promise<DryRun> {
  const step = await longestStep(session, context);
  const { plan } = session;
  const tokensPerRow = plan.tokens.total / plan.rows;
  const rowsPerUpdate = config.batchSize * plan.batchesPerUpdate;
  const ms = step.ms * ((tokensPerRow * rowsPerUpdate) / step.tokens);
  return {
    format: 1,
    dryRun: true,
    config: recordedSettings('train', config),
    plan,
    step,
    estimate: { trainingSeconds: Math.round((ms * plan.steps) / 100) / 10, peakRssMb: peakRssMb() },
  };
}

/**
 * One update over the longest prompts: its memory is the run's largest, its time scales by tokens.
 */
async function longestStep(session: Session, context: RunContext): Promise<DryRun['step']> {
  const { examples } = session.train.encoded;
  const { lengths } = examples;
  const longest = Uint32Array.from(lengths.keys()).sort(
    (a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0),
  );
  const size = session.config.batchSize;
  const batches = await readBatches(
    examples,
    Array.from({ length: session.accounting.batchesPerUpdate }, (_, index) =>
      longest.subarray(index * size, (index + 1) * size),
    ).filter(({ length }) => length > 0),
  );
  const start = performance.now();
  const { members } = session.adapter.info;
  const ofMembers = batches.flatMap((batch) => Array.from({ length: members }, () => batch));
  const report = await session.trainer.step(ofMembers, context);
  return {
    tokens: report.tokens,
    ms: Math.round((performance.now() - start) * 10) / 10,
    nll: report.nll,
  };
}

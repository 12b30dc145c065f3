/** What a predictor will be made of: known before anything is loaded. */

import { type PredictConfig, resolvePredict } from '../../config/resolve.ts';
import type { PredictOptions } from '../../config/schema.ts';
import { listDatasets, resolveDataset } from '../../datasets/registry.ts';
import type { TaskFamily } from '../../datasets/rows/item.ts';
import { isTaskFamily } from '../../datasets/tasks/tasks.ts';
import type { CallOptions } from '../../engine/call.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { type Answering, answering } from '../inputs/answering.ts';
import { callOf, type RunContext } from '../inputs/context.ts';

export interface PredictorPlan extends Answering<PredictConfig> {
  readonly family: TaskFamily;
  /** Class names of a classification; null: each row has its own choices. */
  readonly labels: readonly string[] | null;
  /** How many classes compete where the protocol has one number for all rows; 0: not known. */
  readonly classCount: number;
}

export async function planPredictor(
  options: PredictOptions,
  context: RunContext,
  emit: Listener,
): Promise<PredictorPlan> {
  const { place, config } = await answering('predict', options, resolvePredict, context, emit);
  const family = await familyOf(
    options.dataset,
    place.record?.family ?? null,
    config,
    callOf(context),
  );
  const labels = config.labels ?? null;
  if (family === 'classification' && labels === null) {
    throw new BpeftError('BPEFT_USAGE', 'the class names of this adapter are not known', {
      hint: 'name them in the order of training: labels NAME,NAME,…',
    });
  }
  const classCount = Object.keys(place.record?.label_tokens ?? {}).length;
  return { place, config, family, labels, classCount };
}

/** The prompt's family: of the named dataset, else the one the adapter was trained on. */
async function familyOf(
  dataset: string | undefined,
  recorded: string | null,
  { task, columns }: Pick<PredictConfig, 'task' | 'columns'>,
  call: CallOptions,
): Promise<TaskFamily> {
  const named = listDatasets().find(({ name }) => name === dataset);
  if (named !== undefined) return named.family;
  if (dataset !== undefined)
    return (await resolveDataset(dataset, { task, columns, ...call })).family;
  const family = recorded ?? task;
  if (family === undefined || !isTaskFamily(family)) {
    throw new BpeftError('BPEFT_USAGE', 'the form of the prompts is not known for this adapter', {
      hint: 'give --dataset NAME (bpeft datasets list) or --task multiple-choice|classification',
    });
  }
  return family;
}

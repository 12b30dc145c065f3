/** What a predictor will be made of: known before anything is loaded. */

import { type Layer, parseSettings } from '../../config/parse.ts';
import { type PredictConfig, resolvePredict } from '../../config/resolve.ts';
import type { PredictOptions } from '../../config/schema.ts';
import { listDatasets, resolveDataset } from '../../datasets/registry.ts';
import type { TaskFamily, TaskKind } from '../../datasets/rows/item.ts';
import { isTaskFamily } from '../../datasets/tasks/tasks.ts';
import { BpeftError } from '../../errors.ts';
import type { Listener } from '../../events/sinks.ts';
import { type RunContext, withModelOf } from '../inputs/context.ts';
import { type AdapterPlace, findAdapter } from '../inputs/trained-adapter.ts';

export interface PredictorPlan {
  readonly place: AdapterPlace;
  readonly config: PredictConfig;
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
  const own: Layer = { origin: 'option', values: withModelOf(options, context, emit) };
  const { run, adapter } = parseSettings('predict', [own]);
  const place = await findAdapter({ run, adapter, datasetIsList: false });
  const config = resolvePredict(parseSettings('predict', [...place.layers, own]));
  const family = await familyOf(options.dataset, place.record?.family ?? null, config.task);
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
  task: TaskKind | undefined,
): Promise<TaskFamily> {
  const named = listDatasets().find(({ name }) => name === dataset);
  if (named !== undefined) return named.family;
  if (dataset !== undefined) return (await resolveDataset(dataset, { task })).family;
  const family = recorded ?? task;
  if (family === undefined || !isTaskFamily(family)) {
    throw new BpeftError('BPEFT_USAGE', 'the form of the prompts is not known for this adapter', {
      hint: 'give --dataset NAME (bpeft datasets list) or --task multiple-choice|classification',
    });
  }
  return family;
}

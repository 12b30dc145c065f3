/** What a prediction says of one row, as the library gives it and files hold it. */

import { type Item, letter } from '../../datasets/rows/item.ts';
import type { Task } from '../../datasets/tasks/task.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { BpeftError, BpeftErrorCode } from '../../errors.ts';
import { predictedClass } from '../../metrics/scored-row.ts';
import type { PredictionRow } from '../records/prediction-files.ts';
import type { AdaptiveRow } from './adaptive.ts';

/**
 * One answer. Probabilities and labels (class names in classification) are in the order of the
 * row's choices.
 */
export interface Prediction {
  /** Position in the input, from 0. */
  readonly row: number;
  readonly id?: string;
  readonly labels: readonly string[];
  /** The most probable label. */
  readonly prediction: string;
  readonly probs: readonly number[];
  /** Whether the prompt was too long, and what is answered is a shorter one. */
  readonly truncated: boolean;
  /** Of the mean probabilities, nats. */
  readonly entropy: number;
  /** With `samples: 'auto'`: how many it took. */
  readonly samples?: number;
  /**
   * With `samples: 'auto'`: whether the stopping rule ended it; false: 256 samples left it open.
   */
  readonly settled?: boolean;
  /** What more data could settle, nats; null below 2 samples. */
  readonly mutualInformation: number | null;
}

/** In the place of an answer: why there is none. */
export interface RefusedRow {
  readonly row: number;
  readonly id?: string;
  readonly error: {
    readonly code: BpeftErrorCode;
    readonly message: string;
    readonly hint: string | null;
  };
}

export function refusal(
  row: number,
  id: string | null,
  { code, message, hint }: BpeftError,
): RefusedRow {
  return { row, ...(id === null ? {} : { id }), error: { code, message, hint: hint ?? null } };
}

export function answer(
  {
    row,
    id,
    probs,
    entropy,
    mutualInformation,
    samples,
    settled,
  }: PredictionRow & Partial<AdaptiveRow>,
  item: Item,
  task: Task,
  { truncated }: EncodedExample,
): Prediction {
  const names = task.names(item);
  // In protocol reference more classes may compete than the row has choices: those have letters
  // only.
  const labels = probs.map((_, index) => names[index] ?? letter(index));
  return {
    row,
    ...(id === undefined ? {} : { id }),
    labels,
    prediction: labels[predictedClass(probs)] ?? '',
    probs,
    truncated,
    entropy,
    mutualInformation,
    ...(samples === undefined ? {} : { samples, settled: settled ?? false }),
  };
}

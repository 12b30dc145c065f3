/**
 * Classification of one's own texts; the same prompt in both protocols, as the reference has none.
 */

import { classificationPlan } from '../prompts/prompt-parts.ts';
import { textsOf } from '../prompts/text-pair.ts';
import { className } from '../rows/class-names.ts';
import { classificationItem, classificationRow } from '../rows/classification.ts';
import type { Task } from './task.ts';

export const CLASSIFICATION: Task = {
  family: 'classification',
  kind: 'classification',
  answerFields: ['label'],
  classCount: null,
  item: (raw, row, place, labelNames) =>
    classificationItem(classificationRow(raw, place), row, place, labelNames ?? []),
  labelOf: (raw, place) => {
    const { label } = classificationRow(raw, place);
    return label === undefined || className(label) === '' ? null : className(label);
  },
  plan: classificationPlan,
  pair: textsOf,
  names: ({ choices }) => choices,
};

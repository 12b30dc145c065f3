/** Classification of one's own texts; the same prompt in both protocols, as the reference has none. */

import { classificationPlan } from '../prompts/prompt-parts.ts';
import {
  type ClassificationRow,
  checkedLabelNames,
  classificationItem,
  classificationRow,
  labelNamesOf,
} from '../rows/classification.ts';
import type { RowPlace } from '../rows/dataset-error.ts';
import { mostChoices, type RowReader, type Task } from './task.ts';

export const CLASSIFICATION: Task = {
  family: 'classification',
  kind: 'classification',
  answerFields: ['label'],
  reader,
  classCount: mostChoices,
  plan: classificationPlan,
  names: ({ choices }) => choices,
};

/** The classes are known after the last row, and items have them as their choices. */
function reader(labelNames: readonly string[] | null): RowReader {
  const rows: { parsed: ClassificationRow; row: number; place: RowPlace }[] = [];
  return {
    accept: (raw, row, place) => void rows.push({ parsed: classificationRow(raw, place), row, place }),
    finish: (files) => {
      const { names, notices } =
        labelNames === null
          ? labelNamesOf(
              rows.map(({ parsed }) => parsed),
              files,
            )
          : { names: checkedLabelNames(labelNames, '--labels'), notices: [] };
      const items = rows.map(({ parsed, row, place }) => classificationItem(parsed, row, place, names));
      return { items, labelNames: names, notices };
    },
  };
}

/** What a dataset asks of a model: how its rows become items, and items prompts. */

import type { PromptPlan } from '../prompts/prompt-plan.ts';
import type { RowPlace } from '../rows/dataset-error.ts';
import type { Item, RowSet, TaskFamily, TaskKind } from '../rows/item.ts';

export interface Task {
  readonly family: TaskFamily;
  readonly kind: TaskKind;
  /** Fields that hold the right answer. */
  readonly answerFields: readonly string[];
  /** Reads the rows of one split; `labelNames` are a classification's classes, null: those found. */
  reader(labelNames: readonly string[] | null): RowReader;
  /** K of the reference: its constant per dataset; for one's own data the most choices in the split. */
  classCount(items: readonly Item[]): number;
  /** @param competing how many classes compete */
  plan(item: Item, competing: number, template: 'reference' | 'corrected'): PromptPlan;
  /** What answers call the item's choices. */
  names(item: Item): readonly string[];
}

export interface RowReader {
  /** @throws {BpeftError} `BPEFT_DATASET` with file, line and field. */
  accept(raw: unknown, row: number, place: RowPlace): void;
  /**
   * After the last row.
   * @param files for messages
   * @throws {BpeftError} `BPEFT_DATASET` for what only all rows together can break.
   */
  finish(files: string): RowSet;
}

/** Rows that are items by themselves. */
export function rowByRow(
  parse: (raw: unknown, row: number, place: RowPlace) => Item,
): (labelNames: readonly string[] | null) => RowReader {
  return () => {
    const items: Item[] = [];
    return {
      accept: (raw, row, place) => void items.push(parse(raw, row, place)),
      finish: () => ({ items, labelNames: null, notices: [] }),
    };
  };
}

export function mostChoices(items: readonly Item[]): number {
  return items.reduce((most, { choices }) => Math.max(most, choices.length), 0);
}

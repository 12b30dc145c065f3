/** What a dataset asks of a model: how its rows become items, and items prompts. */

import type { PromptPlan } from '../prompts/prompt-plan.ts';
import type { Template, TextPair } from '../prompts/text-pair.ts';
import type { RowPlace } from '../rows/dataset-error.ts';
import type { Item, TaskFamily, TaskKind } from '../rows/item.ts';

export interface Task {
  readonly family: TaskFamily;
  readonly kind: TaskKind;
  /** Fields that hold the right answer. */
  readonly answerFields: readonly string[];
  /**
   * K of the reference, where it takes one number for all rows; null: the most choices in the
   * split.
   */
  readonly classCount: number | null;
  /** Classes that the task fixes, whatever the rows name. */
  readonly labelNames?: readonly string[];
  /**
   * The item of a row; `labelNames` are a classification's classes.
   * @throws {BpeftError} `BPEFT_DATASET` with file, line and field.
   */
  item(raw: unknown, row: number, place: RowPlace, labelNames: readonly string[] | null): Item;
  /**
   * Of a task whose classes its rows name: the one that a row names, or null; throws as `item`
   * does.
   */
  labelOf?(raw: unknown, place: RowPlace): string | null;
  /** @param competing how many classes compete */
  plan(item: Item, competing: number, template: Template): PromptPlan;
  /** What an encoder reads instead. */
  pair(item: Item, template: Template): TextPair;
  /**
   * The class that the F1 of two is of, as prompts or an encoder's texts count; absent: the second.
   */
  positive?(template: Template, reader: 'prompt' | 'texts'): 0 | 1;
  /** What answers call the item's choices. */
  names(item: Item): readonly string[];
}

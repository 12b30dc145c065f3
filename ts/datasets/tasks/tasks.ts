/** Every task by its family, and the prompt of an item. */

import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { PlacedPlan } from '../prompts/prompt-plan.ts';
import type { TextPair } from '../prompts/text-pair.ts';
import type { RowPlace } from '../rows/dataset-error.ts';
import type { Item, SplitHead, TaskFamily } from '../rows/item.ts';
import { ARC_TASK } from './arc.ts';
import { BOOLQ_TASK } from './boolq.ts';
import { CLASSIFICATION } from './classification.ts';
import { COMMONSENSE_QA_TASK } from './commonsense-qa.ts';
import { COPA_TASK } from './copa.ts';
import { GLUE_TASKS } from './glue.ts';
import { MMLU_TASK } from './mmlu.ts';
import { MULTIPLE_CHOICE } from './multiple-choice.ts';
import { OPENBOOKQA_TASK } from './openbookqa.ts';
import type { Task } from './task.ts';
import { WINOGRANDE_TASK } from './winogrande.ts';

const TASKS: Readonly<Record<TaskFamily, Task>> = {
  arc: ARC_TASK,
  openbookqa: OPENBOOKQA_TASK,
  commonsense_qa: COMMONSENSE_QA_TASK,
  winogrande: WINOGRANDE_TASK,
  boolq: BOOLQ_TASK,
  mmlu: MMLU_TASK,
  ...GLUE_TASKS,
  copa: COPA_TASK,
  'multiple-choice': MULTIPLE_CHOICE,
  classification: CLASSIFICATION,
};

export function taskOf(family: TaskFamily): Task {
  return TASKS[family];
}

export function isTaskFamily(name: string): name is TaskFamily {
  return Object.hasOwn(TASKS, name);
}

/** The prompt of an item, with as many competing classes as the protocol says. */
export function planPrompt(
  { family, classCount }: Pick<SplitHead, 'family' | 'classCount'>,
  item: Item,
  { classes, template }: Pick<DataProtocol, 'template' | 'classes'>,
): PlacedPlan {
  const competing = classes === 'item' ? item.choices.length : classCount;
  return { ...taskOf(family).plan(item, competing, template), place: item.place };
}

export interface PairPlan extends TextPair {
  readonly place: RowPlace;
  /** How many classes compete, the first ones. */
  readonly competing: number;
  /** Class of the right answer; −1 where the row has none. */
  readonly label: number;
}

/** What an encoder reads of an item, with as many competing classes as the protocol says. */
export function planPair(
  { family, classCount }: Pick<SplitHead, 'family' | 'classCount'>,
  item: Item,
  { classes, template }: Pick<DataProtocol, 'template' | 'classes'>,
): PairPlan {
  const competing = classes === 'item' ? item.choices.length : classCount;
  const { place, answer } = item;
  return { ...taskOf(family).pair(item, template), place, competing, label: answer ?? -1 };
}

/** K of the reference among these items: the task's constant, else the most choices of one. */
export function classCountOf(family: TaskFamily, items: readonly Item[]): number {
  return (
    taskOf(family).classCount ??
    items.reduce((most, { choices }) => Math.max(most, choices.length), 0)
  );
}

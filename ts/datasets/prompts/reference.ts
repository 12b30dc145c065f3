/**
 * Prompts of the protocol `reference`, letter for letter those of the Python original.
 *
 * - OpenBookQA and ARC write choices as `text) label`, with the labels of the file (some ARC items show `1` to
 *   `4` while letters are scored); OpenBookQA's heading is `Chioces:`. Winogrande and MMLU write `A) text`.
 * - BoolQ cuts the passage to its first 1024 characters (code points), scores `True` and `False` in this order,
 *   and takes the truth value as the class: a true answer is class 1, i.e. the token of `False`.
 * - Winogrande and BoolQ get EOS after the cue where the tokenizer is of the Llama class.
 */

import { type Item, letters, type TaskFamily } from '../rows/item.ts';
import type { PromptPart, PromptPlan } from './prompt.ts';
import {
  BOOLQ_CUE,
  boolqParts,
  CUE,
  classificationPlan,
  letteredLines,
  multipleChoiceParts,
} from './prompt-parts.ts';

const BOOLQ_PASSAGE_CHARACTERS = 1024;

export function referencePlan(family: TaskFamily, item: Item, competing: number): PromptPlan {
  if (family === 'classification') return classificationPlan(item);
  if (family === 'boolq') {
    return {
      row: item.row,
      parts: boolqParts(item, firstCharacters(item.context ?? '', BOOLQ_PASSAGE_CHARACTERS)),
      cue: BOOLQ_CUE,
      labels: ['True', 'False'],
      label: item.answer === null ? -1 : 1 - item.answer,
      eos: true,
    };
  }
  return {
    row: item.row,
    parts: multipleChoice(family, item),
    cue: CUE,
    labels: letters(competing),
    label: item.answer ?? -1,
    eos: family === 'winogrande',
  };
}

function multipleChoice(family: TaskFamily, item: Item): PromptPart[] {
  if (family === 'openbookqa') return multipleChoiceParts(item, textFirstLines(item), 'Chioces:');
  if (family === 'arc') return multipleChoiceParts(item, textFirstLines(item));
  return multipleChoiceParts(item, letteredLines(item.choices));
}

function textFirstLines({ choices, labels }: Item): string {
  return choices.map((choice, index) => `${choice}) ${labels[index]}\n`).join('');
}

function firstCharacters(text: string, count: number): string {
  return text.length <= count ? text : Array.from(text).slice(0, count).join('');
}

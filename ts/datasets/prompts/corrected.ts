/**
 * Prompts of the protocol `corrected`: the reference's wording with its slips mended.
 *
 * - Every dataset writes its choices as `A) text`, with the letters A, B, … whatever the labels of the file, below
 *   the heading `Choices:`; exactly the shown choices compete.
 * - BoolQ scores the words that its prompt announces, `true` and `false`, and a true answer is the class `true`.
 *   The passage is whole; what does not fit is cut by tokens and counted.
 * - No EOS follows a prompt.
 *
 * The texts themselves stand in `prompt-parts.ts`.
 */

import { type Item, letters, type TaskFamily } from '../rows/item.ts';
import type { PromptPlan } from './prompt.ts';
import {
  BOOLQ_CUE,
  boolqParts,
  CUE,
  classificationPlan,
  letteredLines,
  multipleChoiceParts,
} from './prompt-parts.ts';

export function correctedPlan(family: TaskFamily, item: Item, competing: number): PromptPlan {
  if (family === 'classification') return classificationPlan(item);
  const boolq = family === 'boolq';
  return {
    row: item.row,
    parts: boolq
      ? boolqParts(item, item.context ?? '')
      : multipleChoiceParts(item, letteredLines(item.choices)),
    cue: boolq ? BOOLQ_CUE : CUE,
    labels: boolq ? item.choices : letters(competing),
    label: item.answer ?? -1,
    eos: false,
  };
}

/**
 * Prompts of the protocol `corrected`: the reference's wording with its slips mended.
 *
 * - Every dataset writes its choices as `A) text`, with the letters A, B, … whatever the labels of
 *   the file, below the heading `Choices:`; exactly the shown choices compete.
 * - BoolQ scores the words that its prompt announces, `true` and `false`, and a true answer is the
 *   class `true`. The passage is whole; what does not fit is cut by tokens and counted.
 * - No EOS follows a prompt.
 *
 * The texts themselves stand in `prompt-parts.ts`.
 */

import { type Item, letters } from '../rows/item.ts';
import { BOOLQ_CUE, boolqParts, CUE, letteredLines, multipleChoiceParts } from './prompt-parts.ts';
import type { PromptPlan } from './prompt-plan.ts';

export function correctedChoice(item: Item, competing: number): PromptPlan {
  return {
    row: item.row,
    parts: multipleChoiceParts(item, letteredLines(item.choices)),
    cue: CUE,
    labels: letters(competing),
    label: item.answer ?? -1,
    eos: false,
  };
}

export function correctedBoolq(item: Item): PromptPlan {
  return {
    row: item.row,
    parts: boolqParts(item, item.context ?? ''),
    cue: BOOLQ_CUE,
    labels: item.choices,
    label: item.answer ?? -1,
    eos: false,
  };
}

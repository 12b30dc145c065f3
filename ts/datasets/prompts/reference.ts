/**
 * Prompts of the protocol `reference`, letter for letter those of the Python original.
 *
 * - OpenBookQA and ARC write choices as `text) label`, with the labels of the file (some ARC items
 *   show `1` to `4` while letters are scored); OpenBookQA's heading is `Chioces:`. Winogrande and
 *   MMLU write `A) text`.
 * - CommonsenseQA has an instruction of its own.
 * - BoolQ cuts the passage to its first 1024 characters (code points), scores `True` and `False` in
 *   this order, and takes the truth value as the class: a true answer is class 1, i.e. the token of
 *   `False`.
 * - Winogrande and BoolQ get EOS after the cue where the tokenizer is of the Llama class.
 */

import { type Item, letters } from '../rows/item.ts';
import { BOOLQ_CUE, boolqParts, CUE, letteredLines, multipleChoiceParts } from './prompt-parts.ts';
import type { PromptPlan } from './prompt-plan.ts';

/** How the reference writes the choices of a dataset. */
export interface ReferenceWording {
  readonly lines: 'letter-first' | 'text-first';
  readonly heading: 'Choices:' | 'Chioces:';
  readonly eos: boolean;
  /** Where it is not the usual one. */
  readonly instruction?: string;
}

export function referenceChoice(
  item: Item,
  competing: number,
  { lines, heading, eos, instruction }: ReferenceWording,
): PromptPlan {
  const written = lines === 'text-first' ? textFirstLines(item) : letteredLines(item.choices);
  return {
    row: item.row,
    parts: multipleChoiceParts(item, written, { heading, instruction }),
    cue: CUE,
    labels: letters(competing),
    label: item.answer ?? -1,
    eos,
  };
}

const BOOLQ_PASSAGE_CHARACTERS = 1024;

export function referenceBoolq(item: Item): PromptPlan {
  return {
    row: item.row,
    parts: boolqParts(item, firstCharacters(item.context ?? '', BOOLQ_PASSAGE_CHARACTERS)),
    cue: BOOLQ_CUE,
    labels: ['True', 'False'],
    label: item.answer === null ? -1 : 1 - item.answer,
    eos: true,
  };
}

function textFirstLines({ choices, labels }: Item): string {
  return choices.map((choice, index) => `${choice}) ${labels[index]}\n`).join('');
}

function firstCharacters(text: string, count: number): string {
  return text.length <= count ? text : Array.from(text).slice(0, count).join('');
}

/** The pieces that both protocols build prompts from. */

import { type Item, letter, letters } from '../rows/item.ts';
import type { PromptPart, PromptPlan } from './prompt-plan.ts';

export const CUE = 'Answer:';
export const BOOLQ_CUE = 'Answer (true or false):';

export function fixed(text: string): PromptPart {
  return { text, cuttable: false };
}

export function cuttable(text: string): PromptPart {
  return { text, cuttable: true };
}

/** `A) first` newline `B) second` …, ending with a newline. */
export function letteredLines(choices: readonly string[]): string {
  return choices.map((choice, index) => `${letter(index)}) ${choice}\n`).join('');
}

const INSTRUCTION = 'Return the label of the correct answer for the question below.';

interface ChoiceWording {
  readonly heading?: string;
  readonly instruction?: string | undefined;
}

/**
 * One's own multiple choice, and every dataset with lettered choices:
 *
 * ```text
 * Return the label of the correct answer for the question below.
 *
 * Passage: {context}            (only where the row has one)
 * Question: {question}
 * Choices:
 * {lines}Answer:
 * ```
 */
export function multipleChoiceParts(
  item: Item,
  lines: string,
  { heading = 'Choices:', instruction = INSTRUCTION }: ChoiceWording = {},
): PromptPart[] {
  const passage =
    item.context === null ? [] : [fixed('Passage: '), cuttable(item.context), fixed('\n')];
  return [
    fixed(`${instruction}\n\n`),
    ...passage,
    fixed(`Question: ${item.question}\n${heading}\n${lines}${CUE}`),
  ];
}

/**
 * BoolQ:
 *
 * ```text
 * Read the passage below and answer the question with the words 'true' or 'false'.
 *
 * Passage: {passage}
 * Question: {question}
 * Answer (true or false):
 * ```
 */
export function boolqParts(item: Item, passage: string): PromptPart[] {
  return [
    fixed(
      "Read the passage below and answer the question with the words 'true' or 'false'.\n\nPassage: ",
    ),
    cuttable(passage),
    fixed(`\nQuestion: ${item.question}\n${BOOLQ_CUE}`),
  ];
}

/**
 * Classification on a decoder, the same in both protocols (the reference has none):
 *
 * ```text
 * Return the label of the correct class for the text below.
 *
 * Text: {text}                  (a pair: "for the two texts below", Text 1: …, Text 2: …)
 * Labels:
 * A) {first class}
 * B) {second class}
 * Answer:
 * ```
 */
export function classificationPlan(item: Item): PromptPlan {
  const pair = item.texts.length > 1;
  const texts = item.texts.flatMap((text, index) => [
    fixed(pair ? `Text ${index + 1}: ` : 'Text: '),
    cuttable(text),
    fixed('\n'),
  ]);
  return {
    row: item.row,
    parts: [
      fixed(
        `Return the label of the correct class for the ${pair ? 'two texts' : 'text'} below.\n\n`,
      ),
      ...texts,
      fixed(`Labels:\n${letteredLines(item.choices)}${CUE}`),
    ],
    cue: CUE,
    labels: letters(item.choices.length),
    label: item.answer ?? -1,
    eos: false,
  };
}

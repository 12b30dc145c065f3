/** The text that a model reads, in parts, and the labels that compete to follow it. */

import type { RowPlace } from '../rows/dataset-error.ts';

export interface PromptPart {
  readonly text: string;
  /** Whether a prompt that is too long may lose the end of this part. */
  readonly cuttable: boolean;
}

export interface PromptPlan {
  readonly row: number;
  /** The prompt is their concatenation; nothing stands between them. */
  readonly parts: readonly PromptPart[];
  /** The last line of the prompt, which the answer follows. */
  readonly cue: string;
  /** Labels of the competing classes, in class order. */
  readonly labels: readonly string[];
  /** Class of the right answer; −1 where the row has none. */
  readonly label: number;
  /** Whether the reference appends EOS to this prompt where the tokenizer is of the Llama class. */
  readonly eos: boolean;
}

/** A plan with the file and line of its row. */
export interface PlacedPlan extends PromptPlan {
  readonly place: RowPlace;
}

export function promptText(plan: PromptPlan): string {
  return plan.parts.map(({ text }) => text).join('');
}

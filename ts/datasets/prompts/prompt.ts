/** From an item to the text that a model reads and the labels that compete to follow it. */

import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { Dataset, Item } from '../rows/item.ts';
import { correctedPlan } from './corrected.ts';
import { referencePlan } from './reference.ts';

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

/** What a prompt depends on beyond its item. */
export type PromptDataset = Pick<Dataset, 'family' | 'classCount' | 'labelNames'>;

export function planPrompt(
  dataset: PromptDataset,
  item: Item,
  protocol: Pick<DataProtocol, 'template' | 'classes'>,
): PromptPlan {
  const competing = protocol.classes === 'item' ? item.choices.length : dataset.classCount;
  return protocol.template === 'reference'
    ? referencePlan(dataset.family, item, competing)
    : correctedPlan(dataset.family, item, competing);
}

export function promptText(plan: PromptPlan): string {
  return plan.parts.map(({ text }) => text).join('');
}

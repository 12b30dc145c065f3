/**
 * What an encoder reads of an item: one text, or a pair, between which the tokenizer puts its
 * separator.
 *
 * Sentences and texts are read as they are, a yes/no question after its passage. A question with
 * choices becomes one text, in the reference's words:
 *
 * ```text
 * corrected   Select one of the choices that answers the following question: {question} Choices:
 *             A. {first} B. {second} … Answer:
 * reference   the same with the file's own labels; Winogrande without the dot after its second letter
 * ```
 *
 * on one line; a passage, where the row has one, is the first text of the pair.
 */

import { type Item, letter } from '../rows/item.ts';

export interface TextPair {
  readonly first: string;
  /** Null: there is none. */
  readonly second: string | null;
}

export type Template = 'reference' | 'corrected';

/** Of the texts of a classification. */
export function textsOf({ texts }: Item): TextPair {
  const [first = '', second = null] = texts;
  return { first, second };
}

export function choicePair(item: Item, template: Template): TextPair {
  const choices = item.choices.map((choice, index) => {
    const label = template === 'reference' ? (item.labels[index] ?? letter(index)) : letter(index);
    return `${label}. ${choice}`;
  });
  return asked(item, choices);
}

/** With the slip of the reference, a letter without its dot. */
export function winograndePair(item: Item, template: Template): TextPair {
  if (template === 'corrected') return choicePair(item, template);
  const [first = '', second = ''] = item.choices;
  return asked(item, [`A. ${first}.`, `B ${second}.`]);
}

function asked({ context, question }: Item, choices: readonly string[]): TextPair {
  const text = `Select one of the choices that answers the following question: ${question} Choices: ${choices.join(' ')} Answer:`;
  return context === null ? { first: text, second: null } : { first: context, second: text };
}

/** Rows of the caller's, by the fields that `docs/datasets.md` names. */

/** What a row of any form may hold. */
export interface AnyRow {
  /** The answer has it too; what is asked with an id gets the same samples wherever it is asked. */
  readonly id?: string | number;
  // Not read: rows of a dataset may be asked as they are.
  readonly answer?: unknown;
  readonly answerKey?: unknown;
  readonly label?: unknown;
}

/** A question with choices of its own. */
export type ChoiceRow = AnyRow & {
  readonly choices:
    | readonly string[]
    | { readonly text: readonly string[]; readonly label: readonly string[] };
  /** Of the choices; `A`, `B`, … unless given. */
  readonly labels?: readonly string[];
  readonly context?: string | null;
} & (
    | Readonly<Record<'question', string>>
    | Readonly<Record<'prompt', string>>
    | Readonly<Record<'question_stem', string>>
  );

/** A text, or two, of the classes that the adapter was trained on. */
export type ClassifiedRow = AnyRow &
  (
    | Readonly<Record<'text', string>>
    | Readonly<Record<'text1' | 'text2', string>>
    | Readonly<Record<'sentence', string>>
    | Readonly<Record<'sentence1' | 'sentence2', string>>
    | Readonly<Record<'premise' | 'hypothesis', string>>
  );

/** A row as a published dataset has it: BoolQ, WinoGrande, COPA, QQP, QNLI, WiC. */
export type PublishedRow = AnyRow &
  (
    | Readonly<Record<'question' | 'passage', string>>
    | Readonly<Record<'sentence' | 'option1' | 'option2', string>>
    | Readonly<Record<'premise' | 'choice1' | 'choice2' | 'question', string>>
    | Readonly<Record<'question1' | 'question2', string>>
    | Readonly<Record<'question' | 'sentence', string>>
    | Readonly<Record<'word' | 'sentence1' | 'sentence2', string>>
  );

/** What an adapter answers; which form it reads is that of the rows it was trained on. */
export type PredictRow = ChoiceRow | ClassifiedRow | PublishedRow;

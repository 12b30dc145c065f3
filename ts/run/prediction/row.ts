/** Rows of the caller's, by the fields that `docs/datasets.md` names. */

type Texts<Field extends string> = { readonly [_ in Field]: string };

interface AnyRow {
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
} & (Texts<'question'> | Texts<'prompt'> | Texts<'question_stem'>);

/** A text, or two, of the classes that the adapter was trained on. */
export type ClassifiedRow = AnyRow &
  (
    | Texts<'text'>
    | Texts<'text1' | 'text2'>
    | Texts<'sentence'>
    | Texts<'sentence1' | 'sentence2'>
    | Texts<'premise' | 'hypothesis'>
  );

/** A row as a published dataset has it: BoolQ, WinoGrande, COPA, QQP, QNLI, WiC. */
export type PublishedRow = AnyRow &
  (
    | Texts<'question' | 'passage'>
    | Texts<'sentence' | 'option1' | 'option2'>
    | Texts<'premise' | 'choice1' | 'choice2' | 'question'>
    | Texts<'question1' | 'question2'>
    | Texts<'question' | 'sentence'>
    | Texts<'word' | 'sentence1' | 'sentence2'>
  );

/** What an adapter answers; which form it reads is that of the rows it was trained on. */
export type PredictRow = ChoiceRow | ClassifiedRow | PublishedRow;

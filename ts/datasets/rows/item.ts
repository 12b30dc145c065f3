/** What every dataset yields: items with their choices, and where they come from. */

export type TaskKind = 'multiple-choice' | 'classification';

/** Decides the prompt; `multiple-choice` and `classification` are one's own data. */
export type TaskFamily =
  | 'arc'
  | 'openbookqa'
  | 'winogrande'
  | 'boolq'
  | 'mmlu'
  | 'multiple-choice'
  | 'classification';

/** As many classes as there are letters. */
export const MAX_CLASSES = 26;

export interface Item {
  /** 0-based line in the split: the row's identity for noise and predictions. */
  readonly row: number;
  readonly id: string | null;
  /** Passage; the only part of a multiple-choice prompt that may be cut. */
  readonly context: string | null;
  /** Empty for classification. */
  readonly question: string;
  /** Classification: the text, or the pair of texts. Empty otherwise. */
  readonly texts: readonly string[];
  readonly choices: readonly string[];
  /** The choices' labels as the file writes them (ARC: some items use `1` to `4`). */
  readonly labels: readonly string[];
  /** Index into `choices`; null in rows that are only predicted. */
  readonly answer: number | null;
  /** Whatever else the row holds. */
  readonly meta: Readonly<Record<string, unknown>>;
}

export interface DatasetFile {
  /** Relative to the data folder, or the file's name: never absolute. */
  readonly path: string;
  readonly sha256: string;
  readonly rows: number;
}

export interface Dataset {
  readonly name: string;
  readonly split: string;
  readonly family: TaskFamily;
  readonly items: readonly Item[];
  /** K of the reference: its constant per dataset; for one's own data the most choices in the split. */
  readonly classCount: number;
  /** Class names of a classification dataset, in class order; null otherwise. */
  readonly labelNames: readonly string[] | null;
  readonly files: readonly DatasetFile[];
}

/** `A`, `B`, …: the letter of a class. */
export function letter(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}

export function letters(count: number): string[] {
  return Array.from({ length: count }, (_, index) => letter(index));
}

/** What every dataset yields: items with their choices, and where they come from. */

import type { RowPlace } from './dataset-error.ts';

export type TaskKind = 'multiple-choice' | 'classification';

/** Decides the prompt; `multiple-choice` and `classification` are one's own data. */
export type TaskFamily =
  | 'arc'
  | 'openbookqa'
  | 'commonsense_qa'
  | 'winogrande'
  | 'boolq'
  | 'mmlu'
  | 'cola'
  | 'sst2'
  | 'mrpc'
  | 'qqp'
  | 'qnli'
  | 'mnli'
  | 'rte'
  | 'wnli'
  | 'cb'
  | 'wic'
  | 'copa'
  | 'multiple-choice'
  | 'classification';

const CAPITALS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
const ONE_LETTER = [...CAPITALS, ...'abcdefghijklmnopqrstuvwxyz'];

export interface Item {
  /** For messages. */
  readonly place: RowPlace;
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
  /** Null where a limit left its end unread. */
  readonly sha256: string | null;
  /** As many as were read. */
  readonly rows: number;
}

/** A dataset's place on the Hub. */
export interface HubOrigin {
  readonly repository: string;
  /** The commit. */
  readonly revision: string;
  /** Several are joined by `+`. */
  readonly configuration: string;
}

/** A split of a dataset, whatever holds its rows. */
export interface SplitHead {
  readonly name: string;
  readonly split: string;
  readonly family: TaskFamily;
  /**
   * K of the reference: its constant per dataset; for one's own data the most choices in the split.
   */
  readonly classCount: number;
  /** Class names of a classification dataset, in class order; null otherwise. */
  readonly labelNames: readonly string[] | null;
  /** What a reader of the rows should know, as of labels that look alike. */
  readonly notices: readonly string[];
  readonly files: readonly DatasetFile[];
  /** Null: not stated. */
  readonly licence: string | null;
  /** Null: files of this machine. */
  readonly hub: HubOrigin | null;
}

/** A split with its rows in memory. */
export interface Dataset extends SplitHead {
  readonly items: readonly Item[];
}

/** A split whose rows are read from its files whenever they are needed. */
export interface RowStream extends SplitHead {
  /** How many there are. */
  readonly rows: number;
  /** Read from the files for them. */
  readonly bytes: number;
  /** An item with as many choices as any. */
  readonly widest: Item;
  items(): AsyncIterable<Item>;
}

/** The label of a class: `A` … `Z`, `a` … `z`, then `AA`, `AB` … `ZZ`, `AAA` and so on. */
export function letter(index: number): string {
  const own = ONE_LETTER[index];
  if (own !== undefined) return own;
  let text = '';
  let rest = index - ONE_LETTER.length + CAPITALS.length;
  for (; rest >= 0; rest = Math.floor(rest / CAPITALS.length) - 1)
    text = `${CAPITALS[rest % CAPITALS.length]}${text}`;
  return text;
}

/** Rows mostly have as many as the one before. */
let last: readonly string[] = [];

export function letters(count: number): readonly string[] {
  if (last.length !== count) last = Array.from({ length: count }, (_, index) => letter(index));
  return last;
}

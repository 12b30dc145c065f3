/** Where a dataset's files lie, and what is known about the named ones. */

import type { CallOptions } from '../../engine/call.ts';
import type { SplitFile } from '../files/read-split.ts';
import type { Columns } from '../rows/columns.ts';
import type { HubOrigin, TaskFamily } from '../rows/item.ts';

export interface DatasetEntry {
  /** As people and the reference call it. */
  readonly name: string;
  readonly title: string;
  readonly source: string;
  readonly licence: string;
  readonly family: TaskFamily;
  /** Whether its files ship with the package; otherwise they lie below `--data-dir`. */
  readonly isEmbedded?: true;
  /** Split → files below the data folder, in the order of the rows. */
  readonly splits: Readonly<Record<string, readonly string[]>>;
  /** Rows of each split as published. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly trainSplit: string;
  /** Evaluated where no split is named. */
  readonly defaultSplit: string;
}

/** Splits and family of a named dataset or of one's own data, before its rows are read. */
export interface SourceFiles {
  readonly name: string;
  readonly family: TaskFamily;
  readonly entry: DatasetEntry | null;
  readonly splits: ReadonlyMap<string, readonly SplitFile[]>;
  readonly trainSplit: string;
  readonly defaultSplit: string;
  /** Null: not stated. */
  readonly licence: string | null;
  /** Null: they have their names. */
  readonly columns: Columns | null;
  /** Null: files of this machine. */
  readonly hub: HubOrigin | null;
  /** Makes files be there. */
  bring(files: readonly SplitFile[], call: CallOptions): Promise<void>;
}

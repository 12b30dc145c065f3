/** Which rows a run used, in `config.json` and `result.json`. */

import type { DatasetFile, HubOrigin } from '../../datasets/rows/item.ts';

export interface DatasetRecord {
  readonly name: string;
  readonly split: string;
  readonly rows: number;
  readonly files: readonly DatasetFile[];
  /** Null: not stated. */
  readonly licence: string | null;
  /** Null: files of this machine. */
  readonly hub: HubOrigin | null;
}

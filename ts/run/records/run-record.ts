/**
 * `config.json`: what a run was asked for and what it found, without paths or names of this
 * machine; the file's names are in `snake_case`.
 */

import type { ModelIdentity } from '../../engine/resolved-model.ts';
import type { AdapterIdentity } from './adapter-files.ts';
import type { Hardware, Versions } from './versions.ts';

export interface RunRecord {
  readonly format: 1;
  readonly command: 'train' | 'eval';
  /** Settings by the library's names; names instead of paths. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly model: ModelIdentity & Readonly<Record<string, unknown>>;
  /** What training began from, or what was evaluated; null: a fresh one. */
  readonly adapter: AdapterIdentity | null;
  readonly datasets: { readonly train: object | null; readonly evaluation: readonly object[] };
  /** Of an evaluation: the dataset of its adapter; null: unknown. */
  readonly trainedOn?: string | null;
  /** Of a training that several processes began; missing: one did. */
  readonly ranks?: RanksRecord | undefined;
  readonly versions: Versions;
  readonly hardware: Hardware;
}

export interface RanksRecord {
  /** How many processes share the draws of a batch. */
  readonly size: number;
  /** Rows of an update, over all of them: the effective batch. */
  readonly rowsPerUpdate: number;
  /** What processes add up gradients by; null: one goes on alone. */
  readonly summedBy: 'tcp' | 'nccl' | null;
}

/** The pieces of work behind a table, in the order in which they run. */

import { join } from 'node:path';
import { mergeLayers } from '../config/parse.ts';
import { fileName } from '../config/resolve.ts';
import { optionsOf, type Row, type Table } from './table.ts';

export interface Job {
  readonly command: 'train' | 'bayesianize' | 'eval';
  /** As the library takes them. */
  readonly options: Readonly<Record<string, unknown>>;
  /** What it leaves; also its name in the record. */
  readonly out: string;
}

/** One method on one dataset with one seed. */
export interface Cell {
  readonly row: string;
  readonly dataset: string;
  readonly seed: number;
  /** The folder with `result.json`. */
  readonly result: string;
  readonly jobs: readonly Job[];
}

export function cellsOf(table: Table, out: string): Cell[] {
  return table.datasets.flatMap((dataset) =>
    table.seeds.flatMap((seed) =>
      table.rows.map((row) => cellOf(table, row, { dataset, seed, out })),
    ),
  );
}

interface Place {
  readonly dataset: string;
  readonly seed: number;
  readonly out: string;
}

function folder(row: string, { dataset, seed, out }: Place): string {
  return join(out, fileName(dataset), `${row}-seed${seed}`);
}

function cellOf({ samples }: Table, row: Row, place: Place): Cell {
  const { dataset, seed } = place;
  const result = folder(row.name, place);
  const head = { row: row.name, dataset, seed, result };
  if (row.from === null) {
    const options = optionsOf(row, 'train', {
      dataset,
      seed,
      evalSamples: [...samples],
      out: result,
    });
    return { ...head, jobs: [{ command: 'train', options, out: result }] };
  }
  const adapter = `${result}-adapter`;
  const made = optionsOf(row, 'bayesianize', { run: folder(row.from, place), seed, out: adapter });
  const { evalLimit: limit } = mergeLayers('train', row.evaluation.slice(0, 1));
  const asked = { adapter, dataset: [dataset], seed, samples: [...samples], limit, out: result };
  const options = optionsOf(row, 'eval', asked);
  return {
    ...head,
    jobs: [
      { command: 'bayesianize', options: made, out: adapter },
      { command: 'eval', options, out: result },
    ],
  };
}

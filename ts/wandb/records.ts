/**
 * The records of a W&B transaction log: `wandb_internal.Record` of the client 0.31, by field
 * number.
 *
 * Values of configuration, history and summary are JSON texts. A history row is not summed up by
 * whoever reads the log, so that each new value is also written as a summary record.
 */

import { Fields } from '../protobuf/fields.ts';
import type { Row, RunIdentity } from './row.ts';

/** One record, still without its number. */
export type WandbRecord = (record: Fields) => void;

/** Where a record's number and its own message go in `Record`. */
const RECORD = {
  num: 1,
  history: 2,
  summary: 3,
  files: 6,
  stats: 7,
  outputRaw: 13,
  run: 17,
  exit: 18,
  header: 21,
} as const;

/** The oldest and the newest client that this log is written for. */
const READERS = { minConsumer: '0.70.0', producer: '0.31.0' } as const;

const FILE_POLICY = { now: 0, end: 1 } as const;
const FILE_TYPE = { other: 0, wandb: 1, media: 2 } as const;

export interface LoggedFile {
  /** Below `files/`. */
  readonly path: string;
  readonly policy: keyof typeof FILE_POLICY;
  readonly type: keyof typeof FILE_TYPE;
}

export function headerRecord(): WandbRecord {
  return (record) =>
    record.message(RECORD.header, (header) =>
      header.message(1, (version) =>
        version.text(1, READERS.producer).text(2, READERS.minConsumer),
      ),
    );
}

export function runRecord(
  run: RunIdentity,
  config: Readonly<Record<string, unknown>>,
): WandbRecord {
  return (record) =>
    record.message(RECORD.run, (message) => {
      message.text(1, run.id);
      message.text(2, run.entity ?? '');
      message.text(3, run.project);
      message.message(4, (updates) => items(updates, config));
      message.text(6, run.group ?? '');
      message.text(7, run.jobType ?? '');
      message.text(8, run.name);
      message.text(9, run.notes ?? '');
      for (const tag of run.tags) message.text(10, tag);
      message.text(12, run.sweepId ?? '');
      message.integer(14, run.startingStep);
      message.timestamp(17, run.startTimeMs);
      message.flag(18, run.startingStep > 0);
    });
}

export function historyRecord(row: Row, step: number): WandbRecord {
  return (record) =>
    record.message(RECORD.history, (history) => {
      for (const [path, value] of leaves(row)) {
        history.message(1, (item) => {
          for (const key of path) item.text(2, key);
          item.text(16, jsonText(value));
        });
      }
      history.message(2, (message) => message.integer(1, step));
    });
}

export function summaryRecord(row: Row): WandbRecord {
  return (record) =>
    record.message(RECORD.summary, (summary) => {
      for (const [path, value] of leaves(row)) {
        summary.message(1, (item) => {
          for (const key of path) item.text(2, key);
          item.text(16, jsonText(value));
        });
      }
    });
}

export function filesRecord(files: readonly LoggedFile[]): WandbRecord {
  return (record) =>
    record.message(RECORD.files, (message) => {
      for (const { path, policy, type } of files) {
        message.message(1, (file) =>
          file.text(1, path).integer(2, FILE_POLICY[policy]).integer(3, FILE_TYPE[type]),
        );
      }
    });
}

/** What the machine does beside the run. */
export function statsRecord(values: Readonly<Record<string, number>>, timeMs: number): WandbRecord {
  return (record) =>
    record.message(RECORD.stats, (stats) => {
      stats.timestamp(2, timeMs);
      for (const [key, value] of Object.entries(values)) {
        stats.message(3, (item) => item.text(1, key).text(16, jsonText(value)));
      }
    });
}

/** A line of the run's log, as written to standard error. */
export function outputRecord(line: string, timeMs: number): WandbRecord {
  return (record) =>
    record.message(RECORD.outputRaw, (output) => output.timestamp(2, timeMs).text(3, `${line}\n`));
}

export function exitRecord(code: number, seconds: number): WandbRecord {
  return (record) =>
    record.message(RECORD.exit, (exit) => exit.integer(1, code).integer(2, Math.round(seconds)));
}

/** The bytes of a record. */
export function encodeRecord(record: WandbRecord, number: number): Uint8Array {
  const fields = new Fields().integer(RECORD.num, number);
  record(fields);
  return fields.finish();
}

function items(updates: Fields, values: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(values)) {
    updates.message(1, (item) => item.text(1, key).text(16, jsonText(value)));
  }
}

/** Objects are written as paths, as the client does. */
function leaves(
  value: Row,
  path: readonly string[] = [],
): [path: readonly string[], value: unknown][] {
  return Object.entries(value).flatMap(([key, item]): [readonly string[], unknown][] =>
    typeof item === 'object' && item !== null && !Array.isArray(item)
      ? leaves(item as Row, [...path, key])
      : [[[...path, key], item]],
  );
}

/** JSON as W&B reads it: what is no finite number is a text. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item,
  );
}

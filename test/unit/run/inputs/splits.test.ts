import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { datasetFromStream } from '../../../../ts/datasets/registry.ts';
import type { RowStream } from '../../../../ts/datasets/rows/item.ts';
import type { BayesianModel } from '../../../../ts/engine/model.ts';
import type { RunEvent } from '../../../../ts/events/run-event.ts';
import { DATA_PROTOCOLS } from '../../../../ts/protocol/data-protocol.ts';
import { type DataSettings, encodeSplit, type Split } from '../../../../ts/run/inputs/splits.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { wordTokenizer } from '../../datasets/tokens/toy-tokenizers.ts';

const version = vi.hoisted(() => ({ now: '1.0.0' }));
vi.mock('../../../../ts/package-version.ts', () => ({ packageVersion: () => version.now }));

/** A split that is too large for memory, by what it says of itself. */
const BYTES = 1024 ** 3;
const FILES = [{ path: 'train.jsonl', sha256: 'rows', rows: 3 }];

const settings = { ...DATA_PROTOCOLS.corrected, protocol: 'corrected', maxSeqLen: 500 } as const;

interface Change {
  readonly rows?: Partial<RowStream>;
  readonly settings?: Partial<DataSettings>;
  readonly model?: string;
}

let home = '';
let told: RunEvent[] = [];
let reads = 0;
let tokenizer = wordTokenizer();

beforeEach(() => {
  home = temporaryFolder();
  told = [];
  reads = 0;
  tokenizer = wordTokenizer();
  version.now = '1.0.0';
  vi.stubEnv('BPEFT_HOME', home);
});
afterEach(() => vi.unstubAllEnvs());

async function rows(change: Partial<RowStream> = {}): Promise<RowStream> {
  async function* lines(): AsyncGenerator<Uint8Array> {
    for (const question of ['one', 'two', 'three']) {
      const row = { question, choices: ['a', 'b'], answer: 1, id: question };
      yield new TextEncoder().encode(`${JSON.stringify(row)}\n`);
    }
  }
  const own = { name: 'own', format: 'jsonl', family: 'multiple-choice' } as const;
  const { items, ...head } = await datasetFromStream({ ...own, stream: lines() });
  const widest = items[0] ?? expect.fail();
  async function* read() {
    reads += 1;
    yield* items;
  }
  return {
    ...{ ...head, files: FILES, rows: items.length, bytes: BYTES, widest, items: read },
    ...change,
  };
}

async function encoded(change: Change = {}): Promise<Split> {
  const { info, encode } = tokenizer;
  const model = { info, encode, resolved: { sha256: change.model ?? 'model' } };
  return encodeSplit(
    await rows(change.rows),
    { ...settings, ...change.settings },
    {
      model: model as unknown as BayesianModel,
      signal: undefined,
      emit: (event) => void told.push(event),
    },
  );
}

/** Whether the rows were read for their tokens. */
async function isRead(change: Change = {}): Promise<boolean> {
  const before = reads;
  await encoded(change);
  return reads > before;
}

const kept = (): string[] => readdirSync(join(home, 'tokens'));

it('keeps the tokens of a large split on disk, says so, and finds them again', async () => {
  const [first, again] = [await encoded(), await encoded()];
  expect(reads).toBe(1);
  expect(kept()).toHaveLength(1);
  const messages = told.map((event) => (event.type === 'warning' ? event.message : event.type));
  expect(messages).toEqual([
    `own input: the tokens of its 3 rows are kept in ${join(home, 'tokens', kept()[0] ?? '')}`,
  ]);
  const of = ({ encoded }: Split) => encoded.examples.read([2, 0]);
  expect(await of(again)).toEqual(await of(first));
  expect((await of(again)).map(({ id, label }) => [id, label])).toEqual([
    ['three', 1],
    ['one', 1],
  ]);
  expect({ ...again.encoded, examples: null }).toEqual({ ...first.encoded, examples: null });
});

const file = FILES[0] ?? expect.fail();

it.each<[string, Change]>([
  ['bytes of the files', { rows: { files: [{ ...file, sha256: 'other rows' }] } }],
  ['rows of the files', { rows: { files: [{ ...file, rows: 4 }] } }],
  ['split', { rows: { split: 'input[50%:]' } }],
  ['task', { rows: { family: 'arc' } }],
  ['number of classes', { rows: { classCount: 5 } }],
  ['class names', { rows: { labelNames: ['no', 'yes'] } }],
  ['columns', { settings: { columns: ['question=title'] } }],
  ['template', { settings: { template: 'reference' } }],
  ['classes that compete', { settings: { classes: 'dataset' } }],
  ['label tokens', { settings: { labelTokens: 'last' } }],
  ['blank before labels', { settings: { addSpace: true } }],
  ['end of sequence', { settings: { eos: 'llama-class' } }],
  ['truncation', { settings: { truncation: 'right' } }],
  ['length', { settings: { maxSeqLen: 501 } }],
  ["noise, a line's instead of a question's", { settings: { protocol: 'reference' } }],
  ['model and its tokenizer', { model: 'other model' }],
])('makes tokens anew for another %s', async (_, change) => {
  expect([await isRead(), await isRead(change), await isRead(), await isRead(change)]).toEqual([
    ...[true, true, false, false],
  ]);
});

it('makes tokens anew in another version of bpeft', async () => {
  expect(await isRead()).toBe(true);
  version.now = '1.0.1';
  expect(await isRead()).toBe(true);
});

it('finds them whatever does not decide them: order, batches, evaluation', async () => {
  const other = { ...DATA_PROTOCOLS.reference, protocol: 'corrected' } as const;
  const { order, lastBatch, evaluationTail, sampling, metricMean } = other;
  expect(await isRead()).toBe(true);
  const changed = { order, lastBatch, evaluationTail, sampling, metricMean };
  expect(await isRead({ settings: changed })).toBe(false);
});

it('keeps none of rows that were not read to their end', async () => {
  const cut = { rows: { files: [{ ...file, sha256: null }] } };
  expect([await isRead(cut), await isRead(cut), kept()]).toEqual([true, true, []]);
});

it.each([2, 4])('keeps none of %i rows that are 3 by now', async (count) => {
  await expect(encoded({ rows: { rows: count } })).rejects.toMatchObject({
    code: 'BPEFT_DATASET',
    message: 'own input: its files have changed while they were read',
  });
  expect(kept()).toEqual([]);
});

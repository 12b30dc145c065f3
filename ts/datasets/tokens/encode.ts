/**
 * A split as token ids: prompts, the tokens of the competing classes, gold classes. For an encoder
 * texts or pairs, and the indices of the classes.
 */

import { type CallOptions, teller } from '../../engine/call.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { PlacedPlan } from '../prompts/prompt-plan.ts';
import { datasetError } from '../rows/dataset-error.ts';
import { type Dataset, type Item, letters, type RowStream } from '../rows/item.ts';
import { planPair, planPrompt } from '../tasks/tasks.ts';
import { encodePairs, pairLength } from './encode-pairs.ts';
import { encodePrompts, promptLimits } from './encode-prompts.ts';
import { type LabelTokens, labelTokens } from './label-tokens.ts';
import { noiseIdentity } from './noise-identity.ts';
import type { PairEncoder, PromptEncoder, RowEncoder } from './prompt-encoder.ts';

export interface EncodedExample {
  readonly row: number;
  readonly id: string | null;
  /** Whose noise it sees, 32 bits. */
  readonly noise: number;
  /** (T_b) token ids of the prompt; the answer is read after the last one. */
  readonly ids: Uint32Array;
  /** For an encoder: tokens before the first one of type 1; all are of type 0 unless given. */
  readonly first?: number;
  /** (K_b) token ids of the competing classes; for an encoder their indices. */
  readonly answers: Uint32Array;
  /** Index into `answers`; −1 = none. */
  readonly label: number;
  readonly truncated: boolean;
}

/** What is known of a split's prompts once all are encoded. */
export interface EncodedHead {
  readonly name: string;
  readonly split: string;
  /** Rows whose prompt was cut. */
  readonly truncated: number;
  /** Sum of the prompts' lengths. */
  readonly tokens: number;
  /**
   * Longest prompt that was let through, special tokens included: asked for, or the model's
   * context.
   */
  readonly maxSeqLen: number;
  /** Token of each label that competes somewhere; for an encoder the index of each class. */
  readonly labelTokens: Readonly<Record<string, number>>;
  readonly notices: readonly string[];
}

export interface EncodedDataset extends EncodedHead {
  readonly examples: readonly EncodedExample[];
  readonly maxLength: number;
}

export interface EncodeOptions extends CallOptions {
  readonly protocol: DataProtocol;
  /** Longest prompt, special tokens included; the model's context limits it too. */
  readonly maxSeqLen: number;
  /** What becomes of a longer one: cut as the protocol says (unless given), or refused. */
  readonly onLong?: 'cut' | 'error' | undefined;
  /**
   * Whose noise a row sees: its question's (`noiseIdentity`, unless given), or its line's, as
   * protocol `reference` has it.
   */
  readonly noiseOf?: 'question' | 'line' | undefined;
}

const ROWS_PER_STEP = 512;

/**
 * The rows in memory as tokens in memory.
 * @throws {BpeftError} `BPEFT_LABEL_TOKENS`, `BPEFT_PROMPT_TOO_LONG`, `BPEFT_ABORTED`, and
 *   `BPEFT_DATASET` for a row with a right answer that does not compete, or a token that the model
 *   lacks.
 */
export async function encodeDataset(
  dataset: Dataset,
  encoder: RowEncoder,
  options: EncodeOptions,
): Promise<EncodedDataset> {
  const [first] = dataset.items;
  if (first === undefined) {
    throw new BpeftError('BPEFT_DATASET', `${dataset.name} ${dataset.split}: holds no rows`);
  }
  const widest = dataset.items.reduce((most, item) =>
    item.choices.length > most.choices.length ? item : most,
  );
  const rows = { ...dataset, widest, items: () => dataset.items };
  const labels = await competingTokens(rows, encoder, options.protocol);
  const examples: EncodedExample[] = [];
  const tell = teller(options.onProgress);
  for await (const some of encodeRows(rows, labels, encoder, options)) {
    examples.push(...some);
    tell({
      activity: 'encoding',
      unit: 'rows',
      done: examples.length,
      total: dataset.items.length,
    });
  }
  return {
    name: dataset.name,
    split: dataset.split,
    examples,
    truncated: examples.filter(({ truncated }) => truncated).length,
    tokens: examples.reduce((sum, { ids }) => sum + ids.length, 0),
    maxLength: examples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0),
    maxSeqLen: rowLength(encoder, options),
    labelTokens: Object.fromEntries(labels.tokens),
    notices: [...dataset.notices, ...labels.notices],
  };
}

/**
 * Longest row in tokens. @throws {BpeftError} `BPEFT_USAGE`: longer than an encoder's positions.
 */
export function rowLength(
  encoder: RowEncoder,
  options: Pick<EncodeOptions, 'protocol' | 'maxSeqLen' | 'onLong'>,
): number {
  const pairs = pairEncoder(encoder);
  return pairs === null
    ? promptLimits(encoder, options).length
    : pairLength(pairs, options.maxSeqLen);
}

/** Null: it reads prompts. */
function pairEncoder(encoder: RowEncoder): PairEncoder | null {
  const { info, encodeTexts } = encoder;
  return info.kind === 'encoder' && encodeTexts !== undefined ? (encoder as PairEncoder) : null;
}

type Rows = Pick<RowStream, 'family' | 'classCount' | 'labelNames' | 'widest'> & {
  items(): Iterable<Item> | AsyncIterable<Item>;
};

/**
 * One token for each label that competes somewhere: those of the widest row hold all others. For an
 * encoder the index of each class.
 */
export async function competingTokens(
  rows: Pick<Rows, 'family' | 'classCount' | 'labelNames' | 'widest'>,
  encoder: RowEncoder,
  protocol: DataProtocol,
): Promise<LabelTokens> {
  if (pairEncoder(encoder) !== null) {
    const names = rows.labelNames ?? letters(rows.classCount);
    return {
      tokens: new Map(names.map((name, index) => [name, index])),
      promptEnd: '',
      notices: [],
    };
  }
  const { cue, labels } = planPrompt(rows, rows.widest, protocol);
  return labelTokens(encoder, cue, labels, protocol);
}

/**
 * The rows as tokens, some at a time, in order. @throws {BpeftError} as {@link encodeDataset} does.
 */
export async function* encodeRows(
  rows: Rows,
  labels: LabelTokens,
  encoder: RowEncoder,
  options: EncodeOptions,
): AsyncGenerator<EncodedExample[], void, undefined> {
  const pairs = pairEncoder(encoder);
  const encoded =
    pairs === null ? promptForm(rows, labels, encoder, options) : pairForm(rows, pairs, options);
  let items: Item[] = [];
  for await (const item of rows.items()) {
    items.push(item);
    if (items.length < ROWS_PER_STEP) continue;
    yield await encoded(items);
    items = [];
  }
  if (items.length > 0) yield await encoded(items);
}

type Form = (items: readonly Item[]) => Promise<EncodedExample[]>;

function promptForm(
  rows: Rows,
  labels: LabelTokens,
  encoder: PromptEncoder,
  options: EncodeOptions,
): Form {
  const limits = promptLimits(encoder, options);
  const answersOf = answerLists(labels);
  return async (items) => {
    throwIfAborted(options.signal);
    const plans = items.map((item) => planPrompt(rows, item, options.protocol));
    for (const { label, labels: competing, place } of plans)
      refuseOutside(label, competing.length, place);
    const prompts = await encodePrompts(plans, encoder, limits, labels.promptEnd);
    return plans.map(({ row, label, labels: competing }, index) => {
      const { ids, truncated } = prompts[index] ?? { ids: new Uint32Array(), truncated: false };
      const id = items[index]?.id ?? null;
      const noise = options.noiseOf === 'line' ? row : noiseIdentity(id, ids);
      return { row, id, noise, ids, answers: answersOf(competing), label, truncated };
    });
  };
}

function pairForm(rows: Rows, encoder: PairEncoder, options: EncodeOptions): Form {
  const { maxSeqLen, noiseOf, onLong = 'cut', protocol, signal } = options;
  const length = pairLength(encoder, maxSeqLen);
  const indices = new Map<number, Uint32Array>();
  const classesBelow = (count: number): Uint32Array => {
    const known = indices.get(count) ?? Uint32Array.from({ length: count }, (_, index) => index);
    indices.set(count, known);
    return known;
  };
  return async (items) => {
    throwIfAborted(signal);
    const plans = items.map((item) => planPair(rows, item, protocol));
    for (const { label, competing, place } of plans) refuseOutside(label, competing, place);
    const encoded = await encodePairs(plans, encoder, { length, onLong });
    return encoded.map(({ ids, first, truncated }, index) => {
      const { id = null, row = 0 } = items[index] ?? {};
      const { label = -1, competing = 0 } = plans[index] ?? {};
      const noise = noiseOf === 'line' ? row : noiseIdentity(id, ids);
      const types = first === ids.length ? {} : { first };
      return { row, id, noise, ids, ...types, answers: classesBelow(competing), label, truncated };
    });
  };
}

function refuseOutside(label: number, competing: number, place: PlacedPlan['place']): void {
  if (label < competing) return;
  throw datasetError(
    place,
    `the right answer must be one of the ${competing} classes that compete, got number ${label + 1}`,
  );
}

/** Answer tokens of a list of labels, one array per distinct list. */
function answerLists({ tokens }: LabelTokens): (labels: readonly string[]) => Uint32Array {
  const lists = new Map<string, Uint32Array>();
  return (labels) => {
    const key = JSON.stringify(labels);
    let list = lists.get(key);
    if (list === undefined) {
      list = Uint32Array.from(labels, (label) => tokens.get(label) ?? 0);
      lists.set(key, list);
    }
    return list;
  };
}

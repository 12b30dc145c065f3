/** A split as token ids: prompts, the tokens of the competing classes, gold classes. */

import { type CallOptions, teller } from '../../engine/call.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import type { PlacedPlan } from '../prompts/prompt-plan.ts';
import { datasetError } from '../rows/dataset-error.ts';
import type { Dataset, Item, RowStream } from '../rows/item.ts';
import { planPrompt } from '../tasks/tasks.ts';
import { encodePrompts, promptLimits } from './encode-prompts.ts';
import { type LabelTokens, labelTokens } from './label-tokens.ts';
import { noiseIdentity } from './noise-identity.ts';
import type { PromptEncoder } from './prompt-encoder.ts';

export interface EncodedExample {
  readonly row: number;
  readonly id: string | null;
  /** Whose noise it sees, 32 bits. */
  readonly noise: number;
  /** (T_b) token ids of the prompt; the answer is read after the last one. */
  readonly ids: Uint32Array;
  /** (K_b) token ids of the competing classes. */
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
  /** Longest prompt that was let through, special tokens included: asked for, or the model's context. */
  readonly maxSeqLen: number;
  /** Token of each label that competes somewhere. */
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
   * Whose noise a row sees: its question's (`noiseIdentity`, unless given), or its line's, as protocol
   * `reference` has it.
   */
  readonly noiseOf?: 'question' | 'line' | undefined;
}

const ROWS_PER_STEP = 512;

/**
 * The rows in memory as tokens in memory.
 * @throws {BpeftError} `BPEFT_LABEL_TOKENS`, `BPEFT_PROMPT_TOO_LONG`, `BPEFT_ABORTED`, and `BPEFT_DATASET` for a
 *   row with a right answer that does not compete, or a token that the model lacks.
 */
export async function encodeDataset(
  dataset: Dataset,
  encoder: PromptEncoder,
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
    tell({ activity: 'encoding', unit: 'rows', done: examples.length, total: dataset.items.length });
  }
  return {
    name: dataset.name,
    split: dataset.split,
    examples,
    truncated: examples.filter(({ truncated }) => truncated).length,
    tokens: examples.reduce((sum, { ids }) => sum + ids.length, 0),
    maxLength: examples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0),
    maxSeqLen: promptLimits(encoder, options).length,
    labelTokens: Object.fromEntries(labels.tokens),
    notices: [...dataset.notices, ...labels.notices],
  };
}

type Rows = Pick<RowStream, 'family' | 'classCount' | 'widest'> & {
  items(): Iterable<Item> | AsyncIterable<Item>;
};

/** One token for each label that competes somewhere: those of the widest row hold all others. */
export function competingTokens(
  rows: Pick<Rows, 'family' | 'classCount' | 'widest'>,
  encoder: PromptEncoder,
  protocol: DataProtocol,
): Promise<LabelTokens> {
  const { cue, labels } = planPrompt(rows, rows.widest, protocol);
  return labelTokens(encoder, cue, labels, protocol);
}

/** The rows as tokens, some at a time, in order. @throws {BpeftError} as {@link encodeDataset} does. */
export async function* encodeRows(
  rows: Rows,
  labels: LabelTokens,
  encoder: PromptEncoder,
  options: EncodeOptions,
): AsyncGenerator<EncodedExample[], void, undefined> {
  const limits = promptLimits(encoder, options);
  const answersOf = answerLists(labels);
  let items: Item[] = [];
  for await (const item of rows.items()) {
    items.push(item);
    if (items.length < ROWS_PER_STEP) continue;
    yield await encoded(items);
    items = [];
  }
  if (items.length > 0) yield await encoded(items);

  async function encoded(some: readonly Item[]): Promise<EncodedExample[]> {
    throwIfAborted(options.signal);
    const plans = some.map((item) => planPrompt(rows, item, options.protocol));
    for (const plan of plans) refuseOutside(plan);
    const prompts = await encodePrompts(plans, encoder, limits, labels.promptEnd);
    return plans.map(({ row, label, labels: competing }, index) => {
      const { ids, truncated } = prompts[index] ?? { ids: new Uint32Array(), truncated: false };
      const id = some[index]?.id ?? null;
      const noise = options.noiseOf === 'line' ? row : noiseIdentity(id, ids);
      return { row, id, noise, ids, answers: answersOf(competing), label, truncated };
    });
  }
}

function refuseOutside({ label, labels, place }: PlacedPlan): void {
  if (label < labels.length) return;
  throw datasetError(
    place,
    `the right answer must be one of the ${labels.length} classes that compete, got number ${label + 1}`,
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

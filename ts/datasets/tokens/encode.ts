/** A whole split as token ids: prompts, the tokens of the competing classes, gold classes. */

import { BpeftError, throwIfAborted } from '../../errors.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import { type PromptPlan, promptText } from '../prompts/prompt-plan.ts';
import type { Dataset } from '../rows/item.ts';
import { planPrompt } from '../tasks/tasks.ts';
import { cutToFit } from './cut-context.ts';
import { type LabelTokens, labelTokens } from './label-tokens.ts';
import { noiseIdentity } from './noise-identity.ts';
import { encodeTexts, type PromptEncoder } from './prompt-encoder.ts';

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

export interface EncodedDataset {
  readonly name: string;
  readonly split: string;
  readonly examples: readonly EncodedExample[];
  /** Rows whose prompt was cut. */
  readonly truncated: number;
  /** Sum of the prompts' lengths. */
  readonly tokens: number;
  readonly maxLength: number;
  /** Token of each label that competes somewhere. */
  readonly labelTokens: Readonly<Record<string, number>>;
  readonly notices: readonly string[];
}

export interface EncodeOptions {
  readonly protocol: DataProtocol;
  /** Longest prompt, special tokens included. */
  readonly maxSeqLen: number;
  /** What becomes of a longer one: cut as the protocol says (unless given), or refused. */
  readonly onLong?: 'cut' | 'error' | undefined;
  /**
   * Whose noise a row sees: its question's ({@link noiseIdentity}, unless given), or its line's, as protocol
   * `reference` has it.
   */
  readonly noiseOf?: 'question' | 'line' | undefined;
  readonly signal?: AbortSignal | undefined;
}

const ROWS_PER_STEP = 512;

/**
 * @throws {BpeftError} `BPEFT_LABEL_TOKENS`, `BPEFT_PROMPT_TOO_LONG`, `BPEFT_ABORTED`, and `BPEFT_DATASET` for a
 *   row with a right answer that does not compete.
 */
export async function encodeDataset(
  dataset: Dataset,
  encoder: PromptEncoder,
  options: EncodeOptions,
): Promise<EncodedDataset> {
  const { protocol } = options;
  const where = `${dataset.name} ${dataset.split}`;
  const plans = dataset.items.map((item) => planPrompt(dataset, item, protocol));
  const [first] = plans;
  if (first === undefined) throw new BpeftError('BPEFT_DATASET', `${where}: holds no rows`);

  const competing = [...new Set(plans.flatMap(({ labels }) => labels))];
  const labels = await labelTokens(encoder, first.cue, competing, protocol);
  const answersOf = answerLists(labels);
  const examples: EncodedExample[] = [];
  for (let start = 0; start < plans.length; start += ROWS_PER_STEP) {
    throwIfAborted(options.signal);
    const chunk = plans.slice(start, start + ROWS_PER_STEP);
    const prompts = await encodePrompts(chunk, encoder, options, labels.promptEnd, where);
    for (const [index, plan] of chunk.entries()) {
      const { ids, truncated } = prompts[index] ?? { ids: new Uint32Array(), truncated: false };
      if (plan.label >= plan.labels.length) {
        throw new BpeftError(
          'BPEFT_DATASET',
          `${where}, row ${plan.row}: the right answer must be one of the ${plan.labels.length} classes that compete, got number ${plan.label + 1}`,
        );
      }
      const id = dataset.items[start + index]?.id ?? null;
      examples.push({
        row: plan.row,
        id,
        noise: options.noiseOf === 'line' ? plan.row : noiseIdentity(id, ids),
        ids,
        answers: answersOf(plan.labels),
        label: plan.label,
        truncated,
      });
    }
  }
  return {
    name: dataset.name,
    split: dataset.split,
    examples,
    truncated: examples.filter(({ truncated }) => truncated).length,
    tokens: examples.reduce((sum, { ids }) => sum + ids.length, 0),
    maxLength: examples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0),
    labelTokens: Object.fromEntries(labels.tokens),
    notices: [...dataset.notices, ...labels.notices],
  };
}

interface EncodedPrompt {
  readonly ids: Uint32Array;
  readonly truncated: boolean;
}

async function encodePrompts(
  plans: readonly PromptPlan[],
  encoder: PromptEncoder,
  { protocol, maxSeqLen, onLong = 'cut' }: EncodeOptions,
  promptEnd: string,
  where: string,
): Promise<EncodedPrompt[]> {
  const whole = await encodeTexts(
    encoder,
    plans.map((plan) => promptText(plan) + promptEnd),
    true,
  );
  const { llamaClassTokenizer, eosTokenId } = encoder.info;
  const eosAllowed = protocol.eos === 'llama-class' && llamaClassTokenizer && eosTokenId !== null;
  const eosOf = (plan: PromptPlan | undefined): readonly number[] =>
    eosAllowed && plan?.eos === true ? [eosTokenId] : [];
  if (onLong === 'error') {
    const lengths = whole.map((ids, index) => ids.length + eosOf(plans[index]).length);
    refuseLong(plans, lengths, maxSeqLen, where);
  }

  if (protocol.truncation === 'right') {
    return whole.map((ids, index) => {
      const end = eosOf(plans[index]);
      const room = maxSeqLen - end.length;
      return { ids: Uint32Array.from([...ids.subarray(0, room), ...end]), truncated: ids.length > room };
    });
  }

  const room = maxSeqLen - (eosAllowed ? 1 : 0);
  const long = plans.filter((_, index) => (whole[index]?.length ?? 0) > room);
  const cut = await cutToFit(long, { encoder, maxSeqLen: room, promptEnd, where });
  const cutOf = new Map(long.map((plan, index) => [plan, cut[index]]));
  return plans.map((plan, index) => {
    const shortened = cutOf.get(plan);
    const ids = shortened ?? whole[index] ?? new Uint32Array();
    return { ids: Uint32Array.from([...ids, ...eosOf(plan)]), truncated: shortened !== undefined };
  });
}

function refuseLong(
  plans: readonly PromptPlan[],
  lengths: readonly number[],
  maxSeqLen: number,
  where: string,
): void {
  const index = lengths.findIndex((length) => length > maxSeqLen);
  if (index < 0) return;
  const length = lengths[index];
  throw new BpeftError(
    'BPEFT_PROMPT_TOO_LONG',
    `${where}, row ${plans[index]?.row}: the prompt must fit ${maxSeqLen} tokens, got ${length}`,
    { hint: `pass --max-seq-len ${length} or more, or --on-long cut` },
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

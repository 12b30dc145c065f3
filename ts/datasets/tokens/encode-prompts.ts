/**
 * Prompts as token ids that fit: special tokens added, what is too long cut or refused, by its
 * place.
 */

import { BpeftError } from '../../errors.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import { type PlacedPlan, promptText } from '../prompts/prompt-plan.ts';
import { datasetError, placeText } from '../rows/dataset-error.ts';
import { cutToFit } from './cut-context.ts';
import { encodeTexts, type PromptEncoder } from './prompt-encoder.ts';

/** What a prompt must fit. */
export interface PromptLimits {
  readonly protocol: DataProtocol;
  readonly onLong: 'cut' | 'error';
  /** Longest prompt, special tokens included. */
  readonly length: number;
  /** Whether that is all that the model can read. */
  readonly isContext: boolean;
}

export function promptLimits(
  { info }: PromptEncoder,
  {
    protocol,
    maxSeqLen,
    onLong = 'cut',
  }: {
    readonly protocol: DataProtocol;
    readonly maxSeqLen: number;
    readonly onLong?: 'cut' | 'error' | undefined;
  },
): PromptLimits {
  const context = info.maxPositionEmbeddings ?? Number.POSITIVE_INFINITY;
  return {
    protocol,
    onLong,
    length: Math.min(maxSeqLen, context),
    isContext: context <= maxSeqLen,
  };
}

export interface EncodedPrompt {
  readonly ids: Uint32Array;
  readonly truncated: boolean;
}

/**
 * @throws {BpeftError} `BPEFT_PROMPT_TOO_LONG`; `BPEFT_DATASET` for a token that the model lacks.
 */
export async function encodePrompts(
  plans: readonly PlacedPlan[],
  encoder: PromptEncoder,
  limits: PromptLimits,
  promptEnd: string,
): Promise<EncodedPrompt[]> {
  const { protocol, length: longest } = limits;
  const whole = await encodePlaced(plans, encoder, promptEnd);
  const { llamaClassTokenizer, eosTokenId } = encoder.info;
  const eosAllowed = protocol.eos === 'llama-class' && llamaClassTokenizer && eosTokenId !== null;
  const eosOf = (plan: PlacedPlan | undefined): readonly number[] =>
    eosAllowed && plan?.eos === true ? [eosTokenId] : [];
  if (limits.onLong === 'error') {
    const lengths = whole.map((ids, index) => ids.length + eosOf(plans[index]).length);
    refuseLong(plans, lengths, limits);
  }

  if (protocol.truncation === 'right') {
    return whole.map((ids, index) => {
      const end = eosOf(plans[index]);
      const room = longest - end.length;
      return {
        ids: Uint32Array.from([...ids.subarray(0, room), ...end]),
        truncated: ids.length > room,
      };
    });
  }

  const room = longest - (eosAllowed ? 1 : 0);
  const long = plans.filter((_, index) => (whole[index]?.length ?? 0) > room);
  const refuse = (plan: PlacedPlan, tokens: number): BpeftError => tooLong(plan, tokens, limits);
  const cut = await cutToFit(long, { encoder, maxSeqLen: room, promptEnd, refuse });
  const cutOf = new Map(long.map((plan, index) => [plan, cut[index]]));
  return plans.map((plan, index) => {
    const shortened = cutOf.get(plan);
    const ids = shortened ?? whole[index] ?? new Uint32Array();
    return { ids: Uint32Array.from([...ids, ...eosOf(plan)]), truncated: shortened !== undefined };
  });
}

/** The whole prompts; where the engine refuses one, the row that it stands for is named. */
async function encodePlaced(
  plans: readonly PlacedPlan[],
  encoder: PromptEncoder,
  promptEnd: string,
): Promise<Uint32Array[]> {
  const texts = plans.map((plan) => promptText(plan) + promptEnd);
  try {
    return await encodeTexts(encoder, texts, true);
  } catch (error) {
    if (!isRefusedText(error)) throw error;
    for (const [index, text] of texts.entries()) {
      const own = await encodeTexts(encoder, [text], true).then(() => null, asRefusal);
      const place = plans[index]?.place;
      if (own !== null && place !== undefined) throw refusedRow(place, own);
    }
    throw error;
  }
}

function isRefusedText(error: unknown): error is BpeftError {
  return error instanceof BpeftError && error.code === 'BPEFT_INVALID_INPUT';
}

function asRefusal(error: unknown): BpeftError {
  if (isRefusedText(error)) return error;
  throw error;
}

/** The engine names the token; the text that it quotes is the row's prompt. */
function refusedRow(place: PlacedPlan['place'], cause: BpeftError): BpeftError {
  const token = / got (.+ \(id \d+\)) in the one that begins /.exec(cause.message)?.[1];
  const message =
    token === undefined ? cause.message : `holds the token ${token}, which the model does not have`;
  return datasetError(place, message, {
    hint: 'take it out of the row, or choose a model that has it',
    cause,
  });
}

/** A prompt that does not fit even without its passage. */
function tooLong(
  plan: PlacedPlan,
  tokens: number,
  { isContext, length }: PromptLimits,
): BpeftError {
  const without = plan.parts.some(({ cuttable }) => cuttable) ? ' without its passage' : '';
  const subject = isContext ? 'the model reads at most' : 'the prompt must fit';
  const hint = isContext
    ? 'shorten question or choices, or choose a model with a longer context'
    : `question, choices and cue are never cut: pass --max-seq-len ${tokens} or more`;
  return longError(plan, `${subject} ${length} tokens, got ${tokens}${without}`, hint);
}

function refuseLong(
  plans: readonly PlacedPlan[],
  lengths: readonly number[],
  { isContext, length }: PromptLimits,
): void {
  const index = lengths.findIndex((tokens) => tokens > length);
  const plan = plans[index];
  if (plan === undefined) return;
  const tokens = lengths[index] ?? 0;
  const subject = isContext ? 'the model reads at most' : 'the prompt must fit';
  const hint = isContext
    ? 'shorten the row, pass --on-long cut, or choose a model with a longer context'
    : `pass --max-seq-len ${tokens} or more, or --on-long cut`;
  throw longError(plan, `${subject} ${length} tokens, got ${tokens}`, hint);
}

function longError({ place }: PlacedPlan, message: string, hint: string): BpeftError {
  return new BpeftError('BPEFT_PROMPT_TOO_LONG', `${placeText(place)}: ${message}`, {
    hint,
  });
}

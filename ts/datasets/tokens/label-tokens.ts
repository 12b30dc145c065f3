/**
 * One token per label: the classes' logits are those of these tokens after the prompt.
 *
 * - `continuation` (corrected): t with ids(cue + " A") = ids(cue) + [t]. Where the blank is a token
 *   of its own (byte and character tokenizers), ids(cue + " A") = ids(cue) + [blank, t]; then the
 *   blank ends the prompt.
 * - `last` (reference): the last token of "A" alone, without special tokens; with `addSpace` of "
 *   A".
 */

import { BpeftError } from '../../errors.ts';
import type { DataProtocol } from '../../protocol/data-protocol.ts';
import { encodeTexts, type PromptEncoder } from './prompt-encoder.ts';

export interface LabelTokens {
  readonly tokens: ReadonlyMap<string, number>;
  /** Ends every prompt: empty, or the blank where it is a token of its own. */
  readonly promptEnd: '' | ' ';
  readonly notices: readonly string[];
}

/**
 * @throws {BpeftError} `BPEFT_LABEL_TOKENS`: a label of several tokens or of none, or (corrected) a
 * shared token.
 */
export async function labelTokens(
  encoder: PromptEncoder,
  cue: string,
  labels: readonly string[],
  protocol: Pick<DataProtocol, 'labelTokens' | 'addSpace'>,
): Promise<LabelTokens> {
  const found =
    protocol.labelTokens === 'last'
      ? await lastTokens(encoder, labels, protocol.addSpace)
      : await continuationTokens(encoder, cue, labels);
  const shared = sharedToken(found.tokens);
  if (shared === null) return { ...found, notices: [] };
  const message = `labels ${shared.labels.map(quoted).join(' and ')} share the token ${shared.token}`;
  // The reference knows no more labels than letters.
  if (protocol.labelTokens === 'last' && labels.length <= LETTERS)
    return { ...found, notices: [`${message}: their logits are always equal`] };
  const distinct = new Set(found.tokens.values()).size;
  throw new BpeftError('BPEFT_LABEL_TOKENS', message, { hint: remedy(distinct, labels.length) });
}

const REMEDY =
  'choose a model whose tokenizer has one token per label; multiple choice and classification need only the letters';

type Found = Omit<LabelTokens, 'notices'>;

async function lastTokens(
  encoder: PromptEncoder,
  labels: readonly string[],
  addSpace: boolean,
): Promise<Found> {
  const texts = labels.map((label) => (addSpace ? ` ${label}` : label));
  const encoded = await encodeTexts(encoder, texts, false);
  const tokens = labels.map((label, index) => {
    const token = encoded[index]?.at(-1);
    if (token === undefined) {
      throw new BpeftError(
        'BPEFT_LABEL_TOKENS',
        `label ${quoted(label)} must be a token, got none`,
        {
          hint: REMEDY,
        },
      );
    }
    return [label, token] as const;
  });
  return { tokens: new Map(tokens), promptEnd: '' };
}

async function continuationTokens(
  encoder: PromptEncoder,
  cue: string,
  labels: readonly string[],
): Promise<Found> {
  const texts = [cue, `${cue} `, ...labels.map((label) => `${cue} ${label}`)];
  const [cueIds, blankIds, ...labelIds] = await encodeTexts(encoder, texts, false);
  if (cueIds === undefined || blankIds === undefined)
    throw new TypeError('the encoder lost a text');

  const direct = tokensAfter(cueIds, labels, labelIds);
  if (direct !== null) return { tokens: direct, promptEnd: '' };

  const blankIsToken = blankIds.length === cueIds.length + 1 && startsWith(blankIds, cueIds);
  const afterBlank = blankIsToken ? tokensAfter(blankIds, labels, labelIds) : null;
  if (afterBlank !== null) return { tokens: afterBlank, promptEnd: ' ' };

  // Most labels follow the cue, or the blank: those that do not are the ones to blame.
  const [byCue, byBlank] = [cueIds, blankIds].map((prefix) =>
    labelIds.map((ids) => continuesByOne(ids, prefix)),
  );
  const fits = (count(byCue) >= count(byBlank) ? byCue : byBlank) ?? [];
  const index = Math.max(0, fits.indexOf(false));
  const ids = labelIds[index] ?? new Uint32Array();
  const rest = startsWith(ids, cueIds) ? ids.slice(cueIds.length) : ids;
  throw new BpeftError(
    'BPEFT_LABEL_TOKENS',
    `label ${quoted(labels[index] ?? '')} must continue ${quoted(cue)} by one token, got the tokens ${rest.join(', ')}`,
    { hint: remedy(count(fits), labels.length) },
  );
}

const LETTERS = 26;

/** `fitting` labels have a token of their own. */
function remedy(fitting: number, labels: number): string {
  if (labels <= LETTERS) return REMEDY;
  return `this tokenizer has one token for ${fitting} of the ${labels} labels: merge classes, or choose another model; an encoder takes any number of them`;
}

function count(flags: readonly boolean[] | undefined): number {
  return flags?.filter(Boolean).length ?? 0;
}

function tokensAfter(
  prefix: Uint32Array,
  labels: readonly string[],
  encoded: readonly Uint32Array[],
): Map<string, number> | null {
  const tokens = new Map<string, number>();
  for (const [index, label] of labels.entries()) {
    const ids = encoded[index];
    const token = ids?.at(-1);
    if (ids === undefined || token === undefined || !continuesByOne(ids, prefix)) return null;
    tokens.set(label, token);
  }
  return tokens;
}

function continuesByOne(ids: Uint32Array, prefix: Uint32Array): boolean {
  return ids.length === prefix.length + 1 && startsWith(ids, prefix);
}

function startsWith(ids: Uint32Array, prefix: Uint32Array): boolean {
  return prefix.every((id, index) => ids[index] === id);
}

function sharedToken(
  tokens: ReadonlyMap<string, number>,
): { token: number; labels: string[] } | null {
  const owners = new Map<number, string>();
  for (const [label, token] of tokens) {
    const owner = owners.get(token);
    if (owner !== undefined) return { token, labels: [owner, label] };
    owners.set(token, label);
  }
  return null;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

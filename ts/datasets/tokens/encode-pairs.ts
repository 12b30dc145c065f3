/**
 * Texts and pairs as an encoder's token ids: special tokens around and between them, what is too
 * long cut at the end of whichever text is longer, or refused, by file and line.
 */

import { BpeftError } from '../../errors.ts';
import type { TextPair } from '../prompts/text-pair.ts';
import { datasetError, placeText, type RowPlace } from '../rows/dataset-error.ts';
import type { PairEncoder } from './prompt-encoder.ts';

export interface PlacedPair extends TextPair {
  readonly place: RowPlace;
}

export interface EncodedPair {
  readonly ids: Uint32Array;
  /** Tokens before the first one of type 1; as many as there are where none is. */
  readonly first: number;
  readonly truncated: boolean;
}

/**
 * Longest pair in tokens.
 * @throws {BpeftError} `BPEFT_USAGE`: an encoder has learnt no further positions.
 */
export function pairLength({ info }: PairEncoder, maxSeqLen: number): number {
  const positions = info.maxPositionEmbeddings ?? Number.POSITIVE_INFINITY;
  if (maxSeqLen <= positions) return maxSeqLen;
  const message = `--max-seq-len must be at most ${positions}, the positions that this encoder has learnt, got ${maxSeqLen}`;
  throw new BpeftError('BPEFT_USAGE', message, { hint: `give --max-seq-len ${positions} or less` });
}

/**
 * @throws {BpeftError} `BPEFT_DATASET`: an empty second text; `BPEFT_PROMPT_TOO_LONG`; what the
 * engine refuses.
 */
export async function encodePairs(
  pairs: readonly PlacedPair[],
  encoder: PairEncoder,
  { length, onLong }: { readonly length: number; readonly onLong: 'cut' | 'error' },
): Promise<EncodedPair[]> {
  for (const { second, place } of pairs) {
    if (second === null || second.trim() !== '') continue;
    throw datasetError(place, 'the second text must not be empty', {
      hint: 'leave its field out in every row, or fill it',
    });
  }
  const { ids, offsets, types, truncated } = await encoded(pairs, encoder, length);
  return pairs.map(({ place }, index) => {
    const [from = 0, to = 0] = [offsets[index], offsets[index + 1]];
    const isCut = truncated[index] === 1;
    if (isCut && onLong === 'error') throw tooLong(place, length);
    const second = types.subarray(from, to).indexOf(1);
    return { ids: ids.slice(from, to), first: second < 0 ? to - from : second, truncated: isCut };
  });
}

/** Where the engine refuses a text, the row that it stands for is named. */
async function encoded(pairs: readonly PlacedPair[], encoder: PairEncoder, length: number) {
  try {
    return await encoder.encodeTexts(pairs, length);
  } catch (error) {
    if (!isRefused(error)) throw error;
    for (const pair of pairs) {
      const own = await encoder.encodeTexts([pair], length).then(() => null, asRefusal);
      if (own !== null) throw datasetError(pair.place, own.message, { hint: own.hint, cause: own });
    }
    throw error;
  }
}

function isRefused(error: unknown): error is BpeftError {
  return error instanceof BpeftError && error.code === 'BPEFT_INVALID_INPUT';
}

function asRefusal(error: unknown): BpeftError {
  if (isRefused(error)) return error;
  throw error;
}

function tooLong(place: RowPlace, length: number): BpeftError {
  return new BpeftError(
    'BPEFT_PROMPT_TOO_LONG',
    `${placeText(place)}: the texts must fit ${length} tokens`,
    {
      hint: 'pass a larger --max-seq-len, or --on-long cut',
    },
  );
}

/**
 * Makes prompts fit by cutting the end of their passages, never of anything else.
 *
 * All cuttable parts of a prompt are cut to one common number of characters (code points), the
 * largest that fits: of a pair of texts the longer one is cut first. It is found by bisection on
 * the true token count.
 */

import type { BpeftError } from '../../errors.ts';
import type { PlacedPlan } from '../prompts/prompt-plan.ts';
import { encodeTexts, type PromptEncoder } from './prompt-encoder.ts';

export interface CutOptions {
  readonly encoder: PromptEncoder;
  readonly maxSeqLen: number;
  /** Appended to every prompt. */
  readonly promptEnd: string;
  /** The error for a prompt that does not fit even without its passage, of so many tokens. */
  readonly refuse: (plan: PlacedPlan, tokens: number) => BpeftError;
}

interface Search {
  readonly parts: readonly { readonly characters: readonly string[]; readonly cuttable: boolean }[];
  /** Fits. */
  low: number;
  /** Does not fit. */
  high: number;
  ids: Uint32Array;
}

/**
 * Token ids of prompts that are too long as a whole, each at most `maxSeqLen` long.
 *
 * @throws {BpeftError} `BPEFT_PROMPT_TOO_LONG` when a prompt does not fit even without its passage.
 */
export async function cutToFit(
  plans: readonly PlacedPlan[],
  options: CutOptions,
): Promise<Uint32Array[]> {
  const searches = plans.map(searchOf);
  const bare = await encodeAt(searches, (_) => 0, options);
  for (const [index, search] of searches.entries()) {
    search.ids = bare[index] ?? new Uint32Array();
    const plan = plans[index];
    if (plan !== undefined && search.ids.length > options.maxSeqLen) {
      throw options.refuse(plan, search.ids.length);
    }
  }
  for (let open = searches; ; ) {
    open = open.filter(({ low, high }) => high - low > 1);
    if (open.length === 0) break;
    const middle = ({ low, high }: Search): number => Math.floor((low + high) / 2);
    const tried = await encodeAt(open, middle, options);
    for (const [index, search] of open.entries()) {
      const ids = tried[index] ?? new Uint32Array();
      if (ids.length <= options.maxSeqLen) {
        search.low = middle(search);
        search.ids = ids;
      } else search.high = middle(search);
    }
  }
  return searches.map(({ ids }) => ids);
}

function searchOf(plan: PlacedPlan): Search {
  const parts = plan.parts.map(({ text, cuttable }) => ({
    characters: Array.from(text),
    cuttable,
  }));
  const longest = parts.reduce(
    (most, { characters, cuttable }) => (cuttable ? Math.max(most, characters.length) : most),
    0,
  );
  return { parts, low: 0, high: longest, ids: new Uint32Array() };
}

function encodeAt(
  searches: readonly Search[],
  kept: (search: Search) => number,
  { encoder, promptEnd }: CutOptions,
): Promise<Uint32Array[]> {
  const texts = searches.map((search) => {
    const count = kept(search);
    const texts = search.parts.map(({ characters, cuttable }) =>
      (cuttable ? characters.slice(0, count) : characters).join(''),
    );
    return texts.join('') + promptEnd;
  });
  return encodeTexts(encoder, texts, true);
}

/**
 * The two protocols, as far as data are concerned: presets over fields that can each be set alone.
 *
 * `reference` repeats the Python original, so that published numbers can be checked; `corrected` is
 * the default.
 */

export const PROTOCOLS = ['corrected', 'reference'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

export interface DataProtocol {
  /** Wording, choice lines, the words of BoolQ and the class they stand for. */
  readonly template: Protocol;
  /** Who competes: as many classes as the dataset has (ARC: five), or the item's own choices. */
  readonly classes: 'dataset' | 'item';
  /**
   * A class's token: the last one of its label alone, or the one of " label" as it continues the
   * prompt.
   */
  readonly labelTokens: 'last' | 'continuation';
  /** With `last`: a blank before the label. */
  readonly addSpace: boolean;
  /** Whether Llama-class tokenizers append EOS to the prompts of BoolQ and Winogrande. */
  readonly eos: 'llama-class' | 'never';
  /** What a prompt that is too long loses: its end, or the end of its passage. */
  readonly truncation: 'right' | 'context';
  readonly order: 'file' | 'shuffled';
  readonly lastBatch: 'drop' | 'keep';
  readonly evaluationTail: 'drop' | 'keep';
  /** Posterior samples 2j and 2j + 1: a pair that mirrors its weights at the mean, or two draws. */
  readonly sampling: 'antithetic' | 'plain';
  /** NLL and Brier score: mean of batch means, or mean over rows. */
  readonly metricMean: 'batches' | 'rows';
}

export const DATA_PROTOCOLS: Readonly<Record<Protocol, DataProtocol>> = {
  reference: {
    template: 'reference',
    classes: 'dataset',
    labelTokens: 'last',
    addSpace: false,
    eos: 'llama-class',
    truncation: 'right',
    order: 'file',
    lastBatch: 'drop',
    evaluationTail: 'drop',
    sampling: 'plain',
    metricMean: 'batches',
  },
  corrected: {
    template: 'corrected',
    classes: 'item',
    labelTokens: 'continuation',
    addSpace: false,
    eos: 'never',
    truncation: 'context',
    order: 'shuffled',
    lastBatch: 'keep',
    evaluationTail: 'keep',
    sampling: 'antithetic',
    metricMean: 'rows',
  },
};

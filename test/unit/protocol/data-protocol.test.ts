import { expect, it } from 'vitest';
import { DATA_PROTOCOLS } from '../../../ts/protocol/data-protocol.ts';

/**
 * Records name a preset by one word: whoever changes a field changes what every earlier run says of
 * itself.
 */
it.each([
  ['template', 'reference', 'corrected'],
  ['classes', 'dataset', 'item'],
  ['labelTokens', 'last', 'continuation'],
  ['addSpace', false, false],
  ['eos', 'llama-class', 'never'],
  ['truncation', 'right', 'context'],
  ['order', 'file', 'shuffled'],
  ['lastBatch', 'drop', 'keep'],
  ['evaluationTail', 'drop', 'keep'],
  ['sampling', 'plain', 'antithetic'],
  ['metricMean', 'batches', 'rows'],
] as const)(
  'has for %s: %s as the published code does, %s in its own protocol',
  (field, reference, corrected) => {
    expect(DATA_PROTOCOLS.reference[field]).toBe(reference);
    expect(DATA_PROTOCOLS.corrected[field]).toBe(corrected);
  },
);

it('has no field beside these', () => {
  for (const preset of Object.values(DATA_PROTOCOLS)) expect(Object.keys(preset)).toHaveLength(11);
});

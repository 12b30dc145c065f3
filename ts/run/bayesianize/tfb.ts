/** Training-free Bayesianization of an adapter: the search of `methods/tfb.ts` on a model. */

import { evaluationBatches } from '../../batches/data-loader.ts';
import { numpyPermutation } from '../../batches/numpy-permutation.ts';
import { permutation } from '../../batches/shuffle.ts';
import type { BayesianizeConfig } from '../../config/resolve.ts';
import type { EncodedExample } from '../../datasets/tokens/encode.ts';
import type { Adapter } from '../../engine/adapter.ts';
import { throwIfAborted } from '../../errors.ts';
import { changeOf, type Look, searchOf, searchSigma } from '../../methods/tfb.ts';
import { posteriorPredictive } from '../../metrics/predictive.ts';
import type { Split } from '../inputs/splits.ts';
import type { Made, Maker, Making } from './making.ts';

/** The reference shuffles its anchors by this seed, whatever the run's is. */
const REFERENCE_SEED = 42;

export const TFB: Maker = {
  check: (config) => void searchOf(config),
  heldOut: () => null,
  readsAnswers: false,
  make,
};

async function make(making: Making): Promise<Made> {
  const { config, point, stochasticLayers, emit, signal } = making;
  const search = searchOf(config);
  const anchors = await anchorRows(making.split, config);
  const rule = config.protocol === 'reference' ? 'reference' : 'exact';
  await using unit = await point.isotropic({ rule, stochasticLayers });
  const ask = async (sigma: number): Promise<Float64Array[]> => {
    await using adapter = await unit.withSigmaTimes(sigma);
    return await answers(adapter, anchors, sigma === 0 ? 0 : config.samples, config, signal);
  };
  const looks: Look[] = [];
  const { criterion, tolerance } = search;
  // The reference then takes the upper end as it is.
  const skips = search.iterations === 0 && config.protocol === 'reference';
  const before = skips ? [] : await ask(0);
  const measure = async (sigma: number) => changeOf(search, before, await ask(sigma));
  const sigma = skips
    ? search.high
    : await searchSigma(search, measure, (look) => {
        looks.push(look);
        emit({ type: 'look', ...look, tolerance, criterion });
      });
  if (config.protocol === 'corrected' && sigma === search.high) {
    const message = `sigma ${sigma} is the end of the range: a larger --sigma-max may fit, too`;
    emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const adapter = await unit.withSigmaTimes(sigma);
  const found = { sigma, anchors: anchors.length, looks };
  // JSON has no NaN, which is the change of answers that are none.
  const finite = looks.filter(({ change }) => Number.isFinite(change));
  const kept = finite.map(({ sigma, change, isWithin }) => ({
    sigma,
    change,
    is_within: isWithin,
  }));
  return {
    adapter,
    record: { search: { ...found, criterion, tolerance, looks: kept } },
    search: found,
    laplace: null,
    [Symbol.asyncDispose]: () => adapter.dispose(),
  };
}

/** The anchors, by a permutation of the split's rows. */
async function anchorRows(
  { encoded }: Split,
  config: BayesianizeConfig,
): Promise<EncodedExample[]> {
  const { length } = encoded.examples;
  const order =
    config.protocol === 'reference'
      ? numpyPermutation(length, REFERENCE_SEED)
      : permutation(length, config.seed, 0);
  return encoded.examples.read(order.subarray(0, config.anchors));
}

/** Probabilities of each row, under noise that depends on the seed alone. */
async function answers(
  adapter: Adapter,
  rows: readonly EncodedExample[],
  samples: number,
  { evalBatchSize, noise, sampling, seed }: BayesianizeConfig,
  signal: AbortSignal | undefined,
): Promise<Float64Array[]> {
  const probs: Float64Array[] = [];
  for await (const { batch } of evaluationBatches(rows, {
    batchSize: evalBatchSize,
    tail: 'keep',
  })) {
    throwIfAborted(signal);
    const asked = { samples, noise, sampling, seed, stochasticLayers: null };
    const logits = await adapter.predict(batch, asked, { signal });
    const passes = logits.length / batch.answers.length;
    probs.push(...posteriorPredictive(logits, batch.answerOffsets, passes).probs);
  }
  return probs;
}

/** Laplace's approximation around an adapter, on a model. */

import { evaluationBatches } from '../../batches/data-loader.ts';
import type { BayesianizeConfig } from '../../config/resolve.ts';
import { mayOverlap } from '../../datasets/split-part.ts';
import { Curvature, type Evidence } from '../../engine/curvature.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import { bestPrecision, isLearntByHeart, PRECISIONS } from '../../methods/laplace.ts';
import type { Split } from '../inputs/splits.ts';
import type { LaplaceResult, Made, Maker, Making } from './making.ts';

export const LAPLACE: Maker = { heldOut: heldOutSplit, readsAnswers: true, make };

/** @throws {BpeftError} `BPEFT_USAGE`: rows that the adapter was trained on cannot choose. */
function heldOutSplit(
  config: BayesianizeConfig,
  usual: string,
  trained: string | undefined,
): string | null {
  const { priorPrecision, precisionSplit, trainSplit } = config;
  if (priorPrecision !== 'validation') {
    if (precisionSplit === undefined) return null;
    const message = '--precision-split is the split of --prior-precision validation';
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'give --prior-precision validation, or leave --precision-split out',
    });
  }
  const split = precisionSplit ?? usual;
  const refuse = (what: string) => {
    const message = `--prior-precision validation needs rows that are held out: ${split} ${what}`;
    throw new BpeftError('BPEFT_USAGE', message, { hint: 'give --precision-split another split' });
  };
  if (trainSplit !== undefined && mayOverlap(split, trainSplit)) refuse('gives the curvature');
  if (trained !== undefined && mayOverlap(split, trained)) refuse('trained the adapter');
  return split;
}

async function make(making: Making): Promise<Made> {
  const { config, model, point, stochasticLayers, emit } = making;
  const rank = config.curvatureRank;
  const memoryBytes = config.curvatureMemory * 2 ** 20;
  const classTokens = new Set(Object.values(making.split.encoded.labelTokens)).size;
  await using curvature = await Curvature.create(model, point, {
    ...{ rank, memoryBytes, classTokens, stochasticLayers },
  });
  await eachBatch(making, making.split, (batch, signal) => curvature.add(batch, { signal }));
  const { chosenBy, evidence, heldOut } = await chosen(making, curvature);
  const { precision, logEvidence, determined, rows } = evidence;
  const found = { rows, precision, chosenBy, logEvidence, determined };
  emit({ type: 'curvature', ...found });
  const adapter = await curvature.adapter(precision);
  return {
    adapter,
    record: {
      laplace: {
        ...{ precision, rows, rank, determined },
        chosen_by: chosenBy,
        log_evidence: logEvidence,
        stochastic_layers: config.stochasticLayers,
        held_out: heldOut,
      },
    },
    search: null,
    laplace: { ...found, heldOutNll: heldOut?.nll ?? null },
    [Symbol.asyncDispose]: () => adapter.dispose(),
  };
}

interface Chosen {
  readonly chosenBy: LaplaceResult['chosenBy'];
  readonly evidence: Evidence;
  readonly heldOut: { readonly split: string; readonly rows: number; readonly nll: number } | null;
}

/** λ, and what the evidence says of it. */
async function chosen(making: Making, curvature: Curvature): Promise<Chosen> {
  const { config, heldOut } = making;
  const asked = config.priorPrecision;
  if (heldOut === null) {
    const given = typeof asked === 'number' ? asked : undefined;
    const chosenBy = given === undefined ? 'evidence' : 'setting';
    const evidence = await curvature.evidence(given);
    if (given === undefined && making.stochasticLayers === null && isLearntByHeart(evidence)) {
      const nll = (evidence.nll / evidence.rows).toPrecision(2);
      const message = `the adapter knows its rows by heart (${nll} nats each), and the evidence over all layers then leaves its answers far too unsure: give --prior-precision validation, or --stochastic-layers last:1`;
      making.emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
    }
    return { chosenBy, evidence, heldOut: null };
  }
  const sums = new Float64Array(PRECISIONS.length);
  await eachBatch(making, heldOut, async (batch, signal) => {
    const nll = await curvature.nll(batch, PRECISIONS, { signal });
    for (const [at, value] of nll.entries()) sums[at] = (sums[at] ?? 0) + value;
  });
  const { precision, isEnd } = bestPrecision(sums);
  const { split, examples } = heldOut.encoded;
  if (isEnd) {
    const message = `the precision ${precision} is an end of the range from ${PRECISIONS[0]} to ${PRECISIONS.at(-1)}: the rows of ${split} have no best one`;
    making.emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
  }
  const nll = (sums[PRECISIONS.indexOf(precision)] ?? 0) / examples.length;
  return {
    chosenBy: 'validation',
    evidence: await curvature.evidence(precision),
    heldOut: { split, rows: examples.length, nll },
  };
}

/** Shows every batch of a split's rows, and tells how far it is. */
async function eachBatch(
  { config, emit, signal }: Making,
  { encoded }: Split,
  see: (
    batch: Parameters<Curvature['add']>[0],
    signal: AbortSignal | undefined,
  ) => Promise<unknown>,
): Promise<void> {
  const { name, split, examples } = encoded;
  const batches = evaluationBatches(examples, { batchSize: config.evalBatchSize, tail: 'keep' });
  let done = 0;
  for await (const { batch, examples: own } of batches) {
    throwIfAborted(signal);
    await see(batch, signal);
    done += own.length;
    emit({ type: 'curvature-progress', dataset: name, split, done, rows: examples.length });
  }
}

// The batches that are measured: prompts of one length, or real rows of ARC-Easy.

import { raggedBatch } from '../dist/batches/ragged-batch.js';
import { resolveDataset } from '../dist/datasets/registry.js';
import { encodeDataset } from '../dist/datasets/tokens/encode.js';
import { DATA_PROTOCOLS } from '../dist/protocol/data-protocol.js';

const ANSWERS = [330, 389, 340, 422];

/** One batch of random tokens. */
export function uniformWorkload({ batch, seqLen, vocabSize }) {
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from({ length: seqLen }, (_, at) => 10 + (((row * seqLen + at) * 7919) % (vocabSize - 10))),
  );
  return { answers: ANSWERS, batches: [{ rows, labels: rows.map((_, row) => row % ANSWERS.length) }] };
}

/** The first batches of ARC-Easy's training rows, in file order; every row competes among the same four tokens. */
export async function arcWorkload(model, { dataDir, batch, count }) {
  const source = await resolveDataset('ARC-Easy', { dataDir });
  const dataset = await source.load('train', { limit: batch * count });
  const encoded = await encodeDataset(dataset, model, { protocol: DATA_PROTOCOLS.corrected, maxSeqLen: 300 });
  const examples = encoded.examples.slice(0, batch * count);
  const batches = Array.from({ length: count }, (_, index) => {
    const rows = examples.slice(index * batch, (index + 1) * batch);
    return {
      rows: rows.map(({ ids }) => [...ids]),
      labels: rows.map(({ label }) => Math.min(label, ANSWERS.length - 1)),
    };
  });
  return { answers: ANSWERS, batches };
}

/** As the engine takes it. */
export function raggedBatches({ answers, batches }) {
  let row = 0;
  return batches.map(({ rows, labels }) =>
    raggedBatch(
      rows.map((ids, index) => ({
        ids: Uint32Array.from(ids),
        answers: Uint32Array.from(answers),
        label: labels[index],
        row: row++,
      })),
    ),
  );
}

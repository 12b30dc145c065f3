// The batches that are measured: prompts of one length, or real rows of ARC-Easy.

const ANSWERS = [330, 389, 340, 422];

/** One batch of random tokens. */
export function uniformWorkload({ batch, seqLen, vocabSize }) {
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from(
      { length: seqLen },
      (_, at) => 10 + (((row * seqLen + at) * 7919) % (vocabSize - 10)),
    ),
  );
  return {
    answers: ANSWERS,
    batches: [{ rows, labels: rows.map((_, row) => row % ANSWERS.length) }],
  };
}

/** One batch of random tokens for an encoder of two classes. */
export function encoderWorkload({ batch, seqLen, vocabSize }) {
  const { batches } = uniformWorkload({ batch, seqLen, vocabSize });
  const [{ rows, labels }] = batches;
  return { answers: [0, 1], batches: [{ rows, labels: labels.map((label) => label % 2) }] };
}

/**
 * The first batches of ARC-Easy's training rows, in file order; every row competes among the same
 * four tokens. `library` is the module of the build that is measured.
 */
export async function arcWorkload(library, model, { dataDir, batch, count }) {
  const source = await library.resolveDataset('ARC-Easy', { dataDir });
  const dataset = await source.load('train', { limit: batch * count });
  const protocol = library.DATA_PROTOCOLS.corrected;
  const encoded = await library.encodeDataset(dataset, model, { protocol, maxSeqLen: 300 });
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
export function raggedBatches(library, { answers, batches }) {
  let row = 0;
  return batches.map(({ rows, labels }) =>
    library.raggedBatch(
      rows.map((ids, index) => ({
        ids: Uint32Array.from(ids),
        answers: Uint32Array.from(answers),
        label: labels[index],
        noise: row++,
      })),
    ),
  );
}

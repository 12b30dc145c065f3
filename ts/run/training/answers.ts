/** Training needs the answer of every row. */

import { datasetError } from '../../datasets/rows/dataset-error.ts';
import type { RowStream } from '../../datasets/rows/item.ts';
import type { EncodedSplit } from '../../datasets/tokens/packed-examples.ts';

/**
 * @throws {BpeftError} `BPEFT_DATASET`: the first row without one, whose place only its file knows
 */
export async function requireAnswers(
  rows: RowStream,
  { examples: { labels } }: EncodedSplit,
): Promise<void> {
  const position = labels.findIndex((label) => label < 0);
  if (position < 0) return;
  let index = 0;
  for await (const { place } of rows.items()) {
    if (index === position) {
      throw datasetError(place, 'has no answer to train on', {
        hint: 'rows without an answer can be evaluated and predicted; leave them out of the training split',
      });
    }
    index += 1;
  }
}

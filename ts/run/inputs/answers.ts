/** What learns from rows needs the answer of each. */

import { datasetError } from '../../datasets/rows/dataset-error.ts';
import type { RowStream } from '../../datasets/rows/item.ts';
import type { EncodedSplit } from '../../datasets/tokens/packed-examples.ts';

/**
 * @param use what for, as in `to train on`
 * @throws {BpeftError} `BPEFT_DATASET`: the first row without one, whose place only its file knows
 */
export async function requireAnswers(
  rows: RowStream,
  { examples: { labels } }: EncodedSplit,
  use: string,
): Promise<void> {
  const position = labels.findIndex((label) => label < 0);
  if (position < 0) return;
  let index = 0;
  for await (const { place } of rows.items()) {
    if (index === position) {
      throw datasetError(place, `has no answer ${use}`, {
        hint: 'rows without an answer can be evaluated and predicted; leave them out of this split',
      });
    }
    index += 1;
  }
}

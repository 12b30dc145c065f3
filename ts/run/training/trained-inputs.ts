/** What a training reads, and may not write over. */

import type { TrainConfig } from '../../config/resolve.ts';
import type { ProtectedInput } from '../records/protected.ts';

export function trainedInputs(
  { model, initAdapter, dataDir, dataset, evalDataset }: TrainConfig,
  { isWhole }: { isWhole: boolean },
): ProtectedInput[] {
  return [
    { what: 'the model', path: model, isWhole },
    { what: 'the adapter', path: initAdapter, isWhole },
    { what: 'the data folder', path: dataDir },
    ...[dataset, ...(evalDataset ?? [])].map((path) => ({ what: 'a dataset', path })),
  ];
}

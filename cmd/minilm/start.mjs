// start.mjs MODEL DATA_DIR DATASET SEED FOLDER: where a run of MLE by run-all.sh with this seed
// begins, for peft_mle.py --start: its initial adapter with its head, as PEFT reads it, and the
// order of its rows in each epoch (order.json).

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { permutation } from '../../dist/batches/shuffle.js';
import { loadModel, resolveDataset } from '../../dist/engine/index.js';

const [path, dataDir, dataset, seedText, folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write('usage: node cmd/minilm/start.mjs MODEL DATA_DIR DATASET SEED FOLDER\n');
  process.exit(2);
}
const seed = Number(seedText);
const settings = JSON.parse(readFileSync(join(import.meta.dirname, '../configs/minilm.json')));

const model = await loadModel({ model: path, precision: 'f32' });
const adapter = await model.createAdapter({
  ...{ rank: settings.rank, alpha: settings.alpha, dropout: 0, seed, posterior: null },
  targetModules: ['query', 'value'],
  head: { classes: 2, trained: true },
});
await adapter.save(folder, { baseModel: path });
await model.dispose();
const source = await resolveDataset(dataset, { dataDir });
const { items } = await source.load('train');
const epochs = Array.from({ length: settings.epochs }, (_, epoch) => [
  ...permutation(items.length, seed, epoch),
]);
writeFileSync(join(folder, 'order.json'), JSON.stringify(epochs));

// trajectory.mjs MODEL DATA_DIR FOLDER: the first batches of exam-topics in protocol reference and
// a seeded LoRA adapter, written for trajectory.py, which trains the same with PyTorch. Then train
// here and compare metrics.jsonl:
//   bpeft train --model MODEL --data-dir DATA_DIR --dataset exam-topics --method mle --protocol
//   reference --lr 1e-4 --max-steps 150 --out …

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  DATA_PROTOCOLS,
  encodeDataset,
  loadModel,
  resolveDataset,
} from '../../dist/engine/index.js';

const [path, dataDir, folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: trajectory.mjs MODEL DATA_DIR FOLDER');
const model = await loadModel({ model: path });
const source = await resolveDataset('exam-topics', { dataDir });
const encoded = await encodeDataset(await source.load('train'), model, {
  protocol: DATA_PROTOCOLS.reference,
  maxSeqLen: 300,
});
mkdirSync(folder, { recursive: true });
const rows = encoded.examples.map(({ ids, answers, label }) => ({
  ids: [...ids],
  answers: [...answers],
  label,
}));
writeFileSync(join(folder, 'rows.json'), JSON.stringify(rows));
const adapter = await model.createAdapter({
  rank: 8,
  alpha: 16,
  dropout: 0,
  targetModules: ['q_proj', 'v_proj', 'lm_head'],
  posterior: null,
  seed: 1,
});
await adapter.save(folder, { baseModel: 'base' });
await model.dispose();

// choose.mjs FOLDER PREFIX: the run whose first evaluation (validation) has the smallest NLL; the
// grid goes to stderr.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder = '', prefix = ''] = process.argv.slice(2);
const runs = readdirSync(folder)
  .filter((name) => name.startsWith(prefix) && existsSync(join(folder, name, 'result.json')))
  .map((name) => ({
    name,
    nll: JSON.parse(readFileSync(join(folder, name, 'result.json'), 'utf8')).metrics.nll,
  }))
  .sort((a, b) => a.nll - b.nll);
const [best] = runs;
if (best === undefined) {
  process.stderr.write(`no finished run ${prefix}* in ${folder}\n`);
  process.exit(1);
}
for (const { name, nll } of runs) process.stderr.write(`${name}  validation nll ${nll}\n`);
process.stdout.write(`${best.name}\n`);

// methods.mjs [RUNS]: takes the table of `bpeft compare --config
// cmd/configs/exam-topics-methods.yaml` over into assets/methods.json, from which the demonstration
// names what other methods give, and prints it for docs/results.md. Without RUNS it prints the one
// that is there.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { toCamelKeys } from '../../dist/names.js';
import { comparisonMarkdown } from '../../dist/report/comparison-table.js';

const asset = fileURLToPath(new URL('../../assets/methods.json', import.meta.url));
const [runs] = process.argv.slice(2);
const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
if (runs !== undefined) {
  const { out: _, ...table } = read(join(runs, 'table.json'));
  writeFileSync(asset, `${JSON.stringify(table, null, 2)}\n`);
}
process.stdout.write(comparisonMarkdown(toCamelKeys(read(asset)).cells));

// collect.mjs RUNS TARGET: copies the result.json of each run of these experiments, to be
// committed.

import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const [runs = 'runs', target = 'cmd/results'] = process.argv.slice(2);
for (const group of [
  'exam-topics',
  'exam-topics-eval',
  'exam-topics-seeds',
  'exam-topics-seeds-eval',
  'arc-easy-reference',
  'exam-topics-as-arc-easy',
]) {
  const folder = join(runs, group);
  if (!existsSync(folder)) continue;
  mkdirSync(join(target, group), { recursive: true });
  for (const name of readdirSync(folder)) {
    const result = join(folder, name, 'result.json');
    if (existsSync(result)) copyFileSync(result, join(target, group, `${name}.json`));
  }
}

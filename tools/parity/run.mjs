// npm run test:parity: adapter files against real PEFT. Not part of npm test, since it downloads
// Python packages. Builds if needed, makes the Python environments once, ends in the line `N
// passed, N failed`.

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { startVitest } from 'vitest/node';
import { isBuilt, root, setUp } from '../steps.mjs';
import { preparedEnvironments } from './environments.mjs';

const counts = { passed: 0, failed: 0 };
const environments = isUpToDate() || setUp() ? preparedEnvironments() : null;
if (environments === null) {
  counts.failed = 1;
  process.stdout.write('the build, or the Python packages, could not be made: see above\n');
} else {
  process.env.BPEFT_PARITY_ENVIRONMENTS = JSON.stringify(environments);
  const vitest = await startVitest('test', [], {
    config: false,
    root,
    watch: false,
    include: ['test/parity/**/*.test.ts'],
    alias: {
      'bpeft/engine': join(root, 'dist/engine/index.js'),
      bpeft: join(root, 'dist/index.js'),
    },
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 600_000,
  });
  for (const testModule of vitest.state.getTestModules()) {
    for (const test of testModule.children.allTests()) {
      counts[test.result().state === 'passed' ? 'passed' : 'failed'] += 1;
    }
    // A file that cannot be loaded, or whose preparation fails, reports no failed test of its own.
    if (!testModule.ok() && counts.failed === 0) counts.failed = 1;
  }
  if (vitest.state.getUnhandledErrors().length > 0 || counts.passed === 0) counts.failed ||= 1;
  await vitest.close();
}
process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** Whether dist/ and the addon are newer than what they are made of. */
function isUpToDate() {
  return (
    isBuilt() &&
    newest('ts', '.ts') <= newest('dist', '.js') &&
    newest('crates', '.rs') <= newest('npm', '.node')
  );
}

/** The latest change below a folder, in ms. */
function newest(folder, ending) {
  const times = readdirSync(join(root, folder), { recursive: true })
    .filter((name) => name.endsWith(ending) && !name.split('/').includes('tests'))
    .map((name) => statSync(join(root, folder, name)).mtimeMs);
  return Math.max(0, ...times);
}

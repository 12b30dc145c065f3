// npm run mutate:ts -- [room…] [--quick]: changes each expression of ts/metrics, ts/protocol and
// ts/config, and counts the changes that no unit test sees. `--quick` leaves out what acts when a
// module is loaded, such as a schema: each such change runs every test anew. Not part of npm test.

import { rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ownPackages } from '../own-packages.mjs';
import { readText, run } from '../steps.mjs';
import { printed, survivors } from './figures.mjs';

/** The newest that run on Node 20. */
const PACKAGES = { '@stryker-mutator/core': '9.6.1', '@stryker-mutator/vitest-runner': '9.6.1' };
const ROOMS = ['metrics', 'protocol', 'config'];

const OPTIONS = {
  ...{
    testRunner: 'vitest',
    plugins: ['@stryker-mutator/vitest-runner'],
    coverageAnalysis: 'perTest',
  },
  vitest: { configFile: 'tools/mutation/vitest.config.ts', related: false },
  tsconfigFile: 'none.json', // what it would do with one needs an older TypeScript
  ...{ symlinkNodeModules: true, tempDirName: '.cache/stryker', concurrency: 1, timeoutMS: 10_000 },
  ignorePatterns: ['/.cache', '/target', '/dist', '/runs', '/crates', '/npm', '/bench'],
  reporters: ['json', 'progress-append-only'],
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
// Without its peers: the tests' own vitest, which lies above, is the one to drive.
const folder = ownPackages('mutation', PACKAGES, { flags: ['--legacy-peer-deps'] });
if (folder === null) process.exit(1);
for (const room of positionals.length > 0 ? positionals : ROOMS) {
  const report = `${folder}/${room}.json`;
  rmSync(report, { force: true });
  const options = {
    ...OPTIONS,
    ...{ mutate: [`ts/${room}/**/*.ts`], ignoreStatic: values.quick },
    jsonReporter: { fileName: report },
  };
  writeFileSync(`${folder}/stryker.json`, JSON.stringify(options));
  const stryker = `${folder}/node_modules/@stryker-mutator/core/bin/stryker.js`;
  run(process.execPath, [stryker, 'run', `${folder}/stryker.json`]);
  const text = readText(report);
  if (text === '') process.exit(1);
  const { files } = JSON.parse(text);
  process.stdout.write(`\n${survivors(files)}\n${printed(`ts/${room}`, files)}\n`);
}

// npm run check: the lints of npm test, without building or testing.

import { bin, run } from './steps.mjs';

const stages = [
  () => run('cargo', ['fmt', '--all', '--check']).ok,
  () =>
    run('cargo', ['clippy', '--workspace', '--all-targets', '--locked', '--', '-D', 'warnings']).ok,
  () => bin('tsc', ['--noEmit']).ok,
  () => bin('biome', ['check', '--error-on-warnings']).ok,
  () => bin('knip', []).ok,
];
process.exitCode = stages.every((stage) => stage()) ? 0 : 1;

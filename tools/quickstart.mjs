// npm run quickstart [-- flags of bpeft demo]: from a fresh clone to MLE and BLoB side by side.

import { spawnSync } from 'node:child_process';
import { isBuilt, root, setUp } from './steps.mjs';

if (!isBuilt() && !setUp()) {
  process.stderr.write('quickstart: the build failed\n');
  process.exit(1);
}
// Ctrl-C reaches the demo itself, which writes a checkpoint; this process waits for it.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => undefined);
const { status, signal } = spawnSync(
  process.execPath,
  [`${root}dist/cli/main.js`, 'demo', ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
process.exitCode = status ?? (signal === null ? 1 : 130);

// npm run docs: writes docs/cli.md from the program's definitions, and docs/api from the library's
// types.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { apiPages } from './api.mjs';
import { buildJavaScript, root } from './steps.mjs';

if (!buildJavaScript()) process.exit(1);
const { wholeProgram } = await import(`${root}dist/cli/program.js`);
const { cliReference } = await import(`${root}dist/cli/reference.js`);
const { settingsOf } = await import(`${root}dist/config/schema.js`);
const { defaultOf } = await import(`${root}dist/config/text.js`);
const program = await wholeProgram({ stdout: process.stdout, stderr: process.stderr });
writeFileSync(`${root}docs/cli.md`, cliReference(program));
process.stdout.write('docs/cli.md written\n');
const pages = apiPages({ settingsOf, defaultOf });
if (pages === null) process.exit(1);
rmSync(`${root}docs/api`, { recursive: true, force: true });
for (const [name, text] of pages) {
  const path = join(root, 'docs/api', name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  process.stdout.write(`docs/api/${name} written\n`);
}

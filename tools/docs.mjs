// npm run docs: writes docs/cli.md from the program's definitions.

import { writeFileSync } from 'node:fs';
import { buildJavaScript, root } from './steps.mjs';

if (!buildJavaScript()) process.exit(1);
const { wholeProgram } = await import(`${root}dist/cli/program.js`);
const { cliReference } = await import(`${root}dist/cli/reference.js`);
const program = await wholeProgram({ stdout: process.stdout, stderr: process.stderr });
writeFileSync(`${root}docs/cli.md`, cliReference(program));
process.stdout.write('docs/cli.md written\n');

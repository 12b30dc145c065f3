#!/usr/bin/env node
import { BpeftError } from '../errors.ts';
import { EXIT, errorText } from './exit.ts';
import { runCli } from './program.ts';

let cannotWrite = false;

// A reader that goes away (`| head`: EPIPE) or a terminal that closes (EIO) ends the writing, not
// the work.
for (const [name, stream] of [
  ['output', process.stdout],
  ['error', process.stderr],
] as const) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EIO' || cannotWrite) return;
    cannotWrite = true;
    process.exitCode = EXIT.failed;
    if (name === 'error') return;
    const message = `cannot write to standard ${name}: ${error.message}`;
    process.stderr.write(
      errorText(
        new BpeftError('BPEFT_IO', message, {
          hint: 'what it held is incomplete: make room there',
        }),
      ),
    );
  });
}

const code = await runCli(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
});
process.exitCode = cannotWrite ? EXIT.failed : code;

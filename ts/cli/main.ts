#!/usr/bin/env node
import { runCli } from './program.ts';

// A reader that goes away (`| head`: EPIPE) or a terminal that closes (EIO) ends the writing, not the work.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}

process.exitCode = await runCli(process.argv.slice(2), { stdout: process.stdout, stderr: process.stderr });

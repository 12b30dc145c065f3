/** `bpeft predict` */

import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import type { PredictOptions } from '../../config/schema.ts';
import type { PredictInput } from '../../run/predictor.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function definePredict(command: Command, output: Output): void {
  addSettings(command.argument('<input>', 'JSON Lines file, or - for standard input'), 'predict').action(
    async (input: string, flags: Record<string, unknown>) => {
      const { values, isJson, onEvent } = await invocation('predict', flags, output);
      const options = values as PredictOptions;
      const { predict } = await import('../../run/predict.ts');
      const { replaceFile } = await import('../../run/atomic.ts');
      const rows = await interruptible(output, (signal) =>
        predict(options, openInput(input), { signal, onEvent }),
      );
      const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
      if (options.out !== undefined) await replaceFile(options.out, lines);
      if (isJson) output.stdout.write(`${JSON.stringify({ format: 1, predictions: rows })}\n`);
      else if (options.out === undefined) output.stdout.write(lines);
    },
  );
}

function openInput(input: string): PredictInput {
  return input === '-'
    ? { name: '<stdin>', stream: process.stdin }
    : { name: basename(input), stream: createReadStream(input) };
}

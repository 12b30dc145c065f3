/** `bpeft predict` */

import { createReadStream } from 'node:fs';
import { access, constants, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Command } from 'commander';
import type { PredictOptions } from '../../config/schema.ts';
import { fileOf } from '../../config/standard-output.ts';
import { BpeftError } from '../../errors.ts';
import type { PredictInput } from '../../run/prediction/input.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import { type Output, writeInTime } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function definePredict(command: Command, output: Output): void {
  addSettings(
    command.argument('<input>', 'JSON Lines or CSV file, or - for JSON Lines from standard input'),
    'predict',
  ).action(async (input: string, flags: Record<string, unknown>) => {
    const { values, fromFile, isJson, onEvent, onProgress } = await invocation(
      'predict',
      flags,
      output,
    );
    const options = values as PredictOptions;
    const { predictStream } = await import('../../run/prediction/predict.ts');
    const predictions: unknown[] = [];
    await interruptible(output, async (signal) => {
      const context = { signal, onEvent, onProgress, fromFile };
      const answers = predictStream(options, await openInput(input), context);
      for await (const answer of answers) {
        if (isJson) predictions.push(answer);
        else if (fileOf(options.out) === undefined) {
          await writeInTime(output, `${fileJson(answer)}\n`, signal);
        }
      }
    });
    if (isJson) output.stdout.write(`${fileJson({ format: 1, predictions })}\n`);
  });
}

/** @throws {BpeftError} `BPEFT_USAGE`, before a model is loaded: nothing to read there. */
async function openInput(input: string): Promise<PredictInput> {
  if (input === '-') return { name: '<stdin>', stream: process.stdin };
  try {
    await access(input, constants.R_OK);
    if ((await stat(input)).isDirectory()) throw new Error('it is a folder');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpeftError('BPEFT_USAGE', `cannot read the input ${input}: ${reason}`, {
      hint: 'name a JSON Lines or CSV file, or - for standard input',
      cause,
    });
  }
  return { name: basename(input), path: input, stream: lines(input) };
}

/**
 * Opened when it is first read: an error of a stream that nobody listens to would end the process.
 */
async function* lines(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path) as AsyncIterable<Uint8Array>;
}

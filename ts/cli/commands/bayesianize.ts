/** `bpeft bayesianize` */

import type { Command } from 'commander';
import type { BayesianizeOptions } from '../../config/schema.ts';
import type { BayesianizeResult } from '../../run/bayesianize/bayesianize.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

/** What was chosen, in a few words. */
function summary({ sigma, laplace }: BayesianizeResult): string {
  return laplace === null ? `sigma ${sigma}` : `prior precision ${laplace.precision}`;
}

export function defineBayesianize(command: Command, output: Output): void {
  addSettings(command, 'bayesianize').action(async (flags: Record<string, unknown>) => {
    const { values, fromFile, isJson, onEvent } = await invocation('bayesianize', flags, output);
    const { bayesianize } = await import('../../run/bayesianize/bayesianize.ts');
    const options = values as BayesianizeOptions;
    const context = { onEvent, fromFile };
    const result = await interruptible(output, (signal) =>
      bayesianize(options, { signal, ...context }),
    );
    const text = isJson ? JSON.stringify(result, null, 2) : `${result.method} ${summary(result)}`;
    output.stdout.write(`${text}\n`);
  });
}

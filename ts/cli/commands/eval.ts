/** `bpeft eval` */

import type { Command } from 'commander';
import type { EvaluateOptions } from '../../config/schema.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function defineEval(command: Command, output: Output): void {
  addSettings(command, 'eval').action(async (flags: Record<string, unknown>) => {
    const { values, isJson, onEvent } = await invocation('eval', flags, output);
    const { evaluate } = await import('../../run/evaluate.ts');
    const { resultJson } = await import('../../run/result.ts');
    const result = await interruptible(output, (signal) =>
      evaluate(values as EvaluateOptions, { signal, onEvent }),
    );
    if (isJson) output.stdout.write(resultJson(result));
  });
}

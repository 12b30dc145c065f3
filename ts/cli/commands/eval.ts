/** `bpeft eval` */

import type { Command } from 'commander';
import type { EvaluateOptions } from '../../config/schema.ts';
import type { Listener, Sink } from '../../events/sinks.ts';
import { consoleSink } from '../../logging/console.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function defineEval(command: Command, output: Output): void {
  addSettings(command, 'eval').action(async (flags: Record<string, unknown>) => {
    const { values, fromFile, isJson, isQuiet, onEvent, onProgress } = await invocation(
      'eval',
      flags,
      output,
    );
    const { evaluate } = await import('../../run/evaluation/evaluate.ts');
    const options = values as EvaluateOptions;
    const isOnlyHere = !isJson && options.out === undefined;
    const sink = isQuiet && isOnlyHere ? withOutcome(onEvent, output) : onEvent;
    const context = { onEvent: sink, onProgress, fromFile };
    const result = await interruptible(output, (signal) =>
      evaluate(options, { signal, ...context }),
    );
    if (isJson) output.stdout.write(`${fileJson(result, 2)}\n`);
  });
}

/** A quiet evaluation that writes nothing else still says what came out. */
function withOutcome(quiet: Sink, { stderr }: Output): Listener {
  const console = consoleSink(stderr);
  return (event) => (event.type === 'evaluation' ? console : quiet).event(event);
}

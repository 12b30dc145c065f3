/** `bpeft demo` */

import type { Command } from 'commander';
import type { DemoOptions } from '../../config/schema.ts';
import type { Listener, Sink } from '../../events/sinks.ts';
import { duration } from '../../logging/lines.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function defineDemo(command: Command, output: Output): void {
  addSettings(command, 'demo').action(async (flags: Record<string, unknown>) => {
    const { values, isJson, isQuiet, onEvent } = await invocation('demo', flags, output);
    const { demo } = await import('../../demo/demo.ts');
    const { demoLines } = await import('../../demo/demo-text.ts');
    const result = await interruptible(output, (signal) =>
      demo(values as DemoOptions, {
        signal,
        onEvent: isQuiet ? onEvent : briefly(onEvent, output),
      }),
    );
    if (isJson) output.stdout.write(`${fileJson(result, 2)}\n`);
    else output.stdout.write(`\n${demoLines(result).join('\n')}\n`);
  });
}

/** A terminal sees the bar; a log the beginning and end of each training, not its steps. */
function briefly(sink: Sink, output: Output): Listener {
  return (event) => {
    switch (event.type) {
      case 'run-started':
        sink.event({ ...event, plan: null });
        break;
      case 'finished':
        output.stderr.write(`${event.command} took ${duration(event.seconds)}\n`);
        break;
      case 'step':
      case 'evaluation-progress':
        if (output.stderr.isTTY === true) sink.event(event);
        break;
      case 'warning':
        sink.event(event);
        break;
      default:
    }
  };
}

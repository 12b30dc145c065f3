/** `bpeft compare` */

import { type Command, Option } from 'commander';
import { BpeftError } from '../../errors.ts';
import type { RunEvent } from '../../events/run-event.ts';
import { metricsText } from '../../logging/lines.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addOutputFlags } from '../settings.ts';

interface CompareFlags {
  readonly config?: string;
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function defineCompare(command: Command, output: Output): void {
  command
    .addOption(new Option('--config <file>', 'what is compared: a .json or .yaml file'))
    .addOption(
      new Option('--out <dir>', 'folder for the runs and the table (default: runs/<config>)'),
    );
  addOutputFlags(command).action(async ({ config, out, json, quiet }: CompareFlags) => {
    if (config === undefined) {
      throw new BpeftError('BPEFT_USAGE', '--config is required', {
        hint: 'docs/methods/comparing.md shows such a file',
      });
    }
    const say = (line: string, isProgress: boolean) => {
      if (quiet !== true || !isProgress) output.stderr.write(`${line}\n`);
    };
    const { compare } = await import('../../compare/compare.ts');
    const { comparisonMarkdown } = await import('../../report/comparison-table.ts');
    const result = await interruptible(output, (signal) =>
      compare(
        { config, out },
        {
          signal,
          onCell: ({ dataset, method, seed, number, of }) =>
            say(`[${number}/${of}] ${dataset} · ${method} · seed ${seed}`, true),
          onEvent: (event) => {
            const line = lineOf(event);
            if (line !== null) say(line, event.type !== 'warning');
          },
        },
      ),
    );
    if (json === true) output.stdout.write(`${fileJson(result, 2)}\n`);
    else output.stdout.write(comparisonMarkdown(result.cells));
  });
}

/** Of a run, its outcome and what it warns of; the rest is in its own log. */
function lineOf(event: RunEvent): string | null {
  if (event.type === 'warning') return `  warning ${event.code}: ${event.message}`;
  if (event.type !== 'evaluation' || !event.isFinal) return null;
  const { split, metrics } = event.result;
  return `  ${split}: ${metricsText(metrics)}`;
}

/** `bpeft train` */

import type { Command } from 'commander';
import type { TrainOptions } from '../../config/schema.ts';
import { duration, planLines } from '../../logging/lines.ts';
import { fileJson } from '../../run/records/json.ts';
import type { DryRun } from '../../run/training/dry-run.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

export function defineTrain(command: Command, output: Output): void {
  addSettings(command, 'train').action(async (flags: Record<string, unknown>) => {
    const { values, isJson, onEvent, onProgress } = await invocation('train', flags, output);
    const options = values as TrainOptions;
    await interruptible(output, async (signal) => {
      if (options.dryRun === true) {
        const { dryRun } = await import('../../run/training/dry-run.ts');
        const report = await dryRun(options, { signal, onEvent, onProgress });
        if (isJson) output.stdout.write(`${fileJson(report, 2)}\n`);
        else for (const line of reportLines(report)) output.stderr.write(`${line}\n`);
        return;
      }
      const { train } = await import('../../run/training/train.ts');
      const { launchedRanks } = await import('../../run/training/launched.ts');
      const ranks = launchedRanks(process.env);
      const isFirst = ranks === undefined || ranks.rank === 0;
      const result = await train(options, {
        signal,
        ranks,
        ...(isFirst ? { onEvent, onProgress } : {}),
      });
      if (isJson && isFirst) output.stdout.write(`${fileJson(result, 2)}\n`);
    });
  });
}

function reportLines({ plan, step, estimate }: DryRun): readonly string[] {
  return [
    ...planLines(plan),
    `one step   ${step.tokens} tokens, ${duration(step.ms / 1000)}, nll ${step.nll.toFixed(4)}`,
    `estimate   ${duration(estimate.trainingSeconds)} of training, ${estimate.peakRssMb} MB at most`,
    'dry run: nothing was written',
  ];
}

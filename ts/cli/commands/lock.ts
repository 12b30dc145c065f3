/** `bpeft lock` */

import type { Command } from 'commander';
import type { TrainOptions } from '../../config/schema.ts';
import { fileOf } from '../../config/standard-output.ts';
import { fileJson } from '../../run/records/json.ts';
import { interruptible } from '../interrupt.ts';
import type { Output } from '../output.ts';
import { addSettings, invocation } from '../settings.ts';

const FILE = 'bpeft.lock.json';

export function defineLock(command: Command, output: Output): void {
  addSettings(command.argument('[file]', 'lock file; - is standard output', FILE), 'train').action(
    async (file: string, flags: Record<string, unknown>) => {
      const { values, isJson, onEvent, onProgress } = await invocation('train', flags, output);
      const { pin } = await import('../../run/training/pin.ts');
      const options = values as TrainOptions;
      const pins = await interruptible(output, (signal) =>
        pin(options, fileOf(file), { signal, onEvent, onProgress }),
      );
      if (fileOf(file) === undefined) {
        output.stdout.write(`${fileJson(pins, 2)}\n`);
        return;
      }
      const { model, adapter, datasets } = pins;
      const lines = [model, ...(adapter == null ? [] : [adapter]), ...datasets].map(
        ({ named, pinned }) => `${named}  ${pinned ?? 'by its hash'}`,
      );
      output.stdout.write(
        isJson
          ? `${fileJson({ file, ...pins }, 2)}\n`
          : `${[...lines, `written: ${file}`].join('\n')}\n`,
      );
    },
  );
}

/** Whether a folder holds an adapter, asked before rows are read and a model is loaded. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BpeftError } from '../../errors.ts';

/** @throws {BpeftError} `BPEFT_ADAPTER`: PEFT's configuration is not there. */
export function requireAdapter(flag: '--adapter' | '--init-adapter', folder: string): void {
  if (holdsAdapter(folder)) return;
  const below = join(folder, 'adapter');
  throw new BpeftError('BPEFT_ADAPTER', `${flag}: no adapter_config.json in ${folder}`, {
    hint: holdsAdapter(below)
      ? `that is a run: give ${flag} ${below}`
      : "name a PEFT folder, such as a run's adapter/",
  });
}

function holdsAdapter(folder: string): boolean {
  return existsSync(join(folder, 'adapter_config.json'));
}

/**
 * The command that makes a run again, from what the run recorded: settings that differ from their
 * defaults.
 */

import { settingsOf } from '../config/schema.ts';
import { defaultOf } from '../config/text.ts';
import { kebabCase, snakeCase } from '../names.ts';
import { DATA_PROTOCOLS } from '../protocol/data-protocol.ts';
import type { ReportedRun } from './reported-run.ts';

export function commandLine({ command, config, path }: ReportedRun): string {
  const protocol = config.protocol === 'reference' ? 'reference' : 'corrected';
  const preset: Readonly<Record<string, unknown>> = { ...DATA_PROTOCOLS[protocol] };
  const words = ['bpeft', command];
  for (const { key, schema } of settingsOf(command)) {
    const value = config[snakeCase(key)];
    const usual = preset[key] ?? defaultOf(schema);
    if (value === undefined || value === null || JSON.stringify(value) === JSON.stringify(usual))
      continue;
    const flag = `--${kebabCase(key)}`;
    if (value === true) words.push(flag);
    else if (value !== false)
      words.push(flag, quoted(Array.isArray(value) ? value.join(',') : String(value)));
  }
  if (command === 'train') words.push('--out', quoted(path));
  return words.join(' ');
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return /^[\w./:,=+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

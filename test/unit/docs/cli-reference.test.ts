import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { wholeProgram } from '../../../ts/cli/program.ts';
import { cliReference } from '../../../ts/cli/reference.ts';

const silent = { stdout: { write: () => true }, stderr: { write: () => true } };
const page = join(import.meta.dirname, '../../../docs/cli.md');

it('keeps docs/cli.md as the program defines it', async () => {
  const reference = cliReference(await wholeProgram(silent));
  expect(readFileSync(page, 'utf8'), 'out of date: run npm run docs and commit docs/cli.md').toBe(
    reference,
  );
});

it('has a section for every command and a row for every flag', async () => {
  const program = await wholeProgram(silent);
  const reference = cliReference(program);
  const commands = program.commands.flatMap((one) =>
    one.commands.length === 0 ? [one] : one.commands,
  );
  expect(reference.match(/^## bpeft /gm)).toHaveLength(commands.length);
  const flags = commands.flatMap(({ options }) => options.map(({ long }) => long));
  expect(reference.match(/^\| `--/gm)).toHaveLength(flags.length);
});

it.each([
  ['--kl-cycle', '`auto`, `epoch`, `rescaled` or whole number ≥ 1', '`auto`'],
  ['--lora-dropout', 'number ≥ 0, < 1', '`0`'],
  ['--eval-samples', 'list of whole number ≥ 0, ≤ 65536', '`10`'],
  ['--resume', '', ''],
])('says of %s which values it takes and its default', async (flag, values, byDefault) => {
  const reference = cliReference(await wholeProgram(silent));
  expect(reference).toContain(`| \`${flag}\` | ${values} | ${byDefault} | `);
});

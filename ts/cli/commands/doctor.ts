/** `bpeft doctor` */

import type { Command } from 'commander';
import { fileJson } from '../../run/records/json.ts';
import { ToldFailure } from '../exit.ts';
import type { Output } from '../output.ts';
import { addOutputFlags } from '../settings.ts';

export function defineDoctor(command: Command, output: Output): void {
  addOutputFlags(command).action(async ({ json }: { json?: boolean }) => {
    const { examine } = await import('../../doctor/examine.ts');
    const { examinationLines } = await import('../../doctor/text.ts');
    const found = await examine();
    const text = json === true ? fileJson(found, 2) : examinationLines(found).join('\n');
    output.stdout.write(`${text}\n`);
    if (found.selfTests.some(({ passed }) => !passed)) throw new ToldFailure('a self-test failed');
  });
}

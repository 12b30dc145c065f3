import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BPEFT_ERROR_CODES } from '../../../ts/errors.ts';
import type { WarningCode } from '../../../ts/events/run-event.ts';

const page = readFileSync(join(import.meta.dirname, '../../../docs/troubleshooting.md'), 'utf8');

/** A record, so that the compiler asks for a code that is missing here. */
const WARNINGS: Readonly<Record<WarningCode, true>> = {
  BPEFT_KL_NEVER_ACTS: true,
  BPEFT_BASE_MODEL_DIFFERS: true,
  BPEFT_PROMPTS_TRUNCATED: true,
  BPEFT_BAD_ROWS: true,
  BPEFT_SINK_FAILED: true,
  BPEFT_NOTICE: true,
};

function codesBelow(heading: string): string[] {
  const part = page.split(`## ${heading}\n`)[1]?.split(/^## /m)[0] ?? '';
  return [...part.matchAll(/^### (\w+)$/gm)].map(([, code]) => code ?? '').sort();
}

it('has one section per error code and none besides', () => {
  expect(codesBelow('Errors')).toEqual([...BPEFT_ERROR_CODES].sort());
});

it('has one section per warning code and none besides', () => {
  expect(codesBelow('Warnings')).toEqual(Object.keys(WARNINGS).sort());
});

it('shows a transcript for every error but a bug, a full GPU and a killed process', () => {
  const sections = (page.split('## Errors\n')[1]?.split(/^## /m)[0] ?? '').split(/^### /m).slice(1);
  const bare = sections.filter((section) => {
    const [code = ''] = section.split('\n');
    const shown = section.split('```console\n')[1]?.split('```')[0] ?? '';
    return !shown.includes(code);
  });
  expect(bare.map((section) => section.split('\n')[0])).toEqual([
    'BPEFT_OUT_OF_MEMORY',
    'BPEFT_RANK_LOST',
    'BPEFT_INTERNAL',
  ]);
});

/** The workflow runs nowhere here: what it names must be there. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '../../..');

interface Step {
  readonly run?: string;
  readonly with?: Readonly<Record<string, unknown>>;
}
interface Job {
  readonly needs?: readonly string[];
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
}

const workflow = parse(readFileSync(join(root, '.github/workflows/release.yml'), 'utf8')) as {
  readonly jobs: Readonly<Record<string, Job>>;
};
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const commands = Object.values(workflow.jobs).flatMap(({ steps }) =>
  steps.flatMap(({ run }) => (run === undefined ? [] : [run])),
);

it('runs scripts and packs folders that there are', () => {
  const named = commands.flatMap((text) => [...text.matchAll(/npm run ([\w:-]+)/g)]);
  expect(named.length).toBeGreaterThan(5);
  for (const [, script = ''] of named) expect(Object.keys(scripts)).toContain(script);
  const packed = commands.flatMap((text) => [...text.matchAll(/\.\/(npm\/[\w-]+)/g)]);
  for (const [, folder = ''] of packed) expect(existsSync(join(root, folder))).toBe(true);
});

it('publishes every package with provenance, when all of them are built and the tests pass', () => {
  const { publish, ...others } = workflow.jobs;
  expect(publish?.needs?.toSorted()).toEqual(Object.keys(others).sort());
  expect(publish?.permissions).toMatchObject({ 'id-token': 'write' });
  const text = publish?.steps.map(({ run }) => run ?? '').join('\n') ?? '';
  expect(text).toMatch(/npm publish .* --provenance --access public/);
  const kinds = readdirSync(join(root, 'npm')).map((name) => name.replace(/-.*/, ''));
  for (const kind of kinds) expect(text).toContain(`packed/bpeft-${kind.replace(/\d+$/, '')}`);
  const uploads = Object.values(others).flatMap(({ steps }) =>
    steps.map(({ with: given }) => String(given?.path ?? '')),
  );
  for (const name of readdirSync(join(root, 'npm')).filter((one) => one !== 'linux-x64-gnu')) {
    expect(uploads.some((path) => path.includes(`bpeft-${name}-`))).toBe(true);
  }
});

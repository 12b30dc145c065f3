/** The workflow runs nowhere here: what it names must be there. */

import { readdirSync, readFileSync } from 'node:fs';
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
  readonly strategy?: { readonly matrix: { readonly include: readonly Entry[] } };
  readonly steps: readonly Step[];
}
type Entry = Readonly<Record<string, string | boolean>>;

const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));
const workflow = parse(readFileSync(join(root, '.github/workflows/release.yml'), 'utf8')) as {
  readonly jobs: Readonly<Record<string, Job>>;
};
const { scripts, version, napi, optionalDependencies } = readJson('package.json');
const { publish, ...others } = workflow.jobs;
const folders = readdirSync(join(root, 'npm'));

/** What a job runs and uploads, once for each entry of its matrix. */
function written({ steps, strategy }: Job): readonly string[] {
  const entries = strategy?.matrix.include ?? [{}];
  const texts = steps.flatMap(({ run, with: given }) => [run ?? '', String(given?.path ?? '')]);
  return entries.flatMap((entry) =>
    texts.map((text) =>
      text.replace(/\$\{\{ matrix\.(\w+) \}\}/g, (_, name) => String(entry[name])),
    ),
  );
}

const texts = Object.values(workflow.jobs).flatMap(written);
const uploaded = (folder: string) =>
  texts.filter((text) => text.includes(`/bpeft-${folder}-`) && text.endsWith('.tgz'));

it('runs scripts that there are', () => {
  const named = texts.flatMap((text) => [...text.matchAll(/npm run ([\w:-]+)/g)]);
  expect(named.length).toBeGreaterThan(5);
  for (const [, script = ''] of named) expect(Object.keys(scripts)).toContain(script);
});

it('builds every package, and those that bpeft depends on in any case', () => {
  for (const folder of folders) expect(uploaded(folder), folder).toHaveLength(1);
  const required = Object.keys(optionalDependencies).map((name) => name.replace('@bpeft/', ''));
  const entries = workflow.jobs.cpu?.strategy?.matrix.include ?? [];
  for (const name of required) {
    const entry = entries.find((one) => one.package === name);
    expect(entry?.required ?? true, name).toBe(true);
  }
  expect(entries.filter((one) => one.required === true)).toHaveLength(1);
});

it('publishes every package with provenance, when all of them are built and the tests pass', () => {
  expect(publish?.needs?.toSorted()).toEqual(Object.keys(others).sort());
  expect(publish?.permissions).toMatchObject({ 'id-token': 'write' });
  const commands = publish?.steps.map(({ run }) => run ?? '').join('\n') ?? '';
  const published = [...commands.matchAll(/npm publish .*/g)].map(([line]) => line);
  expect(published).toHaveLength(2);
  for (const line of published) expect(line).toMatch(/--provenance --access public/);
  const [, kinds = ''] = /packed\/bpeft-\{([\w,]+)\}\*\.tgz/.exec(commands) ?? [];
  for (const folder of folders) {
    expect(
      kinds.split(',').some((kind) => folder.startsWith(kind)),
      folder,
    ).toBe(true);
  }
});

it('has a folder for each target, of the same version, for that platform alone', () => {
  expect(napi.targets).toHaveLength(folders.filter((name) => !name.startsWith('cuda')).length);
  for (const folder of folders) {
    const { name, version: own, main, files, os, cpu } = readJson(`npm/${folder}/package.json`);
    const [system, architecture] = folder.replace(/^cuda\d+-/, '').split('-');
    expect([name, own, os, cpu]).toEqual([`@bpeft/${folder}`, version, [system], [architecture]]);
    expect(main).toBe(`bpeft.${folder.replace(/^cuda\d+-/, '')}.node`);
    expect(files[0]).toBe(main);
  }
});

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EvaluationFolder } from '../../../../ts/run/records/evaluation-folder.ts';
import { folderContents } from '../../../../ts/run/records/folder-contents.ts';
import { RunFolder } from '../../../../ts/run/records/run-folder.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

/** A folder with these files; a name that ends in `/` is a folder. */
function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) {
    if (name.endsWith('/')) mkdirSync(join(folder, name), { recursive: true });
    else writeFileSync(join(folder, name), content);
  }
  return folder;
}

const trained = { 'config.json': '{"format":1}', 'state/': '', 'adapter/': '', 'predictions/': '' };
const evaluated = { 'result.json': '{"format":1,"training":null}', 'predictions/': '' };

it.each([
  ['nothing', {}],
  ['nothing', { 'notes.md': 'mine' }],
  ['training', trained],
  ['training', { 'state/': '' }],
  ['training', { ...evaluated, 'config.json': '{"format":1}' }],
  ['training', { 'result.json': '{"format":1,"training":{"steps":2}}' }],
  ['evaluation', evaluated],
  ['evaluation', { 'predictions/': '', 'predictions/d-validation-n10.jsonl': '' }],
  ['foreign', { 'predictions/': '', 'predictions/mine.jsonl': '' }],
  ['foreign', { 'config.json': '{"name":"my project"}' }],
  ['foreign', { ...trained, 'result.json': '[]' }],
  ['foreign', { 'state/': '', 'state/users.db': '' }],
  ['foreign', { 'adapter/': '' }],
  ['foreign', { 'log.txt': 'mine' }],
] as const)('finds %s in %j', (kind, files) => {
  expect(folderContents(folderWith(files)).kind).toBe(kind);
});

it('lets an evaluation replace an evaluation, never a training run or what is not bpeft’s', () => {
  const claim = (files: Record<string, string>) => () =>
    new EvaluationFolder(folderWith(files)).requireFree({ overwrite: true });
  expect(claim(evaluated)).not.toThrow();
  expect(claim(trained)).toThrow(/holds a run, which an evaluation never replaces/);
  expect(claim({ 'adapter/': '' })).toThrow(/not written by bpeft/);
});

it('lets a training replace or resume a training run, never an evaluation', () => {
  const claim = (files: Record<string, string>, how: object) => () =>
    new RunFolder(folderWith(files)).requireFree({ overwrite: false, resume: false, ...how });
  for (const how of [{ overwrite: true }, { resume: true }]) {
    expect(claim(trained, how)).not.toThrow();
    expect(claim(evaluated, how)).toThrow(/holds an evaluation, which a run never replaces/);
  }
});

it("removes an evaluation's files, and nothing else", async () => {
  const folder = folderWith({
    ...evaluated,
    'predictions/d-test-n0.jsonl': '',
    'predictions/mine.txt': '',
    'notes.md': '',
  });
  const lock = await new EvaluationFolder(folder).open({ overwrite: true }, {});
  await lock.release();
  expect(readdirSync(folder, { recursive: true }).sort()).toEqual([
    'notes.md',
    'predictions',
    'predictions/mine.txt',
  ]);
});

it("removes a run's own files, and nothing else", async () => {
  const folder = folderWith({ ...trained, 'result.json': '{"format":1}', 'notes.md': 'mine' });
  await new RunFolder(folder).clear();
  expect(readdirSync(folder)).toEqual(['notes.md']);
});

import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { EvaluationFolder } from '../../../../ts/run/records/evaluation-folder.ts';
import { FolderLock } from '../../../../ts/run/records/lock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

const timing = { heartbeatMs: 20, patienceMs: 120 };

it('keeps others out of its folder until the lock is released', async () => {
  const folder = new EvaluationFolder(join(temporaryFolder(), 'evaluation'));
  const lock = await folder.open({ overwrite: false }, { timing });
  await expect(FolderLock.take(folder.path, { timing })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
  });
  await expect(folder.open({ overwrite: true }, { timing })).rejects.toMatchObject({
    code: 'BPEFT_RUN_EXISTS',
    message: `process ${process.pid} is writing to ${folder.path}`,
  });
  await lock.release();
  expect(existsSync(folder.path)).toBe(false);
});

it('asks again whether the folder is free once it has the lock, and then leaves it', async () => {
  const folder = new EvaluationFolder(temporaryFolder());
  folder.requireFree({ overwrite: false });
  writeFileSync(folder.result, '{"format":1,"training":null}');
  await expect(folder.open({ overwrite: false }, { timing })).rejects.toMatchObject({
    message: `${folder.path} already holds an evaluation`,
  });
  expect(readdirSync(folder.path)).toEqual(['result.json']);
});

it('removes an earlier evaluation, and no file of another name', async () => {
  const folder = new EvaluationFolder(temporaryFolder());
  writeFileSync(folder.result, '{"format":1,"training":null}');
  mkdirSync(folder.predictions);
  for (const name of ['own-test-n0.jsonl', 'notes.txt'])
    writeFileSync(join(folder.predictions, name), '');
  writeFileSync(join(folder.path, 'plot.svg'), '');
  const lock = await folder.open({ overwrite: true }, { timing });
  await lock.release();
  expect(existsSync(folder.result)).toBe(false);
  expect(readdirSync(folder.predictions)).toEqual(['notes.txt']);
  expect(readdirSync(folder.path)).toEqual(['plot.svg', 'predictions']);
});

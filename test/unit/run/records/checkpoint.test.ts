import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { latestCheckpoint, writeCheckpoint } from '../../../../ts/run/records/checkpoint.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';

/** Saves one file that holds the step, like the engine's trainer does with its state. */
const savingTrainer = (text: string) => ({
  saveState: async (folder: string) => writeFileSync(join(folder, 'state.safetensors'), text),
});
const progress = (step: number) => ({
  step,
  epoch: 0,
  batch: step,
  tokens: 10 * step,
  evaluated: 0,
});
const clock = { metricsBytes: 123, seconds: 1.5 };

it('writes a checkpoint that reads back', async () => {
  const state = temporaryFolder();
  await writeCheckpoint(state, savingTrainer('a'), progress(5), clock);
  expect(await latestCheckpoint(state)).toEqual({
    folder: join(state, 'step-5'),
    progress: progress(5),
    ...clock,
  });
  expect(readFileSync(join(state, 'step-5', 'state.safetensors'), 'utf8')).toBe('a');
});

it('keeps two', async () => {
  const state = temporaryFolder();
  for (const step of [5, 9, 10])
    await writeCheckpoint(state, savingTrainer(''), progress(step), clock);
  expect(readdirSync(state).sort()).toEqual(['latest', 'step-10', 'step-9']);
});

it('drops what later, undone updates left', async () => {
  const state = temporaryFolder();
  mkdirSync(join(state, 'step-50')); // written, but killed before `latest` named it
  await writeCheckpoint(state, savingTrainer(''), progress(20), clock);
  expect(readdirSync(state).sort()).toEqual(['latest', 'step-20']);
});

it('has none in a fresh folder', async () => {
  expect(await latestCheckpoint(temporaryFolder())).toBeNull();
});

it('keeps the previous one whole when the disk is full', async () => {
  const state = temporaryFolder();
  await writeCheckpoint(state, savingTrainer('good'), progress(5), clock);
  const full = {
    saveState: async (folder: string) => {
      writeFileSync(join(folder, 'state.safetensors'), 'half');
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    },
  };
  await expect(writeCheckpoint(state, full, progress(10), clock)).rejects.toMatchObject({
    code: 'BPEFT_IO',
  });
  expect((await latestCheckpoint(state))?.progress.step).toBe(5);
  expect(readFileSync(join(state, 'step-5', 'state.safetensors'), 'utf8')).toBe('good');
  expect(readdirSync(state).sort()).toEqual(['latest', 'step-5']);
});

it.each([
  [
    'names a folder that is gone',
    (state: string) => rmSync(join(state, 'step-5'), { recursive: true }),
  ],
  [
    'names something else',
    (state: string) => writeFileSync(join(state, 'latest'), '../elsewhere\n'),
  ],
  [
    'has a damaged cursor',
    (state: string) => writeFileSync(join(state, 'step-5', 'cursor.json'), '{"step": -1}'),
  ],
])('refuses a checkpoint that %s', async (_, damage) => {
  const state = temporaryFolder();
  await writeCheckpoint(state, savingTrainer(''), progress(5), clock);
  damage(state);
  await expect(latestCheckpoint(state)).rejects.toMatchObject({ code: 'BPEFT_CHECKPOINT' });
});

import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { assetPath } from '../../ts/assets.ts';
import type { Progress } from '../../ts/engine/call.ts';
import { type BayesianModel, loadModel } from '../../ts/engine/model.ts';
import { findModel } from '../../ts/engine/model-source.ts';
import { resolveModel } from '../../ts/engine/resolved-model.ts';
import type { RunEvent } from '../../ts/events/run-event.ts';
import { evaluate } from '../../ts/run/evaluation/evaluate.ts';
import { dryRun } from '../../ts/run/training/dry-run.ts';
import { train } from '../../ts/run/training/train.ts';
import { fixtureData } from '../support/bpeft-process.ts';

const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const tinyHash = sha256(readFileSync(assetPath('tiny.gguf')));
let folder: string;
let tiny: BayesianModel;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bpeft-resolved-'));
  tiny = await loadModel({ model: 'builtin:tiny' });
});
afterAll(async () => {
  await tiny.dispose();
  rmSync(folder, { recursive: true, force: true });
});

it('says which model was loaded: its name, its source, the hash of its file', () => {
  expect(tiny.resolved).toEqual({
    requested: 'builtin:tiny',
    name: 'builtin:tiny',
    revision: null,
    source: { kind: 'file', path: assetPath('tiny.gguf') },
    sha256: tinyHash,
    files: [
      { name: 'tiny.gguf', bytes: readFileSync(assetPath('tiny.gguf')).length, sha256: tinyHash },
    ],
  });
});

it('knows a folder by the hashes of all files that make the model, and by no other', async () => {
  const model = join(folder, 'some-model');
  mkdirSync(model);
  for (const name of [
    'b.safetensors',
    'a.safetensors',
    'config.json',
    'tokenizer.json',
    'README.md',
  ]) {
    writeFileSync(join(model, name), `content of ${name}`);
  }
  const names = ['a.safetensors', 'b.safetensors', 'config.json', 'tokenizer.json'];
  const lines = names.map((name) => `${sha256(`content of ${name}`)}  ${name}\n`).join('');
  const resolved = await resolveModel(await findModel(`${model}/`));
  expect(resolved).toMatchObject({
    name: 'some-model',
    requested: `${model}/`,
    sha256: sha256(lines),
  });
  expect(resolved.files.map(({ name }) => name)).toEqual(names);
});

it('records the model that a run was given, not the one that its options name', async () => {
  const out = join(folder, 'given');
  const warnings: string[] = [];
  const onEvent = (event: RunEvent) => event.type === 'warning' && warnings.push(event.message);
  const options = {
    model: 'builtin:random',
    dataset: 'builtin:exam-topics',
    maxSteps: 2,
    evalLimit: 4,
    evalSamples: [0],
  };
  const result = await train({ ...options, out }, { model: tiny, onEvent });
  expect(result.model).toBe('builtin:tiny');
  expect(result.run.model).toBe('builtin:tiny');
  const json = (name: string) => JSON.parse(readFileSync(join(out, name), 'utf8'));
  expect(json('config.json')).toMatchObject({
    config: { model: 'builtin:tiny' },
    model: { name: 'builtin:tiny', sha256: tinyHash, architecture: tiny.info.architecture },
  });
  expect(json('state/paths.json').model).toBe('builtin:tiny');
  expect(json('adapter/bpeft.json').base_model).toEqual({ name: 'builtin:tiny', sha256: tinyHash });
  expect(json('adapter/adapter_config.json').base_model_name_or_path).toBe('builtin:tiny');
  expect(warnings).toContain('the given model, builtin:tiny, is used in place of builtin:random');

  const { config, plan } = await dryRun(options, { model: tiny });
  expect(config.model).toBe('builtin:tiny');
  expect(plan.parameters.model).toBe(tiny.info.parameters);

  // The run finds the model that it was trained with again, and without one in its options.
  warnings.length = 0;
  const again = await evaluate({ run: out, samples: [0], limit: 4 }, { onEvent });
  expect([again.model, again.metrics]).toEqual(['builtin:tiny', result.metrics]);
  expect(warnings).toEqual([]);
  const random = await loadModel({ model: 'builtin:random' });
  const elsewhere = evaluate({ run: out, samples: [0], limit: 4 }, { model: random, onEvent });
  await expect(elsewhere).rejects.toMatchObject({ code: 'BPEFT_ADAPTER' });
  await random.dispose();
  expect(warnings[0]).toContain('was trained on builtin:tiny, which is not this builtin:random');
});

it('needs no model by name where it is given one', async () => {
  const data = { dataset: 'ARC-Easy', dataDir: fixtureData, maxSeqLen: 700 };
  const random = await loadModel({ model: 'builtin:random' });
  const { config } = await dryRun({ ...data, maxSteps: 1 }, { model: random });
  expect(config.model).toBe('builtin:random');
  await random.dispose();
});

it('tells how much is hashed, and lets no listener end the loading', async () => {
  const told: Progress[] = [];
  const model = await loadModel(
    { model: 'builtin:tiny' },
    {
      onProgress: (progress) => {
        told.push(progress);
        throw new Error('a listener of no use');
      },
    },
  );
  const [{ bytes } = { bytes: 0 }] = model.resolved.files;
  expect(told.at(-1)).toEqual({ activity: 'hashing', unit: 'bytes', done: bytes, total: bytes });
  await model.dispose();
});

it('stops as soon as its signal fires, with the reason that it gives', async () => {
  const reason = new Error('the user went away');
  const controller = new AbortController();
  const loading = loadModel({ model: 'builtin:tiny' }, { signal: controller.signal });
  controller.abort(reason);
  await expect(loading).rejects.toMatchObject({
    code: 'BPEFT_ABORTED',
    name: 'AbortError',
    cause: reason,
  });
  await expect(
    resolveModel(await findModel('builtin:tiny'), { signal: controller.signal }),
  ).rejects.toMatchObject({
    name: 'AbortError',
    cause: reason,
  });
});

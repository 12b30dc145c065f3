/**
 * Adapters of encoders both ways with real PEFT, on tiny random models of each family: equal class
 * logits of the posterior mean, max |Δ| ≤ 1e-4 of the largest; the head is part of the files,
 * trained or under low-rank terms.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  type BayesianModel,
  loadModel,
  type RaggedBatch,
  Trainer,
} from 'bpeft/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { largestDifference } from './engine-side.ts';
import { type ClassReport, type Logits, PeftProcess, pythonEnvironments } from './peft-process.ts';

const TOLERANCE = 1e-4;
const CLASSES = 3;
const LENGTHS = [9, 5, 30, 1];
/** Of a block of BERT or RoBERTa. */
const BERT_LAYERS = [
  'query',
  'key',
  'value',
  'attention.output.dense',
  'intermediate.dense',
  'output.dense',
];
const FAMILIES = [
  {
    name: 'Bert',
    types: 2,
    targets: ['query', 'value'],
    everywhere: BERT_LAYERS,
    mlpAlone: ['output.dense'],
    head: ['classifier'],
    saved: ['classifier'],
  },
  {
    name: 'Roberta',
    types: 1,
    targets: ['query', 'value'],
    everywhere: BERT_LAYERS,
    mlpAlone: ['output.dense'],
    head: ['classifier.dense', 'classifier.out_proj'],
    saved: ['classifier'],
  },
  {
    name: 'DistilBert',
    types: 1,
    targets: ['q_lin', 'v_lin'],
    everywhere: ['q_lin', 'k_lin', 'v_lin', 'out_lin', 'lin1', 'lin2'],
    mlpAlone: ['lin2'],
    head: ['pre_classifier', 'classifier'],
    saved: ['pre_classifier', 'classifier'],
  },
  {
    name: 'ModernBert',
    types: 1,
    targets: ['Wqkv'],
    everywhere: ['Wqkv', 'attn.Wo', 'mlp.Wi', 'mlp.Wo', 'head.dense'],
    mlpAlone: ['mlp.Wo'],
    head: ['classifier'],
    saved: ['classifier'],
  },
  {
    name: 'DebertaV2',
    types: 1,
    targets: ['query_proj', 'value_proj'],
    everywhere: ['query_proj', 'key_proj', 'value_proj', ...BERT_LAYERS.slice(3)],
    mlpAlone: ['output.dense'],
    head: ['pooler.dense', 'classifier'],
    saved: ['pooler.dense', 'classifier'],
  },
] as const;

type Family = (typeof FAMILIES)[number];

/** The transformers of PEFT 0.13's time is older than ModernBERT. */
const familiesOf = (environment: string): Family[] =>
  FAMILIES.filter(({ name }) => environment === 'newest' || name !== 'ModernBert');

/** What is adapted by us, and whether the head is trained whole. */
const kinds = (family: Family) => ({
  trained: { targets: family.targets, trained: true },
  everywhere: { targets: family.everywhere, trained: true },
  'mlp-alone': { targets: family.mlpAlone, trained: true },
  frozen: { targets: family.targets, trained: false },
  'terms-on-the-head': { targets: [...family.everywhere, ...family.head], trained: false },
});

const environments = pythonEnvironments();
const folder = mkdtempSync(join(tmpdir(), 'bpeft-parity-encoders-'));
const at = (...names: string[]): string => join(folder, ...names);
const models = new Map<string, BayesianModel>();
const ours = new Map<string, Logits>();
const reports = new Map<string, ClassReport>();

/** Texts of pseudo-random tokens; where there are types, the second half is of the second. */
function texts(family: Family): { input_ids: number[]; token_type_ids: number[] | null }[] {
  return LENGTHS.map((length, text) => ({
    input_ids: Array.from({ length }, (_, index) => 2 + ((37 * index + 101 * text) % 280)),
    token_type_ids:
      family.types === 2 ? Array.from({ length }, (_, i) => (i * 2 < length ? 0 : 1)) : null,
  }));
}

function batch(family: Family): RaggedBatch {
  const rows = texts(family);
  const sums = (lengths: number[]) => {
    let sum = 0;
    return [0, ...lengths.map((length) => (sum += length))];
  };
  return {
    ids: Uint32Array.from(rows.flatMap((row) => row.input_ids)),
    types: Uint32Array.from(
      rows.flatMap((row) => row.token_type_ids ?? row.input_ids.map(() => 0)),
    ),
    offsets: Uint32Array.from(sums(LENGTHS)),
    answers: Uint32Array.from(rows.flatMap(() => [0, 1, 2])),
    answerOffsets: Uint32Array.from(sums(rows.map(() => CLASSES))),
    labels: Int32Array.from(rows, (_, index) => index % CLASSES),
    rows: Uint32Array.from(rows, (_, index) => index),
  };
}

/** (B, C) at the posterior mean. */
async function logitsOf(adapter: Adapter, family: Family): Promise<Logits> {
  const options = { samples: 0, noise: 'token', seed: 1, stochasticLayers: null } as const;
  const logits = await adapter.predict(batch(family), options);
  return LENGTHS.map((_, row) => Array.from(logits.subarray(row * CLASSES, (row + 1) * CLASSES)));
}

async function trainOurs(family: Family, kind: string): Promise<void> {
  const model = models.get(family.name) as BayesianModel;
  const { targets, trained } = kinds(family)[kind as keyof ReturnType<typeof kinds>];
  const adapter = await model.createAdapter({
    ...{ rank: 4, alpha: 12, dropout: 0.1, targetModules: targets, seed: 1 },
    posterior: null,
    head: { classes: CLASSES, trained },
  });
  const schedule = { total: 40, warmup: 0, warmupStart: 0, stride: 1 };
  const point = { lr: 0.02, schedule, weightDecay: 0, adamEpsilon: 1e-6, maxGradNorm: 0 };
  const trainer = await Trainer.create(model, adapter, { seed: 1, method: { id: 'mle', point } });
  for (let step = 0; step < 40; step += 1) await trainer.step([batch(family)]);
  await adapter.save(at('ours', family.name, kind), { baseModel: at(family.name) });
  ours.set(`${family.name} ${kind}`, await logitsOf(adapter, family));
  await trainer.dispose();
  await adapter.dispose();
}

beforeAll(async () => {
  const newest = environments.at(-1);
  if (newest === undefined) throw new Error('a Python environment is needed');
  const maker = new PeftProcess(newest);
  for (const [seed, { name }] of FAMILIES.entries()) {
    maker.ask('make_encoder', { out: at(name), family: name, seed });
  }
  await maker.run();
  for (const family of FAMILIES) {
    models.set(family.name, await loadModel({ model: at(family.name), threads: 1 }));
    for (const kind of Object.keys(kinds(family))) await trainOurs(family, kind);
  }
  for (const environment of environments) {
    const python = new PeftProcess(environment);
    const asked = new Map<string, () => ClassReport>();
    for (const family of familiesOf(environment.name)) {
      const base = { model: at(family.name), family: family.name, classes: CLASSES };
      for (const kind of Object.keys(kinds(family))) {
        const details = { ...base, texts: texts(family), adapter: at('ours', family.name, kind) };
        asked.set(
          `${environment.name} ${family.name} ${kind}`,
          python.ask('class_logits', details),
        );
      }
      const out = at(`theirs-${environment.name}`, family.name);
      const settings = {
        task_type: 'SEQ_CLS',
        target_modules: family.everywhere,
        modules_to_save: family.saved,
      };
      python.ask('make_encoder_adapter', { ...base, out, seed: 5, settings });
      const details = { ...base, texts: texts(family), adapter: out };
      asked.set(`${environment.name} ${family.name} theirs`, python.ask('class_logits', details));
    }
    await python.run();
    for (const [name, report] of asked) reports.set(name, report());
  }
});

afterAll(async () => {
  for (const model of models.values()) await model.dispose();
  rmSync(folder, { recursive: true, force: true });
});

describe.each(environments.map(({ name }) => name))('PEFT %s', (environment) => {
  const cases = familiesOf(environment).flatMap((family) =>
    Object.keys(kinds(family)).map((kind) => ({ family, kind })),
  );

  it.each(cases)('reads what we trained: $family.name $kind', ({ family, kind }) => {
    const report = reports.get(`${environment} ${family.name} ${kind}`);
    const expected = ours.get(`${family.name} ${kind}`) ?? [];
    expect(report?.unexpected).toEqual([]);
    expect(report?.complaints).toEqual([]);
    expect(largestDifference(report?.logits ?? [], expected)).toBeLessThan(TOLERANCE);
  });

  it.each(familiesOf(environment))('wrote what we read: $name', async (family) => {
    const model = models.get(family.name) as BayesianModel;
    const adapter = await model.loadAdapter(at(`theirs-${environment}`, family.name));
    expect(adapter.info.notices).toEqual([]);
    expect(adapter.info.head).toEqual({ classes: CLASSES, trained: true });
    const report = reports.get(`${environment} ${family.name} theirs`);
    expect(largestDifference(await logitsOf(adapter, family), report?.logits ?? [])).toBeLessThan(
      TOLERANCE,
    );
    await adapter.dispose();
  });
});

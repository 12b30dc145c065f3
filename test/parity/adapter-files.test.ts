/**
 * Adapter files both ways with real PEFT, on tiny random Llamas with grouped keys: equal logits of
 * the posterior mean after the same token ids, over the whole vocabulary. A low-rank term that is
 * left out, misplaced or wrongly scaled is off by more than a hundredth.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Adapter, type BayesianModel, loadModel } from 'bpeft/engine';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  answerProbs,
  bayesianizeRun,
  encodedPrompts,
  evaluatedNll,
  largestDifference,
  meanLogits,
  meanNll,
  type Prompt,
  succeed,
  TOLERANCE,
  trainRun,
  writeQuestions,
} from './engine-side.ts';
import {
  type LoadReport,
  type Logits,
  PeftProcess,
  type PythonEnvironment,
  pythonEnvironments,
} from './peft-process.ts';

const HEAD = ['q_proj', 'v_proj', 'lm_head'];
const ALL = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'down_proj',
  'lm_head',
];
const MODELS = ['untied', 'tied'] as const;
/** Trained by us, read by PEFT, which passes over what only we know. */
const RUNS = [
  { name: 'blob-untied', method: 'blob', model: 'untied', targets: HEAD },
  { name: 'blob-tied', method: 'blob', model: 'tied', targets: HEAD },
  { name: 'mle-untied', method: 'mle', model: 'untied', targets: HEAD },
  { name: 'mle-tied', method: 'mle', model: 'tied', targets: HEAD },
  { name: 'blob-all-modules', method: 'blob', model: 'untied', targets: ALL },
  { name: 'bbb', method: 'bbb', model: 'untied', targets: HEAD },
  { name: 'ivon', method: 'ivon', model: 'untied', targets: HEAD },
  { name: 'swag', method: 'swag', model: 'untied', targets: HEAD },
  { name: 'scalabl', method: 'scalabl', model: 'untied', targets: HEAD },
  { name: 'tfb', method: 'tfb', model: 'untied', targets: HEAD },
  { name: 'laplace', method: 'laplace', model: 'untied', targets: HEAD },
] as const;
/** What of a method's file PEFT does not know, after the layer. */
const FOREIGN_KEYS: Readonly<Record<(typeof RUNS)[number]['method'], readonly string[]>> = {
  mle: [],
  blob: ['lora_A_rho'],
  tfb: ['lora_A_rho'],
  bbb: ['lora_A_rho', 'lora_B_rho'],
  ivon: ['lora_A_rho', 'lora_B_rho'],
  swag: ['lora_A_deviations', 'lora_A_rho', 'lora_B_deviations', 'lora_B_rho'],
  scalabl: ['lora_A_scale', 'lora_A_scale_rho'],
  laplace: [
    ...['laplace_precision'],
    ...['lora_A_curvature_input', 'lora_A_curvature_input_values'],
    ...['lora_A_curvature_output', 'lora_A_curvature_output_values'],
    ...['lora_B_curvature_input', 'lora_B_curvature_input_values'],
    ...['lora_B_curvature_output', 'lora_B_curvature_output_values'],
  ],
};
/** Folders of an ensemble's members, below that of the first. */
const MEMBERS = ['', 'adapter_1'] as const;
/** Made by PEFT, read by us. */
const FOREIGN = [
  { name: 'untied', model: 'untied', targets: HEAD },
  { name: 'tied', model: 'tied', targets: HEAD },
  { name: 'all-modules', model: 'untied', targets: ALL },
] as const;

/** Settings of PEFT that change more than A, B and the scaling. */
const REFUSED = [
  { setting: 'init_lora_weights', value: 'pissa' },
  { setting: 'init_lora_weights', value: 'olora' },
  { setting: 'use_dora', value: true },
  { setting: 'use_rslora', value: true },
  { setting: 'rank_pattern', value: { q_proj: 2 } },
  { setting: 'modules_to_save', value: ['embed_tokens'] },
  { setting: 'alora_invocation_tokens', value: [40, 41], since: 'newest' },
  { setting: 'lora_bias', value: true, since: 'newest' },
] as const;

/** What one version of PEFT says. */
interface Side {
  readonly peft: string;
  readonly fields: readonly string[];
  readonly base: (model: string) => Logits;
  readonly run: (name: string) => LoadReport;
  readonly member: (folder: string) => LoadReport;
  readonly context: string;
  readonly foreign: (name: string) => LoadReport;
}

const environments = pythonEnvironments();
const folder = mkdtempSync(join(tmpdir(), 'bpeft-parity-'));
const at = (...names: string[]): string => join(folder, ...names);
const data = at('data');
const runAdapter = (name: string): string => at('runs', name, 'adapter');
const foreignAdapter = (environment: string, name: string): string =>
  at(`foreign-${environment}`, name);
const refusedAdapter = (environment: string, setting: string, value: unknown): string =>
  at(`refused-${environment}`, setting, JSON.stringify(value).replaceAll(/\W/g, '-'));
const sides = new Map<string, Side>();
const models = new Map<string, BayesianModel>();
const differences = new Map<string, number>();
let prompts: readonly Prompt[] = [];

beforeAll(async () => {
  const newest = environments.at(-1);
  if (newest === undefined || environments.length < 2)
    throw new Error('two Python environments are needed');
  const maker = new PeftProcess(newest);
  for (const [seed, model] of MODELS.entries()) {
    maker.ask('make_model', { out: at(model), tied: model === 'tied', seed });
  }
  await maker.run();
  writeQuestions(data);
  for (const model of MODELS) models.set(model, await loadModel({ model: at(model), threads: 1 }));
  prompts = await encodedPrompts(engine('untied'), data);
  for (const { name, method, model, targets } of RUNS) {
    if (method === 'tfb' || method === 'laplace')
      await bayesianizeRun({ run: at('runs', 'mle-untied'), method, out: runAdapter(name) });
    else await trainRun({ model: at(model), data, out: at('runs', name), method, targets });
  }
  for (const method of ['ensemble', 'c-lora'] as const) {
    const run = { model: at('untied'), data, out: at('runs', method), targets: HEAD };
    await trainRun({ ...run, method });
  }
  for (const environment of environments)
    sides.set(environment.name, await everything(environment));
});

afterAll(async () => {
  for (const model of models.values()) await model.dispose();
  rmSync(folder, { recursive: true, force: true });
  const lines = [...differences].map(([what, value]) => `  ${value.toExponential(1)}  ${what}\n`);
  process.stdout.write(`largest difference, as a part of the largest logit:\n${lines.join('')}`);
});

async function everything(environment: PythonEnvironment): Promise<Side> {
  const python = new PeftProcess(environment);
  const ids = tokenIds();
  const versions = python.ask('versions');
  const fields = python.ask('lora_config_fields');
  const base = MODELS.map(
    (model) => [model, python.ask('logits', { model: at(model), prompts: ids })] as const,
  );
  const report = (model: string, adapter: string) =>
    python.ask('load_report', { model: at(model), adapter, prompts: ids, without: 'q_proj' });
  const runs = RUNS.map(({ name, model }) => [name, report(model, runAdapter(name))] as const);
  const members = MEMBERS.map(
    (folder) => [folder, report('untied', join(runAdapter('ensemble'), folder))] as const,
  );
  const context = python.ask('refusal', { model: at('untied'), adapter: runAdapter('c-lora') });
  const foreign = FOREIGN.map(({ name, model, targets }, seed) => {
    const out = foreignAdapter(environment.name, name);
    python.ask('make_adapter', { model: at(model), out, seed, target_modules: targets });
    return [name, report(model, out)] as const;
  });
  for (const { setting, value } of refusedOf(environment.name)) {
    const out = refusedAdapter(environment.name, setting, value);
    python.ask('make_adapter', {
      model: at('untied'),
      out,
      seed: 9,
      target_modules: HEAD,
      [setting]: value,
    });
  }
  await python.run();
  return {
    peft: versions().peft,
    fields: fields(),
    base: answerOf(base),
    run: answerOf(runs),
    member: answerOf(members),
    context: context(),
    foreign: answerOf(foreign),
  };
}

function refusedOf(environment: string): readonly { setting: string; value: unknown }[] {
  return REFUSED.filter((one) => !('since' in one) || one.since === environment);
}

function answerOf<T>(answers: readonly (readonly [string, () => T])[]): (name: string) => T {
  const byName = new Map(answers);
  return (name) => {
    const answer = byName.get(name)?.();
    if (answer === undefined) throw new Error(`no answer about ${name}`);
    return answer;
  };
}

function tokenIds(): number[][] {
  return prompts.map(({ ids }) => Array.from(ids));
}

function engine(model: string): BayesianModel {
  const loaded = models.get(model);
  if (loaded === undefined) throw new Error(`no model ${model}`);
  return loaded;
}

/** The engine's logits of the mean against PEFT's. */
async function expectSameLogits(
  what: string,
  model: string,
  adapter: Adapter,
  theirs: Logits,
): Promise<void> {
  const ours = await meanLogits(adapter, prompts, engine(model).info.vocabSize);
  const difference = largestDifference(ours, theirs);
  differences.set(what, difference);
  expect(difference).toBeLessThanOrEqual(TOLERANCE);
}

describe.each(environments)('PEFT $name', ({ name: environment }) => {
  const side = (): Side => {
    const answers = sides.get(environment);
    if (answers === undefined) throw new Error(`no answers of ${environment}`);
    return answers;
  };

  it('is of its version', () => {
    if (environment === '0.13') expect(side().peft).toMatch(/^0\.13\./);
    else expect(Number(side().peft.split('.')[1])).toBeGreaterThan(13);
  });

  it.each(MODELS)('agrees on the base model, %s head', async (model) => {
    const adapter = await engine(model).createAdapter({
      ...{ rank: 2, alpha: 4, dropout: 0, targetModules: HEAD, posterior: null, seed: 1 },
    });
    await expectSameLogits(`${environment}: base, ${model}`, model, adapter, side().base(model));
  });

  it.each(RUNS)(
    'loads $name whole: no key is missing, none but ours is foreign',
    ({ name, method, targets }) => {
      const { missing, unexpected, complaints, not_loaded, not_in_file, largest_b } =
        side().run(name);
      expect({ missing, complaints, not_loaded, not_in_file }).toEqual({
        ...{ missing: [], complaints: [], not_loaded: [], not_in_file: [] },
      });
      const foreign = unexpected.map((key) => key.replace(/\.again$/, '').replace(/^.*\./, ''));
      expect([...new Set(foreign)].sort()).toEqual(FOREIGN_KEYS[method]);
      expect(Object.keys(largest_b).sort()).toEqual([...targets].sort());
    },
  );

  it.each(RUNS)('gives $name the logits of our posterior mean', async ({ name, model }) => {
    const adapter = await engine(model).loadAdapter(runAdapter(name));
    await expectSameLogits(
      `${environment}: trained, ${name}`,
      model,
      adapter,
      side().run(name).logits,
    );
  });

  it.each(RUNS)('sees that every B of $name was trained, and that q counts', ({ name, model }) => {
    const { logits, logits_without, largest_b } = side().run(name);
    for (const largest of Object.values(largest_b)) expect(largest).toBeGreaterThan(0.01);
    expect(largestDifference(logits, logits_without)).toBeGreaterThan(100 * TOLERANCE);
    expect(largestDifference(logits, side().base(model))).toBeGreaterThan(100 * TOLERANCE);
  });

  it.each(MEMBERS)('loads each member of an ensemble by itself: %s', async (member) => {
    const { missing, unexpected, complaints, not_loaded, logits } = side().member(member);
    expect([missing, unexpected, complaints, not_loaded]).toEqual([[], [], [], []]);
    const ensemble = await engine('untied').loadAdapter(runAdapter('ensemble'));
    const all = await meanLogits(ensemble, prompts, engine('untied').info.vocabSize, 2);
    const from = MEMBERS.indexOf(member) * prompts.length;
    const ours = all.slice(from, from + prompts.length);
    expect(largestDifference(ours, logits)).toBeLessThanOrEqual(TOLERANCE);
  });

  it('refuses C-LoRA, of which A and B alone are not the mean', () => {
    expect(side().context).toContain('C_LORA');
  });

  it.each(RUNS)('gives $name the probabilities of bpeft predict', async ({ name, model }) => {
    const { stdout } = await succeed(
      ...[
        'predict',
        '--model',
        at(model),
        '--adapter',
        runAdapter(name),
        '--samples',
        '0',
        '--threads',
        '1',
      ],
      join(data, 'validation.jsonl'),
    );
    const ours = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).probs as number[]);
    const theirs = answerProbs(side().run(name).logits, prompts);
    expect(ours).toEqual(theirs.map((row) => row.map((prob) => expect.closeTo(prob, 4))));
  });

  it.each(FOREIGN)(
    'makes an adapter, $name, that gives the same logits here',
    async ({ name, model }) => {
      const adapter = await engine(model).loadAdapter(foreignAdapter(environment, name));
      const { logits, logits_without, not_in_file } = side().foreign(name);
      expect(not_in_file).toEqual([]);
      expect(adapter.info.bayesian).toBe(false);
      await expectSameLogits(`${environment}: foreign, ${name}`, model, adapter, logits);
      expect(largestDifference(logits, logits_without)).toBeGreaterThan(100 * TOLERANCE);
    },
  );

  it.each(FOREIGN)(
    'makes an adapter, $name, that bpeft eval scores alike',
    async ({ name, model }) => {
      const { nll, stderr } = await evaluatedNll(
        at(model),
        foreignAdapter(environment, name),
        data,
      );
      expect(nll).toBeCloseTo(
        meanNll(answerProbs(side().foreign(name).logits, prompts), prompts),
        4,
      );
      expect(stderr).toContain('lm_head.base_layer.weight repeats a frozen weight');
    },
  );

  it.each(refusedOf(environment))(
    'makes an adapter with $setting $value, which is refused',
    async (one) => {
      const { setting, value } = one;
      const loading = engine('untied').loadAdapter(refusedAdapter(environment, setting, value));
      await expect(loading).rejects.toMatchObject({
        code: 'BPEFT_UNSUPPORTED',
        message: expect.stringContaining(setting),
      });
    },
  );
});

it.each(RUNS)(
  'writes no key into the configuration of $name that PEFT does not know',
  ({ name }) => {
    const keys = Object.keys(
      JSON.parse(readFileSync(join(runAdapter(name), 'adapter_config.json'), 'utf8')),
    );
    for (const { fields } of sides.values())
      expect(keys.filter((key) => !fields.includes(key))).toEqual([]);
  },
);

// The types of both doors; the compiler checks them (`tsc --noEmit`), the names that are there at
// run time are checked here.

import type {
  BpeftErrorCode,
  CallOptions,
  PredictInput,
  Prediction,
  PredictOptions,
  Predictor,
  PredictRow,
  PredictRows,
  RefusedRow,
  ResolvedModel,
  RunContext,
  RunEvent,
  RunResult,
  Sink,
  StepDone,
  TrainOptions,
} from 'bpeft';
import * as bpeft from 'bpeft';
import * as engine from 'bpeft/engine';
import { expect, expectTypeOf, it } from 'vitest';

it("has the runs behind the main door, and the parts of one behind the engine's", () => {
  for (const name of [
    'train',
    'evaluate',
    'predict',
    'predictStream',
    'openPredictor',
    'loadModel',
    'demo',
    'compare',
  ]) {
    expect(bpeft).toHaveProperty(name);
  }
  for (const name of ['Trainer', 'Adapter', 'DataLoader', 'raggedBatch', 'encodeDataset']) {
    expect(engine).toHaveProperty(name);
    expect(bpeft).not.toHaveProperty(name);
  }
  expect(engine.BpeftError).toBe(bpeft.BpeftError);
});

it('types a run: options in, typed events meanwhile, a result out', () => {
  expectTypeOf(bpeft.train).toEqualTypeOf<
    (options: TrainOptions, context?: RunContext) => Promise<RunResult>
  >();
  expectTypeOf<TrainOptions['lr']>().toEqualTypeOf<number | undefined>();
  expectTypeOf<Extract<RunEvent, { type: 'step' }>>().toEqualTypeOf<StepDone>();
  expectTypeOf<NonNullable<RunContext['onEvent']>>().toExtend<
    Sink | ((event: RunEvent) => unknown)
  >();
  // @ts-expect-error a method that is not there
  const wrong: TrainOptions = { method: 'blbo' };
  expect(wrong).toBeDefined();
});

it('types predictions: a stream of answers and refusals, or all answers at once', () => {
  expectTypeOf<Parameters<typeof bpeft.predictStream>[0]>().toEqualTypeOf<PredictOptions>();
  expectTypeOf<Parameters<typeof bpeft.predictStream>[1]>().toEqualTypeOf<
    PredictInput | PredictRows
  >();
  expectTypeOf(bpeft.predictStream).returns.toExtend<AsyncIterable<Prediction | RefusedRow>>();
  expectTypeOf<Predictor['stream']>().returns.toExtend<AsyncIterable<Prediction | RefusedRow>>();
  expectTypeOf<Predictor['predict']>().returns.toEqualTypeOf<Promise<Prediction[]>>();
  expectTypeOf<Predictor['predict']>().parameter(0).toEqualTypeOf<readonly PredictRow[]>();
  const sound: PredictRow[] = [
    { question: 'Which planet has rings?', choices: ['Mars', 'Saturn'], id: 7, answer: 1 },
    { question: 'q', choices: { text: ['a', 'b'], label: ['A', 'B'] }, answerKey: 'B' },
    { text: 'The parcel never came.' },
    { premise: 'A dog runs.', hypothesis: 'An animal moves.', label: 'entailment' },
    { question: 'Is it?', passage: 'It is.' },
  ];
  // @ts-expect-error a question without choices
  const bare: PredictRow = { question: 'q' };
  // @ts-expect-error half a pair
  const half: PredictRow = { premise: 'A dog runs.' };
  expect([sound.length, bare, half]).toBeDefined();
  expectTypeOf<RefusedRow['error']['code']>().toEqualTypeOf<BpeftErrorCode>();
});

it('types what every long call takes, and what a model says of itself', () => {
  expectTypeOf<Parameters<typeof engine.loadModel>[1]>().toEqualTypeOf<CallOptions | undefined>();
  expectTypeOf<Parameters<engine.Trainer['step']>[1]>().toEqualTypeOf<CallOptions | undefined>();
  expectTypeOf<Parameters<engine.Adapter['predict']>[2]>().toEqualTypeOf<CallOptions | undefined>();
  expectTypeOf<Parameters<engine.Adapter['save']>[2]>().toEqualTypeOf<CallOptions | undefined>();
  expectTypeOf<Parameters<engine.Trainer['saveState']>[1]>().toEqualTypeOf<
    CallOptions | undefined
  >();
  expectTypeOf<Parameters<engine.Trainer['loadState']>[1]>().toEqualTypeOf<
    CallOptions | undefined
  >();
  expectTypeOf<Parameters<engine.BayesianModel['encode']>[2]>().toExtend<CallOptions | undefined>();
  expectTypeOf<engine.EncodeOptions>().toExtend<CallOptions>();
  expectTypeOf<
    engine.Adapter | engine.Trainer | engine.BayesianModel
  >().toExtend<AsyncDisposable>();
  expectTypeOf<engine.BayesianModel['resolved']>().toEqualTypeOf<ResolvedModel>();
  expectTypeOf<bpeft.BpeftError['name']>().toEqualTypeOf<'BpeftError' | 'AbortError'>();
});

/** Names of fields at every depth. */
type FieldsOf<T> = T extends readonly (infer Item)[]
  ? FieldsOf<Item>
  : T extends object
    ? { [K in keyof T & string]: (string extends K ? never : K) | FieldsOf<T[K]> }[keyof T & string]
    : never;

it('names what is in memory in camelCase, at every depth', () => {
  type Snake<T> = Extract<FieldsOf<T>, `${string}_${string}`>;
  expectTypeOf<Snake<RunResult>>().toBeNever();
  expectTypeOf<Snake<Prediction>>().toBeNever();
  expectTypeOf<Snake<bpeft.DryRun>>().toBeNever();
  expectTypeOf<Snake<bpeft.DemoResult>>().toBeNever();
  expectTypeOf<Snake<RunEvent>>().toBeNever();
  expectTypeOf<Snake<{ readonly a: readonly { b_c: 1 }[] }>>().toEqualTypeOf<'b_c'>();
});

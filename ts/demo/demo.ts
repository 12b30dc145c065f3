/**
 * The demonstration: what a Bayesian adapter buys, in two minutes, with nothing but the package.
 *
 * Trains MLE and BLoB on `builtin:exam-topics` with `builtin:tiny`, evaluates both on test, shift
 * and ood, and sets them side by side. Each training is an ordinary run with its own folder, so a
 * demonstration that was stopped goes on where it was.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseSettings } from '../config/parse.ts';
import type { DemoOptions } from '../config/schema.ts';
import { loadModel } from '../engine/model.ts';
import { BpeftError } from '../errors.ts';
import { observed } from '../events/sinks.ts';
import type { ComparedDetection, ComparedSplit, Contender } from '../report/comparison.ts';
import type { RunContext } from '../run/inputs/context.ts';
import { requireFolderForRuns } from '../run/records/folder-contents.ts';
import { readPredictions } from '../run/records/prediction-files.ts';
import type { RunResult } from '../run/records/result.ts';
import { RunFolder } from '../run/records/run-folder.ts';
import { train } from '../run/training/train.ts';
import { compared } from './compared.ts';
import { type OtherMethod, otherMethods } from './other-methods.ts';
import {
  DEMO_DATASET,
  DEMO_MODEL,
  DEMO_SAMPLES,
  DEMO_TRAINING,
  FOREIGN_SPLIT,
  LABELLED_SPLITS,
} from './settings.ts';

export interface DemoResult {
  readonly format: 1;
  readonly model: string;
  readonly dataset: string;
  readonly seed: number;
  readonly samples: number;
  readonly runs: Readonly<Record<'mle' | 'blob', string>>;
  readonly splits: readonly ComparedSplit[];
  readonly detection: ComparedDetection;
  /** What the other methods gave, from a table that ships with the package. */
  readonly others: readonly OtherMethod[];
  readonly trainingSeconds: Readonly<Record<'mle' | 'blob', number | null>>;
}

/**
 * @throws {BpeftError} `BPEFT_ABORTED` after a checkpoint; called again, the demonstration
 *   continues. `BPEFT_RUN_EXISTS`: `out` is a run's folder.
 */
export async function demo(
  options: DemoOptions = {},
  context: RunContext = {},
): Promise<DemoResult> {
  // The trainings are parts of one piece of work: its sink is closed once.
  return observed(context.onEvent, {}, ({ event }) =>
    demonstration(options, { ...context, onEvent: event }),
  );
}

async function demonstration(options: DemoOptions, context: RunContext): Promise<DemoResult> {
  const { seed, out, overwrite, threads } = parseSettings('demo', [
    { origin: 'option', values: options },
  ]);
  requireFolderForRuns(out);
  const runs = { mle: join(out, 'mle'), blob: join(out, 'blob') };
  const model =
    context.model ?? (await loadModel({ model: DEMO_MODEL, device: 'cpu', threads }, context));
  try {
    const results: Partial<Record<'mle' | 'blob', RunResult>> = {};
    for (const method of ['mle', 'blob'] as const) {
      const folder = new RunFolder(runs[method]);
      results[method] = await train(
        {
          ...DEMO_TRAINING[method],
          split: [...LABELLED_SPLITS, FOREIGN_SPLIT],
          evalSamples: method === 'mle' ? [0] : [DEMO_SAMPLES, 0],
          seed,
          out: folder.path,
          resume: !overwrite && existsSync(folder.config),
          overwrite,
        },
        { ...context, model },
      ).catch(withDemoHint);
    }
    const contenders = [
      await contender('MLE', runs.mle, 0),
      await contender('BLoB mean', runs.blob, 0),
      await contender(`BLoB N = ${DEMO_SAMPLES}`, runs.blob, DEMO_SAMPLES),
    ];
    const what = { labelled: LABELLED_SPLITS, foreign: FOREIGN_SPLIT, contenders };
    const { splits, detection } = await compared(what, context.signal);
    return {
      format: 1,
      model: model.resolved.name,
      dataset: DEMO_DATASET,
      seed,
      samples: DEMO_SAMPLES,
      runs,
      splits,
      detection,
      others: otherMethods(LABELLED_SPLITS, Object.keys(DEMO_TRAINING)),
      trainingSeconds: {
        mle: results.mle?.training?.seconds ?? null,
        blob: results.blob?.training?.seconds ?? null,
      },
    };
  } finally {
    if (context.model === undefined) await model.dispose();
  }
}

async function contender(name: string, run: string, samples: number): Promise<Contender> {
  const predictions: Record<string, Contender['runs'][number][string]> = {};
  for (const split of [...LABELLED_SPLITS, FOREIGN_SPLIT]) {
    const key = { dataset: DEMO_DATASET, split, samples };
    predictions[split] = await readPredictions(new RunFolder(run).predictions, key);
  }
  return { name, runs: [predictions] };
}

/** What a run asks for as flags, the demonstration does by itself when it is called again. */
function withDemoHint(error: unknown): never {
  if (error instanceof BpeftError && error.code === 'BPEFT_ABORTED') {
    throw new BpeftError(error.code, error.message, {
      hint: 'run the demo again to go on',
      cause: error,
    });
  }
  if (
    error instanceof BpeftError &&
    (error.code === 'BPEFT_USAGE' || error.code === 'BPEFT_RUN_EXISTS')
  ) {
    throw new BpeftError(error.code, error.message, {
      hint: 'give another --out, or --overwrite',
      cause: error,
    });
  }
  throw error;
}

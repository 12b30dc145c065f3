/** A training run: updates, evaluations, checkpoints, and a folder that holds the outcome. */

import { existsSync } from 'node:fs';
import type { TrainOptions } from '../../config/schema.ts';
import type { Adapter } from '../../engine/adapter.ts';
import type { Group } from '../../engine/group.ts';
import { BpeftError, throwIfAborted } from '../../errors.ts';
import type { RunEvent } from '../../events/run-event.ts';
import { observed, type Sinks } from '../../events/sinks.ts';
import { LogFile } from '../../logging/log-file.ts';
import { predictiveRule, trainingMethod } from '../../methods/registry.ts';
import { EarlierRows, effectiveSamples, evaluateSplit } from '../evaluation/evaluate-split.ts';
import { Temperatures } from '../evaluation/temperature.ts';
import { type RunContext, withModelOf } from '../inputs/context.ts';
import { keptByAdapter, writeAdapterRecord } from '../records/adapter-record.ts';
import { replaceFolder, replaceJson } from '../records/atomic.ts';
import { latestCheckpoint, type Progress, writeCheckpoint } from '../records/checkpoint.ts';
import { refuseDataFolder } from '../records/data-folder.ts';
import type { FolderLock } from '../records/lock.ts';
import { type LoggedSteps, MetricsLog, readLoggedSteps } from '../records/metrics-log.ts';
import { writePredictions } from '../records/prediction-files.ts';
import { refuseProtected } from '../records/protected.ts';
import {
  type EvaluationResult,
  type RunResult,
  trainingResult,
  writeResult,
} from '../records/result.ts';
import { RunFolder, recordedSettings } from '../records/run-folder.ts';
import type { RunRecord } from '../records/run-record.ts';
import { versions } from '../records/versions.ts';
import { requireWritable } from '../records/writable.ts';
import { serviceSinks } from '../services.ts';
import { dataRecord, ranksRecord, runRecord } from './record.ts';
import { checkSameInputs } from './resume.ts';
import { type Session, withSession } from './session.ts';
import { finishedRun, trainConfig } from './settings.ts';
import { stopped } from './stopped.ts';
import { beginTogether, dividedRun, tellSettings, together } from './together.ts';
import { trainedInputs } from './trained-inputs.ts';
import { compareRanks, nextUpdate } from './update.ts';

/**
 * Trains as `options` say and returns what `result.json` holds.
 * @throws {BpeftError} `BPEFT_ABORTED` after a checkpoint, when the context's signal fires;
 * `BPEFT_RUN_EXISTS`; `BPEFT_DEVICE` and `BPEFT_OUT_OF_MEMORY` likewise; `BPEFT_NOT_FINITE`, with
 * the last checkpoint intact; whatever the inputs deserve.
 */
export async function train(options: TrainOptions, context: RunContext = {}): Promise<RunResult> {
  if (options.dryRun === true) {
    throw new BpeftError('BPEFT_USAGE', 'train takes no dryRun', { hint: 'call dryRun() instead' });
  }
  return together(options, context, (group) => lead(options, context, group));
}

async function lead(
  options: TrainOptions,
  context: RunContext,
  group: Group | null,
): Promise<RunResult> {
  return observed(context.onEvent, { areHeldUntilStart: true }, async (sinks) => {
    const { event: emit } = sinks;
    const { signal } = context;
    const asked = await trainConfig(withModelOf(options, context, emit));
    const { config, division } = await dividedRun(asked, group);
    const notice = (message: string) => emit({ type: 'warning', code: 'BPEFT_NOTICE', message });
    for (const sink of await serviceSinks(config, notice)) sinks.add(sink);
    const folder = new RunFolder(config.out);
    folder.requireFree(config);
    if (config.resume && existsSync(folder.result)) {
      const result = await finishedRun(folder, config, notice);
      if (result !== null) return result;
    }
    await refuseProtected(config.out, trainedInputs(config, { isWhole: false }));
    await refuseDataFolder(folder.path, 'folder');
    await requireWritable(folder.path, 'folder');
    await tellSettings(group, config, division, context);
    const work = async (session: Session) => {
      throwIfAborted(signal);
      await using lock = await folder.open(config, { signal, notice });
      const run = await Run.open(folder, session, { signal, sinks, lock });
      try {
        await beginTogether(group, session, run.progress, context);
        return await run.complete();
      } finally {
        await run.close();
      }
    };
    const around = { ...context, group: group ?? undefined };
    return withSession(config, around, emit, work, division);
  });
}

/** Of σ in each layer. */
const SIGMA_QUANTILES = [0.05, 0.5, 0.95];

/** What a run has around it. */
interface Surroundings {
  readonly signal: AbortSignal | undefined;
  readonly sinks: Sinks;
  readonly lock: FolderLock;
}

/** One session at one run folder. */
class Run {
  readonly #folder: RunFolder;
  readonly #session: Session;
  readonly #surroundings: Surroundings;
  readonly #metrics: MetricsLog;
  readonly #ms: number[];
  readonly #record: RunRecord;
  /** Lines of the metrics log that a resumed run starts with. */
  readonly #logged: number;
  /** What the last written checkpoint holds. */
  #saved: Progress | null;
  #progress: Progress;
  #seconds: number;
  readonly #begun = performance.now();

  private constructor(
    folder: RunFolder,
    session: Session,
    surroundings: Surroundings,
    record: RunRecord,
    metrics: MetricsLog,
    start: LoggedSteps & { seconds: number; progress: Progress | null },
  ) {
    this.#folder = folder;
    this.#session = session;
    this.#surroundings = surroundings;
    this.#record = record;
    this.#ms = start.steps.map(({ ms }) => ms);
    this.#logged = start.lines;
    this.#metrics = metrics;
    surroundings.sinks.add(new LogFile(folder.log));
    this.#saved = start.progress;
    this.#progress = start.progress ?? { step: 0, epoch: 0, batch: 0, tokens: 0, evaluated: 0 };
    this.#seconds = start.seconds;
  }

  /** Writes the run's records, or goes back to its last checkpoint. */
  static async open(folder: RunFolder, session: Session, surroundings: Surroundings): Promise<Run> {
    const { config, order, trainer } = session;
    const checkpoint = config.resume ? await latestCheckpoint(folder.state) : null;
    if (checkpoint !== null) {
      await checkSameInputs(folder.config, {
        baseModel: session.model.resolved,
        adapter: session.initAdapter,
        train: session.train.record,
      });
      await trainer.loadState(checkpoint.folder);
      order.seek({ epoch: checkpoint.progress.epoch, batch: checkpoint.progress.batch });
    }
    await folder.writePaths(config);
    const record = runRecord(session);
    await replaceJson(folder.config, record);
    const start = checkpoint ?? { metricsBytes: 0, seconds: 0, progress: null };
    const logged = await readLoggedSteps(folder.metrics, start.metricsBytes);
    const metrics = await MetricsLog.open(folder.metrics, start.metricsBytes);
    return new Run(folder, session, surroundings, record, metrics, { ...start, ...logged });
  }

  async complete(): Promise<RunResult> {
    const { config, plan } = this.#session;
    this.#emit({
      type: 'run-started',
      command: 'train',
      method: config.method,
      model: this.#session.model.resolved.name,
      dataset: plan.dataset,
      out: this.#folder.path,
      steps: plan.steps,
      resumedAt: this.#saved?.step ?? null,
      plan,
      logged: this.#logged,
      record: this.#record,
    });
    try {
      await this.#updates();
      await this.#saveAdapter();
      const result = this.#result(await this.#evaluate({ isFinal: true }));
      await this.#metrics.flush();
      await this.#surroundings.lock.requireHeld();
      await writeResult(this.#folder.result, result);
      const seconds = (performance.now() - this.#begun) / 1000;
      this.#emit({ type: 'finished', command: 'train', out: this.#folder.path, seconds });
      return result;
    } catch (error) {
      throw await stopped(error, this.#session, {
        trained: this.#progress.step,
        saved: () => this.#saved?.step ?? null,
        save: () => this.#checkpoint(),
      });
    }
  }

  get progress(): Progress {
    return this.#progress;
  }

  close(): Promise<void> {
    return this.#metrics.close();
  }

  /** The run's own record first: unlike a sink, it must not fail. */
  #emit(event: RunEvent): void {
    this.#metrics.write(event);
    this.#surroundings.sinks.event(event);
  }

  async #updates(): Promise<void> {
    const { plan } = this.#session;
    if (this.#progress.step > 0) await this.#afterUpdate();
    while (this.#progress.step < plan.steps) {
      await this.#update();
      await compareRanks(this.#session, this.#progress.step, this.#surroundings);
      await this.#afterUpdate();
    }
    await this.#checkpoint();
  }

  async #update(): Promise<void> {
    const { order, plan } = this.#session;
    const { report, ms } = await nextUpdate(this.#session, this.#surroundings);
    this.#ms.push(ms);
    this.#seconds += ms / 1000;
    this.#progress = {
      ...this.#progress,
      ...order.cursor,
      step: this.#progress.step + 1,
      tokens: this.#progress.tokens + report.tokens,
    };
    this.#emit({
      type: 'step',
      step: this.#progress.step,
      steps: plan.steps,
      nll: report.nll,
      kl: report.kl,
      klWeight: report.klWeight,
      accuracy: report.correct / report.rows,
      lr: report.lr,
      klLr: report.klLr,
      sigmaMean: report.sigmaMean,
      gradNorm: report.gradNorm,
      tokens: report.tokens,
      ms,
    });
  }

  /**
   * What is due after an update; also asked after a resume, since the kill may have come in
   * between.
   */
  async #afterUpdate(): Promise<void> {
    const { config, plan } = this.#session;
    const { step, evaluated } = this.#progress;
    const isDue = (every: number) => every > 0 && step % every === 0 && step < plan.steps;
    if (isDue(config.evalEvery) && evaluated < step) {
      await this.#evaluate({ isFinal: false });
      this.#progress = { ...this.#progress, evaluated: step };
    }
    if (isDue(config.checkpointEvery)) await this.#checkpoint();
  }

  async #evaluate({ isFinal }: { isFinal: boolean }): Promise<EvaluationResult[]> {
    const { config, evaluations, heldOut, trainer } = this.#session;
    await using posterior = await trainer.posterior();
    const adapter = posterior ?? this.#session.adapter;
    const given = typeof config.temperature === 'number' ? config.temperature : null;
    const temperatures = new Temperatures(isFinal ? (heldOut ?? given) : null);
    const rule = predictiveRule(config.method, adapter.info, config);
    const settings = {
      ...config,
      stochasticLayers: null,
      rule,
      earlier: new EarlierRows(),
      temperatures,
    };
    const results: EvaluationResult[] = [];
    const held: RunEvent[] = [];
    const spread = await this.#posterior(adapter);
    if (spread !== null && isFinal) this.#emit(spread);
    else if (spread !== null) held.push(spread);
    for (const split of evaluations) {
      for (const samples of effectiveSamples(adapter, config.evalSamples, rule)) {
        const { signal } = this.#surroundings;
        const call = { signal, emit: (event: RunEvent) => this.#emit(event) };
        const evaluation = await evaluateSplit(adapter, split, samples, settings, call);
        results.push(evaluation.result);
        const { step } = this.#progress;
        const event: RunEvent = { type: 'evaluation', step, isFinal, result: evaluation.result };
        if (isFinal) {
          await this.#surroundings.lock.requireHeld();
          await writePredictions(this.#folder.predictions, evaluation);
          this.#emit(event);
        } else {
          held.push(event);
        }
      }
    }
    // All or none between updates: an interrupted round is repeated as a whole, so it must have
    // left no line.
    for (const event of held) this.#emit(event);
    return results;
  }

  async #posterior(adapter: Adapter): Promise<RunEvent | null> {
    const layers = await adapter.sigmaQuantiles(SIGMA_QUANTILES);
    if (layers.length === 0) return null;
    return { type: 'posterior', step: this.#progress.step, fractions: SIGMA_QUANTILES, layers };
  }

  async #checkpoint(): Promise<void> {
    const progress = this.#progress;
    if (this.#saved?.step === progress.step && this.#saved.evaluated === progress.evaluated) return;
    await this.#metrics.flush();
    await this.#surroundings.lock.requireHeld();
    const clock = { metricsBytes: this.#metrics.bytes, seconds: this.#seconds };
    const { folder } = await writeCheckpoint(
      this.#folder.state,
      this.#session.trainer,
      progress,
      clock,
    );
    this.#saved = progress;
    this.#emit({ type: 'checkpoint', step: progress.step, folder });
  }

  async #saveAdapter(): Promise<void> {
    const { config, model, train, trainer } = this.#session;
    const { name, sha256 } = model.resolved;
    await using posterior = await trainer.posterior();
    const adapter = posterior ?? this.#session.adapter;
    await this.#surroundings.lock.requireHeld();
    await replaceFolder(this.#folder.adapter, async (temporary) => {
      await adapter.save(temporary, { baseModel: name });
      await writeAdapterRecord(temporary, {
        format: 1,
        method: config.method,
        sigma: adapter.info.sigma,
        members: adapter.info.members,
        ...trainingMethod(config.method).record(config),
        protocol: config.protocol,
        labels: train.labelNames === null ? null : [...train.labelNames],
        label_tokens: { ...train.encoded.labelTokens },
        base_model: { sha256, name },
        dataset: train.encoded.name,
        train_split: train.encoded.split,
        family: train.family,
        ...keptByAdapter(config),
      });
    });
  }

  #result(evaluations: readonly EvaluationResult[]): RunResult {
    const { config, model, plan, initAdapter } = this.#session;
    const { step: steps, tokens } = this.#progress;
    const took = { steps, tokens, seconds: this.#seconds, ms: this.#ms };
    return {
      format: 1,
      method: config.method,
      model: model.resolved.name,
      dataset: plan.dataset,
      seed: config.seed,
      protocol: config.protocol,
      run: recordedSettings('train', config),
      adapter: initAdapter,
      training: trainingResult({ ...took, peakGpuBytes: model.peakGpuBytes() }),
      evaluations,
      metrics: evaluations[0]?.metrics ?? null,
      data: dataRecord(this.#session),
      ranks: ranksRecord(this.#session),
      versions: versions(),
    };
  }
}

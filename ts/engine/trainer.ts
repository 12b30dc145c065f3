/** Updates of one adapter, one call each; loops, folders and evaluations are `run/train.ts`. */

import type { RaggedBatch } from '../batches/ragged-batch.ts';
import { throwIfAborted } from '../errors.ts';
import type { MethodOptions } from '../methods/engine-options.ts';
import { abortable, freed, native } from './abort.ts';
import { Adapter } from './adapter.ts';
import type { NativeTrainer } from './addon.d.ts';
import { type CallOptions, told } from './call.ts';
import type { Group } from './group.ts';
import type { BayesianModel } from './model.ts';
import { loadNative } from './native.ts';

export interface TrainerOptions {
  readonly seed: number;
  readonly method: MethodOptions;
  /**
   * Most bytes of activations to keep for the backward pass, beside each block's input; what does
   * not fit is computed again, with the same bits. All unless given.
   */
  readonly keptBytes?: number | undefined;
  /**
   * Dropout of an encoder's own activations, in [0, 1): behind the embeddings, of what attention
   * and MLP give, and of what the head reads; not of attention probabilities. None unless given.
   */
  readonly baseDropout?: number | undefined;
}

export interface StepReport {
  /** Updates done, from 1. */
  readonly step: number;
  /** Mean over the update's rows, nats. */
  readonly nll: number;
  /** KL(q‖p) before its weight, nats; null without a posterior. */
  readonly kl: number | null;
  readonly klWeight: number | null;
  /** Rows whose most probable class is their label. */
  readonly correct: number;
  readonly rows: number;
  readonly tokens: number;
  readonly lr: number;
  readonly klLr: number | null;
  readonly sigmaMean: number | null;
  /** L2 norm of the NLL gradient of mean and B before clipping. */
  readonly gradNorm: number;
}

/** Made by {@link Trainer.create}. */
export class Trainer implements AsyncDisposable {
  readonly #native: NativeTrainer;
  /** Of the adapter, which a state holds. */
  readonly #tensors: number;

  private constructor(handle: NativeTrainer, tensors: number) {
    this.#native = handle;
    this.#tensors = tensors;
  }

  static async create(
    model: BayesianModel,
    adapter: Adapter,
    options: TrainerOptions,
    group?: Group | undefined,
  ): Promise<Trainer> {
    const { keptBytes, baseDropout, ...train } = options;
    const text = JSON.stringify({
      train,
      keptBytes: keptBytes ?? null,
      baseDropout: baseDropout ?? 0,
    });
    const handle = await native(() =>
      loadNative().NativeTrainer.create(model.handle, adapter.handle, text, group?.handle),
    );
    return new Trainer(handle, adapter.info.tensors);
  }

  /**
   * One update over one or more batches, each weighted by its rows; an aborted update changes
   * nothing.
   */
  step(batches: readonly RaggedBatch[], call: CallOptions = {}): Promise<StepReport> {
    return this.#step(batches, null, call);
  }

  /**
   * {@link step} over this process's part of an update that all of its group make, or none.
   * @param rows those of each member in the whole update
   */
  stepOfShare(
    batches: readonly RaggedBatch[],
    rows: number,
    call: CallOptions = {},
  ): Promise<StepReport> {
    return this.#step(batches, rows, call);
  }

  async #step(
    batches: readonly RaggedBatch[],
    rows: number | null,
    { signal }: CallOptions,
  ): Promise<StepReport> {
    const report = await abortable(signal, (abort) => this.#native.step([...batches], rows, abort));
    const { kl, klWeight, klLr, sigmaMean } = report;
    return {
      ...report,
      kl: kl ?? null,
      klWeight: klWeight ?? null,
      klLr: klLr ?? null,
      sigmaMean: sigmaMean ?? null,
    };
  }

  /** What its group adds up by: NCCL where all have GPUs and the library; null without a group. */
  get summedBy(): 'tcp' | 'nccl' | null {
    return this.#native.summedBy() as 'tcp' | 'nccl' | null;
  }

  /** Takes parameters, optimizers and the number of updates of rank 0. */
  async takeStateOfFirst({ signal }: CallOptions = {}): Promise<void> {
    await abortable(signal, (abort) => this.#native.takeStateOfFirst(abort));
  }

  /** @throws {BpeftError} `BPEFT_RANKS`: not all of its group have the same parameters. */
  async compareParameters({ signal }: CallOptions = {}): Promise<void> {
    await abortable(signal, (abort) => this.#native.compareParameters(abort));
  }

  /**
   * What answers now, an adapter of its own, where that is not the one that is trained; null: it
   * is, or there is nothing else yet.
   */
  async posterior(): Promise<Adapter | null> {
    const handle = await native(() => this.#native.posterior());
    return handle === null ? null : Adapter.of(handle);
  }

  /**
   * Adapter and optimizers into an existing folder. A signal is heard before: a write that has
   * begun ends.
   */
  async saveState(folder: string, call: CallOptions = {}): Promise<void> {
    throwIfAborted(call.signal);
    const what = { activity: 'saving', unit: 'tensors', total: this.#tensors } as const;
    await told(call, what, () => native(() => this.#native.saveState(folder)));
  }

  /** Adapter and optimizers of a folder, all or nothing. A signal is heard before. */
  async loadState(folder: string, call: CallOptions = {}): Promise<void> {
    throwIfAborted(call.signal);
    const what = { activity: 'reading', unit: 'tensors', total: this.#tensors } as const;
    await told(call, what, () => native(() => this.#native.loadState(folder)));
  }

  /**
   * Waits for running work and frees the optimizers; the adapter stays, later calls reject with
   * `BPEFT_WORKER_STOPPED`.
   */
  dispose(): Promise<void> {
    return freed(() => this.#native.dispose());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }
}

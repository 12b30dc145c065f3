/**
 * Real PEFT in a Python process of its own: jobs for `tools/parity/peft_side.py`, one after
 * another.
 */

import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** As `tools/parity/environments.mjs` made it. */
export interface PythonEnvironment {
  readonly name: string;
  readonly python: string;
  /** Goes first on PYTHONPATH; may be empty. */
  readonly path: string;
}

/** (B, V): a row of the whole vocabulary for each prompt. */
export type Logits = readonly (readonly number[])[];

export interface LoadReport {
  readonly logits: Logits;
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly complaints: readonly string[];
  readonly not_loaded: readonly string[];
  readonly not_in_file: readonly string[];
  readonly largest_b: Readonly<Record<string, number>>;
  /** With B of one module set to 0. */
  readonly logits_without: Logits;
}

/** How PEFT takes an encoder's adapter. */
export interface ClassReport {
  /** (B, C) */
  readonly logits: Logits;
  readonly unexpected: readonly string[];
  readonly complaints: readonly string[];
}

/** What laplace-torch makes of an adapter. */
export interface LaplaceReport {
  /** ln Z, nats. */
  readonly evidence: number;
  /** (B, C) */
  readonly mean: Logits;
  /** (B, C, C) */
  readonly covariance: readonly Logits[];
  /** (B, C) probabilities. */
  readonly bridge: Logits;
}

export interface ReferenceReport {
  readonly sigma_mean: number;
  readonly kl: number;
  /** (B, V): standard deviation of each logit when only the head samples. */
  readonly head_logit_std: Logits;
}

/** What each job answers. */
interface Answers {
  readonly versions: {
    readonly peft: string;
    readonly transformers: string;
    readonly torch: string;
  };
  readonly lora_config_fields: readonly string[];
  readonly make_model: null;
  readonly make_encoder: null;
  readonly make_adapter: null;
  readonly make_encoder_adapter: null;
  readonly class_logits: ClassReport;
  readonly make_reference_checkpoint: ReferenceReport;
  readonly logits: Logits;
  readonly load_report: LoadReport;
  readonly refusal: string;
  readonly laplace: LaplaceReport;
}

const script = join(import.meta.dirname, '../../tools/parity/peft_side.py');

export function pythonEnvironments(): readonly PythonEnvironment[] {
  const text = process.env.BPEFT_PARITY_ENVIRONMENTS;
  if (text === undefined)
    throw new Error('no Python environment: start this with npm run test:parity');
  return JSON.parse(text) as PythonEnvironment[];
}

/** Jobs for one process; each answer is there when the process has ended. */
export class PeftProcess {
  readonly #environment: PythonEnvironment;
  readonly #jobs: object[] = [];
  #answers: readonly unknown[] = [];

  constructor(environment: PythonEnvironment) {
    this.#environment = environment;
  }

  /** Puts a job last in the queue. @returns its answer, once {@link run} has ended */
  ask<K extends keyof Answers>(
    kind: K,
    details: Readonly<Record<string, unknown>> = {},
  ): () => Answers[K] {
    const place = this.#jobs.push({ kind, ...details }) - 1;
    return () => this.#answers[place] as Answers[K];
  }

  async run(): Promise<void> {
    const { python, path } = this.#environment;
    const folder = await mkdtemp(join(tmpdir(), 'bpeft-parity-jobs-'));
    try {
      const [jobs, answers] = [join(folder, 'jobs.json'), join(folder, 'answers.json')];
      await writeFile(jobs, JSON.stringify(this.#jobs));
      const env = {
        ...process.env,
        PYTHONPATH: path,
        HF_HUB_OFFLINE: '1',
        TOKENIZERS_PARALLELISM: 'false',
      };
      await promisify(execFile)(python, [script, jobs, answers], { env, maxBuffer: 1 << 26 });
      this.#answers = JSON.parse(await readFile(answers, 'utf8'));
    } finally {
      await rm(folder, { recursive: true });
    }
  }
}

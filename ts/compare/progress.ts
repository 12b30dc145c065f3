/** `compare.json` of a comparison: which jobs are done, with which settings, and what they took. */

import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { z } from 'zod';
import { SETTINGS } from '../config/schema.ts';
import { BpeftError } from '../errors.ts';
import { snakeCase } from '../names.ts';
import { replaceJson } from '../run/records/atomic.ts';
import { fromFileJson } from '../run/records/json.ts';
import { recordedSettings } from '../run/records/run-folder.ts';
import type { JobDone } from './job-process.ts';
import type { Job } from './jobs.ts';

const Done = z.object({
  /** Of the job, below the folder of the comparison. */
  out: z.string(),
  settings: z.record(z.string(), z.unknown()),
  peakRssMb: z.number().nonnegative(),
});
type Done = z.output<typeof Done>;
const File = z.object({ format: z.literal(1), jobs: z.array(Done) });

export class Progress {
  readonly #out: string;
  readonly #jobs: Map<string, Done>;

  private constructor(out: string, jobs: readonly Done[]) {
    this.#out = out;
    this.#jobs = new Map(jobs.map((job) => [job.out, job]));
  }

  /** @throws {BpeftError} `BPEFT_CHECKPOINT`: the file is damaged */
  static async open(out: string): Promise<Progress> {
    const path = join(out, FILE);
    if (!existsSync(path)) return new Progress(out, []);
    try {
      return new Progress(out, File.parse(fromFileJson(await readFile(path, 'utf8'))).jobs);
    } catch (cause) {
      throw new BpeftError('BPEFT_CHECKPOINT', `${path} is damaged`, {
        hint: 'remove it: finished trainings are kept, and what was made of them is made again',
        cause,
      });
    }
  }

  isDone({ out }: Job): boolean {
    return this.#jobs.has(relative(this.#out, out));
  }

  /** @throws {BpeftError} `BPEFT_USAGE`: the job is done, with other settings */
  requireSame(job: Job): void {
    const known = this.#jobs.get(relative(this.#out, job.out));
    if (known === undefined) return;
    const now = decisive(job);
    const other = [...new Set([...Object.keys(known.settings), ...Object.keys(now)])].find(
      (key) => JSON.stringify(known.settings[key]) !== JSON.stringify(now[key]),
    );
    if (other === undefined) return;
    const [before, after] = [known.settings[other], now[other]].map(
      (value) => JSON.stringify(value) ?? 'unset',
    );
    const message = `${job.out} is done with ${snakeCase(other)} ${before}, and the table has ${after} now`;
    throw new BpeftError('BPEFT_USAGE', message, {
      hint: 'give another --out, or the row another name',
    });
  }

  async finish(job: Job, { peakRssMb }: JobDone): Promise<void> {
    const out = relative(this.#out, job.out);
    this.#jobs.set(out, { out, settings: decisive(job), peakRssMb });
    await mkdir(this.#out, { recursive: true });
    await replaceJson(join(this.#out, FILE), { format: 1, jobs: [...this.#jobs.values()] });
  }

  /** Most memory of the process behind a folder, MB; null: unknown. */
  peakRssMb(out: string): number | null {
    return this.#jobs.get(relative(this.#out, out))?.peakRssMb ?? null;
  }
}

const FILE = 'compare.json';

/** The settings on which a job's numbers depend, as a file holds them. */
function decisive({ command, options }: Job): Record<string, unknown> {
  const recorded = recordedSettings(command, options);
  return Object.fromEntries(
    Object.entries(recorded).filter(
      ([key, value]) => value !== undefined && SETTINGS[key]?.decides !== 'nothing',
    ),
  );
}

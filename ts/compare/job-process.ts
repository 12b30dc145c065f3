/** Runs one job in a process of its own. */

import { fork } from 'node:child_process';
import { abortError, BpeftError, type BpeftErrorCode, throwIfAborted } from '../errors.ts';
import type { RunEvent } from '../events/run-event.ts';
import { workerUrl } from '../threads/off-thread.ts';
import type { Job } from './jobs.ts';

export type JobRequest = Pick<Job, 'command' | 'options'> | 'stop';

export type JobMessage =
  | { readonly event: RunEvent }
  | { readonly done: JobDone }
  | {
      readonly failed: {
        readonly code: BpeftErrorCode;
        readonly message: string;
        readonly hint: string | null;
      };
    };

export interface JobDone {
  /** Most memory of the process. */
  readonly peakRssMb: number;
}

/**
 * @throws {BpeftError} what the job throws; `BPEFT_WORKER_STOPPED`, where its process ends
 * otherwise
 */
export async function runJob(
  job: Job,
  call: {
    readonly signal?: AbortSignal | undefined;
    readonly onEvent: (event: RunEvent) => void;
  },
): Promise<JobDone> {
  const { signal, onEvent } = call;
  throwIfAborted(signal);
  const child = fork(workerUrl('compare/job-worker'), { execArgv: [], serialization: 'advanced' });
  const stop = () => child.connected && child.send('stop' satisfies JobRequest);
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<JobDone>((resolve, reject) => {
      child.on('message', (message: JobMessage) => {
        if ('event' in message) onEvent(message.event);
        else if ('done' in message) resolve(message.done);
        else reject(failure(message.failed, signal));
      });
      child.once('error', reject);
      child.once('exit', (code, name) => reject(ended(job, code ?? name)));
      child.send({ command: job.command, options: job.options } satisfies JobRequest);
    });
  } finally {
    signal?.removeEventListener('abort', stop);
    if (child.connected) child.disconnect();
  }
}

function failure(
  { code, message, hint }: { code: BpeftErrorCode; message: string; hint: string | null },
  signal: AbortSignal | undefined,
): BpeftError {
  if (code === 'BPEFT_ABORTED') return abortError(signal, message);
  return new BpeftError(code, message, { hint: hint ?? undefined });
}

function ended({ command, out }: Job, how: number | string | null): BpeftError {
  const message = `${command} of ${out}: its process ended with ${how ?? 'nothing said'}`;
  return new BpeftError('BPEFT_WORKER_STOPPED', message, {
    hint: 'memory may have been short; the same command goes on from here',
  });
}

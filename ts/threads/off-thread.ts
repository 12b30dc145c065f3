/**
 * Work that would keep the event loop waiting, each piece on a thread of its own.
 *
 * A worker is a file that ends in {@link serve}: it gets one input, may tell its progress, and
 * gives one output. Inputs and outputs are copied (structured clone).
 */

import { once } from 'node:events';
import { parentPort, type ResourceLimits, Worker, workerData } from 'node:worker_threads';
import { abortError, throwIfAborted } from '../errors.ts';

type Message<Output, Told> = { readonly output: Output } | { readonly told: Told };

/**
 * Runs the worker `name` (a path in `ts/`, without its extension) on `input`.
 * @throws what the worker throws; {@link abortError} as soon as the signal fires, which ends the
 * thread
 */
export async function offThread<Input, Output, Told = never>(
  name: string,
  input: Input,
  call: { signal?: AbortSignal | undefined; tell?: ((told: Told) => void) | undefined } = {},
): Promise<Output> {
  const { signal, tell } = call;
  throwIfAborted(signal);
  // A host's own flags, such as --input-type, are not about our files.
  const worker = new Worker(workerUrl(name), { workerData: input, execArgv: [] });
  let onAbort = () => {};
  try {
    return await new Promise<Output>((resolve, reject) => {
      onAbort = () => reject(abortError(signal));
      signal?.addEventListener('abort', onAbort, { once: true });
      worker.on('message', (message: Message<Output, Told>) => {
        if ('output' in message) resolve(message.output);
        else tell?.(message.told);
      });
      worker.once('error', reject);
      worker.once('exit', (code) =>
        reject(new Error(`the thread ended without an answer (code ${code})`)),
      );
    });
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}

/**
 * What the worker `name` yields on `input`, part by part, each made while the one before is used.
 * @throws what the worker throws
 */
export async function* partsOffThread<Input, Part>(
  name: string,
  input: Input,
  resourceLimits: ResourceLimits,
): AsyncGenerator<Part, void, undefined> {
  const worker = new Worker(workerUrl(name), { workerData: input, execArgv: [], resourceLimits });
  // Listened to throughout: between two parts, too, the thread may end.
  const failed = new Promise<never>((_, reject) => {
    worker.once('error', reject);
    worker.once('exit', (code) =>
      reject(new Error(`the thread ended without an answer (code ${code})`)),
    );
  });
  failed.catch(() => {});
  // Not by `events.once`: it takes so long to settle that the thread's end, told with its last
  // part, came first.
  const next = () =>
    Promise.race([
      new Promise<PartMessage<Part>>((resolve) => worker.once('message', resolve)),
      failed,
    ]);
  try {
    for (let coming = next(); ; ) {
      const message = await coming;
      if (message.isLast) return;
      coming = next(); // listens before the thread goes on: what nobody hears is lost
      coming.catch(() => {});
      worker.postMessage('taken');
      yield message.part;
    }
  } finally {
    await worker.terminate();
  }
}

type PartMessage<Part> =
  | { readonly isLast: false; readonly part: Part }
  | { readonly isLast: true };

/** The worker's side of {@link partsOffThread}: is at most one part ahead. */
export async function serveParts<Input, Part>(
  work: (input: Input) => AsyncIterable<Part>,
): Promise<void> {
  const port = parentPort;
  if (port === null) return;
  const post = (message: PartMessage<Part>) => port.postMessage(message);
  for await (const part of work(workerData as Input)) {
    post({ isLast: false, part });
    await once(port, 'message');
  }
  post({ isLast: true });
}

/** The worker's side: answers the input that it was started with. */
export async function serve<Input, Output, Told = never>(
  work: (input: Input, tell: (told: Told) => void) => Promise<Output> | Output,
): Promise<void> {
  const post = (message: Message<Output, Told>) => parentPort?.postMessage(message);
  post({ output: await work(workerData as Input, (told) => post({ told })) });
}

/**
 * The file of a worker `name`. Threads and processes run JavaScript: beside sources that are run as
 * they are, the build's.
 */
export function workerUrl(name: string): URL {
  const here = import.meta.url;
  const base = here.endsWith('.ts') ? '../../dist/' : '../';
  return new URL(`${base}${name}.js`, here);
}

/**
 * Ctrl-C, SIGTERM and a terminal that closes: the first asks the work to stop in good order, a
 * second Ctrl-C or SIGTERM ends the process. A closing terminal sends SIGHUP more than once, so
 * that a second one says nothing.
 */

import { EXIT } from './exit.ts';
import type { Output } from './output.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export async function interruptible<T>(
  output: Output,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (name !== 'SIGHUP') process.exit(EXIT.interrupted);
      return;
    }
    output.stderr.write('\nstopping; once more to stop at once\n');
    controller.abort();
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}

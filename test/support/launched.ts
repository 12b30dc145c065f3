/** Processes that train together, started as a launcher would start them on one machine. */

import { createServer } from 'node:net';
import { BpeftProcess, type Finished } from './bpeft-process.ts';

/** A port that is free now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' ? (address?.port ?? 0) : 0));
    });
  });
}

/** One process for each list of arguments, by rank. */
export async function launched(
  argsOfRanks: readonly (readonly string[])[],
  environment: Readonly<Record<string, string>> = {},
): Promise<BpeftProcess[]> {
  const place = {
    WORLD_SIZE: String(argsOfRanks.length),
    MASTER_ADDR: '127.0.0.1',
    MASTER_PORT: String(await freePort()),
    BPEFT_MEET_SECONDS: '60',
  };
  return argsOfRanks.map((args, rank) => {
    const own = { RANK: String(rank), LOCAL_RANK: String(rank) };
    return new BpeftProcess(args, { environment: { ...place, ...own, ...environment } });
  });
}

export function ended(processes: readonly BpeftProcess[]): Promise<Finished[]> {
  return Promise.all(processes.map(({ finished }) => finished));
}

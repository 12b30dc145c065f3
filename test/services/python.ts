import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { virtualEnvironment } from '../../tools/python/environment.mjs';

/** Python with the real wandb and tensorboard packages. @throws when they cannot be installed */
export function servicesPython(): string {
  const python = virtualEnvironment('services');
  if (python === null)
    throw new Error('the Python packages of tools/python/services.txt cannot be installed');
  return python;
}

/** Runs Python and returns its standard output. */
export async function runPython(
  python: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...environment };
  const { stdout, stderr } = await promisify(execFile)(python, args, { env, maxBuffer: 1 << 26 });
  return stdout + stderr;
}

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { virtualEnvironment } from '../../tools/python/environment.mjs';

/** Python with the packages of `tools/python/<list>.txt`. @throws when they cannot be installed */
function python(list: string): string {
  const path = virtualEnvironment(list);
  if (path === null)
    throw new Error(`the Python packages of tools/python/${list}.txt cannot be installed`);
  return path;
}

/** With the real wandb and tensorboard. */
export const servicesPython = (): string => python('services');

/** With the real huggingface_hub. */
export const hubPython = (): string => python('hub');

/** With the real datasets and pyarrow. */
export const datasetsPython = (): string => python('datasets');

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

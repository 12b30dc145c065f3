import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { temporaryFolder } from './temporary-folder.ts';

const root = join(import.meta.dirname, '../..');
const library = join(root, 'dist/index.js');

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * What scripts of guests begin with: the built engine as `bpeft`, the folder of the library as
 * `dist`, a batch of prompts, and a training that is over only when somebody ends it.
 */
const PRELUDE = `
import { setTimeout as sleep } from 'node:timers/promises';
const dist = ${JSON.stringify(pathToFileURL(join(root, 'dist/')).href)};
const bpeft = await import(dist + 'engine/index.js');
const batchOf = (prompts, tokens) => bpeft.raggedBatch(Array.from({ length: prompts }, (_, row) => ({
  row, id: null, ids: Uint32Array.from({ length: tokens }, (_, at) => (at * 31 + row) % 256),
  answers: Uint32Array.of(65, 66), label: 0, truncated: false,
})));
const shape = { rank: 4, alpha: 8, dropout: 0, targetModules: ['q_proj', 'v_proj', 'lm_head'], seed: 1,
  posterior: { sigma: 'square', initEps: 0.05 } };
const point = { lr: 1e-4, schedule: { total: 1000, warmup: 0, warmupStart: 0, stride: 1 }, weightDecay: 0, adamEpsilon: 1e-6,
  maxGradNorm: 0 };
const run = { seed: 1, method: { id: 'mle', point } };
const plain = { samples: 0, noise: 'token', seed: 1, stochasticLayers: null };
const trainForever = async (model) => {
  const trainer = await bpeft.Trainer.create(model, await model.createAdapter({ ...shape, posterior: null }), run);
  for (;;) await trainer.step([batchOf(2, 64)]);
};
`;

/** Runs an ES module, after the prelude, in a process of its own. */
export function runNode(
  script: string,
  { env = {}, args = [] }: { env?: NodeJS.ProcessEnv; args?: readonly string[] } = {},
): Promise<Ended> {
  if (!existsSync(library)) throw new Error('dist/ is missing: run npm run build first');
  const child = spawn(process.execPath, ['--input-type=module', '-e', PRELUDE + script, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Runs in a worker thread what `runNode` would run in a process. */
export function workerScript(script: string): string {
  return JSON.stringify(`data:text/javascript,${encodeURIComponent(PRELUDE + script)}`);
}

/** A shared library, of C. */
export function sharedLibrary(source: string, ...flags: string[]): string {
  const path = join(temporaryFolder(), 'library.so');
  const args = ['-shared', '-fPIC', '-O1', ...flags, '-x', 'c', '-', '-o', path, '-ldl'];
  const { status, stderr } = spawnSync('cc', args, { input: source, encoding: 'utf8' });
  if (status !== 0) throw new Error(`cc: ${stderr}`);
  return path;
}

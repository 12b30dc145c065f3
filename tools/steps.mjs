// What the developers' scripts share: running a command, and getting a checkout ready.

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

const isWindows = process.platform === 'win32';
/** npm and what it installs are scripts there. */
const needsShell = (command) => isWindows && !/\.exe$/.test(command);

const abi = { linux: '-gnu', win32: '-msvc' }[process.platform] ?? '';
/** The platform's folder below npm/, as `ts/engine/native.ts` looks for it. */
export const platform = `${process.platform}-${process.arch}${abi}`;

/**
 * Runs a command in the checkout; `capture` returns its output, which is shown unless `isSilent`.
 */
export function run(
  command,
  args,
  { capture = false, isSilent = false, extraEnv = {}, stdio } = {},
) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...extraEnv },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: stdio ?? (capture ? ['ignore', 'pipe', 'inherit'] : 'inherit'),
    shell: needsShell(command),
  });
  if (capture && !isSilent) process.stdout.write(result.stdout ?? '');
  if (result.error) process.stderr.write(`${command}: ${result.error.message}\n`);
  return { ok: result.status === 0, stdout: result.stdout ?? '' };
}

/** A program that a package of npm brought. */
export const binPath = (name) => `${root}node_modules/.bin/${name}`;

export function bin(name, args, options) {
  return run(binPath(name), args, options);
}

/**
 * Runs a command of the checkout beside others. Both streams go to `show` as they come, and what
 * went to standard output comes back.
 */
export function start(command, args, { show, extraEnv = {} }) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...extraEnv },
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: needsShell(command),
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      show(text);
    });
    child.stderr.setEncoding('utf8').on('data', show);
    child.on('error', ({ message }) => {
      show(`${command}: ${message}\n`);
      resolve({ ok: false, stdout });
    });
    child.on('close', (status) => resolve({ ok: status === 0, stdout }));
  });
}

/**
 * The versions of package-lock.json. Not `npm ci`: it insists on an entry for every platform's
 * optional binary, which a registry that mirrors only some platforms cannot give.
 */
export function installPackages() {
  const installed = `${root}node_modules/.package-lock.json`;
  const isFresh =
    existsSync(installed) &&
    statSync(installed).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs;
  return isFresh || run('npm', ['install', '--no-save', '--no-audit', '--no-fund']).ok;
}

export const addonTypes = `${root}ts/engine/addon.d.ts`;

/** What the engine is built with, and where one gets it. */
const COMPILERS = {
  cargo: 'install Rust: https://rustup.rs',
  ...(isWindows ? {} : { cc: 'install a C compiler, such as the package gcc' }),
};

/** Says which compiler is not there, instead of how the build tool fails without it. */
function hasCompilers() {
  const missing = Object.entries(COMPILERS).filter(
    ([name]) => spawnSync(name, ['--version']).error !== undefined,
  );
  for (const [name, remedy] of missing)
    process.stderr.write(`${name} is needed to build the engine: ${remedy}\n`);
  return missing.length === 0;
}

/**
 * The addon's file, or null: what failed has been written then. Its output goes to standard error.
 */
export function buildNative({
  features = [],
  output = `${root}npm/${platform}`,
  types = addonTypes,
  target = null,
  extraEnv = {},
} = {}) {
  if (!hasCompilers()) return null;
  const { ok } = bin(
    'napi',
    [
      'build',
      '--platform',
      '--no-js',
      ...['--manifest-path', 'crates/napi-bindings/Cargo.toml'],
      ...['--output-dir', output],
      ...['--dts', relative(output, types)],
      ...(features.length === 0 ? [] : ['--features', features.join()]),
      ...(target === null ? [] : ['--target', target]),
    ],
    { stdio: ['ignore', 2, 2], extraEnv },
  );
  if (!ok) return null;
  const built = readdirSync(output).find((name) => name.endsWith('.node'));
  return built === undefined ? null : `${output}/${built}`;
}

export function buildJavaScript() {
  rmSync(`${root}dist`, { recursive: true, force: true });
  if (!bin('tsc', ['-p', 'tsconfig.build.json']).ok) return false;
  cpSync(addonTypes, `${root}dist/engine/addon.d.ts`);
  chmodSync(`${root}dist/cli/main.js`, 0o755);
  return (
    run(process.execPath, ['tools/bundle-charts.mjs']).ok &&
    run(process.execPath, ['tools/commonjs.mjs']).ok
  );
}

/** Whether there is something to run; `setUp` brings it up to date. */
export function isBuilt() {
  return (
    existsSync(`${root}dist/cli/main.js`) &&
    existsSync(`${root}npm/${platform}/bpeft.${platform}.node`)
  );
}

/** Packages, addon and JavaScript; quick when nothing changed. */
export function setUp() {
  return installPackages() && buildNative() !== null && buildJavaScript();
}

export function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/**
 * Finds and loads the addon; the only file that does.
 *
 * Order: `BPEFT_NATIVE_PATH`, an installed package for GPUs, the checkout's own build, the
 * installed package of this platform. An engine for GPUs starts without a GPU, so that having it
 * installed decides (docs/adr/0031).
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpeftError } from '../errors.ts';
import { packageJson } from '../package-json.ts';
import { packageVersion } from '../package-version.ts';
import type * as Addon from './addon.d.ts';

export type NativeAddon = typeof Addon;

/** Versions of CUDA that there are packages for, the newest first. */
const CUDA: readonly string[] = ['cuda13', 'cuda12'];

/** The addon's file. */
export interface NativeFile {
  readonly file: string;
  /** Why it is this one. */
  readonly why: string;
  /** Why a package for GPUs was passed over. */
  readonly passedOver: string | null;
}

interface Loaded extends NativeFile {
  readonly addon: NativeAddon;
}

let loaded: Loaded | undefined;

/**
 * @throws {BpeftError} `BPEFT_NATIVE_MISSING`: no binary for this platform, or one that does not
 * load; `BPEFT_USAGE`: `BPEFT_DISPATCH`
 *   names instructions that this machine does not have.
 */
export function loadNative(): NativeAddon {
  return native().addon;
}

/** @throws {BpeftError} as {@link loadNative} */
export function nativeFile(): NativeFile {
  const { file, why, passedOver } = native();
  return { file, why, passedOver };
}

/**
 * Where the engine's kernels for GPUs lie: beside its file, unless `BPEFT_CUDA_KERNELS` names a
 * folder.
 */
export function kernelFolder(): string {
  const named = process.env.BPEFT_CUDA_KERNELS;
  return named === undefined || named === '' ? join(dirname(native().file), 'kernels') : named;
}

function native(): Loaded {
  if (loaded !== undefined) return loaded;
  const found = load();
  useDispatch(found.addon);
  loaded = found;
  return loaded;
}

/** Makes the kernels take the path that `BPEFT_DISPATCH` names, if it does. */
function useDispatch(addon: NativeAddon): void {
  const path = process.env.BPEFT_DISPATCH;
  if (path === undefined || path === '' || addon.setDispatch(path)) return;
  throw new BpeftError(
    'BPEFT_USAGE',
    `BPEFT_DISPATCH must name instructions that this machine has, got ${JSON.stringify(path)}`,
    { hint: `available: ${addon.dispatches().join(', ')}` },
  );
}

function load(): Loaded {
  const here: string | undefined = import.meta.url; // a bundle in CommonJS has none
  if (here === undefined) throw bundled(undefined);
  const require = createRequire(here);
  const forced = process.env.BPEFT_NATIVE_PATH;
  if (forced !== undefined && forced !== '')
    return open(require, forced, 'named by BPEFT_NATIVE_PATH');
  const platform = platformName();
  const forGpus = installedForGpus(require, platform);
  if (forGpus !== null && 'addon' in forGpus) return forGpus;
  return { ...loadForCpu(require, platform, here), passedOver: forGpus?.passedOver ?? null };
}

/** The engine of an installed package for GPUs, or why that is not taken; null: there is none. */
function installedForGpus(
  require: NodeJS.Require,
  platform: string,
): Loaded | { readonly passedOver: string } | null {
  for (const cuda of CUDA) {
    const name = `@bpeft/${cuda}-${platform}`;
    try {
      const loaded = { ...open(require, require.resolve(name), `of the package ${name}`) };
      const { version } = JSON.parse(loaded.addon.engineInfo()) as { version: string };
      if (version === packageVersion()) return loaded;
      return {
        passedOver: `${name} is ${version}, and bpeft ${packageVersion()}: install the same`,
      };
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') continue;
      return { passedOver: `${name}: ${cause instanceof Error ? cause.message : String(cause)}` };
    }
  }
  return null;
}

function loadForCpu(require: NodeJS.Require, platform: string, here: string): Loaded {
  const file = `bpeft.${platform}.node`;
  const built = fileURLToPath(new URL(`../../npm/${platform}/${file}`, here));
  if (existsSync(built)) return open(require, built, "the checkout's own");
  const installed = `@bpeft/${platform}`;
  try {
    const addon = require(installed) as NativeAddon;
    const why = `of the package ${installed}`;
    return { addon, file: require.resolve(installed), why, passedOver: null };
  } catch (cause) {
    // One that is there and does not load says why, such as a C library that is too old.
    if ((cause as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') {
      throw unloadable(cause, 'this version needs Linux with glibc');
    }
    if (isMusl()) throw needsGlibc(cause);
    if (!/^native\.[jt]s$/.test(basename(fileURLToPath(here)))) throw bundled(cause);
    throw new BpeftError(
      'BPEFT_NATIVE_MISSING',
      `no engine for ${platform}: tried npm/${platform}/${file} and ${installed}`,
      {
        hint: platforms().includes(platform)
          ? 'in a checkout run `npm run build`; otherwise install bpeft again without --omit=optional'
          : `this version has an engine for ${platforms().join(', ')} only`,
        cause,
      },
    );
  }
}

/**
 * A bundler took this file out of the package, and so away from the engine, which no bundle can
 * hold.
 */
function bundled(cause: unknown): BpeftError {
  return new BpeftError(
    'BPEFT_NATIVE_MISSING',
    'bpeft is part of a bundle, which cannot hold its engine',
    {
      hint:
        "keep it out: external: ['bpeft'] (esbuild, rolldown, Rollup), ssr.external (Vite), " +
        "externals (webpack), serverExternalPackages: ['bpeft'] (Next.js); see docs/deployment.md",
      cause,
    },
  );
}

function needsGlibc(cause: unknown): BpeftError {
  return new BpeftError('BPEFT_NATIVE_MISSING', 'the engine needs glibc, and this Linux has musl', {
    hint: 'use an image with glibc: node:22-slim (Debian) in place of node:22-alpine',
    cause,
  });
}

/** Whether Node runs on musl, as on Alpine: the engine is linked against glibc. */
function isMusl(): boolean {
  if (process.platform !== 'linux') return false;
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined;
}

function open(require: NodeJS.Require, path: string, why: string): Loaded {
  try {
    return { addon: require(path) as NativeAddon, file: path, why, passedOver: null };
  } catch (cause) {
    throw unloadable(cause, 'build it again with `npm run build`, or correct BPEFT_NATIVE_PATH');
  }
}

function unloadable(cause: unknown, hint: string): BpeftError {
  if (isMusl()) return needsGlibc(cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BpeftError('BPEFT_NATIVE_MISSING', `cannot load the engine: ${reason}`, {
    hint,
    cause,
  });
}

function platformName(): string {
  const system: Partial<Record<NodeJS.Platform, string>> = { linux: '-gnu', win32: '-msvc' };
  return `${process.platform}-${process.arch}${system[process.platform] ?? ''}`;
}

/** Platforms that a package of this version is published for. */
function platforms(): readonly string[] {
  const { optionalDependencies } = packageJson();
  return Object.keys(optionalDependencies).map((name) => name.replace('@bpeft/', ''));
}

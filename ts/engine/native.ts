/**
 * Finds and loads the addon; the only file that does.
 *
 * Order: `BPEFT_NATIVE_PATH`, the checkout's own build, the installed package of this platform.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpeftError } from '../errors.ts';
import type * as Addon from './addon.d.ts';

export type NativeAddon = typeof Addon;

/** Platforms that a package is published for. */
const PACKAGES: readonly string[] = ['linux-x64-gnu'];

let loaded: NativeAddon | undefined;

/**
 * @throws {BpeftError} `BPEFT_NATIVE_MISSING`: no binary for this platform, or one that does not load; `BPEFT_USAGE`: `BPEFT_DISPATCH`
 *   names instructions that this machine does not have.
 */
export function loadNative(): NativeAddon {
  loaded ??= withDispatch(load());
  return loaded;
}

/** Makes the kernels take the path that `BPEFT_DISPATCH` names, if it does. */
function withDispatch(addon: NativeAddon): NativeAddon {
  const path = process.env.BPEFT_DISPATCH;
  if (path === undefined || path === '' || addon.setDispatch(path)) return addon;
  throw new BpeftError(
    'BPEFT_USAGE',
    `BPEFT_DISPATCH must name instructions that this machine has, got ${JSON.stringify(path)}`,
    { hint: `available: ${addon.dispatches().join(', ')}` },
  );
}

function load(): NativeAddon {
  const here: string | undefined = import.meta.url; // a bundle in CommonJS has none
  if (here === undefined) throw bundled(undefined);
  const require = createRequire(here);
  const forced = process.env.BPEFT_NATIVE_PATH;
  if (forced !== undefined && forced !== '') return open(require, forced);
  const platform = platformName();
  const file = `bpeft.${platform}.node`;
  const built = fileURLToPath(new URL(`../../npm/${platform}/${file}`, here));
  if (existsSync(built)) return open(require, built);
  const installed = `@bpeft/${platform}`;
  try {
    return require(installed) as NativeAddon;
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
        hint: PACKAGES.includes(platform)
          ? 'in a checkout run `npm run build`; otherwise install bpeft again without --omit=optional'
          : `this version has an engine for ${PACKAGES.join(', ')} only`,
        cause,
      },
    );
  }
}

/** A bundler took this file out of the package, and so away from the engine, which no bundle can hold. */
function bundled(cause: unknown): BpeftError {
  return new BpeftError('BPEFT_NATIVE_MISSING', 'bpeft is part of a bundle, which cannot hold its engine', {
    hint:
      "keep it out: external: ['bpeft'] (esbuild, rolldown, Rollup), ssr.external (Vite), " +
      "externals (webpack), serverExternalPackages: ['bpeft'] (Next.js); see docs/deployment.md",
    cause,
  });
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

function open(require: NodeJS.Require, path: string): NativeAddon {
  try {
    return require(path) as NativeAddon;
  } catch (cause) {
    throw unloadable(cause, 'build it again with `npm run build`, or correct BPEFT_NATIVE_PATH');
  }
}

function unloadable(cause: unknown, hint: string): BpeftError {
  if (isMusl()) return needsGlibc(cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BpeftError('BPEFT_NATIVE_MISSING', `cannot load the engine: ${reason}`, { hint, cause });
}

function platformName(): string {
  const base = `${process.platform}-${process.arch}`;
  return process.platform === 'linux' ? `${base}-gnu` : base;
}

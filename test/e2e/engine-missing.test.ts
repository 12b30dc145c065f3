import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import { describe, expect, it } from 'vitest';
import { program } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '../..');

/**
 * The program where no checkout's engine lies beside it; `engine` is the text of the installed one.
 */
function installed(engine: string | null): string {
  const folder = temporaryFolder();
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const modules = join(folder, 'node_modules');
  const platform = join(modules, '@bpeft/linux-x64-gnu');
  mkdirSync(platform, { recursive: true });
  for (const name of ['commander', 'csv-parse', 'p-limit', 'yaml', 'zod']) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  if (engine !== null) writeFileSync(join(platform, 'index.js'), engine);
  return join(folder, 'dist/cli/main.js');
}

function complaint(path: string, ...nodeArgs: string[]): string {
  const args = [...nodeArgs, path, 'models', 'show', 'builtin:random'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(status).toBe(1);
  return stderr;
}

it('says where there are engines on a platform that has none', () => {
  const other = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"darwin"})';
  const stderr = complaint(program, '--import', other);
  expect(stderr).toContain('BPEFT_NATIVE_MISSING: no engine for darwin-');
  expect(stderr).toContain(
    'hint: this version has an engine for linux-arm64-gnu, linux-x64-gnu only',
  );
});

/** Changes what the process says of itself before the program runs. */
function asIf(code: string): readonly string[] {
  return ['--import', `data:text/javascript,${encodeURIComponent(code)}`];
}

it('says that the engine needs glibc where Node runs on musl', () => {
  const musl = asIf('process.report.getReport = () => ({ header: {} })');
  const refused = "throw new Error('Error loading shared library ld-linux-x86-64.so.2')";
  for (const engine of [null, refused]) {
    const stderr = complaint(installed(engine), ...musl);
    expect(stderr).toContain('the engine needs glibc, and this Linux has musl');
    expect(stderr).toContain('hint: use an image with glibc: node:22-slim');
  }
});

it.each(['esm', 'cjs'] as const)('tells a bundle in %s to keep bpeft out', async (format) => {
  const folder = temporaryFolder();
  const entry = join(folder, 'service.mjs');
  const bundle = join(folder, `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`);
  const library = JSON.stringify(join(root, 'dist/index.js'));
  const print = '({ code, message, hint }) => console.log([code, message, hint].join())';
  writeFileSync(
    entry,
    `import { loadModel } from ${library};\nloadModel({ model: 'builtin:tiny' }).catch(${print});\n`,
  );
  const made = await rolldown({ input: entry, platform: 'node', onLog: () => {} });
  await made.write({ file: bundle, format }); // one file: an `import()` of ours would make two
  const { stdout } = spawnSync(process.execPath, [bundle], { encoding: 'utf8' });
  expect(stdout).toContain('BPEFT_NATIVE_MISSING,bpeft is part of a bundle');
  expect(stdout).toContain("external: ['bpeft']");
  expect(stdout).toContain("serverExternalPackages: ['bpeft']");
});

it.runIf(process.platform === 'linux' && process.arch === 'x64')(
  'tells an engine that is not installed from one that does not load',
  () => {
    expect(complaint(installed(null))).toContain('install bpeft again without --omit=optional');
    const tooOld = "throw new Error('version `GLIBC_2.99\\' not found')";
    expect(complaint(installed(tooOld))).toContain(
      "cannot load the engine: version `GLIBC_2.99' not found",
    );
  },
);

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('a package for GPUs', () => {
  const cpu = join(root, 'npm/linux-x64-gnu/bpeft.linux-x64-gnu.node');
  const engine = `module.exports = require(${JSON.stringify(cpu)})`;

  /** What the program says of its engine, where a package for GPUs holds that text. */
  function engineBeside(forGpus: string): {
    readonly why: string;
    readonly passed_over: string | null;
  } {
    const path = installed(engine);
    const folder = join(path, '../../../node_modules/@bpeft/cuda13-linux-x64-gnu');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'index.js'), forGpus);
    const { stdout } = spawnSync(process.execPath, [path, 'doctor', '--json'], {
      encoding: 'utf8',
    });
    return JSON.parse(stdout).engine;
  }

  it('is taken before the one for the CPU', () => {
    expect(engineBeside(engine)).toMatchObject({
      why: 'of the package @bpeft/cuda13-linux-x64-gnu',
      passed_over: null,
    });
  });

  it('is passed over when it is of another version, or does not load', () => {
    const of = (why: string) => ({ why: 'of the package @bpeft/linux-x64-gnu', passed_over: why });
    const other = `module.exports = { ...require(${JSON.stringify(cpu)}), engineInfo: () => '{"version":"9.9.9"}' }`;
    const text = '@bpeft/cuda13-linux-x64-gnu is 9.9.9, and bpeft 0.1.0: install the same';
    expect(engineBeside(other)).toMatchObject(of(text));
    expect(engineBeside("throw new Error('no such GLIBC')")).toMatchObject(
      of(expect.stringContaining('no such GLIBC')),
    );
  });
});

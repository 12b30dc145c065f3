import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { program } from '../support/bpeft-process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const root = join(import.meta.dirname, '../..');

/** The program where no checkout's engine lies beside it; `engine` is the text of the installed one. */
function installed(engine: string | null): string {
  const folder = temporaryFolder();
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  const modules = join(folder, 'node_modules');
  const platform = join(modules, '@bpeft/linux-x64-gnu');
  mkdirSync(platform, { recursive: true });
  for (const name of ['commander', 'csv-parse', 'yaml', 'zod']) {
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
  expect(stderr).toContain('hint: this version has an engine for linux-x64-gnu only');
});

it.runIf(process.platform === 'linux' && process.arch === 'x64')(
  'tells an engine that is not installed from one that does not load',
  () => {
    expect(complaint(installed(null))).toContain('install bpeft again without --omit=optional');
    const tooOld = "throw new Error('version `GLIBC_2.99\\' not found')";
    expect(complaint(installed(tooOld))).toContain("cannot load the engine: version `GLIBC_2.99' not found");
  },
);

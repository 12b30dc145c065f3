import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary-folder.ts';

it('names the compilers that a build lacks', () => {
  const script = join(import.meta.dirname, '../../tools/build.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script, 'native'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: temporaryFolder() },
  });
  expect(status).toBe(1);
  expect(stderr).toBe(
    'cargo is needed to build the engine: install Rust: https://rustup.rs\n' +
      'cc is needed to build the engine: install a C compiler, such as the package gcc\n',
  );
});

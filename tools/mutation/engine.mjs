// npm run mutate:engine: the changes of engine-mutants.mjs, all in one build, of which an
// environment variable wakes one at a time. cargo-mutants (npm run mutate:rust) tries every
// operator, and compiles each time; this takes one build and a few seconds a change.

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../steps.mjs';
import { MUTANTS } from './engine-mutants.mjs';

const WAKE = `
/// Whether the change of that number is awake.
#[doc(hidden)]
#[allow(missing_docs)]
pub fn mutant(number: u32) -> bool {
    static AWAKE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    let read = || std::env::var("MUTANT").ok().and_then(|text| text.parse().ok());
    *AWAKE.get_or_init(|| read().unwrap_or(0)) == number
}
`;

const folder = `${root}.cache/mutation/engine`;
const source = join(folder, 'crates/blob-core/src');

/** The checkout's crates, with every change asleep; `.cargo` of the checkout is above. */
function prepared() {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const part of ['crates', 'assets', 'Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml']) {
    cpSync(`${root}${part}`, join(folder, part), { recursive: true });
  }
  symlinkSync(`${root}test`, join(folder, 'test'));
  writeFileSync(join(source, 'lib.rs'), readFileSync(join(source, 'lib.rs'), 'utf8') + WAKE);
  for (const [index, mutant] of MUTANTS.entries()) asleep(index + 1, mutant);
}

function asleep(number, [file, place, change]) {
  const path = join(source, file);
  const text = readFileSync(path, 'utf8');
  const [, before = '', old = place, after = ''] = /^([^⟦]*)⟦([^⟧]*)⟧(.*)$/s.exec(place) ?? [];
  // A change of the same place that came before leaves its text behind `else`.
  const at = text.indexOf(before + old + after) + before.length;
  if (at < before.length) throw new Error(`${file}: ${place} is not there (mutant ${number})`);
  const both = `(if crate::mutant(${number}) { ${change} } else { ${old} })`;
  writeFileSync(path, text.slice(0, at) + both + text.slice(at + old.length));
}

function built() {
  const args = ['test', '-p', 'blob-core', '--locked', '--no-run', '--message-format=json'];
  const tests = ['--test', 'parity', '--test', 'identities', '--lib', '--test', 'training'];
  const { status, stdout } = spawnSync('cargo', [...args, ...tests], {
    cwd: folder,
    // Beside the checkout's own, whose dependencies are compiled.
    env: { ...process.env, CARGO_TARGET_DIR: `${root}target` },
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) process.exit(1);
  const messages = stdout.split('\n').filter((line) => line.startsWith('{'));
  return messages
    .map((line) => JSON.parse(line).executable)
    .filter((path) => path?.includes('/deps/'));
}

/** The first test that fails while the change is awake; null: none does. */
function seenBy(executables, number) {
  for (const executable of executables) {
    const { status, stdout } = spawnSync(executable, [], {
      cwd: join(folder, 'crates/blob-core'),
      env: { ...process.env, MUTANT: String(number) },
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    });
    if (status !== 0) return /^test (.*) \.\.\. FAILED$/m.exec(stdout)?.[1] ?? 'a crash';
  }
  return null;
}

prepared();
const executables = built();
const asItIs = seenBy(executables, 0);
if (asItIs !== null) throw new Error(`${asItIs} fails without any change`);
let seen = 0;
for (const [index, [file, place, change]] of MUTANTS.entries()) {
  const test = seenBy(executables, index + 1);
  if (test !== null) seen += 1;
  const verdict = test === null ? 'SURVIVED' : `seen by ${test}`;
  process.stdout.write(
    `${index + 1}  ${file}  ${place.replace('\n', ' ')} → ${change}: ${verdict}\n`,
  );
}
process.stdout.write(`${seen} of ${MUTANTS.length} changes are seen\n`);
process.exitCode = seen === MUTANTS.length ? 0 : 1;

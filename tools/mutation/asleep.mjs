// A copy of the engine with every change in it, asleep, and its tests.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { readText, root, run } from '../steps.mjs';

const folder = `${root}.cache/mutation/rust`;
/** What the compiler refused of a text. */
const record = `${root}.cache/mutation/refused.json`;
const tool = `${root}tools/mutation/changes`;
export const crate = join(folder, 'crates/blob-core');
const source = 'crates/blob-core/src';

/** Those that hold the mathematics; the others are about files, devices and guests. */
const TESTS = ['identities', 'laplace', 'model_files', 'parity', 'training'];
/** A change costs a few seconds of tests: the compiler's time counts for more than theirs. */
const PROFILE = ['opt-level=1', 'codegen-units=16'].map(
  (setting) => `--config=profile.dev.package.blob-core.${setting}`,
);

/** `MUTANT` is a change's number; `MUTANT_LOG` a file for the numbers of those that were asked. */
const WAKE = (count) => `
mod mutation {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    const LOG: usize = ${count + 1};
    static AWAKE: AtomicUsize = AtomicUsize::new(usize::MAX);
    static ASKED: [AtomicBool; LOG] = [const { AtomicBool::new(false) }; LOG];

    /// Whether the change of that number is awake.
    #[inline]
    pub(crate) fn mutant(number: usize) -> bool {
        let awake = AWAKE.load(Ordering::Relaxed);
        awake == number || awake >= LOG && learns(number)
    }

    #[cold]
    #[inline(never)]
    fn learns(number: usize) -> bool {
        let log = || std::env::var("MUTANT_LOG");
        if AWAKE.load(Ordering::Relaxed) != LOG {
            let awake = || std::env::var("MUTANT").ok().and_then(|text| text.parse().ok());
            let awake = if log().is_ok() { LOG } else { awake().unwrap_or(0) };
            AWAKE.store(awake, Ordering::Relaxed);
            return mutant(number);
        }
        if !ASKED[number].load(Ordering::Relaxed) && !ASKED[number].swap(true, Ordering::Relaxed) {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(log().unwrap());
            file.and_then(|mut file| writeln!(file, "{number}")).unwrap();
        }
        false
    }
}
pub(crate) use mutation::mutant;
`;

/**
 * The changes of the modules, and the executables of the tests. What the compiler refuses is left
 * out, and the rest is compiled again, until nothing is refused.
 */
export function asleep(modules) {
  const files = modules.flatMap(filesOf);
  copy(files);
  const refused = refusedBefore(files);
  for (;;) {
    const changes = written(files, refused);
    const { errors } = cargo(['build', '--lib']);
    if (errors.length === 0) {
      writeFileSync(record, JSON.stringify({ of: digestOf(files), refused: [...refused] }));
      return { changes, executables: tests() };
    }
    const before = refused.size;
    for (const error of errors) for (const change of blamed(changes, error)) refused.add(change);
    process.stderr.write(`${refused.size - before} changes do not compile\n`);
    if (refused.size === before) throw new Error(errors.map(({ rendered }) => rendered).join('\n'));
  }
}

/** The numbers that an earlier run of the same text, and of the same tool, left out. */
function refusedBefore(files) {
  const { of, refused } = JSON.parse(readText(record) || '{}');
  return new Set(of === digestOf(files) ? refused : []);
}

function digestOf(files) {
  const own = readdirSync(`${tool}/src`).map((name) => `${tool}/src/${name}`);
  const texts = [...files.map((file) => `${root}${source}/${file}`), ...own].map(readText);
  return createHash('sha256').update(texts.join('\0')).digest('hex');
}

function filesOf(module) {
  const isModule = (path) => path === `${module}.rs` || path.startsWith(`${module}/`);
  const isTest = (path) => basename(path) === 'tests.rs' || path.includes('/tests/');
  const files = readdirSync(`${root}${source}`, { recursive: true })
    .filter((path) => path.endsWith('.rs') && isModule(path) && !isTest(path))
    .sort();
  const text = files.map((file) => readText(`${root}${source}/${file}`)).join('');
  const ofGpu = [...text.matchAll(/cfg\(feature = "cuda"\)\]\s+(?:pub(?:\(\w+\))? )?mod (\w+);/g)];
  return files.filter((file) => !ofGpu.some(([, name]) => basename(file) === `${name}.rs`));
}

/**
 * The checkout's crates but for what is to be changed, as old as they are there: cargo compiles
 * again what is new.
 */
function copy(files) {
  const own = new Set(['lib.rs', ...files].map((file) => join(crate, 'src', file)));
  mkdirSync(folder, { recursive: true });
  for (const part of ['crates', 'assets', 'Cargo.toml', 'Cargo.lock', 'rust-toolchain.toml']) {
    cpSync(`${root}${part}`, join(folder, part), {
      ...{ recursive: true, preserveTimestamps: true },
      filter: (_, to) => !own.has(to),
    });
  }
  for (const path of readdirSync(join(folder, 'crates'), { recursive: true })) {
    if (!existsSync(`${root}crates/${path}`)) {
      rmSync(join(folder, 'crates', path), { recursive: true, force: true });
    }
  }
  if (!existsSync(join(folder, 'test'))) symlinkSync(`${root}test`, join(folder, 'test'));
}

function written(files, refused) {
  const list = join(folder, 'refused');
  writeFileSync(list, [...refused].map((number) => `${number}\n`).join(''));
  const to = join(crate, 'src');
  const { ok, stdout } = run(
    'cargo',
    [
      ...['run', '--quiet', '--locked', `--manifest-path=${tool}/Cargo.toml`],
      ...['--target-dir', `${root}target/mutation`, '--'],
      ...[`${root}${source}`, to, list, ...files],
    ],
    { capture: true, isSilent: true },
  );
  if (!ok) process.exit(1);
  const changes = JSON.parse(stdout);
  const lib = readText(`${root}${source}/lib.rs`) + WAKE(changes.length);
  if (readText(join(to, 'lib.rs')) !== lib) writeFileSync(join(to, 'lib.rs'), lib);
  return changes.map((change) =>
    refused.has(change.number) ? { ...change, untried: 'does not compile' } : change,
  );
}

function cargo(args) {
  const { stdout } = spawnSync(
    'cargo',
    [...args, ...PROFILE, '--package=blob-core', '--locked', '--message-format=json'],
    {
      cwd: folder,
      // Beside the checkout's own, whose dependencies are compiled.
      env: { ...process.env, CARGO_TARGET_DIR: `${root}target` },
      encoding: 'utf8',
      maxBuffer: 1 << 29,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const messages = stdout.split('\n').filter((line) => line.startsWith('{'));
  const parsed = messages.map((line) => JSON.parse(line));
  const errors = parsed.filter(({ message }) => message?.level === 'error');
  if (!parsed.some(({ reason }) => reason === 'build-finished')) process.exit(1);
  return {
    errors: errors.map(({ message }) => message).filter(({ spans }) => spans.length > 0),
    executables: parsed.flatMap(({ executable, target }) =>
      executable ? [{ name: target.name, path: executable }] : [],
    ),
  };
}

function tests() {
  const { errors, executables } = cargo([
    'test',
    '--no-run',
    '--lib',
    ...TESTS.map((name) => `--test=${name}`),
  ]);
  if (errors.length > 0) throw new Error(errors[0].rendered);
  return executables;
}

/** The numbers of the changes that an error speaks of: in their text, or else around it. */
function blamed(changes, { spans }) {
  const within = (span, range) =>
    range !== null && span.byte_start >= range[0] && span.byte_end <= range[1];
  const of = (span, part) =>
    changes.filter(
      (change) => span.file_name === `${source}/${change.file}` && within(span, change[part]),
    );
  const isPrimary = ({ is_primary }) => is_primary;
  for (const some of [spans.filter(isPrimary), spans]) {
    const blamed = some.flatMap((span) => of(span, 'text'));
    if (blamed.length > 0) return blamed.map(({ number }) => number);
  }
  const size = ({ around }) => around[1] - around[0];
  const around = spans.filter(isPrimary).flatMap((span) => of(span, 'around'));
  const smallest = Math.min(...around.map(size));
  return around.filter((change) => size(change) === smallest).map(({ number }) => number);
}

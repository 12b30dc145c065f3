// Pinned Python environments for tests against other people's programs, kept in .cache/python: made
// once from tools/python/<name>.txt, and anew when that list changes.

import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { readText, root, run } from '../steps.mjs';

const cache = `${root}.cache/python`;

/**
 * A virtual environment of its own.
 * @returns {string | null} its Python; null when it cannot be made, which pip has said
 */
export function virtualEnvironment(name) {
  const python = `${cache}/${name}/bin/python`;
  const base = process.env.BPEFT_PYTHON ?? 'python3';
  return prepared(name, (folder, list) => {
    return run(base, ['-m', 'venv', folder]).ok && pip(python, ['-r', list]);
  })
    ? python
    : null;
}

/**
 * A folder of packages that goes before those of another environment on PYTHONPATH.
 * @returns {string | null} the folder; null when it cannot be made
 */
export function overlay(name, python) {
  const isMade = prepared(name, (folder, list) =>
    pip(python, ['--no-deps', '--target', folder, '-r', list]),
  );
  return isMade ? `${cache}/${name}` : null;
}

/** Whether the folder holds what its list asks for, if need be after `install`. */
function prepared(name, install) {
  const [folder, list] = [`${cache}/${name}`, `${root}tools/python/${name}.txt`];
  const stamp = `${folder}.sha256`;
  const wanted = createHash('sha256').update(readText(list)).digest('hex');
  if (readText(stamp) === wanted) return true;
  process.stdout.write(`Python packages of tools/python/${name}.txt: downloaded once\n`);
  mkdirSync(cache, { recursive: true });
  for (const stale of [folder, stamp]) rmSync(stale, { recursive: true, force: true });
  if (!install(folder, list)) return false;
  writeFileSync(stamp, wanted);
  return true;
}

function pip(python, args) {
  // Python compiles what a test imports; compiling all of it takes longer than the download.
  const quiet = ['--quiet', '--disable-pip-version-check', '--no-input', '--no-compile'];
  return run(python, ['-m', 'pip', 'install', ...quiet, ...args]).ok;
}

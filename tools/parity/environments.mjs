// Python with real PEFT, kept in .cache/parity: one virtual environment with torch and the newest PEFT, and a
// folder with PEFT 0.13 and its older companions, which goes before it on PYTHONPATH. So torch is there once.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readText, root, run } from '../steps.mjs';

const cache = `${root}.cache/parity`;
const venv = `${cache}/venv`;
const python = `${venv}/bin/python`;
const overlay = `${cache}/peft-0.13`;

const STAGES = [
  {
    folder: venv,
    requirements: 'requirements-newest.txt',
    size: 'about 3 GB (torch for Linux brings CUDA along), 5.6 GB on disk',
    install: (file) =>
      run(process.env.BPEFT_PARITY_PYTHON ?? 'python3', ['-m', 'venv', venv]).ok && pip(['-r', file]),
  },
  {
    folder: overlay,
    requirements: 'requirements-0.13.txt',
    size: 'about 15 MB, 120 MB on disk',
    install: (file) => pip(['--no-deps', '--target', overlay, '-r', file]),
  },
];

function pip(args) {
  return run(python, ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', ...args]).ok;
}

/** Makes what is missing or out of date; the environments by name, or null when one cannot be made. */
export function preparedEnvironments() {
  for (const { folder, requirements, size, install } of STAGES) {
    const file = fileURLToPath(new URL(requirements, import.meta.url));
    const wanted = createHash('sha256').update(readFileSync(file)).digest('hex');
    const stamp = `${folder}.sha256`;
    if (readText(stamp) === wanted) continue;
    process.stdout.write(`Python packages of tools/parity/${requirements}: download of ${size}, once\n`);
    mkdirSync(cache, { recursive: true });
    for (const stale of [folder, stamp]) rmSync(stale, { recursive: true, force: true });
    if (!install(file)) return null;
    writeFileSync(stamp, wanted);
  }
  return [
    { name: '0.13', python, path: overlay },
    { name: 'newest', python, path: '' },
  ];
}

// What rows cost: time and memory of reading and tokenising N rows of a made file, in a process of
// their own for each N, and of finding their tokens again.
//
//   node bench/rows.mjs --rows 100000,1000000

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DATA_PROTOCOLS, loadModel, resolveDataset } from '../dist/index.js';
import { encodeSplit } from '../dist/run/inputs/splits.js';

const { values } = parseArgs({
  options: { rows: { type: 'string', default: '100000,1000000' }, file: { type: 'string' } },
});

if (values.file === undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'bpeft-rows-'));
  try {
    for (const rows of values.rows.split(',').map(Number)) {
      const file = join(folder, `${rows}.jsonl`);
      makeRows(file, rows);
      const env = { ...process.env, BPEFT_HOME: join(folder, 'home') };
      for (const _ of ['made', 'found']) {
        const args = [import.meta.filename, '--file', file];
        process.stdout.write(spawnSync(process.execPath, args, { env, encoding: 'utf8' }).stdout);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
} else {
  await measure(values.file);
}

async function measure(file) {
  const model = await loadModel({ model: 'builtin:tiny' });
  const before = peakMb();
  const start = performance.now();
  const rows = await (await resolveDataset(file)).stream(null);
  const read = performance.now();
  const notes = [];
  const run = { model, signal: undefined, emit: ({ message }) => notes.push(message) };
  const { encoded } = await encodeSplit(rows, { ...DATA_PROTOCOLS.corrected, maxSeqLen: 300 }, run);
  const end = performance.now();
  const seconds = (ms) => Math.round(ms / 100) / 10;
  const result = {
    rows: rows.rows,
    file_mb: Math.round(statSync(file).size / 1e6),
    tokens: encoded.tokens,
    was_made: notes.length > 0,
    read_s: seconds(read - start),
    tokenise_s: seconds(end - read),
    peak_mb_before: before,
    peak_mb: peakMb(),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  await model.dispose();
}

function peakMb() {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

function makeRows(file, rows) {
  const words =
    'quick brown fox jumps over lazy dog rain falls green hills old towns ships sail'.split(' ');
  let state = 1;
  const below = (bound) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * bound);
  };
  const out = openSync(file, 'w');
  let text = '';
  for (let row = 0; row < rows; row += 1) {
    const sentence = Array.from({ length: 60 }, () => words[below(words.length)]).join(' ');
    text += `${JSON.stringify({ text: sentence, label: ['no', 'yes'][row % 2], id: `row-${row}` })}\n`;
    if (text.length < 2 ** 22 && row < rows - 1) continue;
    writeSync(out, text);
    text = '';
  }
  closeSync(out);
}

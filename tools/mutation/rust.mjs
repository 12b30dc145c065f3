// npm run mutate:rust -- [module…]: changes each function and operator of the engine's mathematics,
// and counts the changes that none of the crate's tests sees. All of them are in one build, asleep;
// an environment variable wakes one, and only tests that reach it are run. Not part of npm test.

import { mkdirSync, writeFileSync } from 'node:fs';
import { readText, root } from '../steps.mjs';
import { asleep } from './asleep.mjs';
import { seenBy, surveyed } from './awake.mjs';

const MODULES = [
  ...['kl', 'objective', 'optim', 'noise', 'method', 'predict', 'pass', 'train', 'adapter'],
];

/** What an earlier run found: it says which test to ask first. */
const record = `${root}.cache/mutation/rust.json`;

const asked = process.argv.slice(2);
const modules = asked.length > 0 ? asked : MODULES;
mkdirSync(`${root}.cache/mutation`, { recursive: true });
const { changes, executables } = asleep(modules);
const tests = surveyed(executables);
const seconds = tests.reduce((sum, { milliseconds }) => sum + milliseconds / 1000, 0);
process.stderr.write(
  `${changes.length} changes, ${tests.length} tests of ${seconds.toFixed()} s together\n`,
);
const earlier = JSON.parse(readText(record) || '{}');
const found = { ...earlier };
let last = [];
for (const change of changes.filter(({ untried }) => untried === null)) {
  const hint = earlier[titled(change)];
  const test = seenBy(tests, change.number, [...(hint ? [hint] : []), ...last]);
  change.seen = test !== null;
  if (test !== null) last = [test];
  found[titled(change)] = test;
  process.stdout.write(`${described(change)}: ${test === null ? 'NOT SEEN' : `seen by ${test}`}\n`);
  writeFileSync(record, JSON.stringify(found));
}
process.stdout.write(`\n${figures()}\n`);

/** The same for the same change while lines move. */
function titled({ file, function: name, kind, was, now }) {
  return [file, name, kind, was, now].join(' ');
}

function described({ file, line, function: name, kind, was, now }) {
  const short = (text) => text.replace(/\s+/g, ' ').slice(0, 120);
  return `${file}:${line} ${name}: ${kind}: ${short(was)} → ${short(now)}`;
}

function figures() {
  const head = [
    '| module | tried | seen | not seen | seen of tried | not tried |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  const rows = modules.map((module) =>
    row(
      module,
      changes.filter((change) => isOf(change, module)),
    ),
  );
  return [...head, ...rows, row('all', changes)].join('\n');
}

function isOf({ file }, module) {
  return file === `${module}.rs` || file.startsWith(`${module}/`);
}

function row(name, own) {
  const tried = own.filter(({ untried }) => untried === null);
  const seen = tried.filter((change) => change.seen).length;
  const share = `${((100 * seen) / tried.length).toFixed(1)} %`;
  const reasons = new Set(own.map(({ untried }) => untried).filter((reason) => reason !== null));
  const counts = [...reasons].map(
    (reason) => `${own.filter(({ untried }) => untried === reason).length} ${reason}`,
  );
  return `| ${[name, tried.length, seen, tried.length - seen, share, counts.join(', ')].join(' | ')} |`;
}

// npm run same-bits -- BEFORE AFTER [flags]: whether two builds compute the same bits.
//
//   --dispatch own,avx2      paths of the kernels: the machine's own, or one of BPEFT_DISPATCH
//   --only PATTERN           cases to run, such as 'bf16/*' or 'avx2/*/resume'
//   --allow PATTERN=REASON   a deliberate change: a case, a file of it or a field or tensor of that
//                            ('*/predict.jsonl:truncated=...'); may be given several times
//   --all                    prints every place that differs, not the first of each case alone
//   --keep FOLDER            keeps the run folders there
//
// BEFORE and AFTER are checkouts that are built. Every case trains, evaluates and predicts with
// both through their command lines; its adapter, last state, metrics and predictions must be the
// same, but for times. Prints a line for each case; ends with 1 if one differs without a reason,
// or could not be compared.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { cases } from './same-bits/cases.mjs';
import { runDifferences } from './same-bits/compare.mjs';
import { runCase } from './same-bits/run-case.mjs';
import { root, run } from './steps.mjs';

const USAGE = `usage: npm run same-bits -- BEFORE AFTER [--dispatch own,avx2] [--only PATTERN]
       [--allow PATTERN=REASON] [--all] [--keep FOLDER];
       BEFORE and AFTER are checkouts that are built\n`;
const QUESTIONS = 2;

function stop(message) {
  process.stderr.write(`same-bits: ${message}\n${USAGE}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        dispatch: { type: 'string', default: 'own,avx2' },
        only: { type: 'string', default: '*' },
        allow: { type: 'string', multiple: true, default: [] },
        all: { type: 'boolean', default: false },
        keep: { type: 'string' },
      },
    });
  } catch (error) {
    return stop(error.message);
  }
}

/** `*` stands for any characters. */
function pattern(text) {
  const parts = text.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}

function allowance(text) {
  const [, name, reason] =
    /^([^=]+)=(.+)$/s.exec(text) ?? stop(`--allow needs PATTERN=REASON: ${text}`);
  return { matches: pattern(name), reason };
}

const { values, positionals } = parse();
if (positionals.length !== 2) stop(`needs two checkouts, got ${positionals.length}`);
const builds = positionals.map((checkout) => resolve(checkout));
for (const build of builds) {
  if (!existsSync(join(build, 'dist/cli/main.js')))
    stop(`${build} is not built: npm run build there`);
}
const allowances = values.allow.map(allowance);
const folder = resolve(values.keep ?? mkdtempSync(join(tmpdir(), 'same-bits-')));
mkdirSync(folder, { recursive: true });
if (values.keep === undefined) {
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
}

const questions = join(folder, 'questions.jsonl');
const test = readFileSync(`${root}assets/exam_topics/test.jsonl`, 'utf8').split('\n');
writeFileSync(questions, `${test.slice(0, QUESTIONS).join('\n')}\n`);
const wideModel = join(folder, 'wide.gguf');
const made = run(process.execPath, ['bench/random-model.mjs', '135m', wideModel, '--layers', '2'], {
  capture: true,
  isSilent: true,
});
if (!made.ok) process.exit(1);

const only = pattern(values.only);
const paths = values.dispatch.split(',').map((path) => (path === 'own' ? '' : path));
const selected = paths
  .flatMap((path) =>
    cases(wideModel).map((it) => ({
      ...it,
      name: path === '' ? it.name : `${path}/${it.name}`,
      path,
    })),
  )
  .filter(({ name }) => only.test(name));
if (selected.length === 0) stop(`no case matches --only ${values.only}`);

/** Milliseconds that each build took in all. */
const spent = [0, 0];

/** Run folders of a case, BEFORE's and AFTER's. */
async function runBoth(one) {
  const { BPEFT_DISPATCH: _, ...own } = process.env;
  const env = one.path === '' ? own : { ...own, BPEFT_DISPATCH: one.path };
  const runs = ['before', 'after'].map((side) => join(folder, one.name, side));
  for (const [index, out] of runs.entries()) {
    const start = performance.now();
    rmSync(out, { recursive: true, force: true });
    await runCase(builds[index], one, out, { env, questions }).catch((error) => {
      throw new Error(`${['BEFORE', 'AFTER'][index]}: ${error.message}`);
    });
    spent[index] += performance.now() - start;
  }
  return runs;
}

/** `{ place, difference, reason }` of a case; the reason is undefined where none is given. */
async function differencesOf(one) {
  let found;
  try {
    found = runDifferences(...(await runBoth(one)));
  } catch (error) {
    found = [['not compared', error.message]];
  }
  return found.map(([place, difference]) => {
    const [file] = place.split(':');
    const names = [one.name, `${one.name}/${file}`, `${one.name}/${place}`];
    const allowed = allowances.find(({ matches }) => names.some((name) => matches.test(name)));
    return { place, difference, reason: allowed?.reason };
  });
}

/** The case's line: its first difference without a reason, else the first; with --all each. */
function report(name, verdict, differences) {
  const lines = differences.map(({ place, difference, reason }) => {
    const why = reason === undefined ? '' : ` (allowed: ${reason})`;
    return `${place}: ${difference}${why}`;
  });
  const open = differences.findIndex(({ reason }) => reason === undefined);
  const shown = values.all ? lines : lines.slice(Math.max(open, 0)).slice(0, 1);
  const left = lines.length - shown.length;
  const more = left === 0 ? '' : ` (and ${left} more places)`;
  const separator = values.all ? '\n    ' : '  ';
  process.stdout.write(`${[`${verdict.padEnd(8)} ${name}`, ...shown].join(separator)}${more}\n`);
}

const counts = { same: 0, allowed: 0, differs: 0 };
for (const one of selected) {
  const differences = await differencesOf(one);
  const isAllowed = differences.every(({ reason }) => reason !== undefined);
  const verdict = differences.length === 0 ? 'same' : isAllowed ? 'allowed' : 'differs';
  counts[verdict] += 1;
  report(one.name, verdict, differences);
  if (values.keep === undefined) rmSync(join(folder, one.name), { recursive: true, force: true });
}
const seconds = spent.map((ms) => (ms / 1000).toFixed(0));
process.stdout.write(
  `${counts.same} same, ${counts.allowed} allowed, ${counts.differs} differ; ` +
    `BEFORE took ${seconds[0]} s, AFTER ${seconds[1]} s\n`,
);
process.exitCode = counts.differs === 0 ? 0 : 1;

// Two run folders of one case: what must be the same, and the first difference of each file.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, tensorsDifference } from './tensors.mjs';

/** Times, memory and wording: what differs from run to run, or says nothing about numbers. */
const IGNORED = new Set([
  ...['ms', 'step_ms', 'seconds', 'tokens_per_s', 'peak_rss_mb', 'peak_gpu_mb', 'definitions'],
]);

const isObject = (value) => typeof value === 'object' && value !== null;

/** Path and both values of the first difference of two JSON values, null: none. */
export function jsonDifference(before, after, path = '') {
  if (Object.is(before, after)) return null;
  const isSameKind = isObject(before) && isObject(after) && Array.isArray(before) === Array.isArray(after);
  if (!isSameKind)
    return `${path || 'value'}: ${JSON.stringify(before)} in BEFORE, ${JSON.stringify(after)} in AFTER`;
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (IGNORED.has(key)) continue;
    const found = jsonDifference(before[key], after[key], path === '' ? key : `${path}.${key}`);
    if (found !== null) return found;
  }
  return null;
}

const text = (path) => readFileSync(path, 'utf8');
const json = (path) => JSON.parse(text(path));

/** The first line of two JSON Lines files that differs. */
function linesDifference(before, after) {
  const [a, b] = [before, after].map((path) => text(path).trimEnd().split('\n'));
  for (const [index, line] of a.entries()) {
    if (index >= b.length) break;
    const found = jsonDifference(JSON.parse(line), JSON.parse(b[index]));
    if (found !== null) return `line ${index + 1}: ${found}`;
  }
  return a.length === b.length ? null : `${a.length} lines in BEFORE, ${b.length} in AFTER`;
}

function bytesDifference(before, after) {
  const [a, b] = [before, after].map((path) => readFileSync(path));
  if (a.equals(b)) return null;
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return `bytes differ from ${at === -1 ? a.length : at} on`;
}

/** An adapter is read by others: its tensors say the same, and so does every other byte. */
function adapterDifference(before, after) {
  const bytes = bytesDifference(before, after);
  return bytes && (tensorsDifference(readTensors(before), readTensors(after)) ?? bytes);
}

const predictionsDifference = (before, after) => {
  const bytes = bytesDifference(before, after);
  return bytes && (linesDifference(before, after) ?? bytes);
};

/** What was measured and trained, and the path of the kernels; not the settings it repeats. */
function resultDifference(before, after) {
  const told = (path) => {
    const { training, evaluations, metrics, versions } = json(path);
    return { training, evaluations, metrics, dispatch: versions.dispatch };
  };
  return jsonDifference(told(before), told(after));
}

/** The folder of the last checkpoint. */
const lastState = (run) => join(run, 'state', text(join(run, 'state/latest')).trim());

/** Tensors of all files of a state by name: in which file and where a tensor lies may change. */
function stateTensors(run) {
  const folder = lastState(run);
  const files = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  if (files.length === 0) throw new Error('the last state holds no .safetensors file');
  return new Map(files.flatMap((name) => [...readTensors(join(folder, name))]));
}

/** JSON files of the last state by name, but for its clock. */
function stateJson(run) {
  const folder = lastState(run);
  const names = readdirSync(folder).filter((it) => it.endsWith('.json') && it !== 'clock.json');
  return Object.fromEntries(names.map((name) => [name, json(join(folder, name))]));
}

/** Files below `predictions/` and `eval/predictions/` of either run. */
function predictionFiles(runs) {
  return ['predictions', 'eval/predictions'].flatMap((folder) => {
    const names = runs.flatMap((run) => readdirSync(join(run, folder)));
    if (names.length === 0) throw new Error(`${folder} is empty`);
    return [...new Set(names)].sort().map((name) => `${folder}/${name}`);
  });
}

function fileDifference([before, after], difference) {
  if (!existsSync(before)) return existsSync(after) ? 'only in AFTER' : 'missing in both';
  return existsSync(after) ? difference(before, after) : 'only in BEFORE';
}

/**
 * `[file, first difference]` of each file of two run folders that differs.
 *
 * @throws {Error} when a folder lacks what every run writes.
 */
export function runDifferences(before, after) {
  const runs = [before, after];
  const of = (file, difference) => [
    file,
    fileDifference(
      runs.map((run) => join(run, file)),
      difference,
    ),
  ];
  return [
    of('adapter/adapter_model.safetensors', adapterDifference),
    of('metrics.jsonl', linesDifference),
    ['state/*.safetensors', tensorsDifference(...runs.map(stateTensors))],
    ['state/*.json', jsonDifference(...runs.map(stateJson))],
    of('result.json', resultDifference),
    of('eval/result.json', resultDifference),
    ...predictionFiles(runs).map((file) => of(file, predictionsDifference)),
    of('predict.jsonl', predictionsDifference),
  ].filter(([, difference]) => difference !== null);
}

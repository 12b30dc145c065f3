// Two run folders of one case: what must be the same, and where it differs.
//
// Every comparison gives `[place, difference]` of each place that differs, a place being a tensor's
// name or a JSON field's path without the indices of lists; '' is the file as a whole.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, tensorsDifferences } from './tensors.mjs';

/** Times, memory and wording: what differs from run to run, or says nothing about numbers. */
const IGNORED = new Set([
  ...['ms', 'step_ms', 'seconds', 'tokens_per_s', 'peak_rss_mb', 'peak_gpu_mb', 'definitions'],
]);

const isObject = (value) => typeof value === 'object' && value !== null;

/** Every pair of fields of two JSON values that are not the same. */
function* differingFields(before, after, path = []) {
  if (Object.is(before, after)) return;
  const areObjects = isObject(before) && isObject(after);
  if (!areObjects || Array.isArray(before) !== Array.isArray(after)) {
    const [a, b] = [before, after].map((value) => JSON.stringify(value) ?? 'missing');
    yield { path, difference: `${a} in BEFORE, ${b} in AFTER` };
    return;
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (IGNORED.has(key)) continue;
    yield* differingFields(before[key], after[key], [...path, Array.isArray(before) ? +key : key]);
  }
}

/** Of each field the first of its values that differs; `where` is put before it. */
export function jsonDifferences(before, after, where = '') {
  const found = new Map();
  for (const { path, difference } of differingFields(before, after)) {
    const place = path.filter((key) => typeof key === 'string').join('.');
    const indices = path.filter((key) => typeof key === 'number');
    const at = indices.length === 0 ? '' : `at ${indices.join(', ')}: `;
    if (!found.has(place)) found.set(place, `${where}${at}${difference}`);
  }
  return [...found];
}

const text = (path) => readFileSync(path, 'utf8');
const json = (path) => JSON.parse(text(path));

/** JSON Lines files: of each field the first line where it differs. */
function linesDifferences(before, after) {
  const [a, b] = [before, after].map((path) => text(path).trimEnd().split('\n'));
  const found = new Map();
  for (let index = 0; index < Math.min(a.length, b.length); index += 1) {
    const [one, other] = [JSON.parse(a[index]), JSON.parse(b[index])];
    for (const [place, difference] of jsonDifferences(one, other, `line ${index + 1}: `)) {
      if (!found.has(place)) found.set(place, difference);
    }
  }
  if (a.length !== b.length) found.set('', `${a.length} lines in BEFORE, ${b.length} in AFTER`);
  return [...found];
}

/** Where bytes differ, what `explain` says of them; where that says nothing, the first byte. */
function bytesDifferences(explain) {
  return (before, after) => {
    const [a, b] = [before, after].map((path) => readFileSync(path));
    if (a.equals(b)) return [];
    const places = explain(before, after);
    const at = a.findIndex((byte, index) => byte !== b[index]);
    return places.length > 0 ? places : [['', `bytes from ${at === -1 ? a.length : at} on`]];
  };
}

const adapterDifferences = bytesDifferences((before, after) =>
  tensorsDifferences(readTensors(before), readTensors(after)),
);
const predictionsDifferences = bytesDifferences(linesDifferences);

/** What was measured and trained, and the path of the kernels; not the settings it repeats. */
function resultDifferences(before, after) {
  const told = (path) => {
    const { training, evaluations, metrics, versions } = json(path);
    return { training, evaluations, metrics, dispatch: versions.dispatch };
  };
  return jsonDifferences(told(before), told(after));
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

function fileDifferences([before, after], differences) {
  if (!existsSync(before)) return [['', existsSync(after) ? 'only in AFTER' : 'missing in both']];
  return existsSync(after) ? differences(before, after) : [['', 'only in BEFORE']];
}

/**
 * `[place, difference]` of everything in two run folders that differs; a place is `FILE` or
 * `FILE:PLACE`.
 *
 * @throws {Error} when a folder lacks what every run writes.
 */
export function runDifferences(before, after) {
  const runs = [before, after];
  const both = (file) => runs.map((run) => join(run, file));
  const of = (file, differences) => [file, fileDifferences(both(file), differences)];
  return [
    of('adapter/adapter_model.safetensors', adapterDifferences),
    of('metrics.jsonl', linesDifferences),
    ['state/tensors', tensorsDifferences(...runs.map(stateTensors))],
    ['state/json', jsonDifferences(...runs.map(stateJson))],
    of('result.json', resultDifferences),
    of('eval/result.json', resultDifferences),
    ...predictionFiles(runs).map((file) => of(file, predictionsDifferences)),
    of('predict.jsonl', predictionsDifferences),
  ].flatMap(([file, places]) =>
    places.map(([place, difference]) => [place === '' ? file : `${file}:${place}`, difference]),
  );
}

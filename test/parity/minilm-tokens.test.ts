/**
 * MiniLM's own WordPiece: pairs of the questions that the package carries, longest first to three
 * lengths, token by token as tokenizers and transformers cut them.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BayesianModel, loadModel } from 'bpeft/engine';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pythonEnvironments } from './peft-process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const LENGTHS = [16, 48, 128];
const FILES = ['train', 'validation', 'test', 'shift', 'ood'];

function questions(file: string): string[] {
  const text = readFileSync(join(root, `assets/exam_topics/${file}.jsonl`), 'utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line).question);
}

const texts = FILES.flatMap(questions);
const pairs = texts.map((first, index) => ({
  first,
  second: texts[(index + 1) % texts.length] ?? '',
}));

let folder: string;
let model: BayesianModel;

function output(command: string, args: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: root,
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

beforeAll(async () => {
  folder = output('bash', ['tools/fetch-models.sh', '.cache/models', 'minilm']).trim();
  model = await loadModel({ model: join(root, folder) });
});

afterAll(() => model?.dispose());

it('is cut as tokenizers and transformers cut it', { timeout: 300_000 }, async () => {
  expect(pairs.length).toBeGreaterThan(1000);
  const newest = pythonEnvironments().find(({ name }) => name === 'newest');
  const python = newest?.python ?? 'python3';
  const asked = JSON.stringify({ pairs, lengths: LENGTHS });
  const theirs = JSON.parse(output(python, ['tools/parity/minilm_tokens.py', folder], asked));
  for (const length of LENGTHS) {
    const { ids, types, offsets } = await model.encodeTexts(pairs, length);
    const ours = pairs.map((_, index) => {
      const [start, end] = [offsets[index], offsets[index + 1]];
      return { ids: [...ids.slice(start, end)], types: [...types.slice(start, end)] };
    });
    expect(ours).toEqual(theirs[length]);
  }
});

// Runs what README.md and the guides show. Each document has a folder of its own, and its blocks
// run there in order, as for a reader who follows the page; CONTRIBUTING.md says what the folder
// holds.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfigFile } from '../../ts/config/file.ts';
import { parseSettings } from '../../ts/config/parse.ts';
import { datasetFromStream } from '../../ts/datasets/registry.ts';
import { fixtureData } from '../support/bpeft-process.ts';
import {
  documents,
  matches,
  root,
  type Snippet,
  shellLines,
  snippets,
  transcript,
} from '../support/snippets.ts';

/** Commands that a document may show and that are not run here, with the reason. */
const RUN_ELSEWHERE: Readonly<Record<string, string>> = {
  'npm run quickstart': 'builds, then runs the demo',
  'npx bpeft demo': 'trains for two minutes; test/long runs it',
  'npm test': 'is what runs this',
  'npm run setup': 'npm test begins with it',
};

const GLOBALS = `
declare var questions: { question: string; choices: string[] }[];
declare var signal: AbortSignal;
`;
const GLOBAL_VALUES = `
globalThis.questions = [{ question: 'Which planet has rings?', choices: ['Mars', 'Saturn'] }];
globalThis.signal = new AbortController().signal;
`;

const folder = mkdtempSync(join(tmpdir(), 'bpeft-docs-'));
const all = documents().flatMap((document) => snippets(document));
const code = all.filter(({ language, notRun }) => language === 'ts' && notRun === null);

beforeAll(() => {
  mkdirSync(join(folder, 'bin'));
  const npx = `#!/bin/sh\nexec "${process.execPath}" "${root}/test/support/npx.mjs" "$@"\n`;
  writeFileSync(join(folder, 'bin/npx'), npx);
  chmodSync(join(folder, 'bin/npx'), 0o755);
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/bpeft'));
  for (const document of documents()) makeWorld(worldOf(document));
  compile();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function worldOf(place: string): string {
  return join(folder, (place.split(':')[0] ?? place).replaceAll('/', '-'));
}

/** The folder in which a document's blocks run. */
function makeWorld(world: string): void {
  mkdirSync(join(world, 'my-data'), { recursive: true });
  symlinkSync(fixtureData, join(world, 'data'));
  const question = { question: 'Which planet has rings?', choices: ['Mars', 'Saturn'] };
  writeFileSync(join(world, 'questions.jsonl'), `${JSON.stringify(question)}\n`);
  const rows = ['complaint', 'praise', 'complaint', 'praise'].map((label, row) => ({
    text: `text ${row}`,
    label,
  }));
  const lines = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  for (const split of ['train', 'validation'])
    writeFileSync(join(world, `my-data/${split}.jsonl`), lines);
}

const fileOf = ({ place }: Snippet) => `snippet-${all.findIndex((one) => one.place === place)}`;

/** Type-checks every `ts` block and leaves JavaScript that this Node runs. */
let complaints = '';
function compile(): void {
  const sources = join(folder, 'ts');
  mkdirSync(sources);
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'globals.mjs'), GLOBAL_VALUES);
  writeFileSync(join(sources, 'globals.d.ts'), GLOBALS);
  for (const snippet of code) {
    const text = snippet.text.replace(/'[\w.-]+\.gguf'/g, "'builtin:random'");
    writeFileSync(join(sources, `${fileOf(snippet)}.ts`), `${text}\nexport {};\n`);
  }
  const compilerOptions = {
    ...{
      noEmit: false,
      outDir: '../js',
      rootDir: '.',
      paths: { bpeft: [join(root, 'dist/index.d.ts')] },
    },
    ...{ typeRoots: [join(root, 'node_modules/@types')], allowImportingTsExtensions: false },
    ...{ noUnusedLocals: false, noUnusedParameters: false },
  };
  const config = { extends: join(root, 'tsconfig.json'), compilerOptions, include: ['.'] };
  writeFileSync(join(sources, 'tsconfig.json'), JSON.stringify(config));
  const { status, stdout } = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', sources], {
    encoding: 'utf8',
  });
  complaints = status === 0 ? '' : stdout;
}

/** Both streams in the order in which they were written. */
function shell(command: string, world: string): { code: number | null; output: string } {
  const PATH = [join(folder, 'bin'), process.env.PATH ?? ''].join(delimiter);
  const { status, stdout } = spawnSync('bash', ['-c', `exec 2>&1; ${command}`], {
    cwd: world,
    encoding: 'utf8',
    env: { ...process.env, PATH },
  });
  return { code: status, output: stdout };
}

const RUNNERS: Readonly<Record<string, (snippet: Snippet, world: string) => void | Promise<void>>> =
  {
    sh: ({ text }, world) => {
      for (const line of shellLines(text)) {
        const command = line.replace(/\s+#.*$/, '').trim();
        if (Object.hasOwn(RUN_ELSEWHERE, command)) continue;
        const { code, output } = shell(command, world);
        expect(code, `${command}\n${output}`).toBe(0);
      }
    },
    console: ({ text }, world) => {
      for (const { command, output: expected } of transcript(text)) {
        const { output } = shell(command, world);
        if (!matches(output, expected)) expect(output.trim(), command).toBe(expected);
      }
    },
    ts: (snippet, world) => {
      expect(complaints).not.toContain(`${fileOf(snippet)}.ts`);
      const { code, output } = shell(
        `"${process.execPath}" --import ../globals.mjs ../js/${fileOf(snippet)}.js`,
        world,
      );
      expect(code, output).toBe(0);
    },
    json: async ({ text }, world) => {
      const lines = text.split('\n');
      if (lines[0] === '{') {
        const path = join(world, 'config.json');
        writeFileSync(path, text);
        parseSettings('train', [await readConfigFile(path)]);
        return;
      }
      for (const line of lines) await readRow(line);
    },
    // Equations, layouts and output: nothing to run.
    text: () => {},
  };

/** As a row of one's own dataset. */
async function readRow(line: string): Promise<void> {
  const row = JSON.parse(line) as { choices?: unknown; label?: unknown };
  const family = 'choices' in row ? 'multiple-choice' : 'classification';
  const labels = family === 'classification' ? [String(row.label), 'other'] : null;
  const stream = (async function* () {
    yield Buffer.from(line);
  })();
  const dataset = await datasetFromStream({ name: 'row', stream, format: 'jsonl', family, labels });
  expect(dataset.items).toHaveLength(1);
}

const runnable = all.filter(({ notRun }) => notRun === null);
const withSnippets = documents().filter((document) =>
  runnable.some(({ place }) => place.startsWith(`${document}:`)),
);

describe.each(withSnippets)('%s', (document) => {
  const own = runnable.filter(({ place }) => place.startsWith(`${document}:`));
  it.each(own.map((snippet) => [snippet.place, snippet.language, snippet] as const))(
    'does what %s (%s) shows',
    async (place, language, snippet) => {
      const run = RUNNERS[language === 'jsonl' ? 'json' : language];
      if (run === undefined)
        throw new Error(`${place}: say in a marker why this ${language} block is not run`);
      await run(snippet, worldOf(place));
    },
  );
});

it('leaves out no blocks but these', () => {
  const left = all.filter(({ notRun }) => notRun !== null);
  expect(
    left.map(({ place, notRun }) => `${place.split(':')[0]}: ${notRun}`),
  ).toMatchInlineSnapshot(`
    [
      "docs/adapter-format.md: needs Python and PEFT; npm run test:parity loads such adapters in PEFT",
      "docs/datasets.md: shows the form only",
      "docs/datasets.md: needs the Hub; a test does the same against a stand-in",
      "docs/deployment.md: downloads NVIDIA's compiler",
      "docs/deployment.md: needs Docker",
      "docs/deployment.md: needs Electron",
      "docs/models.md: needs the Hub; a test does the same against a stand-in",
      "docs/models.md: needs the Hub; a test does the same against a stand-in",
      "docs/models.md: needs the Hub; a test does the same against a stand-in",
      "docs/models.md: needs the Hub; a test does the same against a stand-in",
      "docs/parallel.md: needs PyTorch",
      "docs/parallel.md: needs Slurm",
      "docs/parallel.md: needs Kubernetes",
      "docs/methods/comparing.md: would take ten minutes; a test runs a smaller table",
    ]
  `);
});

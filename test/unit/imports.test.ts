import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import { METHODS } from '../../ts/methods/ids.ts';

const root = join(import.meta.dirname, '../../ts');
const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);

/** File → the files of ts/ that it names, types included. */
const imports = new Map(
  files.map((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const named = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)];
    return [file, named.map(([, path]) => normalize(join(dirname(file), path ?? '')))] as const;
  }),
);

/** A way from a file back to itself, if there is one. */
function circleFrom(start: string): string[] | null {
  const seen = new Set<string>();
  const walk = (file: string, path: readonly string[]): string[] | null => {
    for (const next of imports.get(file) ?? []) {
      if (next === start) return [...path, file, start];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = walk(next, [...path, file]);
      if (found !== null) return found;
    }
    return null;
  };
  return walk(start, []);
}

it('has no circles, not even of types', () => {
  expect(imports.get('run/training/train.ts')?.length).toBeGreaterThan(5);
  const circles = files.map(circleFrom).filter((circle) => circle !== null);
  expect(circles).toEqual([]);
});

it('knows the addon in the engine only', () => {
  const outside = files.filter((file) => !file.startsWith('engine/'));
  expect(outside.filter((file) => imports.get(file)?.includes('engine/addon.d.ts'))).toEqual([]);
});

/** Rooms that know methods by name: they are made of some. */
const BY_NAME = /^(methods|demo|run\/bayesianize)\/|^doctor\/self-test/;

/** Fields of records that have a method's name. */
const RECORDED: Readonly<Record<string, readonly string[]>> = {
  'run/records/adapter-record.ts': ['laplace'],
};

it('asks for no method by its name but in methods/ and what is made of some of them', () => {
  const ids = METHODS.join('|');
  // As a text, and as a key: `temperature` is a setting, too.
  const text = new RegExp(`['"](${ids})['"]`);
  const key = new RegExp(`[{,]\\s*(${METHODS.filter((id) => id !== 'temperature').join('|')}):`);
  const asking = files.filter((file) => {
    if (BY_NAME.test(file)) return false;
    const code = readFileSync(join(root, file), 'utf8')
      .replaceAll(/\/\*[\s\S]*?\*\//g, '')
      .replaceAll(/Pick<[^>]*>/g, ''); // fields
    const others = (RECORDED[file] ?? []).reduce((rest, id) => rest.replaceAll(`${id}:`, ''), code);
    return text.test(others) || key.test(others);
  });
  expect(asking).toEqual([]);
});

it("knows a method's own file only there, and to export its types", () => {
  const own = METHODS.map((id) => `methods/${id}.ts`);
  const importing = files.filter((file) => imports.get(file)?.some((path) => own.includes(path)));
  expect(importing).toContain('methods/registry.ts');
  expect(importing.filter((file) => !BY_NAME.test(file))).toEqual(['index.ts']);
});

it('asks for none in the engine but in method/ and its kernels', () => {
  const crates = join(root, '../crates');
  const sources = ['blob-core/src', 'napi-bindings/src', 'cpu-kernels/src'].flatMap((folder) => {
    const found = readdirSync(join(crates, folder), { recursive: true, encoding: 'utf8' });
    return found.filter((file) => file.endsWith('.rs')).map((file) => join(folder, file));
  });
  expect(sources.length).toBeGreaterThan(200);
  const camel = METHODS.map((id) => id.replaceAll(/(^|-)(.)/g, (_, _dash, c) => c.toUpperCase()));
  const types = [...camel, 'ScalaBl'].map((type) => `${type}Config`);
  const text = new RegExp(`"(${METHODS.join('|')})\\b`, 'i');
  const type = new RegExp(`\\b(MethodConfig::|(${types.join('|')})\\b)`);
  const asking = sources.filter((file) => {
    if (/^blob-core\/src\/(method|kernels)\//.test(file)) return false;
    const code = readFileSync(join(crates, file), 'utf8').replaceAll(/\/\/.*/g, '');
    return text.test(code) || type.test(code);
  });
  expect(asking).toEqual([]);
});

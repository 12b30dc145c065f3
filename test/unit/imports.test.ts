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

it('asks for no method by its name but in methods/, the demonstration and the self-test', () => {
  const name = new RegExp(`['"](${METHODS.join('|')})['"]`);
  const asking = files.filter((file) => {
    if (/^(methods|demo)\/|^doctor\/self-test/.test(file)) return false;
    const text = readFileSync(join(root, file), 'utf8');
    return name.test(text.replaceAll(/Pick<[^>]*>/g, '')); // fields, such as `temperature`
  });
  expect(asking).toEqual([]);
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
  const name = new RegExp(`"(${METHODS.join('|')})"|\\b(MethodConfig::|(${types.join('|')})\\b)`);
  const asking = sources.filter((file) => {
    if (/^blob-core\/src\/(method|kernels)\//.test(file)) return false;
    const text = readFileSync(join(crates, file), 'utf8');
    return name.test(text.replaceAll(/\/\/.*/g, ''));
  });
  expect(asking).toEqual([]);
});

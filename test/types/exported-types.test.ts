// Whoever holds a value of the library can write down its type: every type of ours that the
// declarations of a door's exports name is exported from that door. Read from dist/ by the compiler
// itself.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  isExpressionWithTypeArguments,
  isImportTypeNode,
  isTypeReferenceNode,
  type Node,
} from 'typescript/unstable/ast';
import { API, type Project, SymbolFlags, type Symbol as Type } from 'typescript/unstable/sync';
import { afterAll, expect, it } from 'vitest';
import { temporaryFolder } from '../support/temporary-folder.ts';

const dist = join(import.meta.dirname, '../../dist');
const api = new API({ cwd: join(dist, '..') });
afterAll(() => api.close());

it.each(['index.d.ts', 'engine/index.d.ts'])('exports from %s what its signatures name', (door) => {
  const path = join(dist, door);
  expect(unexported(path, dist)).toEqual([]);
});

it('finds a type that is named and not exported, wherever it stands', () => {
  const folder = temporaryFolder();
  writeFileSync(
    join(folder, 'parts.d.ts'),
    `export interface A { readonly b: readonly B[] }
     export interface B { c<T extends C>(t: T): Map<string, D> }
     export type C = string; export type D = number; export interface E {} export class F implements E {}`,
  );
  writeFileSync(
    join(folder, 'index.d.ts'),
    `export type { A, B } from './parts.js'; export { F } from './parts.js';
     export declare function f(): Promise<import('./parts.js').D>;`,
  );
  expect(unexported(join(folder, 'index.d.ts'), folder)).toEqual([
    'C, of B',
    'D, of B',
    'D, of f',
    'E, of F',
  ]);
});

/** `NAME, of EXPORT`, sorted. */
function unexported(door: string, folder: string): string[] {
  const snapshot = api.updateSnapshot({ openFiles: [door] });
  const project = snapshot.getDefaultProjectForFile(door);
  const file = project?.program.getSourceFile(door);
  if (project === undefined || file === undefined)
    throw new Error(`${door} is missing: run npm run build first`);
  const { checker } = project;
  const module = checker.getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${door} exports nothing`);
  const exported = checker.getExportsOfModule(module).map((one) => unaliased(one, project));
  const missing = new Set<string>();
  for (const one of exported) {
    for (const named of one.declarations.flatMap((handle) =>
      namedTypes(handle.resolve(project), project),
    )) {
      const isOurs = named.declarations.some((handle) => handle.path.startsWith(folder));
      if (isOurs && !exported.some(({ id }) => id === named.id))
        missing.add(`${named.name}, of ${one.name}`);
    }
  }
  return [...missing].sort();
}

/** Types that a declaration refers to, but for its own parameters. */
function namedTypes(node: Node | undefined, project: Project): Type[] {
  const types: Type[] = [];
  const visit = (part: Node): void => {
    const name = nameOf(part);
    const type = name === undefined ? undefined : project.checker.getSymbolAtLocation(name);
    if (type !== undefined && (type.flags & SymbolFlags.TypeParameter) === 0) {
      types.push(unaliased(type, project));
    }
    part.forEachChild(visit);
  };
  if (node !== undefined) visit(node);
  return types;
}

function nameOf(node: Node): Node | undefined {
  if (isTypeReferenceNode(node)) return node.typeName;
  if (isExpressionWithTypeArguments(node)) return node.expression;
  return isImportTypeNode(node) ? node.qualifier : undefined;
}

function unaliased(type: Type, { checker }: Project): Type {
  return (type.flags & SymbolFlags.Alias) === 0 ? type : checker.getAliasedSymbol(type);
}

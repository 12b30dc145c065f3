import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { documents, root } from '../../support/snippets.ts';

const PAGES = [...documents(), 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'assets/README.md'];

it.each(PAGES)('%s links only to what exists', (page) => {
  const text = readFileSync(join(root, page), 'utf8');
  const links = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, target]) => target ?? '');
  const missing = links.filter((target) => !existsSync(join(root, page, '..', target)));
  expect(missing).toEqual([]);
});

it.each(['ARCHITECTURE.md', 'CONTRIBUTING.md'])(
  '%s names only files and folders that exist',
  (page) => {
    const text = readFileSync(join(root, page), 'utf8');
    const named = [...text.matchAll(/`([\w.-]+\/[\w./-]*)`/g)].map(([, path]) => path ?? '');
    const roots = ['', 'crates/blob-core', 'crates/blob-core/src', 'crates/cpu-kernels/src', 'ts'];
    const missing = named.filter(
      (path) => !roots.some((base) => existsSync(join(root, base, path))),
    );
    expect(named.length).toBeGreaterThan(3);
    expect(missing).toEqual([]);
  },
);

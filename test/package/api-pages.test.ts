import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { apiPages } from '../../tools/api.mjs';
import { settingsOf } from '../../ts/config/schema.ts';
import { defaultOf } from '../../ts/config/text.ts';

const folder = join(import.meta.dirname, '../../docs/api');

it('keeps docs/api as the types of both doors say', () => {
  const pages = apiPages({ settingsOf, defaultOf });
  expect(pages, 'typedoc has complained').not.toBeNull();
  const there = readdirSync(folder, { recursive: true }).map(String);
  expect(there.filter((name) => name.endsWith('.md')).sort()).toEqual([
    ...(pages ?? new Map()).keys(),
  ]);
  for (const [name, text] of pages ?? []) {
    const committed = readFileSync(join(folder, name), 'utf8');
    expect(
      committed === text,
      `docs/api/${name} is out of date: run npm run docs and commit it`,
    ).toBe(true);
    expect(text).not.toContain('z.input');
  }
});

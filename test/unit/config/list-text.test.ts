import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listFromText } from '../../../ts/config/list-text.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

it('keeps the commas of a path that exists', () => {
  const folder = join(temporaryFolder(), 'a,b, c');
  mkdirSync(folder);
  writeFileSync(join(folder, 'x,y.jsonl'), '');
  const file = join(folder, 'x,y.jsonl');
  expect(listFromText(folder)).toEqual([folder]);
  expect(listFromText(`ARC-Easy, ${file},${folder},obqa`)).toEqual([
    'ARC-Easy',
    file,
    folder,
    'obqa',
  ]);
});

it('cuts at every other comma', () => {
  expect(listFromText('10, 0')).toEqual(['10', '0']);
  expect(listFromText('./nowhere/a,b.jsonl')).toEqual(['./nowhere/a', 'b.jsonl']);
  expect(listFromText('no,,yes,')).toEqual(['no', '', 'yes', '']);
});

/** Tables and pictures of a W&B run: a file below `files/media`, and the value that names it. */

import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Row } from './row.ts';

export interface Media {
  /** Below `files/`. */
  readonly path: string;
  /** As a value of a history row. */
  readonly value: Row;
  readonly bytes: Uint8Array;
}

export function tableMedia(
  key: string,
  step: number,
  columns: readonly string[],
  data: readonly (readonly unknown[])[],
): Media {
  const bytes = Buffer.from(JSON.stringify({ columns, data }));
  return media(key, step, bytes, {
    ...{ folder: 'table', ending: 'table.json' },
    value: {
      _type: 'table-file',
      ncols: columns.length,
      nrows: data.length,
      log_mode: 'IMMUTABLE',
    },
  });
}

export function imageMedia(
  key: string,
  step: number,
  { bytes, width, height }: { bytes: Uint8Array; width: number; height: number },
): Media {
  return media(key, step, bytes, {
    ...{ folder: 'images', ending: 'png' },
    value: { _type: 'image-file', format: 'png', width, height },
  });
}

export async function writeMedia(filesFolder: string, { path, bytes }: Media): Promise<void> {
  const whole = join(filesFolder, path);
  await mkdir(dirname(whole), { recursive: true });
  await writeFile(whole, bytes);
}

function media(
  key: string,
  step: number,
  bytes: Uint8Array,
  { folder, ending, value }: { folder: string; ending: string; value: Row },
): Media {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const name = key.replace(/[^A-Za-z0-9._-]+/g, '_');
  const path = `media/${folder}/${name}_${step}_${sha256.slice(0, 20)}.${ending}`;
  return { path, bytes, value: { ...value, path, sha256, size: bytes.length } };
}

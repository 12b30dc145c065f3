/** Which files hold rows: by their names, and by their first bytes what only pretends to. */

import { basename, extname } from 'node:path';
import { datasetError } from '../rows/dataset-error.ts';

/** `jsonl` is JSON: Lines, or one list of rows; `csv` has commas, semicolons or tabs. */
export type FileFormat = 'jsonl' | 'csv' | 'parquet';

const FORMATS: Readonly<Record<string, FileFormat>> = {
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
  '.json': 'jsonl',
  '.csv': 'csv',
  '.tsv': 'csv',
  '.parquet': 'parquet',
};

export const FILE_KINDS = '.jsonl, .json, .csv, .tsv or .parquet';

const SHEET = 'save the sheet as CSV (UTF-8)';
const UNPACK = 'unpack it first';
const TABLE = "write it as Parquet, in Python: Dataset.from_file('…').to_parquet('train.parquet')";

const REMEDIES: Readonly<Record<string, string>> = {
  '.xlsx': SHEET,
  '.xls': SHEET,
  '.ods': SHEET,
  '.numbers': SHEET,
  '.zip': UNPACK,
  '.arrow': TABLE,
};

/** Null: no file of rows. */
export function formatOf(path: string): FileFormat | null {
  const bare = withoutPacker(path);
  const format = FORMATS[extname(bare).toLowerCase()] ?? null;
  return format === 'parquet' && bare !== path ? null : format; // it is packed within
}

/** The file's name without its endings: `train.jsonl.gz` holds the split `train`. */
export function splitName(path: string): string {
  const bare = withoutPacker(path);
  return basename(bare, extname(bare));
}

/** `rows.csv` of `rows.csv.gz`. */
function withoutPacker(path: string): string {
  return path.replace(/\.(gz|zst)$/i, '');
}

/** What to do with a file of another kind; undefined: not known. */
export function remedyFor(path: string): string | undefined {
  return REMEDIES[extname(path).toLowerCase()];
}

/**
 * A file of a folder that holds a split. Tools keep their own settings in `.json` files beside
 * rows, so such a file counts only under the name of a split.
 */
export function isSplitFile(name: string): boolean {
  const isJson = extname(withoutPacker(name)).toLowerCase() === '.json';
  return formatOf(name) !== null && (!isJson || hasSplitName(name));
}

/** Whether a file is called as splits usually are. */
export function hasSplitName(name: string): boolean {
  return /^(train|validation|valid|val|dev|test)([-_.].*)?\.[^.]+$/i.test(name);
}

/** Bytes that tell a file's kind, or a first line if that is shorter. */
export const HEAD_BYTES = 64;

/** The beginning of a stream, and the stream with it. Waits for a line at most. */
export async function withHead(
  bytes: AsyncIterable<Uint8Array>,
): Promise<{ head: Uint8Array; whole: AsyncGenerator<Uint8Array> }> {
  const iterator = bytes[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.length < HEAD_BYTES && !isWholeLine(head)) {
    const next = await iterator.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  const begun = head;
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      if (begun.length > 0) yield begun;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head, whole: whole() };
}

function isWholeLine(bytes: Uint8Array): boolean {
  return firstText(bytes).trimStart().includes('\n');
}

/** First bytes of files: of what is packed, and of a table, `PAR1`. */
export const GZIP = '1f8b';
export const ZSTD = '28b52ffd';
const PARQUET = '50415231';

/** First bytes, what they say, and what to do. */
const SIGNATURES: readonly (readonly [string, string, string])[] = [
  ['504b0304', 'is a spreadsheet or a zip archive', `${SHEET}, or ${UNPACK}`],
  ['d0cf11e0', 'is a spreadsheet of an old format', SHEET],
  [GZIP, 'is packed with gzip, twice', UNPACK],
  [ZSTD, 'is packed with zstd, twice', UNPACK],
  [
    PARQUET,
    'is a Parquet file',
    'give it the ending .parquet; from standard input it cannot be read',
  ],
  ['fffe', 'is UTF-16', 'save it as UTF-8'],
  ['feff', 'is UTF-16', 'save it as UTF-8'],
];

const LFS_POINTER = /^version https:\/\/git-lfs\.github\.com/;
const WEB_PAGE = /^\s*<(!doctype|html|head|\?xml|error)/i;

/**
 * @throws {BpeftError} `BPEFT_DATASET`: the bytes are of a file that holds no rows, whatever its
 * name.
 */
export function refuseForeign(head: Uint8Array, file: string): void {
  const hex = Buffer.from(head).toString('hex');
  const signature = SIGNATURES.find(([bytes]) => hex.startsWith(bytes));
  if (signature !== undefined) throw datasetError(file, signature[1], { hint: signature[2] });
  const text = firstText(head);
  if (LFS_POINTER.test(text)) {
    throw datasetError(file, 'is a Git LFS pointer, not the rows', {
      hint: 'fetch the file: git lfs pull',
    });
  }
  if (WEB_PAGE.test(text)) {
    throw datasetError(file, 'is a web page, not the rows', {
      hint: 'download the file itself: the "raw" or "download" link of the page',
    });
  }
}

/** @throws {BpeftError} `BPEFT_DATASET`: a file with the name of a table is none. */
export function requireParquet(head: Uint8Array, file: string): void {
  const hex = Buffer.from(head).toString('hex');
  if (hex.startsWith(PARQUET)) return;
  if (hex === '') throw datasetError(file, 'the file is empty');
  if ([GZIP, ZSTD].some((packed) => hex.startsWith(packed)))
    throw datasetError(file, 'is packed', { hint: UNPACK });
  refuseForeign(head, file);
  throw datasetError(file, 'is no Parquet file: it does not begin with PAR1', {
    hint: `give it the ending of what it holds: ${FILE_KINDS}`,
  });
}

/** Without a byte order mark. */
function firstText(head: Uint8Array): string {
  return new TextDecoder().decode(head);
}

/** Whether JSON begins with a list instead of the first of many lines. */
export function beginsList(head: Uint8Array): boolean {
  return /^\s*\[/.test(firstText(head));
}

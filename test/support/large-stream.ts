/** Rows that are made as they are read, and become items, in a process of their own. */

import { type Ended, runNode } from './node-process.ts';

/**
 * @param megabytes of rows, in powers of 1000
 * @param packer what they come packed with
 * @returns on its standard output: rows, bytes, and the most memory of the process in MB
 */
export function largeStream(megabytes: number, packer: 'none' | 'gzip'): Promise<Ended> {
  return runNode(`
    import { pipeline, Readable } from 'node:stream';
    import { createGzip } from 'node:zlib';
    const { surveySplit, splitItems } = await import(dist + 'datasets/files/read-split.js');
    const { taskOf } = await import(dist + 'datasets/tasks/tasks.js');
    const text = 'The parcel that I had ordered came late. '.repeat(200);
    const rowsPerPiece = 16;
    async function* made() {
      let [bytes, row] = [0, 0];
      while (bytes < ${megabytes}e6) {
        let piece = '';
        for (let one = 0; one < rowsPerPiece; one += 1, row += 1)
          piece += JSON.stringify({ id: row, text: text + row, label: row % 2 ? 'late' : 'lost' }) + '\\n';
        bytes += piece.length;
        yield Buffer.from(piece);
      }
    }
    const packed = () => ${packer === 'gzip'} ? pipeline(Readable.from(made()), createGzip({ level: 1 }), () => {}) : made();
    const source = () => [{ file: 'made', name: 'made', format: 'jsonl', bytes: packed() }];
    const task = taskOf('classification');
    const { rows, bytes, labelNames } = await surveySplit(source(), task, { labelNames: null });
    let items = 0;
    for await (const item of splitItems(source(), task, { labelNames })) items += item.texts.length;
    console.log(JSON.stringify({ rows, items, bytes, maxMb: process.resourceUsage().maxRSS / 1024 }));
  `);
}

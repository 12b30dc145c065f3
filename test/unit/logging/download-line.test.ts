import { expect, it, vi } from 'vitest';
import { bytesText } from '../../../ts/hub/sizes.ts';
import { downloadLine } from '../../../ts/logging/download-line.ts';

/** What is written of a download of 200 MB, told each second. */
function written(isTTY: boolean): string[] {
  vi.useFakeTimers();
  vi.stubEnv('CI', '');
  try {
    const lines: string[] = [];
    const stream = { isTTY, columns: 60, write: (text: string) => void lines.push(text) };
    const tell = downloadLine(stream);
    for (let second = 0; second <= 20; second += 1) {
      tell({
        activity: 'downloading',
        subject: 'o/m',
        unit: 'bytes',
        done: second * 10e6,
        total: 200e6,
      });
      tell({ activity: 'hashing', unit: 'bytes', done: second, total: 20 });
      vi.advanceTimersByTime(1000);
    }
    tell({ activity: 'downloading', subject: 'o/m', unit: 'bytes', done: 200e6, total: 200e6 });
    return lines;
  } finally {
    vi.useRealTimers();
    vi.unstubAllEnvs();
  }
}

it('writes a line at the start, one in ten seconds, and one at the end where nothing can be drawn over', () => {
  expect(written(false)).toEqual([
    'downloading o/m: 0 B of 200 MB\n',
    'downloading o/m: 100 MB of 200 MB, 10.0 MB/s, 10.0 s left\n',
    'downloaded o/m: 200 MB in 20.0 s\n',
  ]);
});

it('draws one line over and over on a terminal, no wider than it is', () => {
  const lines = written(true);
  expect(lines).toHaveLength(21);
  const text = 'downloading o/m: 110 MB of 200 MB, 10.0 MB/s, 9.0 s left';
  expect(lines[11]).toBe(`\r\u001b[2K${text.slice(0, 59)}`);
  expect(lines.at(-1)).toBe('\r\u001b[2Kdownloaded o/m: 200 MB in 20.0 s\n');
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [99_950, '100 kB'],
  [3_400_000, '3.4 MB'],
  [1e15, '1000 TB'],
])('writes %d bytes as %s', (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});

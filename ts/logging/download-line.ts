/**
 * How far a download or an upload is: a line that is drawn over on a terminal, a few plain lines
 * elsewhere.
 */

import type { Progress } from '../engine/call.ts';
import { bytesText } from '../hub/sizes.ts';
import { isLive, type TextStream } from './console.ts';
import { duration } from './lines.ts';

/** Least time between two drawings. */
const DRAW_EVERY_MS = 100;
/** Plain lines: one at the first news and one after so long. */
const TELL_EVERY_MS = 10_000;

const VERBS: { readonly [_ in Progress['activity']]?: string } = {
  downloading: 'download',
  uploading: 'upload',
};

/** Writes of these alone; the rest is short. */
export function downloadLine(
  stream: TextStream,
  { isPlain = false }: { isPlain?: boolean } = {},
): (progress: Progress) => void {
  const isDrawn = isLive(stream, { isPlain });
  const pause = isDrawn ? DRAW_EVERY_MS : TELL_EVERY_MS;
  let start: { at: number; bytes: number; subject: string | undefined } | null = null;
  let toldAt = Number.NEGATIVE_INFINITY;
  return ({ activity, subject, done, total }) => {
    const verb = VERBS[activity];
    if (verb === undefined || total === null) return;
    const now = performance.now();
    if (start === null && done === total) return; // told again, or there from the start
    if (start === null || start.subject !== subject) start = { at: now, bytes: done, subject };
    const seconds = (now - start.at) / 1000;
    const clear = isDrawn ? '\r\u001b[2K' : '';
    if (done === total) {
      stream.write(`${clear}${verb}ed ${subject}: ${bytesText(total)} in ${duration(seconds)}\n`);
      [start, toldAt] = [null, Number.NEGATIVE_INFINITY];
      return;
    }
    if (now - toldAt < pause) return;
    toldAt = now;
    const speed = (done - start.bytes) / seconds;
    const rate =
      speed > 0 ? `, ${bytesText(speed)}/s, ${duration((total - done) / speed)} left` : '';
    const text = `${activity} ${subject}: ${bytesText(done)} of ${bytesText(total)}${rate}`;
    stream.write(isDrawn ? `${clear}${text.slice(0, (stream.columns ?? 120) - 1)}` : `${text}\n`);
  };
}

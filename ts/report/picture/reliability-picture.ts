/**
 * A reliability diagram as a picture (Guo et al., arXiv 1706.04599, figure 1): confidence to the
 * right, accuracy upwards, both from 0 to 1; a bar per bin, its gap to the mean confidence in red,
 * and the diagonal.
 */

import type { ReliabilityBin } from '../../metrics/ece.ts';
import { type Colour, Picture } from './png.ts';

const SIZE = 300;
const MARGIN = 12;
const WHITE: Colour = [255, 255, 255];
const GRID: Colour = [225, 225, 225];
const BAR: Colour = [52, 101, 164];
const GAP: Colour = [232, 150, 150];
const DIAGONAL: Colour = [90, 90, 90];

export function reliabilityPicture(bins: readonly ReliabilityBin[]): Picture {
  const picture = new Picture(SIZE, SIZE, WHITE);
  const span = SIZE - 2 * MARGIN;
  const x = (value: number) => MARGIN + value * span;
  const y = (value: number) => SIZE - MARGIN - value * span;
  for (let line = 0; line <= 4; line += 1) {
    picture.fill(x(0), y(line / 4), x(1), y(line / 4) + 1, GRID);
    picture.fill(x(line / 4), y(1), x(line / 4) + 1, y(0), GRID);
  }
  // The bin of confidence 1 has no width of its own: it takes that of the last one.
  const width = 1 / Math.max(1, bins.length - 1);
  for (const { lower, accuracy, confidence } of bins) {
    if (accuracy === null || confidence === null) continue;
    const left = x(Math.min(lower, 1 - width)) + 1;
    const right = left + width * span - 1;
    picture.fill(left, y(accuracy), right, y(0), BAR);
    picture.fill(
      left,
      y(Math.max(accuracy, confidence)),
      right,
      y(Math.min(accuracy, confidence)),
      GAP,
    );
  }
  for (let place = 0; place < span; place += 1) {
    picture.fill(
      MARGIN + place,
      SIZE - MARGIN - place - 1,
      MARGIN + place + 1,
      SIZE - MARGIN - place,
      DIAGONAL,
    );
  }
  return picture;
}

/** A curve in a few characters: `█▆▅▃▂▂▁`. */

const LEVELS = '▁▂▃▄▅▆▇█';

/** Values of a run in a fixed number of equal stretches, however long it gets. */
export class Sparkline {
  readonly #width: number;
  /** Sums and counts; each holds `#stretch` values, the last one maybe fewer. */
  #means: { sum: number; count: number }[] = [];
  #stretch = 1;

  constructor(width: number) {
    this.#width = width;
  }

  add(value: number): void {
    if (!Number.isFinite(value)) return;
    let last = this.#means.at(-1);
    if (last === undefined || last.count >= this.#stretch) {
      if (this.#means.length === 2 * this.#width) this.#halve();
      last = { sum: 0, count: 0 };
      this.#means.push(last);
    }
    last.sum += value;
    last.count += 1;
  }

  /** At most `width` characters, the lowest value lowest; empty without values. */
  toString(): string {
    const group = Math.ceil(this.#means.length / this.#width);
    const means: number[] = [];
    for (let from = 0; from < this.#means.length; from += group) {
      means.push(meanOf(this.#means.slice(from, from + group)));
    }
    const [low, high] = [Math.min(...means), Math.max(...means)];
    const top = LEVELS.length - 1;
    return means
      .map((mean) => LEVELS[high === low ? 0 : Math.round((top * (mean - low)) / (high - low))])
      .join('');
  }

  #halve(): void {
    const pairs = this.#means;
    this.#means = [];
    for (let index = 0; index < pairs.length; index += 2) {
      const both = pairs.slice(index, index + 2);
      this.#means.push({
        sum: both.reduce((sum, one) => sum + one.sum, 0),
        count: both.reduce((count, one) => count + one.count, 0),
      });
    }
    this.#stretch *= 2;
  }
}

function meanOf(parts: readonly { sum: number; count: number }[]): number {
  const count = parts.reduce((total, part) => total + part.count, 0);
  return parts.reduce((total, part) => total + part.sum, 0) / count;
}

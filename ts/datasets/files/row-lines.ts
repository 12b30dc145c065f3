/**
 * In which line each row of a CSV file begins: a cell in quotes may hold line ends, so that rows
 * are no lines. CR, LF and CR LF end a line.
 */

interface EndedRow {
  /** Bytes of the text up to its end, the line end included. */
  readonly end: number;
  /** Its first line. */
  readonly line: number;
}

export class RowLines {
  readonly #ended: EndedRow[] = [];
  #line: number;
  #bytes = 0;
  /** Of the row that has not ended. */
  #begin: number;
  #isBegun = false;
  #isQuoted = false;
  #quoteLine = 0;
  #endsWithReturn = false;

  /** @param first the line that the text begins with */
  constructor(first: number) {
    this.#line = first;
    this.#begin = first;
  }

  /** The texts as they come, each looked at before it is handed on. */
  async *watched(texts: AsyncIterable<string>): AsyncGenerator<string, void, undefined> {
    for await (const text of texts) {
      this.#see(text);
      yield text;
    }
  }

  /** The line of the row that ends after so many bytes; to be asked row by row. */
  ofRow(bytes: number): number {
    const isBefore = ({ end }: EndedRow) => end < bytes;
    while (this.#ended[0] !== undefined && isBefore(this.#ended[0])) this.#ended.shift();
    return this.#ended[0]?.line ?? this.#begin;
  }

  /** That of the row which so many bytes lie before or inside of. */
  ofRest(bytes: number): number {
    return this.#ended.find(({ end }) => end > bytes)?.line ?? this.#begin;
  }

  /** Where the quote stands that the text has opened last. */
  get ofQuote(): number {
    return this.#quoteLine;
  }

  #see(text: string): void {
    // The second half of CR LF ends no other line.
    const half = this.#endsWithReturn && text.startsWith('\n') ? 1 : 0;
    if (half === 1 && !this.#isQuoted) this.#lengthenLast();
    let start = this.#isQuoted ? 0 : half;
    const marks = /"|\r\n|\r|\n/g;
    marks.lastIndex = half;
    for (let mark = marks.exec(text); mark !== null; mark = marks.exec(text)) {
      if (mark[0] === '"') {
        this.#isQuoted = !this.#isQuoted;
        if (this.#isQuoted) this.#quoteLine = this.#line;
        continue;
      }
      this.#line += 1;
      if (this.#isQuoted) continue;
      const isEmpty = !this.#isBegun && mark.index === start;
      this.#bytes += Buffer.byteLength(text.slice(start, marks.lastIndex));
      if (!isEmpty) this.#ended.push({ end: this.#bytes, line: this.#begin });
      start = marks.lastIndex;
      this.#isBegun = false;
      this.#begin = this.#line;
    }
    this.#bytes += Buffer.byteLength(text.slice(start));
    if (text.length > start) this.#isBegun = true;
    this.#endsWithReturn = text.endsWith('\r');
  }

  #lengthenLast(): void {
    this.#bytes += 1;
    const last = this.#ended.pop();
    if (last !== undefined) this.#ended.push({ ...last, end: last.end + 1 });
  }
}

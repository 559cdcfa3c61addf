/** An array holds 2^8 rows: few, as most files do. A single array would be copied as it grows, in long steps. */
const CHUNK_BITS = 8;
const CHUNK = 1 << CHUNK_BITS;

/** A table of integers. Its rows are numbered from 1. */
export class Rows {
  count = 0;
  readonly #chunks: Int32Array[] = [];

  constructor(readonly columns: number) {}

  /** Adds a row and returns its number. */
  add(...row: number[]): number {
    const number = ++this.count;
    if (number >>> CHUNK_BITS === this.#chunks.length)
      this.#chunks.push(new Int32Array(CHUNK * this.columns));
    for (let column = 0; column < row.length; column++) this.set(number, column, row[column] as number);
    return number;
  }

  get(number: number, column: number): number {
    const chunk = this.#chunks[number >>> CHUNK_BITS] as Int32Array;
    return chunk[(number & (CHUNK - 1)) * this.columns + column] as number;
  }

  set(number: number, column: number, value: number): void {
    const chunk = this.#chunks[number >>> CHUNK_BITS] as Int32Array;
    chunk[(number & (CHUNK - 1)) * this.columns + column] = value;
  }
}

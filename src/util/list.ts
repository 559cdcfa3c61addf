/** An array holds 2^8 values. A single array would be copied as it grows, in long steps. */
const CHUNK_BITS = 8;
const CHUNK = 1 << CHUNK_BITS;

/** A long list, numbered from 0, in which values may be missing. */
export class List<T extends {}> {
  readonly #chunks: (T | undefined)[][] = [];
  /** How many values are not missing. */
  #count = 0;

  set(index: number, value: T | undefined): void {
    while (this.#chunks.length <= index >>> CHUNK_BITS) this.#chunks.push([]);
    const chunk = this.#chunks[index >>> CHUNK_BITS] as (T | undefined)[];
    this.#count += Number(value !== undefined) - Number(chunk[index % CHUNK] !== undefined);
    chunk[index % CHUNK] = value;
  }

  /** All values that are not missing, in an array. Yields now and then. */
  *values(): Generator<void, T[]> {
    const values = new Array<T>(this.#count);
    let at = 0;
    for (const chunk of this.#chunks) {
      for (const value of chunk) if (value !== undefined) values[at++] = value;
      yield;
    }
    return values;
  }
}

/**
 * The table in which Mosquitto 2.0 keeps its users (uthash 2.3.0, src/uthash.h). It takes a name that is there already,
 * puts it in front of the one before, and so finds the later one; but each time it doubles its buckets it turns the
 * order round. So of a doubled name 2.0 goes by the last line in a small file, and by either in one of over a hundred.
 */
const FIRST_BUCKETS = 32;
const BUCKET_CAPACITY = 10;

/** Counts as uthash does when its buckets are doubled. */
export class UserTable {
  #hashes = new Uint32Array(1024);
  #items = 0;
  #counts = new Uint32Array(FIRST_BUCKETS);
  /** By how much a bucket's capacity has been raised. */
  #raised = new Uint32Array(FIRST_BUCKETS);
  #ineffective = 0;

  /** Adds a name; `true`: the table was doubled over it, and the order of equal names is turned round. */
  add(bytes: Uint8Array, from: number, to: number): boolean {
    const hash = jenkinsHash(bytes, from, to);
    if (this.#items === this.#hashes.length) {
      const hashes = this.#hashes;
      this.#hashes = new Uint32Array(hashes.length * 2);
      this.#hashes.set(hashes);
    }
    this.#hashes[this.#items++] = hash;
    const bucket = hash & (this.#counts.length - 1);
    const count = (this.#counts[bucket] as number) + 1;
    this.#counts[bucket] = count;
    // HASH_ADD_TO_BKT; after two doublings in a row that did not help, the table is left as it is.
    if (count < ((this.#raised[bucket] as number) + 1) * BUCKET_CAPACITY || this.#ineffective > 1)
      return false;
    this.#double();
    return true;
  }

  /** HASH_EXPAND_BUCKETS */
  #double(): void {
    const buckets = this.#counts.length * 2;
    const counts = new Uint32Array(buckets);
    const raised = new Uint32Array(buckets);
    const ideal = Math.floor(this.#items / buckets) + (this.#items % buckets === 0 ? 0 : 1);
    let nonideal = 0;
    for (let item = 0; item < this.#items; item++) {
      const bucket = (this.#hashes[item] as number) & (buckets - 1);
      const count = (counts[bucket] as number) + 1;
      counts[bucket] = count;
      if (count <= ideal) continue;
      nonideal++;
      if (count > (raised[bucket] as number) * ideal) raised[bucket] = (raised[bucket] as number) + 1;
    }
    this.#counts = counts;
    this.#raised = raised;
    this.#ineffective = nonideal > this.#items >>> 1 ? this.#ineffective + 1 : 0;
  }
}

/**
 * In which order 2.0 comes upon the lines of one name.
 *
 * @param lines where they start, in the order of the file
 * @param doublings the lines over which the table was doubled, in the order of the file
 */
export function searchOrder(lines: readonly number[], doublings: readonly number[]): number[] {
  // Back to front while it grows: lines come in at the front.
  const order: number[] = [];
  let done = 0;
  for (const line of [...lines, Number.POSITIVE_INFINITY]) {
    for (; done < doublings.length && (doublings[done] as number) < line; done++) order.reverse();
    if (line !== Number.POSITIVE_INFINITY) order.push(line);
  }
  return order.reverse();
}

/** HASH_JEN, by Bob Jenkins: 12 bytes at a time, little-endian, zeros behind the last. */
function jenkinsHash(bytes: Uint8Array, from: number, to: number): number {
  let [a, b, c] = [0x9e3779b9 | 0, 0x9e3779b9 | 0, 0xfeedbeef | 0];
  const at = (i: number) => (i < to ? (bytes[i] as number) : 0);
  const word = (i: number) => at(i) | (at(i + 1) << 8) | (at(i + 2) << 16) | (at(i + 3) << 24);
  for (let i = from; ; i += 12) {
    const isLast = to - i < 12;
    a = (a + word(i)) | 0;
    b = (b + word(i + 4)) | 0;
    // In the last round the lowest byte is the length's.
    c = isLast ? (c + (word(i + 8) << 8) + (to - from)) | 0 : (c + word(i + 8)) | 0;
    a = (a - b - c) ^ (c >>> 13);
    b = (b - c - a) ^ (a << 8);
    c = (c - a - b) ^ (b >>> 13);
    a = (a - b - c) ^ (c >>> 12);
    b = (b - c - a) ^ (a << 16);
    c = (c - a - b) ^ (b >>> 5);
    a = (a - b - c) ^ (c >>> 3);
    b = (b - c - a) ^ (a << 10);
    c = (c - a - b) ^ (b >>> 15);
    if (isLast) return c >>> 0;
  }
}

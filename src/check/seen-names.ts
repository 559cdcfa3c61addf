import { LineReader } from '../document/line.js';
import { hashBytes } from '../document/name-index.js';

/** The names of a file so far: an open hash table of line starts and hashes, 8 bytes a slot, no object per line. */
export class SeenNames {
  readonly #reader: LineReader;
  #lines = new Uint32Array(1024);
  #hashes = new Uint32Array(1024);
  #used = 0;

  constructor(bytes: Buffer) {
    this.#reader = new LineReader(bytes);
  }

  /** Takes in the name of a line that is an entry; `false`: an earlier line had the same name. */
  add(line: LineReader): boolean {
    const { bytes, nameStart, nameEnd } = line;
    const hash = hashBytes(bytes, nameStart, nameEnd) >>> 0;
    const mask = this.#lines.length - 1;
    let slot = hash & mask;
    for (; this.#lines[slot] !== 0; slot = (slot + 1) & mask) {
      if (this.#hashes[slot] === hash && this.#isSame((this.#lines[slot] as number) - 1, line)) return false;
    }
    this.#lines[slot] = line.start + 1;
    this.#hashes[slot] = hash;
    if (++this.#used * 2 > mask) this.#grow();
    return true;
  }

  #isSame(start: number, { bytes, nameStart, nameEnd }: LineReader): boolean {
    const earlier = this.#reader;
    earlier.read(start);
    return bytes.compare(bytes, nameStart, nameEnd, earlier.nameStart, earlier.nameEnd) === 0;
  }

  #grow(): void {
    const [lines, hashes] = [this.#lines, this.#hashes];
    this.#lines = new Uint32Array(lines.length * 4);
    this.#hashes = new Uint32Array(lines.length * 4);
    const mask = this.#lines.length - 1;
    for (let i = 0; i < lines.length; i++) {
      if (lines[i] === 0) continue;
      let slot = (hashes[i] as number) & mask;
      while (this.#lines[slot] !== 0) slot = (slot + 1) & mask;
      this.#lines[slot] = lines[i] as number;
      this.#hashes[slot] = hashes[i] as number;
    }
  }
}

import { randomFillSync } from 'node:crypto';
import { MAX_BYTES } from '../credentials/rules.js';
import { LF, NUL } from '../util/ascii.js';
import { halfSipHash } from '../util/half-sip-hash.js';
import { LineReader } from './line.js';

/** The table consists of segments, so that growing one takes no long step. */
const SEGMENTS = 16;
/** The bits of a hash that choose its segment. */
const SEGMENT_SHIFT = 28;
const MIN_SLOTS = 8;
/** Bytes of a file for each slot: lines that the library writes fill less than half of the slots. */
const BYTES_PER_SLOT = 64;
/** If more names than this are wanted, all names of the file are added. */
export const MAX_WANTED = 1024;
/** Up to this length, Node searches bytes in linear time (Node src/string_search.h `kBMMaxShift`). */
export const MAX_SOUGHT_BYTES = 250;

/**
 * Where the names of a file are: an open-addressing hash table in typed arrays, so that a million lines take no
 * objects. The hash has a random seed, so that nobody can choose names that collide. Names that are too long for any
 * client are left out, so that no hash takes long.
 */
export class NameIndex {
  readonly bytes: Buffer;
  readonly #seed: Uint32Array;
  readonly #reader: LineReader;
  /** The only names that will be looked up; `undefined`: any. */
  readonly #wanted: ReadonlySet<string> | undefined;
  readonly #wantedHashes: ReadonlySet<number> | undefined;
  /** The only wanted name. A line is read only if it contains these bytes. */
  readonly #sought: Buffer | undefined;
  /** Segments of slots, of two words each: the hash of a name, and one more than its number; 0: free. */
  readonly #segments: Int32Array[];
  /** How many names there are in each segment. */
  readonly #used = new Uint32Array(SEGMENTS);
  /** Three words for each name, in the order of the file: where its first line starts, where the name starts and ends. */
  #names: Int32Array = new Int32Array(3 * SEGMENTS);
  #count = 0;
  /** All lines of each name that has several, by the name's number. */
  readonly #duplicates = new Map<number, number[]>();
  #scanned = 0;
  #arrived = 0;
  #firstNul: number | undefined;

  /** @param wanted the only names that will be looked up; without it, any */
  constructor(bytes: Buffer, wanted?: ReadonlySet<string>, seed = randomFillSync(new Uint32Array(2))) {
    this.bytes = bytes;
    this.#seed = seed;
    this.#reader = new LineReader(bytes);
    if (wanted !== undefined && wanted.size <= MAX_WANTED) {
      this.#wanted = new Set(wanted);
      const names = Array.from(wanted, name => Buffer.from(name)).filter(({ length }) => length <= MAX_BYTES);
      this.#wantedHashes = new Set(names.map(name => halfSipHash(seed, name)));
      if (names.length === 1)
        this.#sought = names.find(({ length }) => length > 0 && length <= MAX_SOUGHT_BYTES);
    }
    const slots = this.#wanted === undefined ? bytes.length / BYTES_PER_SLOT / SEGMENTS : 0;
    const words = 2 * 2 ** Math.ceil(Math.log2(Math.max(MIN_SLOTS, slots)));
    this.#segments = Array.from({ length: SEGMENTS }, () => new Int32Array(words));
  }

  /** Whether these names can be looked up; without them, whether all can. */
  covers(names?: ReadonlySet<string> | undefined): boolean {
    const wanted = this.#wanted;
    if (wanted === undefined || names === undefined) return wanted === undefined;
    return Array.from(names).every(name => wanted.has(name));
  }

  /** The position of the first NUL of the file, or -1. */
  get firstNul(): number {
    this.#firstNul ??= this.bytes.indexOf(NUL);
    return this.#firstNul;
  }

  /** How many names there are. They are numbered from 0, in the order of their first lines. */
  get count(): number {
    return this.#count;
  }

  /** Adds the lines that end before `limit`; with the whole length, all of them. Yields now and then. */
  *scan(limit: number): Generator<void> {
    if (this.#wanted?.size === 0) return;
    const lineFeed = this.bytes.subarray(this.#arrived, limit).lastIndexOf(LF);
    const complete = lineFeed < 0 ? this.#scanned : this.#arrived + lineFeed + 1;
    const end = limit === this.bytes.length ? limit : complete;
    this.#arrived = limit;
    const lines = this.bytes.subarray(0, end);
    const reader = this.#reader;
    for (let count = 1; this.#skip(lines) < end; count++) {
      reader.read(this.#scanned);
      this.#scanned = reader.next;
      if (reader.nameStart >= 0) this.add(reader);
      if (count % 64 === 0) yield;
    }
  }

  /** Skips lines that cannot have the only wanted name, and returns where the next line starts. */
  #skip(lines: Buffer): number {
    if (this.#sought !== undefined) {
      const found = lines.indexOf(this.#sought, this.#scanned);
      this.#scanned = found < 0 ? lines.length : lines.lastIndexOf(LF, found) + 1;
    }
    return this.#scanned;
  }

  /** Adds an entry of the file; `false`: an entry that was added before has the same name. */
  add({ bytes, start, nameStart, nameEnd }: LineReader): boolean {
    if (nameEnd - nameStart > MAX_BYTES) return true;
    const hash = halfSipHash(this.#seed, bytes, nameStart, nameEnd);
    if (this.#wantedHashes?.has(hash) === false) return true;
    const number = hash >>> SEGMENT_SHIFT;
    const segment = this.#segments[number] as Int32Array;
    const slot = this.#find(segment, hash, bytes, nameStart, nameEnd);
    const known = segment[slot + 1] as number;
    if (known !== 0) {
      const lines = this.#duplicates.get(known - 1);
      if (lines === undefined) this.#duplicates.set(known - 1, [this.#names[3 * known - 3] as number, start]);
      else lines.push(start);
      return false;
    }
    const at = 3 * this.#count++;
    if (at === this.#names.length) this.#names = grown(this.#names);
    const names = this.#names;
    names[at] = start;
    names[at + 1] = nameStart;
    names[at + 2] = nameEnd;
    segment[slot] = hash;
    segment[slot + 1] = this.#count;
    this.#used[number] = (this.#used[number] as number) + 1;
    if (4 * (this.#used[number] as number) > segment.length) this.#segments[number] = rehashed(segment);
    return true;
  }

  /** Where the lines of a name start, in the order of the file. */
  lines(name: string): readonly number[] {
    // Half of a surrogate pair would be encoded as U+FFFD, which another name may contain.
    if (!name.isWellFormed()) return [];
    const bytes = Buffer.from(name);
    const number = this.numberOf({ bytes, nameStart: 0, nameEnd: bytes.length });
    return number < 0 ? [] : (this.#duplicates.get(number) ?? [this.#names[3 * number] as number]);
  }

  /** Whether a line of the file is the first one of its name. */
  isFirst(line: LineReader): boolean {
    return this.#names[3 * this.numberOf(line)] === line.start;
  }

  /** Whether any name is in several lines. */
  get hasDuplicates(): boolean {
    return this.#duplicates.size > 0;
  }

  /** Whether another line of the file has the same name. */
  isDuplicate(line: LineReader): boolean {
    return this.hasDuplicates && this.#duplicates.has(this.numberOf(line));
  }

  /** Where the last line of a name starts, by the name's number. */
  lastLine(number: number): number {
    return this.#duplicates.get(number)?.at(-1) ?? (this.#names[3 * number] as number);
  }

  /** The number of a line's name; negative: it is not in the index. The line may be of another file. */
  numberOf({ bytes, nameStart, nameEnd }: Pick<LineReader, 'bytes' | 'nameStart' | 'nameEnd'>): number {
    if (nameEnd - nameStart > MAX_BYTES) return -1;
    const hash = halfSipHash(this.#seed, bytes, nameStart, nameEnd);
    const segment = this.#segments[hash >>> SEGMENT_SHIFT] as Int32Array;
    return (segment[this.#find(segment, hash, bytes, nameStart, nameEnd) + 1] as number) - 1;
  }

  /** The slot of a name, or the free one where it belongs. */
  #find(segment: Int32Array, hash: number, name: Uint8Array, from: number, to: number): number {
    const mask = segment.length - 1;
    let slot = (hash << 1) & mask;
    while (segment[slot + 1] !== 0) {
      if (segment[slot] === hash && this.#isName((segment[slot + 1] as number) - 1, name, from, to))
        return slot;
      slot = (slot + 2) & mask;
    }
    return slot;
  }

  #isName(number: number, name: Uint8Array, from: number, to: number): boolean {
    const start = this.#names[3 * number + 1] as number;
    const end = this.#names[3 * number + 2] as number;
    return end - start === to - from && this.bytes.compare(name, from, to, start, end) === 0;
  }
}

/** The names of a segment in one of twice the size. */
function rehashed(old: Int32Array): Int32Array {
  const segment = new Int32Array(old.length * 2);
  const mask = segment.length - 1;
  for (let at = 0; at < old.length; at += 2) {
    if (old[at + 1] === 0) continue;
    let slot = ((old[at] as number) << 1) & mask;
    while (segment[slot + 1] !== 0) slot = (slot + 2) & mask;
    segment[slot] = old[at] as number;
    segment[slot + 1] = old[at + 1] as number;
  }
  return segment;
}

function grown(words: Int32Array): Int32Array {
  const twice = new Int32Array(words.length * 2);
  twice.set(words);
  return twice;
}

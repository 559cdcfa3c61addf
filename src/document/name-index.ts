import { randomFillSync } from 'node:crypto';
import { MAX_BYTES } from '../credentials/rules.js';
import { LF, NUL } from '../util/ascii.js';
import { halfSipHash } from '../util/half-sip-hash.js';
import { Rows } from '../util/rows.js';
import { LineReader } from './line.js';

/**
 * The columns of a name: its hash, the next name in its bucket, where its first line starts, where the name starts and
 * ends there, and its last further line (0: none).
 */
const [HASH, NEXT, FIRST, START, END, LAST] = [0, 1, 2, 3, 4, 5] as const;
/** The columns of a further line of a name: where it starts, and the further line before it (0: none). */
const [LINE, BEFORE] = [0, 1] as const;
/** Bytes of a file for each bucket. Lines that the library writes have over 100. */
const BYTES_PER_BUCKET = 64;
/** If more names than this are wanted, all names of the file are added. */
const MAX_WANTED = 1024;
/** Up to this length, Node searches bytes in linear time (Node src/string_search.h `kBMMaxShift`). */
export const MAX_SOUGHT_BYTES = 250;

/**
 * Where the names of a file are: a hash table in typed arrays, so that a million lines take no objects. The hash has a
 * random seed, so that nobody can choose names that collide. Names that are too long for any client are left out, so
 * that no hash takes long.
 */
export class NameIndex {
  readonly #reader: LineReader;
  /** The only names that will be looked up; `undefined`: any. */
  readonly #wanted: ReadonlySet<string> | undefined;
  readonly #wantedHashes: ReadonlySet<number> | undefined;
  /** The only wanted name. A line is read only if it contains these bytes. */
  readonly #sought: Buffer | undefined;
  /** The number of the last name whose hash ends in these bits; 0: none. */
  readonly #buckets: Int32Array;
  readonly #names = new Rows(6);
  readonly #furtherLines = new Rows(2);
  #scanned = 0;
  #arrived = 0;
  #firstNul: number | undefined;

  /** @param wanted the only names that will be looked up; without it, any */
  constructor(
    readonly bytes: Buffer,
    wanted?: ReadonlySet<string>,
    readonly seed = randomFillSync(new Uint32Array(2)),
  ) {
    this.#reader = new LineReader(bytes);
    if (wanted !== undefined && wanted.size <= MAX_WANTED) {
      const names = Array.from(wanted, name => Buffer.from(name));
      this.#wanted = wanted;
      this.#wantedHashes = new Set(names.map(name => halfSipHash(seed, name)));
      if (names.length === 1)
        this.#sought = names.find(({ length }) => length > 0 && length <= MAX_SOUGHT_BYTES);
    }
    const buckets = this.#wanted?.size ?? bytes.length / BYTES_PER_BUCKET;
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(buckets + 1)));
  }

  /** How many names there are. They are numbered from 1, in the order of their first lines. */
  get count(): number {
    return this.#names.count;
  }

  /** Whether these names can be looked up; without them, whether all can. */
  covers(names?: ReadonlySet<string>): boolean {
    const wanted = this.#wanted;
    if (wanted === undefined || names === undefined) return wanted === undefined;
    return Array.from(names).every(name => wanted.has(name));
  }

  /** The position of the first NUL of the file, or -1. */
  get firstNul(): number {
    this.#firstNul ??= this.bytes.indexOf(NUL);
    return this.#firstNul;
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
    while (this.#skip(lines) < end) {
      reader.read(this.#scanned);
      this.#scanned = reader.next;
      if (reader.nameStart >= 0) this.add(reader);
      if (reader.isEndOfStep()) yield;
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
  add(line: LineReader): boolean {
    const { start, nameStart, nameEnd } = line;
    if (nameEnd - nameStart > MAX_BYTES) return true;
    const hash = halfSipHash(this.seed, this.bytes, nameStart, nameEnd);
    if (this.#wantedHashes?.has(hash) === false) return true;
    const known = this.#find(hash, line);
    if (known !== 0) {
      const before = this.#names.get(known, LAST);
      this.#names.set(known, LAST, this.#furtherLines.add(start, before));
      return false;
    }
    const bucket = hash & (this.#buckets.length - 1);
    const next = this.#buckets[bucket] as number;
    this.#buckets[bucket] = this.#names.add(hash, next, start, nameStart, nameEnd, 0);
    return true;
  }

  /** Where the lines of a name start, the last one first. */
  *lines(name: string): Generator<number> {
    const number = this.#numberOf(name);
    if (number === 0) return;
    for (let line = this.#names.get(number, LAST); line !== 0; line = this.#furtherLines.get(line, BEFORE))
      yield this.#furtherLines.get(line, LINE);
    yield this.#names.get(number, FIRST);
  }

  /** Where the first line of a name starts; `undefined`: there is none. */
  firstLine(name: string): number | undefined {
    const number = this.#numberOf(name);
    return number === 0 ? undefined : this.#names.get(number, FIRST);
  }

  /** Whether any name is in several lines. */
  get hasDuplicates(): boolean {
    return this.#furtherLines.count > 0;
  }

  /** Where the last line of a name starts, by the name's number. */
  lastLine(number: number): number {
    const line = this.#names.get(number, LAST);
    return line === 0 ? this.#names.get(number, FIRST) : this.#furtherLines.get(line, LINE);
  }

  #numberOf(name: string): number {
    // Half of a surrogate pair would be encoded as U+FFFD, which another name may contain.
    if (!name.isWellFormed()) return 0;
    const bytes = Buffer.from(name);
    return this.numberOf({ bytes, nameStart: 0, nameEnd: bytes.length });
  }

  /** The number of a line's name; 0: it is not in the index. The line may be of another file. */
  numberOf(name: Name): number {
    const { bytes, nameStart, nameEnd } = name;
    if (nameEnd - nameStart > MAX_BYTES) return 0;
    return this.#find(halfSipHash(this.seed, bytes, nameStart, nameEnd), name);
  }

  /** The number of the name with this hash; 0: there is none. */
  #find(hash: number, { bytes, nameStart, nameEnd }: Name): number {
    const names = this.#names;
    let number = this.#buckets[hash & (this.#buckets.length - 1)] as number;
    for (; number !== 0; number = names.get(number, NEXT)) {
      if (names.get(number, HASH) !== hash) continue;
      const [start, end] = [names.get(number, START), names.get(number, END)];
      if (this.bytes.compare(bytes, nameStart, nameEnd, start, end) === 0) break;
    }
    return number;
  }
}

/** The names that several callers want to look up; `undefined`: any, because one of them or all want too many. */
export function wantedByAll(
  wanted: Iterable<ReadonlySet<string> | undefined>,
): ReadonlySet<string> | undefined {
  const all = new Set<string>();
  for (const names of wanted) {
    if (names === undefined || names.size + all.size > MAX_WANTED) return undefined;
    for (const name of names) all.add(name);
  }
  return all;
}

/** Where a name is in some bytes. */
type Name = Pick<LineReader, 'bytes' | 'nameStart' | 'nameEnd'>;

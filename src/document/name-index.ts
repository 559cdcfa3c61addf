import { randomFillSync } from 'node:crypto';
import { MAX_BYTES } from '../credentials/rules.js';
import { LF, NUL } from '../util/ascii.js';
import { halfSipHash } from '../util/half-sip-hash.js';
import { LineReader } from './line.js';

/** How many names are described in one array. A single one for all would have to grow, in long steps. */
const CHUNK_BITS = 12;
const CHUNK = 1 << CHUNK_BITS;
/** What describes a name: its hash, the number of the next name in its bucket, where its first line and itself start. */
const [HASH, NEXT, LINE, START, END, WORDS] = [0, 1, 2, 3, 4, 5] as const;
/** Bytes of a file for each bucket. Lines that the library writes have over 100. */
const BYTES_PER_BUCKET = 32;
/** If more names than this are wanted, all names of the file are added. */
export const MAX_WANTED = 1024;
/** Up to this length, Node searches bytes in linear time (Node src/string_search.h `kBMMaxShift`). */
export const MAX_SOUGHT_BYTES = 250;

/**
 * Where the names of a file are: a hash table in typed arrays, so that a million lines take no objects. The hash has a
 * random seed, so that nobody can choose names that collide. Names that are too long for any client are left out, so
 * that no hash takes long.
 */
export class NameIndex {
  /** How many names there are. They are numbered from 1, in the order of their first lines. */
  count = 0;
  readonly #reader: LineReader;
  /** The only names that will be looked up; `undefined`: any. */
  readonly #wanted: ReadonlySet<string> | undefined;
  readonly #wantedHashes: ReadonlySet<number> | undefined;
  /** The only wanted name. A line is read only if it contains these bytes. */
  readonly #sought: Buffer | undefined;
  /** The number of the last name whose hash ends in these bits; 0: none. */
  readonly #buckets: Int32Array;
  /** Chunks of {@link WORDS} for each name, in the order of their numbers. */
  readonly #names = [new Int32Array(CHUNK * WORDS)];
  /** All lines of each name that has several, by the name's number. */
  readonly #duplicates = new Map<number, number[]>();
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
  add(line: LineReader): boolean {
    const { start, nameStart, nameEnd } = line;
    if (nameEnd - nameStart > MAX_BYTES) return true;
    const hash = halfSipHash(this.seed, this.bytes, nameStart, nameEnd);
    if (this.#wantedHashes?.has(hash) === false) return true;
    const known = this.#find(hash, line);
    if (known !== 0) {
      const lines = this.#duplicates.get(known);
      if (lines === undefined) this.#duplicates.set(known, [this.#word(known, LINE), start]);
      else lines.push(start);
      return false;
    }
    const number = ++this.count;
    if (number % CHUNK === 0) this.#names.push(new Int32Array(CHUNK * WORDS));
    const chunk = this.#names.at(-1) as Int32Array;
    const at = (number % CHUNK) * WORDS;
    const bucket = hash & (this.#buckets.length - 1);
    chunk[at + HASH] = hash;
    chunk[at + NEXT] = this.#buckets[bucket] as number;
    chunk[at + LINE] = start;
    chunk[at + START] = nameStart;
    chunk[at + END] = nameEnd;
    this.#buckets[bucket] = number;
    return true;
  }

  /** Where the lines of a name start, in the order of the file. */
  lines(name: string): readonly number[] {
    // Half of a surrogate pair would be encoded as U+FFFD, which another name may contain.
    if (!name.isWellFormed()) return [];
    const bytes = Buffer.from(name);
    const number = this.numberOf({ bytes, nameStart: 0, nameEnd: bytes.length });
    return number === 0 ? [] : (this.#duplicates.get(number) ?? [this.#word(number, LINE)]);
  }

  /** Whether a line of the file is the first one of its name. */
  isFirst(line: LineReader): boolean {
    const number = this.numberOf(line);
    return number !== 0 && this.#word(number, LINE) === line.start;
  }

  /** Whether any name is in several lines. */
  get hasDuplicates(): boolean {
    return this.#duplicates.size > 0;
  }

  /** Whether another line of the file has the same name. */
  isDuplicate(line: LineReader): boolean {
    return this.#duplicates.has(this.numberOf(line));
  }

  /** Where the last line of a name starts, by the name's number. */
  lastLine(number: number): number {
    return this.#duplicates.get(number)?.at(-1) ?? this.#word(number, LINE);
  }

  /** The number of a line's name; 0: it is not in the index. The line may be of another file. */
  numberOf(name: Name): number {
    const { bytes, nameStart, nameEnd } = name;
    if (nameEnd - nameStart > MAX_BYTES) return 0;
    return this.#find(halfSipHash(this.seed, bytes, nameStart, nameEnd), name);
  }

  /** The number of the name with this hash; 0: there is none. */
  #find(hash: number, { bytes, nameStart, nameEnd }: Name): number {
    let number = this.#buckets[hash & (this.#buckets.length - 1)] as number;
    for (; number !== 0; number = this.#word(number, NEXT)) {
      if (this.#word(number, HASH) !== hash) continue;
      const start = this.#word(number, START);
      if (this.bytes.compare(bytes, nameStart, nameEnd, start, this.#word(number, END)) === 0) break;
    }
    return number;
  }

  #word(number: number, word: number): number {
    const chunk = this.#names[number >>> CHUNK_BITS] as Int32Array;
    return chunk[(number & (CHUNK - 1)) * WORDS + word] as number;
  }
}

/** Where a name is in some bytes. */
type Name = Pick<LineReader, 'bytes' | 'nameStart' | 'nameEnd'>;

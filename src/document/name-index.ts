import { LineReader } from './line.js';

const LF = 10;

/**
 * Where the names of a file stand: a hash table of line starts, 4 bytes a slot, so that a million lines are two typed
 * arrays. Lines are taken in as the bytes arrive; with `wanted`, only those that can matter.
 *
 * A slot holds a line's start and in the upper bits, which no start in this file needs, those of the name's hash, so
 * that hardly ever the line of another name has to be looked at.
 */
export class NameIndex {
  readonly bytes: Buffer;
  readonly #reader: LineReader;
  #table = makeTable(MIN_SLOTS);
  /** Which bits of a slot are those of the hash. */
  readonly #hashBits: number;
  #used = 0;
  #scanned = 0;
  /** What is on its way into slots, and the hashes. */
  readonly #entries = new Uint32Array(BATCH);
  readonly #hashes = new Int32Array(BATCH);
  #gathered = 0;
  readonly #filter: Uint8Array | undefined;

  /** @param wanted the only names that will be asked for; without it, any */
  constructor(bytes: Buffer, wanted?: Iterable<string>) {
    this.bytes = bytes;
    this.#reader = new LineReader(bytes);
    this.#hashBits = -1 << (32 - Math.clz32(bytes.length));
    if (wanted === undefined) return;
    this.#filter = new Uint8Array(FILTER_SIZE);
    for (const name of wanted) {
      const utf8 = Buffer.from(name);
      this.#filter[hashBytes(utf8, 0, utf8.length) & (FILTER_SIZE - 1)] = 1;
    }
  }

  /** Takes in the lines that end before `limit`; with the whole length, all of them. */
  scan(limit: number): void {
    const reader = this.#reader;
    const filter = this.#filter;
    const last = limit === this.bytes.length ? limit - 1 : this.bytes.lastIndexOf(LF, limit - 1);
    while (this.#scanned <= last) {
      reader.read(this.#scanned);
      this.#scanned = reader.next;
      if (reader.nameStart < 0) continue;
      const hash = hashBytes(this.bytes, reader.nameStart, reader.nameEnd);
      if (filter === undefined || filter[hash & (FILTER_SIZE - 1)] === 1) this.#gather(reader.start, hash);
    }
    this.#insertGathered();
  }

  /** Where the lines of a name start, first line first. */
  lines(name: string): number[] {
    if (isShortAscii(name)) return this.#find(SCRATCH, 0, name.length);
    const utf8 = Buffer.from(name);
    return this.#find(utf8, 0, utf8.length);
  }

  /** Whether the name of a line stands in another line too. */
  isDoubled({ bytes, nameStart, nameEnd }: LineReader): boolean {
    return this.#find(bytes, nameStart, nameEnd).length > 1;
  }

  #find(name: Uint8Array, from: number, to: number): number[] {
    const found: number[] = [];
    const { slots, counts } = this.#table;
    const mask = counts.length - 1;
    const hash = hashBytes(name, from, to);
    for (let bucket = hash & mask; ; bucket = (bucket + 1) & mask) {
      const first = bucket * BUCKET;
      const end = first + (counts[bucket] as number);
      for (let slot = first; slot < end; slot++) {
        const entry = slots[slot] as number;
        if (((entry ^ hash) & this.#hashBits) !== 0) continue;
        this.#reader.read(this.#startOf(entry));
        if (this.#reader.nameIs(name, from, to)) found.push(this.#reader.start);
      }
      if (end < first + BUCKET) return found.length > 1 ? found.sort((a, b) => a - b) : found;
    }
  }

  /** Slots lie far apart in memory. Many put in at once overlap their waits for it. */
  #gather(start: number, hash: number): void {
    this.#entries[this.#gathered] = (hash & this.#hashBits) | start;
    this.#hashes[this.#gathered] = hash;
    if (++this.#gathered === BATCH) this.#insertGathered();
  }

  #insertGathered(): void {
    this.#used += this.#gathered;
    if (this.#used * 4 > this.#table.slots.length * 3) this.#grow();
    put(this.#table, this.#entries, this.#hashes, this.#gathered);
    this.#gathered = 0;
  }

  /** Makes room for as many names as the whole file will have, should it go on as so far. */
  #grow(): void {
    const expected = (this.#used * this.bytes.length) / this.#scanned;
    const table = makeTable(2 ** Math.ceil(Math.log2(Math.max(this.#used * 2, expected * 1.4))));
    const reader = new LineReader(this.bytes);
    const { slots, counts } = this.#table;
    const entries = slots.filter((_, slot) => slot % BUCKET < (counts[Math.floor(slot / BUCKET)] as number));
    const hashes = Int32Array.from(entries, entry => {
      reader.read(this.#startOf(entry));
      return hashBytes(this.bytes, reader.nameStart, reader.nameEnd);
    });
    put(table, entries, hashes, entries.length);
    this.#table = table;
  }

  #startOf(entry: number): number {
    return (entry & ~this.#hashBits) >>> 0;
  }
}

/** Slots in buckets, and how many slots of each bucket are taken. */
interface Table {
  slots: Uint32Array;
  counts: Uint8Array;
}

function makeTable(slots: number): Table {
  return { slots: new Uint32Array(slots), counts: new Uint8Array(slots / BUCKET) };
}

/**
 * Puts entries into the buckets that their hashes point to; what finds its bucket full goes to the next one. Where the
 * free slot is, the counts tell, which stay near the processor: looking for it among the slots takes thrice the time.
 */
function put({ slots, counts }: Table, entries: Uint32Array, hashes: Int32Array, count: number): void {
  const mask = counts.length - 1;
  for (let i = 0; i < count; i++) {
    let bucket = (hashes[i] as number) & mask;
    while (counts[bucket] === BUCKET) bucket = (bucket + 1) & mask;
    const taken = counts[bucket] as number;
    slots[bucket * BUCKET + taken] = entries[i] as number;
    counts[bucket] = taken + 1;
  }
}

/** For the bytes of a name that is looked up. */
const SCRATCH = new Uint8Array(256);

/** Whether a name is one of those that fit SCRATCH, where it then stands. Nearly all are, and this is the fastest way. */
function isShortAscii(name: string): boolean {
  if (name.length > SCRATCH.length) return false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 127) return false;
    SCRATCH[i] = code;
  }
  return true;
}

const BATCH = 1024;
const BUCKET = 4;
const MIN_SLOTS = 64;
const FILTER_SIZE = 1 << 16;

/** A signed 32-bit hash: FNV-1a, with its high bits folded in because tables use the low ones. */
export function hashBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash ^ (hash >>> 15);
}

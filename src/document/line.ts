/**
 * The bytes of a password file, read as the broker reads them: 2.0.11 src/security_default.c `pwfile__parse`,
 * 2.1.2 plugins/password-file. Both cut a line at its first NUL, take one that starts with `#` or has no `:` for no
 * entry, split the others at runs of `:`, and trim blanks (C `isspace`) round name and hash.
 */
import { MAX_BYTES } from '../credentials/rules.js';

const NUL = 0;
const LF = 10;
const CR = 13;
const HASH = 35;
const COLON = 58;

/** So many bytes the broker's `fgets` reads at once at first; each time that a line does not fit, so many more. */
export const FIRST_READ = 255;
const FURTHER_READ = 1000;

/** How many bytes a file may have, about 16 million users: Node's `Buffer.indexOf` starts no further in than this. */
export const MAX_FILE_BYTES = 0x7fff_ffff;

/** Walks the lines of a password file. One reader serves any number of lines; its fields tell of the present one. */
export class LineReader {
  readonly bytes: Buffer;
  /** Where the line starts; -1: none has been read. */
  start = -1;
  /** Where its content ends: at its line feed or the end of the file. */
  end = 0;
  /** The name without the blanks round it; `nameStart < 0`: the line is no entry. */
  nameStart = -1;
  nameEnd = -1;
  /** Where the name's field starts, after any `:`, and ends: at a `:`, or at the end of the line where nothing follows. */
  #fieldStart = 0;
  #fieldEnd = 0;
  #fields: LineFields | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Where the next line starts, or the end of the file. */
  get next(): number {
    return Math.min(this.end + 1, this.bytes.length);
  }

  /** How the line ends; `''`: at the end of the file, without a line feed. */
  get ending(): '' | '\n' | '\r\n' {
    if (this.end === this.bytes.length) return '';
    return this.bytes[this.end - 1] === CR ? '\r\n' : '\n';
  }

  /** Where the line ends for the broker: at its first NUL, or at its end. */
  get contentEnd(): number {
    const nul = this.bytes.subarray(this.start, this.end).indexOf(NUL);
    return nul < 0 ? this.end : this.start + nul;
  }

  /** Whether the broker loses the line, as a last one that has no line feed and fills its buffer. */
  get isLost(): boolean {
    return this.end === this.bytes.length && (this.end - this.start) % FURTHER_READ === FIRST_READ;
  }

  /** Reads the line that starts at `start`. */
  read(start: number): void {
    if (start === this.start) return;
    const { bytes } = this;
    const lineFeed = bytes.indexOf(LF, start);
    this.start = start;
    this.end = lineFeed < 0 ? bytes.length : lineFeed;
    this.#readName();
  }

  #readName(): void {
    const { bytes, end } = this;
    this.nameStart = -1;
    this.#fields = undefined;
    let from = this.start;
    if (bytes[from] === HASH) return;
    from = skipColons(bytes, from, end);
    const to = fieldEnd(bytes, from, end);
    if ((to === end || bytes[to] === NUL) && from === this.start) return;
    this.#fieldStart = from;
    this.#fieldEnd = to;
    this.nameStart = skipBlanks(bytes, from, to);
    this.nameEnd = dropBlanks(bytes, this.nameStart, to);
  }

  /** The name; `undefined` where the line is no entry or the name is not UTF-8 (no client can send such a name). */
  name(): string | undefined {
    if (this.nameStart < 0) return undefined;
    const name = this.bytes.toString('utf8', this.nameStart, this.nameEnd);
    return name.includes('\ufffd') && !this.nameIs(Buffer.from(name)) ? undefined : name;
  }

  /** Whether the line is an entry with the name that these bytes hold. */
  nameIs(name: Uint8Array): boolean {
    const { bytes, nameStart, nameEnd } = this;
    return nameStart >= 0 && bytes.compare(name, 0, name.length, nameStart, nameEnd) === 0;
  }

  /** What the broker takes for the hash, trimmed, each byte a character; `''`: none. Of one too long to be read, the start. */
  hash(): string {
    const { hashStart, hashEnd } = this.fields();
    return this.bytes.toString('latin1', hashStart, Math.min(hashEnd, hashStart + MAX_BYTES + 1));
  }

  /** Whether brokers of all releases read the line, and this hash in it. */
  hasHash(hash: string): boolean {
    return this.hash() === hash && this.contentEnd === this.end && !this.isLost;
  }

  /** What follows the name of an entry. */
  fields(): LineFields {
    this.#fields ??= this.#readFields();
    return this.#fields;
  }

  #readFields(): LineFields {
    const { bytes, start, end } = this;
    const from = skipColons(bytes, this.#fieldEnd, end);
    const colons = this.#fieldStart - start + from - this.#fieldEnd;
    const to = fieldEnd(bytes, from, end);
    const hasFurtherField = bytes[to] === COLON;
    const hashStart = skipBlanks(bytes, from, to);
    return { hashStart, hashEnd: dropBlanks(bytes, hashStart, to), hasFurtherField, colons };
  }

  /** All that follows the name's `:`; `undefined`: there is a `:` before the name. */
  rest(): Buffer | undefined {
    if (this.bytes[this.start] === COLON) return undefined;
    return this.bytes.subarray(this.#fieldEnd + 1, this.end);
  }
}

/** The fields that follow the name of an entry. */
export interface LineFields {
  /** The hash without the blanks round it. */
  hashStart: number;
  hashEnd: number;
  /** Whether there is another `:` after the hash. */
  hasFurtherField: boolean;
  /** How many `:` there are before the name and between name and hash. */
  colons: number;
}

/** What is longer than this, Node searches faster than a loop. */
const NEAR = 256;
/** How much of a long run is searched at once. */
const CHUNK = 65_536;

/** Where a field ends: at the first `:` or NUL, or at the end of its line. */
function fieldEnd(bytes: Buffer, from: number, end: number): number {
  const near = Math.min(end, from + NEAR);
  let at = from;
  while (at < near && bytes[at] !== COLON && bytes[at] !== NUL) at++;
  if (at < near || near === end) return at;
  const rest = bytes.subarray(near, end);
  const colon = rest.indexOf(COLON);
  const field = colon < 0 ? rest : rest.subarray(0, colon);
  const nul = field.indexOf(NUL);
  return near + (nul < 0 ? field.length : nul);
}

/** Where the first byte is that is no `:`, or `to`. */
function skipColons(bytes: Buffer, from: number, to: number): number {
  const near = Math.min(to, from + NEAR);
  let at = from;
  while (at < near && bytes[at] === COLON) at++;
  return at < near ? at : search(bytes, at, to, /[^:]/);
}

/** Where the first byte is that is no blank, or `to`. */
export function skipBlanks(bytes: Buffer, from: number, to: number): number {
  const near = Math.min(to, from + NEAR);
  let at = from;
  while (at < near && isBlank(bytes[at])) at++;
  return at < near ? at : search(bytes, at, to, /[^\t-\r ]/);
}

/** Where the last byte ends that is no blank, or `from`. */
export function dropBlanks(bytes: Buffer, from: number, to: number): number {
  let at = to;
  while (at - from > CHUNK && isBlank(bytes[at - 1]) && skipBlanks(bytes, at - CHUNK, at) === at) at -= CHUNK;
  while (at > from && isBlank(bytes[at - 1])) at--;
  return at;
}

/** Where the first byte is that the pattern matches, or `to`. */
function search(bytes: Buffer, from: number, to: number, pattern: RegExp): number {
  for (let at = from; at < to; at += CHUNK) {
    const found = bytes.toString('latin1', at, Math.min(to, at + CHUNK)).search(pattern);
    if (found >= 0) return at + found;
  }
  return to;
}

/** C `isspace` in the C locale. */
export function isBlank(byte: number | undefined): boolean {
  return byte === 32 || (byte !== undefined && byte >= 9 && byte <= 13);
}

/**
 * The bytes of a password file, read as the broker reads them: 2.0.11 src/security_default.c `pwfile__parse`,
 * 2.1.2 plugins/password-file. Both cut a line at its first NUL, skip it if it starts with `#` or has no `:`, split it
 * at runs of `:`, and trim blanks (C `isspace`) around name and hash. A line that is not skipped is an entry.
 */
import { MAX_BYTES } from '../credentials/rules.js';
import { COLON, CR, HASH_SIGN, LF, NUL } from '../util/ascii.js';

/** How many bytes of a line the broker's first `fgets` reads, and how many each further one if the line is longer. */
export const FIRST_READ = 255;
const FURTHER_READ = 1000;

/** How many bytes a file may have, about 16 million users: Node's `Buffer.indexOf` takes no greater offset. */
export const MAX_FILE_BYTES = 0x7fff_ffff;

/** Reads lines of a password file. One reader reads any number of lines; its properties describe the current one. */
export class LineReader {
  readonly bytes: Buffer;
  /** Where the line starts; -1: none has been read. */
  start = -1;
  /** Where its content ends: at its line feed or the end of the file. */
  end = 0;
  /** The name without the blanks around it; `nameStart < 0`: the line is no entry. */
  nameStart = -1;
  nameEnd = -1;
  /** The field of the name, with its blanks. It ends at a `:` or NUL, or at the end of the line. */
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

  /** Whether the broker loses the line: it loses a last line that has no line feed and just fills its buffer. */
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
    if (bytes[from] === HASH_SIGN) return;
    from = skipColons(bytes, from, end);
    const to = fieldEnd(bytes, from, end);
    if ((to === end || bytes[to] === NUL) && from === this.start) return;
    this.#fieldStart = from;
    this.#fieldEnd = to;
    this.nameStart = skipBlanks(bytes, from, to);
    this.nameEnd = dropBlanks(bytes, this.nameStart, to);
  }

  /** The name; `undefined` where the line is no entry, or no client can send it: it is not UTF-8, or too long. */
  name(): string | undefined {
    if (this.nameStart < 0 || this.nameEnd - this.nameStart > MAX_BYTES) return undefined;
    const name = this.bytes.toString('utf8', this.nameStart, this.nameEnd);
    return name.includes('\ufffd') && !this.nameIs(Buffer.from(name)) ? undefined : name;
  }

  /** Whether the line is an entry with the name that these bytes hold. */
  nameIs(name: Uint8Array): boolean {
    const { bytes, nameStart, nameEnd } = this;
    return nameStart >= 0 && bytes.compare(name, 0, name.length, nameStart, nameEnd) === 0;
  }

  /** The hash as the broker reads it, trimmed, each byte a character; `''`: none. One too long to be read is cut. */
  hash(): string {
    const { hashStart, hashEnd } = this.fields();
    return this.bytes.toString('latin1', hashStart, Math.min(hashEnd, hashStart + MAX_BYTES + 1));
  }

  /** Whether the line has this hash, and brokers of all releases read it. */
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

  /** All that follows the name's `:`, without the blanks around it; `undefined`: there is a `:` before the name. */
  rest(): Buffer | undefined {
    const { bytes, end } = this;
    if (bytes[this.start] === COLON) return undefined;
    const from = skipBlanks(bytes, this.#fieldEnd + 1, end);
    return bytes.subarray(from, dropBlanks(bytes, from, end));
  }
}

/** The fields that follow the name of an entry. */
export interface LineFields {
  /** The hash without the blanks around it. */
  hashStart: number;
  hashEnd: number;
  /** Whether there is another `:` after the hash. */
  hasFurtherField: boolean;
  /** How many `:` there are before the name and between name and hash. */
  colons: number;
}

/** Beyond this many bytes, Node's search is faster than a loop. */
const NEAR = 256;
/** How many bytes of a long run are searched at once. */
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

/** The position of the first byte that is no `:`, or `to`. */
function skipColons(bytes: Buffer, from: number, to: number): number {
  const near = Math.min(to, from + NEAR);
  let at = from;
  while (at < near && bytes[at] === COLON) at++;
  return at < near ? at : search(bytes, at, to, /[^:]/);
}

/** The position of the first byte that is no blank, or `to`. */
export function skipBlanks(bytes: Buffer, from: number, to: number): number {
  const near = Math.min(to, from + NEAR);
  let at = from;
  while (at < near && isBlank(bytes[at])) at++;
  return at < near ? at : search(bytes, at, to, /[^\t-\r ]/);
}

/** The position after the last byte that is no blank, or `from`. */
function dropBlanks(bytes: Buffer, from: number, to: number): number {
  let at = to;
  while (at - from > CHUNK && isBlank(bytes[at - 1]) && skipBlanks(bytes, at - CHUNK, at) === at) at -= CHUNK;
  while (at > from && isBlank(bytes[at - 1])) at--;
  return at;
}

/** The position of the first byte that the pattern matches, or `to`. */
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

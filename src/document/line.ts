/**
 * The bytes of a password file, read as the broker reads them: 2.0.11 src/security_default.c `pwfile__parse`,
 * 2.1.2 plugins/password-file. Both cut a line at its first NUL, skip it if it starts with `#` or has no `:`, split it
 * at runs of `:`, and trim blanks (C `isspace`) around name and hash. A line that is not skipped is an entry.
 */
import { MAX_BYTES } from '../credentials/rules.js';
import { canonicalHashEnd } from '../hash/encoding.js';
import { COLON, CR, HASH_SIGN, LF, NUL, SPACE, TILDE } from '../util/ascii.js';

/** How many bytes of a line the broker's first `fgets` reads, and how many each further one if the line is longer. */
export const FIRST_READ = 255;
const FURTHER_READ = 1000;

/** Fields are searched byte by byte up to this length, and by `Buffer.indexOf` beyond: each is the faster there. */
const NEAR = 256;

/** After how many bytes of lines long work yields. */
const BYTES_PER_STEP = 1024;

/** How many bytes a file may have, about 16 million users: Node's `Buffer.indexOf` takes no greater offset. */
export const MAX_FILE_BYTES = 0x7fff_ffff;

/** Reads lines of a password file. One reader reads any number of lines; its properties describe the current one. */
export class LineReader {
  /** Where the line starts. */
  start = 0;
  /** Where its content ends: at its line feed or the end of the file. */
  end = 0;
  /** The name without the blanks around it; `nameStart < 0`: the line is no entry. */
  nameStart = -1;
  nameEnd = -1;
  /** Where the field of the name ends: at a `:` or NUL, or at the end of the line. */
  #fieldEnd = 0;
  /** Where the work since the last yield began. */
  #stepStart = 0;

  constructor(readonly bytes: Buffer) {}

  /** Where the next line starts, or the end of the file. */
  get next(): number {
    return Math.min(this.end + 1, this.bytes.length);
  }

  /**
   * Whether work that goes from line to line should yield now, at the end of this line or at `position`. If so, a new step
   * begins there. To yield after each line takes up to 20 % more time.
   */
  isEndOfStep(position = this.end): boolean {
    if (position - this.#stepStart < BYTES_PER_STEP) return false;
    this.#stepStart = position;
    return true;
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
    const { bytes } = this;
    const lineFeed = bytes.indexOf(LF, start);
    const end = lineFeed < 0 ? bytes.length : lineFeed;
    this.start = start;
    this.end = end;
    this.nameStart = -1;
    if (bytes[start] === HASH_SIGN) return;
    const from = skipColons(bytes, start, end);
    const to = fieldEnd(bytes, from, end);
    if (from === start && (to === end || bytes[to] === NUL)) return;
    this.#fieldEnd = to;
    this.nameStart = skipBlanks(bytes, from, to);
    this.nameEnd = dropBlanks(bytes, this.nameStart, to);
  }

  /** The name; `undefined` where the line is no entry, or no client can send it: it is not UTF-8, or too long. */
  name(): string | undefined {
    const { bytes, nameStart, nameEnd } = this;
    if (nameStart < 0 || nameEnd - nameStart > MAX_BYTES) return undefined;
    const name = bytes.toString('utf8', nameStart, nameEnd);
    const isUtf8 = !name.includes('\ufffd') || Buffer.from(name).equals(bytes.subarray(nameStart, nameEnd));
    return isUtf8 ? name : undefined;
  }

  /** The hash as the broker reads it, trimmed, each byte a character; `''`: none. One too long to be read is cut. */
  hash(): string {
    const { hashStart, hashEnd } = this.fields();
    return this.bytes.toString('latin1', hashStart, Math.min(hashEnd, hashStart + MAX_BYTES + 1));
  }

  /** Whether the line holds exactly the hash in these bytes, and every release reads it. */
  hasHash(hash: Buffer, from = 0, to = hash.length): boolean {
    const { hashStart, hashEnd } = this.fields();
    if (this.bytes.compare(hash, from, to, hashStart, hashEnd) !== 0 || this.isLost) return false;
    return hashEnd === this.end || this.contentEnd === this.end;
  }

  /** What follows the name of an entry. */
  fields(): LineFields {
    const { bytes, start, end } = this;
    const from = skipColons(bytes, this.#fieldEnd, end);
    const colons = skipColons(bytes, start, end) - start + from - this.#fieldEnd;
    const to = fieldEnd(bytes, from, end);
    const hashStart = skipBlanks(bytes, from, to);
    const hashEnd = dropBlanks(bytes, hashStart, to);
    return { hashStart, hashEnd, hasFurtherField: bytes[to] === COLON, colons };
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

/** Where a canonical line ends: a name of printable ASCII and a canonical `$7$` hash; -1: another line, as few are. */
export function canonicalLineEnd(bytes: Buffer, start: number, maxIterations: number): number {
  let colon = start;
  for (let byte = bytes[start] as number; byte !== COLON; byte = bytes[++colon] as number)
    if (!(byte >= SPACE && byte <= TILDE && colon - start < MAX_BYTES)) return -1;
  if (colon === start || bytes[start] === HASH_SIGN) return -1;
  if (bytes[start] === SPACE || bytes[colon - 1] === SPACE) return -1;
  const end = canonicalHashEnd(bytes, colon + 1, maxIterations);
  return end === bytes.length || bytes[end] === LF ? end : -1;
}

/** Where a field ends: at the first `:` or NUL, or at the end of its line. */
function fieldEnd(bytes: Buffer, from: number, end: number): number {
  const near = Math.min(end, from + NEAR);
  let at = from;
  while (at < near && bytes[at] !== COLON && bytes[at] !== NUL) at++;
  if (at < near || near === end) return at;
  const rest = bytes.subarray(near, end);
  const found = [rest.indexOf(COLON), rest.indexOf(NUL)].filter(index => index >= 0);
  return near + Math.min(rest.length, ...found);
}

/** The position of the first byte that is no `:`, or `to`. */
function skipColons(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && bytes[at] === COLON) at++;
  return at;
}

/** The position of the first byte that is no blank, or `to`. */
export function skipBlanks(bytes: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to && isBlank(bytes[at] as number)) at++;
  return at;
}

/** The position after the last byte that is no blank, or `from`. */
function dropBlanks(bytes: Buffer, from: number, to: number): number {
  let at = to;
  while (at > from && isBlank(bytes[at - 1] as number)) at--;
  return at;
}

/** C `isspace` in the C locale. */
function isBlank(byte: number): boolean {
  return byte === SPACE || (byte >= 9 && byte <= 13);
}

import { canBeSent, MAX_BYTES } from '../credentials/rules.js';
import { LineReader } from '../document/line.js';
import type { NameIndex } from '../document/name-index.js';
import { BrokerLines } from './broker-lines.js';
import { type BrokerRelease, type HashReading, type LoadedHash, readBrokerHash } from './stored-hash.js';
import { readUsualHash } from './usual-line.js';
import { searchOrder, UserTable } from './uthash.js';

const NUL = 0;
const LF = 10;

/** What a broker of one release would compare the passwords of users with. Made for one content of the file. */
export class BrokerUsers {
  readonly index: NameIndex;
  readonly #release: BrokerRelease;
  readonly #line: LineReader;
  #unusual: UnusualLines | 'nothing' | undefined;
  #doublings: number[] | undefined;

  /** @param index of the whole file, scanned to its end */
  constructor(index: NameIndex, release: BrokerRelease) {
    this.index = index;
    this.#release = release;
    this.#line = new LineReader(index.bytes);
  }

  /**
   * What the broker compares this user's password with; `undefined`: it lets no client with this name in. It goes by
   * the lines of this name alone: whether another line keeps Mosquitto 2.1 from loading the file is for
   * `checkPasswordFile` to say.
   *
   * @example
   * ```ts
   * const users = new BrokerUsers(index, '2.0');
   * console.log(users.hashOf('alice')?.algorithm); // pbkdf2-sha512
   * ```
   */
  hashOf(name: string): LoadedHash | undefined {
    if (!canBeSent(name)) return undefined;
    const lines = this.#linesOf(name);
    const [first] = lines;
    if (first === undefined) return undefined;
    if (lines.length === 1) return this.#read(first)?.hash;
    // 2.1.2 plugins/password-file/password_parse.c refuses a file with a name that stands twice.
    if (this.#release === '2.1') return undefined;
    const readings = searchOrder(lines, this.#allDoublings()).map(start => this.#read(start));
    // Builds of 2.0 with different versions of OpenSSL may go by different lines.
    if (readings.some(reading => reading?.fault === 'depends')) return undefined;
    return readings.find(reading => reading?.hash !== undefined)?.hash;
  }

  /** @returns `undefined`: it is longer than the broker takes */
  #read(start: number): HashReading | undefined {
    const line = this.#line;
    line.read(start);
    const usual = readUsualHash(line);
    if (usual?.salt.length === 12 || (usual !== undefined && this.#release === '2.1')) {
      return { hash: usual, canonical: true };
    }
    const field = line.hash();
    return field.length > MAX_BYTES ? undefined : readBrokerHash(field, this.#release);
  }

  /** Where the lines of a name start, without those that the broker does not come to read. */
  #linesOf(name: string): readonly number[] {
    const { bytes } = this.index;
    this.#unusual ??= findUnusual(bytes, this.#release) ?? 'nothing';
    if (this.#unusual === 'nothing') return this.index.lines(name);
    const { unread, end, further } = this.#unusual;
    const lines = this.index.lines(name).filter(start => start < end && !unread.has(start));
    if (further.length === 0) return lines;
    const utf8 = Buffer.from(name);
    const line = new LineReader(bytes);
    const isOfName = (start: number) => {
      line.read(start);
      return line.nameIs(utf8);
    };
    return [...lines, ...further.filter(isOfName)].sort((a, b) => a - b);
  }

  #allDoublings(): number[] {
    this.#doublings ??= findDoublings(this.index.bytes);
    return this.#doublings;
  }
}

/** Which lines of a file the broker's `fgets` does not read as they stand there. */
interface UnusualLines {
  unread: Set<number>;
  /** From here on it reads none. */
  end: number;
  /** Where it takes the middle of a line for the start of one. */
  further: number[];
}

/** `undefined`: there are none, as in nearly all files. */
function findUnusual(bytes: Buffer, release: BrokerRelease): UnusualLines | undefined {
  if (bytes.at(-1) === LF && !bytes.includes(NUL)) return undefined;
  const unusual: UnusualLines = { unread: new Set(), end: bytes.length, further: [] };
  const lines = new BrokerLines(bytes, release);
  while (lines.advance()) {
    const { start } = lines.line;
    if (lines.fate === 'swallowed') unusual.end = start;
    if (lines.fate !== 'read') unusual.unread.add(start);
    else if (start > 0 && bytes[start - 1] !== LF) unusual.further.push(start);
    if (release === '2.0' && lines.contentEnd < lines.line.end)
      unusual.end = Math.min(unusual.end, start + 1);
  }
  return unusual;
}

/** Over which lines the table of 2.0 is doubled (2.0.11 src/security_default.c `pwfile__parse`). */
function findDoublings(bytes: Buffer): number[] {
  const table = new UserTable();
  const doublings: number[] = [];
  const lines = new BrokerLines(bytes, '2.0');
  while (lines.advance()) {
    const { start, nameStart, nameEnd } = lines.line;
    if (lines.fate !== 'read' || nameStart < 0 || nameEnd - nameStart > MAX_BYTES) continue;
    const { hasHash, hashStart, hashEnd } = lines.line.fields();
    if (!hasHash || hashEnd - hashStart > MAX_BYTES) continue;
    if (table.add(bytes, nameStart, nameEnd)) doublings.push(start);
  }
  return doublings;
}

import { assertUsername } from '../credentials/rules.js';
import { PasswordFileError } from '../errors.js';
import { assertHash } from '../hash/encoding.js';
import { canonicalLineEnd, MAX_FILE_BYTES } from './line.js';
import { NameIndex } from './name-index.js';

/** How many characters are gathered before they are encoded: encoding each line for itself takes twice the time. */
const BLOCK = 1 << 16;

/** Users and hashes that arrive one by one, kept as the bytes of lines, so that a million of them take no objects. */
export class NewLines {
  /** All lines, each with a line feed, after {@link flush}. */
  readonly blocks: Buffer[] = [];
  length = 0;
  count = 0;
  /** Whether each name is greater than the one before it, so that none is a duplicate. */
  isAscending = true;
  /** What is not encoded yet: the lines as text, and their names and hashes alternately. */
  #text = '';
  #pending: string[] = [];
  #lastName = '';
  #index: NameIndex | undefined;

  constructor(readonly maxIterations: number) {}

  /** Adds a line. Lines are checked many at a time: an error names the entry by its number and user. */
  add(name: string, hash: string): void {
    this.#text += `${name}:${hash}\n`;
    this.#pending.push(name, hash);
    this.isAscending &&= name > this.#lastName;
    this.#lastName = name;
    this.count++;
    if (this.#text.length > BLOCK) this.flush();
  }

  /** Checks and encodes the lines that were added since the last call. Must be called after the last line. */
  flush(): void {
    const bytes = Buffer.from(this.#text);
    const pending = this.#pending;
    let start = 0;
    for (let i = 0; i < pending.length; i += 2) {
      const name = pending[i] as string;
      const hash = pending[i + 1] as string;
      const end = start + name.length + 1 + hash.length;
      if (canonicalLineEnd(bytes, start, this.maxIterations) === end) start = end + 1;
      else start += this.#checkedLength(name, hash, this.count - (pending.length - i) / 2 + 1);
    }
    this.#text = '';
    this.#pending = [];
    this.blocks.push(bytes);
    this.length += bytes.length;
    if (this.length > MAX_FILE_BYTES) {
      throw new PasswordFileError('ERR_INVALID_ARGUMENT', 'These are more users than a file can hold.');
    }
  }

  /** An index of all lines in one buffer, made once. Yields now and then. */
  *indexed(): Generator<void, NameIndex> {
    if (this.#index !== undefined) return this.#index;
    const bytes = Buffer.allocUnsafeSlow(this.length);
    let used = 0;
    for (const block of this.blocks) {
      yield;
      used += block.copy(bytes, used);
    }
    const index = new NameIndex(bytes);
    yield* index.scan(bytes.length);
    this.blocks.splice(0, Infinity, bytes);
    this.#index = index;
    return index;
  }

  /** Checks a line that is not canonical, and returns its length in bytes. */
  #checkedLength(name: string, hash: string, number: number): number {
    try {
      assertUsername(name);
      assertHash(hash, this.maxIterations, { username: name });
    } catch (error) {
      throw entryError(error as PasswordFileError, number);
    }
    return Buffer.byteLength(name) + hash.length + 2;
  }
}

function entryError(error: PasswordFileError, number: number): PasswordFileError {
  // In an entry whose name and hash are swapped, this is a hash, which no message may show.
  const isShown = error.username !== undefined && !/[A-Za-z0-9+/]{60}/.test(error.username);
  const username = isShown ? error.username.slice(0, 100) : undefined;
  const entry = username === undefined ? `Entry ${number}` : `Entry ${number} (${JSON.stringify(username)})`;
  return new PasswordFileError(error.code, `${entry}: ${error.message}`, { username });
}

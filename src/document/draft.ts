import { MAX_BYTES } from '../credentials/rules.js';
import { parseHash } from '../hash/encoding.js';
import { isBlank, LineReader } from './line.js';
import type { NameIndex } from './name-index.js';

const NUL = 0;
const LF = 10;
const CR = 13;
const HASH_SIGN = 35;

/** Edits over a file's bytes, none of which they touch. */
export class Draft {
  readonly index: NameIndex;
  /** The new hash of each name that was edited; `null`: the name is to go. */
  readonly #edits = new Map<string, string | null>();
  #undo: Array<[name: string, before: string | null | undefined]> = [];
  readonly #reader: LineReader;

  constructor(index: NameIndex) {
    this.#reader = new LineReader(index.bytes);
    this.index = index;
  }

  has(name: string): boolean {
    const edit = this.#edits.get(name);
    return edit === undefined ? this.index.lines(name).length > 0 : edit !== null;
  }

  get(name: string): string | undefined {
    const edit = this.#edits.get(name);
    return edit === undefined ? this.#lastLine(name)?.hash() : (edit ?? undefined);
  }

  /** What stands behind the `:` of a name that was not edited, as it stands there. */
  rest(name: string): Uint8Array | undefined {
    return this.#edits.has(name) ? undefined : this.#lastLine(name)?.rest();
  }

  /** Whether it is what these bytes are, with no edit made. */
  is(bytes: Buffer): boolean {
    return this.#edits.size === 0 && bytes.equals(this.index.bytes);
  }

  /** Whether the name stands in more than one line, which a set mends. */
  isDuplicate(name: string): boolean {
    return !this.#edits.has(name) && this.index.lines(name).length > 1;
  }

  set(name: string, hash: string): void {
    this.#edit(name, hash);
  }

  delete(name: string): boolean {
    const present = this.has(name);
    if (present) this.#edit(name, null);
    return present;
  }

  /** The lines of the file, unedited; always the same reader. */
  *lines(): Generator<LineReader> {
    const reader = new LineReader(this.index.bytes);
    for (let start = 0; start < reader.bytes.length; start = reader.next) {
      reader.read(start);
      yield reader;
    }
  }

  *keys(): IterableIterator<string> {
    const seen = new Set<string>();
    for (const line of this.lines()) {
      const name = line.name();
      if (name === undefined || name === '' || seen.has(name)) continue;
      seen.add(name);
      if (this.#edits.get(name) !== null) yield name;
    }
    for (const [name, hash] of this.#edits) if (!seen.has(name) && hash !== null) yield name;
  }

  /** All names at once, gathered in steps. */
  *names(): Generator<void, string[]> {
    const names: string[] = [];
    for (const name of this.keys()) {
      names.push(name);
      yield;
    }
    return names;
  }

  /** From here on, edits can be rolled back. */
  begin(): void {
    this.#undo = [];
  }

  /** Whether anything was edited since {@link begin}. */
  hasChanged(): boolean {
    return this.#undo.length > 0;
  }

  /** Undoes all edits since {@link begin}. */
  rollBack(): void {
    for (const [name, before] of this.#undo.reverse()) {
      if (before === undefined) this.#edits.delete(name);
      else this.#edits.set(name, before);
    }
    this.#undo = [];
  }

  #lastLine(name: string): LineReader | undefined {
    const start = this.index.lines(name).at(-1);
    if (start === undefined) return undefined;
    this.#reader.read(start);
    return this.#reader;
  }

  #edit(name: string, hash: string | null): void {
    this.#undo.push([name, this.#edits.get(name)]);
    this.#edits.set(name, hash);
  }

  /**
   * Finds which stretches of the old bytes give way to which text, in the order of the file. It yields now and then,
   * so that a caller with a million edits can let others run.
   */
  *changes(): Generator<void, Change[]> {
    const { bytes } = this.index;
    const reader = new LineReader(bytes);
    const changes: Change[] = [];
    const added: string[] = [];
    for (const [name, hash] of this.#edits) {
      yield;
      const lines = this.index.lines(name);
      const first = lines[0];
      if (first === undefined) {
        if (hash !== null) added.push(`${name}:${hash}`);
        continue;
      }
      reader.read(first);
      if (hash === null) changes.push(removal(reader));
      else if (lines.length > 1 || reader.hash() !== hash)
        changes.push(replacement(reader, `${name}:${hash}`));
      for (let i = 1; i < lines.length; i++) {
        reader.read(lines[i] as number);
        changes.push(removal(reader));
      }
    }
    changes.sort((a, b) => a.start - b.start);
    return changes.length + added.length === 0 ? [] : this.#withLastLine(changes, added);
  }

  /**
   * Adds new lines, and ends a last line that has no line feed. Where that could make a broker read what it does not
   * read now, or lose what it reads, the last line stays as it is and new lines go before it.
   */
  #withLastLine(changes: Change[], added: string[]): Change[] {
    const { bytes } = this.index;
    const end = bytes.length;
    const lastLine = bytes.lastIndexOf(LF) + 1;
    const firstLineFeed = bytes.indexOf(LF);
    const ending = firstLineFeed > 0 && bytes[firstLineFeed - 1] === CR ? '\r\n' : '\n';
    const additions = (at: number) => added.map(line => ({ start: at, end: at, text: line + ending }));
    const change = changes.find(each => each.end === end);
    if (lastLine === end || change?.text === '') return [...changes, ...additions(end)];
    if (this.#canBeEnded(lastLine, change !== undefined))
      return [...changes, { start: end, end, text: ending }, ...additions(end)];
    const earlier = changes.filter(each => each !== change);
    return [...earlier, ...additions(lastLine), ...(change === undefined ? [] : [change])];
  }

  /**
   * Whether every release reads the last line alike with and without a line feed: a user, a comment, a blank line.
   * Others are overlooked by some broker only as long as no line feed follows: one of nothing but `:`, a NUL in it, or
   * as many bytes as a buffer holds (2.0.11 lib/misc_mosq.c `fgets_extending`, 2.1.2 libcommon/file_common.c
   * `mosquitto_fgets`). An earlier NUL hides the line from 2.0, which then reads the line of that NUL.
   */
  #canBeEnded(lastLine: number, isReplaced: boolean): boolean {
    const { bytes } = this.index;
    const nul = bytes.indexOf(NUL);
    if (isReplaced) return nul < 0 || nul >= lastLine;
    if (nul >= 0) return false;
    if (bytes[lastLine] === HASH_SIGN) return true;
    const line = this.#reader;
    line.read(lastLine);
    if (line.nameStart < 0) return bytes.subarray(lastLine).every(isBlank);
    return line.nameEnd > line.nameStart && !this.index.isDuplicate(line) && isReadByAll(line.hash());
  }
}

/** Whether every release takes this for a hash, though 2.0 only drops the user of one with a salt of 64 bytes. */
function isReadByAll(hash: string): boolean {
  try {
    return hash.length <= MAX_BYTES && parseHash(hash).algorithm !== 'argon2id';
  } catch {
    return false;
  }
}

/** A stretch of a file's bytes and the text that takes its place. */
export interface Change {
  start: number;
  end: number;
  text: string;
}

/** The file with its changes made, in pieces: slices of the old bytes, and new text. */
export function* edited(bytes: Buffer, changes: Iterable<Change>): Generator<Uint8Array | string> {
  let done = 0;
  for (const { start, end, text } of changes) {
    if (start > done) yield bytes.subarray(done, start);
    if (text !== '') yield text;
    done = end;
  }
  if (done < bytes.length) yield bytes.subarray(done);
}

function removal(reader: LineReader): Change {
  return { start: reader.start, end: Math.min(reader.next, reader.bytes.length), text: '' };
}

/** The line's own ending stays; a last line without one is ended by {@link Draft.changes}. */
function replacement(reader: LineReader, text: string): Change {
  const { bytes, start, end } = reader;
  const ending = end === bytes.length ? '' : bytes[end - 1] === CR ? '\r\n' : '\n';
  return { start, end: Math.min(reader.next, bytes.length), text: text + ending };
}

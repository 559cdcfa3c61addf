import { LF } from '../util/ascii.js';
import { List } from '../util/list.js';
import { canBeEnded } from './last-line.js';
import { LineReader } from './line.js';
import { addChange, type Change, lineEnding, type MergeCounts, mergeLines } from './merge.js';
import type { NameIndex } from './name-index.js';
import type { NewLines } from './new-lines.js';

/** Changes are sorted in blocks of 64 KiB, so that no step takes long. */
const BLOCK_BITS = 16;

/**
 * What became of a user: `'unchanged'` where the file has this hash already, or a hash of this password with the same
 * algorithm, iterations and salt length.
 *
 * @example
 * const outcome: SetOutcome = await new PasswordFile('passwd').setUser('alice', 'secret');
 */
export type SetOutcome = 'added' | 'updated' | 'unchanged';

/** Edits of a file, kept beside its bytes, which do not change. */
export class Draft {
  readonly #line: LineReader;
  /** The new hash of each name that was edited; `null`: the name is deleted. */
  readonly #edits = new Map<string, string | null>();
  #undo: Array<[name: string, before: string | null | undefined]> = [];
  #merged: Change[] | undefined;

  constructor(readonly index: NameIndex) {
    this.#line = new LineReader(index.bytes);
  }

  has(name: string): boolean {
    const edit = this.#edits.get(name);
    return edit === undefined ? this.index.firstLine(name) !== undefined : edit !== null;
  }

  /** The hash of a name, each byte a character: not fit for {@link set} unless `assertHash` accepts it. */
  get(name: string): string | undefined {
    const edit = this.#edits.get(name);
    return edit === undefined ? this.#lastLine(name)?.hash() : (edit ?? undefined);
  }

  /** What follows the `:` in the last line of a name; `undefined`: there is no such line, or the user was edited. */
  rest(name: string): Buffer | undefined {
    return this.#edits.has(name) ? undefined : this.#lastLine(name)?.rest();
  }

  /** Sets a hash. Checks nothing: the caller has checked name and hash. */
  set(name: string, hash: string): SetOutcome {
    const edit = this.#edits.get(name);
    if (edit === undefined ? this.#isInFile(name, hash) : edit === hash) return 'unchanged';
    const outcome = this.has(name) ? 'updated' : 'added';
    this.#edit(name, hash);
    return outcome;
  }

  /** Whether the file has this hash of the user, in a single line that all brokers read. */
  #isInFile(name: string, hash: string): boolean {
    const line = this.#lastLine(name);
    return line !== undefined && line.start === this.index.firstLine(name) && line.hasHash(Buffer.from(hash));
  }

  delete(name: string): boolean {
    const present = this.has(name);
    if (present) this.#edit(name, null);
    return present;
  }

  /** The lines of the file, without the edits. Yields the same reader for each. */
  *lines(): Generator<LineReader> {
    const line = new LineReader(this.index.bytes);
    for (let start = 0; start < line.bytes.length; start = line.next) {
      line.read(start);
      yield line;
    }
  }

  /** The names of the file, each once: first those that are there, in order, then the new ones. */
  *keys(): Generator<string> {
    for (const name of this.#namesByLine()) if (name !== undefined) yield name;
  }

  /** All {@link keys}; yields after each line. */
  *names(): Generator<void, string[]> {
    const names = new List<string>();
    let count = 0;
    for (const name of this.#namesByLine()) {
      if (name !== undefined) names.set(count++, name);
      yield;
    }
    return yield* names.values();
  }

  *#namesByLine(): Generator<string | undefined> {
    const { index } = this;
    // A loop over the names may add others.
    const edited = [...this.#edits.keys()];
    for (const line of this.lines()) {
      const name = line.name();
      const isNew = name && (!index.hasDuplicates || index.firstLine(name) === line.start);
      yield isNew && this.#edits.get(name) !== null ? name : undefined;
    }
    for (const name of edited) {
      if (index.firstLine(name) === undefined && this.has(name)) yield name;
    }
  }

  /** From now on, {@link rollBack} undoes edits. */
  begin(): void {
    this.#undo = [];
  }

  /** Whether there was an edit since {@link begin}. */
  hasChanged(): boolean {
    return this.#undo.length > 0 || Boolean(this.#merged?.length);
  }

  /** Undoes all edits since {@link begin}. */
  rollBack(): void {
    for (const [name, before] of this.#undo.reverse()) {
      if (before === undefined) this.#edits.delete(name);
      else this.#edits.set(name, before);
    }
    this.#undo = [];
  }

  /**
   * Gives users the hashes of the new lines; of duplicate names the last one counts. With `removeOthers`, of all other
   * lines only comments, blank lines and lines without a colon stay. Does not use the index, and must be the only edit.
   */
  *merge(lines: NewLines, removeOthers: boolean): Generator<void, MergeCounts> {
    const { changes, added, counts } = yield* mergeLines(this.index.bytes, lines, removeOthers);
    this.#merged = yield* this.#withAdditions(changes, added);
    return counts;
  }

  #lastLine(name: string): LineReader | undefined {
    const [start] = this.index.lines(name);
    if (start === undefined) return undefined;
    this.#line.read(start);
    return this.#line;
  }

  #edit(name: string, hash: string | null): void {
    this.#undo.push([name, this.#edits.get(name)]);
    this.#edits.set(name, hash);
  }

  /**
   * What the edits change, in the order of the file: a set replaces the first line of its name and removes the others, a
   * delete removes all of them, and new lines go to the end. Yields often.
   */
  *changes(): Generator<void, Change[]> {
    if (this.#merged !== undefined) return this.#merged;
    const { bytes } = this.index;
    const line = this.#line;
    const ending = lineEnding(bytes);
    const blocks: Change[][] = [];
    const added: string[] = [];
    for (const [name, hash] of this.#edits) {
      yield;
      // An edit may have undone another.
      if (hash !== null && this.#isInFile(name, hash)) continue;
      const first = this.index.firstLine(name);
      if (first === undefined && hash !== null) added.push(`${name}:${hash}${ending}`);
      for (const start of this.index.lines(name)) {
        yield;
        line.read(start);
        const text = start === first && hash !== null ? `${name}:${hash}${line.ending}` : '';
        blocks[start >> BLOCK_BITS] ??= [];
        addChange(blocks[start >> BLOCK_BITS] as Change[], { start, end: line.next, text });
      }
    }
    const changes: Change[] = [];
    for (const block of blocks) {
      yield;
      for (const change of block?.sort((a, b) => a.start - b.start) ?? []) addChange(changes, change);
    }
    return yield* this.#withAdditions(changes, added);
  }

  /** Ends a last line that has no line feed, and adds new lines after it, or before it where it must stay as it is. */
  *#withAdditions(changes: Change[], added: ReadonlyArray<string | Uint8Array>): Generator<void, Change[]> {
    if (changes.length + added.length === 0) return [];
    const { bytes } = this.index;
    const end = bytes.length;
    const lastLine = bytes.lastIndexOf(LF) + 1;
    const last = changes.at(-1)?.end === end ? changes.pop() : undefined;
    const isEnded = lastLine === end || last?.text === '';
    const staysLast = !isEnded && !canBeEnded(bytes, lastLine, last !== undefined);
    if (last !== undefined && !staysLast) changes.push(last);
    if (!isEnded && !staysLast) changes.push({ start: end, end, text: lineEnding(bytes) });
    const at = staysLast ? lastLine : end;
    for (const text of added) {
      yield;
      changes.push({ start: at, end: at, text });
    }
    if (last !== undefined && staysLast) changes.push(last);
    return changes;
  }
}

/** The file with its changes made, in pieces, some of them empty: slices of the old bytes, and new text. */
export function* edited(bytes: Buffer, changes: Iterable<Change>): Generator<Uint8Array | string> {
  let done = 0;
  for (const { start, end, text } of changes) {
    yield bytes.subarray(done, start);
    yield text;
    done = end;
  }
  yield bytes.subarray(done);
}

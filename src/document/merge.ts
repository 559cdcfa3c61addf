/** Merges any number of users into a file: one pass over its lines, and an object only for each part that changes. */
import { COLON, CR, HASH_SIGN, LF } from '../util/ascii.js';
import { LineReader } from './line.js';
import { NameIndex } from './name-index.js';
import type { NewLines } from './new-lines.js';

/** A range of a file's bytes, and the text that replaces it. */
export interface Change {
  start: number;
  end: number;
  text: string | Uint8Array;
}

/** How new lines end: as the file's first line does. */
export function lineEnding(bytes: Buffer): '\n' | '\r\n' {
  return bytes[bytes.indexOf(LF) - 1] === CR ? '\r\n' : '\n';
}

/** How many users were added, updated, left as they were, and removed. */
export interface MergeCounts {
  added: number;
  updated: number;
  unchanged: number;
  removed: number;
}

interface Merged {
  changes: Change[];
  /** Lines to add, with their endings. */
  added: ReadonlyArray<string | Uint8Array>;
  counts: MergeCounts;
}

/** What the file holds of a user. */
const ABSENT = 0;
const UNCHANGED = 1;
const UPDATED = 2;

/**
 * Finds what has to change in `bytes` so that users have the hashes of the new lines; of duplicate names the last one
 * counts. With `removeOthers`, of all other lines only comments, blank lines and lines without a colon stay. Yields now
 * and then.
 */
export function* mergeLines(bytes: Buffer, lines: NewLines, removeOthers: boolean): Generator<void, Merged> {
  const counts = { added: 0, updated: 0, unchanged: 0, removed: 0 };
  // Names in ascending order have no duplicates, so that these two need no index.
  if (lines.isAscending && (yield* isSame(bytes, lines))) {
    return { changes: [], added: [], counts: { ...counts, unchanged: lines.count } };
  }
  if (lines.isAscending && bytes.length === 0) {
    return { changes: [], added: lines.blocks, counts: { ...counts, added: lines.count } };
  }
  const users = yield* lines.indexed();
  const found = new Uint8Array(users.count);
  const changes = new Changes(bytes, users.bytes);
  const reader = new LineReader(bytes);
  let removed: NameIndex | undefined;
  for (let read = 1, start = 0; start < bytes.length; start = reader.next, read++) {
    if (read % 64 === 0) yield;
    reader.read(start);
    if (reader.nameStart < 0) {
      if (removeOthers && hidesColon(reader)) changes.remove(reader);
      continue;
    }
    const number = users.numberOf(reader);
    if (number < 0) {
      if (!removeOthers) continue;
      changes.remove(reader);
      removed ??= new NameIndex(bytes);
      if (removed.add(reader) && reader.nameEnd > reader.nameStart) counts.removed++;
    } else if (found[number] !== ABSENT) {
      // A further line of that name.
      found[number] = UPDATED;
      changes.remove(reader);
    } else {
      const line = users.lastLine(number);
      const isSame = hasHashOf(reader, users.bytes, line);
      found[number] = isSame ? UNCHANGED : UPDATED;
      if (!isSame) changes.replace(reader, line);
    }
  }
  const added = new Changes(bytes, users.bytes);
  yield* addAbsent(found, users, added, counts);
  const pieces = yield* added.list();
  return { changes: yield* changes.list(), added: pieces.map(({ text }) => text), counts };
}

/** Counts what was found of each user, and adds the lines of those who are not in the file. */
function* addAbsent(
  found: Uint8Array,
  users: NameIndex,
  added: Changes,
  counts: MergeCounts,
): Generator<void> {
  for (let number = 0; number < found.length; number++) {
    if (number % 64 === 0) yield;
    if (found[number] === UNCHANGED) counts.unchanged++;
    else if (found[number] === UPDATED) counts.updated++;
    else {
      counts.added++;
      added.insert(users.lastLine(number));
    }
  }
}

function* isSame(bytes: Buffer, { blocks }: NewLines): Generator<void, boolean> {
  let rest = bytes;
  for (const block of blocks) {
    yield;
    if (!block.equals(rest.subarray(0, block.length))) return false;
    rest = rest.subarray(block.length);
  }
  return rest.length === 0;
}

/** Whether a line that is no entry is no comment either, and has a colon after a NUL. */
function hidesColon({ bytes, start, end }: LineReader): boolean {
  return bytes[start] !== HASH_SIGN && bytes.subarray(start, end).includes(COLON);
}

/** Whether all brokers read an entry, and its hash is that of the line of the same name at `line` in `lines`. */
function hasHashOf(entry: LineReader, lines: Buffer, line: number): boolean {
  const { hashStart, hashEnd } = entry.fields();
  const from = line + entry.nameEnd - entry.nameStart + 1;
  const to = from + hashEnd - hashStart;
  if (lines[to] !== LF || entry.bytes.compare(lines, from, to, hashStart, hashEnd) !== 0) return false;
  return (hashEnd === entry.end || entry.contentEnd === entry.end) && !entry.isLost;
}

/** A change whose text is a range of the new lines, from `from` to `to`; empty: a removal. */
interface Stretch {
  start: number;
  end: number;
  from: number;
  to: number;
  ending: '' | '\n' | '\r\n';
}

/** Gathers changes in the order of the file, and joins adjacent ones. */
class Changes {
  readonly #stretches: Stretch[] = [];
  readonly #ending: '\n' | '\r\n';

  constructor(
    readonly bytes: Buffer,
    readonly lines: Buffer,
  ) {
    this.#ending = lineEnding(bytes);
  }

  remove({ start, next }: LineReader): void {
    this.#add({ start, end: next, from: 0, to: 0, ending: '' });
  }

  /** Keeps the line's own ending. `Draft` appends a line feed to a last line that has none. */
  replace({ start, next, ending }: LineReader, line: number): void {
    this.#add({ start, end: next, from: line, to: this.#endOf(line), ending });
  }

  insert(line: number): void {
    const { length } = this.bytes;
    this.#add({ start: length, end: length, from: line, to: this.#endOf(line), ending: this.#ending });
  }

  *list(): Generator<void, Change[]> {
    const changes: Change[] = [];
    for (const { start, end, from, to, ending } of this.#stretches) {
      yield;
      const isCopy = ending === '\n';
      const text = isCopy
        ? this.lines.subarray(from, to + 1)
        : this.lines.toString('utf8', from, to) + ending;
      changes.push({ start, end, text });
    }
    return changes;
  }

  #endOf(line: number): number {
    return this.lines.indexOf(LF, line);
  }

  #add(stretch: Stretch): void {
    const last = this.#stretches.at(-1);
    const isRemoval = stretch.from === stretch.to;
    const isNext = last?.end === stretch.start && last.ending === stretch.ending;
    if (isNext && isRemoval && last.from === last.to) last.end = stretch.end;
    else if (isNext && stretch.ending === '\n' && last.to + 1 === stretch.from) {
      last.end = stretch.end;
      last.to = stretch.to;
    } else this.#stretches.push(stretch);
  }
}

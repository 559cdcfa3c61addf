/** Merges any number of users into a file: one pass over its lines, and an object only for each part that changes. */
import { COLON, CR, HASH_SIGN, LF } from '../util/ascii.js';
import { LineReader } from './line.js';
import { NameIndex } from './name-index.js';
import type { NewLines } from './new-lines.js';

/** A range of a file's bytes, and the text that replaces it; `''`: a removal. */
export interface Change {
  start: number;
  end: number;
  text: string | Uint8Array;
}

/** Adds a change, and joins removals that are adjacent: millions of lines may have the same name. */
export function addChange(changes: Change[], { start, end, text }: Change): void {
  const last = changes.at(-1);
  if (text !== '' || last?.text !== '') changes.push({ start, end, text });
  else if (last.end === start) last.end = end;
  else if (last.start === end) last.start = start;
  else changes.push({ start, end, text });
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
  added: ReadonlyArray<Change['text']>;
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
  const found = new Uint8Array(users.count + 1);
  const changes: Change[] = [];
  const reader = new LineReader(bytes);
  let removed: NameIndex | undefined;
  for (let start = 0; start < bytes.length; start = reader.next) {
    if (reader.isEndOfStep()) yield;
    reader.read(start);
    if (reader.nameStart < 0) {
      if (removeOthers && hidesColon(reader)) addChange(changes, removalOf(reader));
      continue;
    }
    const number = users.numberOf(reader);
    if (number === 0) {
      if (!removeOthers) continue;
      addChange(changes, removalOf(reader));
      removed ??= new NameIndex(bytes);
      if (removed.add(reader) && reader.nameEnd > reader.nameStart) counts.removed++;
    } else if (found[number] !== ABSENT) {
      // A further line of that name.
      found[number] = UPDATED;
      addChange(changes, removalOf(reader));
    } else {
      const line = users.lastLine(number);
      const hash = line + reader.nameEnd - reader.nameStart + 1;
      const isSame = reader.hasHash(users.bytes, hash, users.bytes.indexOf(LF, hash));
      found[number] = isSame ? UNCHANGED : UPDATED;
      // A line without an ending keeps none: `Draft` appends a line feed to it.
      if (!isSame) addLine(changes, reader, users.bytes, line);
    }
  }
  const added: Change[] = [];
  yield* addAbsent(found, users, added, lineEnding(bytes), counts);
  return { changes, added: added.map(({ text }) => text), counts };
}

function removalOf({ start, next }: LineReader): Change {
  return { start, end: next, text: '' };
}

/** Adds the line at `line` in `lines` in place of a range, with the ending of that. Joins lines that are adjacent in both. */
function addLine(
  changes: Change[],
  { start, next, ending }: Pick<LineReader, 'start' | 'next' | 'ending'>,
  lines: Buffer,
  line: number,
): void {
  const last = changes.at(-1);
  const end = lines.indexOf(LF, line);
  if (ending !== '\n') {
    changes.push({ start, end: next, text: lines.toString('utf8', line, end) + ending });
  } else if (
    last?.end === start &&
    typeof last.text !== 'string' &&
    last.text.byteOffset + last.text.length === line
  ) {
    last.end = next;
    last.text = lines.subarray(last.text.byteOffset, end + 1);
  } else changes.push({ start, end: next, text: lines.subarray(line, end + 1) });
}

/** Counts what was found of each user, and adds the lines of those who are not in the file. */
function* addAbsent(
  found: Uint8Array,
  users: NameIndex,
  added: Change[],
  ending: '\n' | '\r\n',
  counts: MergeCounts,
): Generator<void> {
  for (let number = 1; number < found.length; number++) {
    if (number % 64 === 0) yield;
    if (found[number] === UNCHANGED) counts.unchanged++;
    else if (found[number] === UPDATED) counts.updated++;
    else {
      counts.added++;
      addLine(added, { start: 0, next: 0, ending }, users.bytes, users.lastLine(number));
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

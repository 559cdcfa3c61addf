import { tryParseHash } from '../hash/encoding.js';
import { isBlank, LineReader } from './line.js';

const NUL = 0;
const LF = 10;
const HASH_SIGN = 35;

/**
 * Whether a write may end a last line that has no line feed: each release reads it alike with and without one. That is
 * so of a user, a comment and a blank line. Other lines are ignored by some broker only as long as no line feed follows:
 * one of nothing but `:`, one with a NUL, or one that fills a buffer (2.0.11 lib/misc_mosq.c `fgets_extending`, 2.1.2
 * libcommon/file_common.c `mosquitto_fgets`). An earlier NUL hides the line from 2.0, which then reads the line of that
 * NUL.
 *
 * @param isReplaced a usable entry is to replace it
 */
export function* canBeEnded(bytes: Buffer, lastLine: number, isReplaced: boolean): Generator<void, boolean> {
  const nul = bytes.indexOf(NUL);
  if (isReplaced) return nul < 0 || nul >= lastLine;
  if (nul >= 0) return false;
  if (bytes[lastLine] === HASH_SIGN) return true;
  const line = new LineReader(bytes);
  line.read(lastLine);
  if (line.nameStart < 0) return bytes.subarray(lastLine).every(isBlank);
  if (line.nameEnd === line.nameStart || !isReadByAll(line)) return false;
  // A buffer of this length loses the line, and Mosquitto 2.1 refuses a file in which it reads a name twice.
  return !line.isLost || !(yield* isRepetition(line));
}

/** Whether every release reads the hash of a line, though 2.0 then drops a user with a salt of 64 bytes. */
function isReadByAll(line: LineReader): boolean {
  const hash = tryParseHash(line.hash());
  return hash !== undefined && hash.algorithm !== 'argon2id';
}

/** Whether an earlier line has the name of this one. An index of the file may know only some names. */
function* isRepetition({ bytes, start, nameStart, nameEnd }: LineReader): Generator<void, boolean> {
  const name = bytes.subarray(nameStart, nameEnd);
  const earlier = new LineReader(bytes);
  for (let at = bytes.indexOf(name); at < start; at = bytes.indexOf(name, earlier.next)) {
    yield;
    earlier.read(bytes.lastIndexOf(LF, at) + 1);
    if (earlier.nameIs(name)) return true;
  }
  return false;
}

import { tryParseHash } from '../hash/encoding.js';
import { HASH_SIGN, NUL } from '../util/ascii.js';
import { LineReader, skipBlanks } from './line.js';
import { MAX_SOUGHT_BYTES } from './name-index.js';

/**
 * Whether a write may append a line feed to a last line that has none. It may where every release reads the line alike
 * with and without it: a user, a comment, a blank line. It may not where a release ignores a line only because no line
 * feed follows: a line of nothing but `:`, or one with a NUL. Nor after an earlier NUL: without a line feed at the end,
 * 2.0 reads the line of that NUL instead of the last one.
 *
 * A user whose line fills the buffer (2.0.11 lib/misc_mosq.c `fgets_extending`, 2.1.2 libcommon/file_common.c
 * `mosquitto_fgets`) can log in only after a longer line, which the write may remove. Such a line is ended too, unless
 * that might make a duplicate, over which 2.1 refuses the file.
 *
 * @param isReplaced whether a usable entry replaces the line
 */
export function canBeEnded(bytes: Buffer, lastLine: number, isReplaced: boolean): boolean {
  const nul = bytes.indexOf(NUL);
  if (isReplaced) return nul < 0 || nul >= lastLine;
  if (nul >= 0) return false;
  if (bytes[lastLine] === HASH_SIGN) return true;
  const line = new LineReader(bytes);
  line.read(lastLine);
  if (line.nameStart < 0) return skipBlanks(bytes, lastLine, bytes.length) === bytes.length;
  return isReadByAll(line) && (!line.isLost || isNew(line));
}

/** Whether no line before this one contains its name. */
function isNew({ bytes, nameStart, nameEnd }: LineReader): boolean {
  const name = bytes.subarray(nameStart, nameEnd);
  return name.length <= MAX_SOUGHT_BYTES && bytes.indexOf(name) === nameStart;
}

/** Whether every release reads the hash of a line, though 2.0 then drops a user with a salt of 64 bytes. */
function isReadByAll(line: LineReader): boolean {
  const hash = tryParseHash(line.hash());
  return hash !== undefined && hash.algorithm !== 'argon2id';
}

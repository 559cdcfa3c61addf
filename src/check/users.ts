import { canBeSent } from '../credentials/rules.js';
import { FIRST_READ, LineReader } from '../document/line.js';
import type { NameIndex } from '../document/name-index.js';
import { LF } from '../util/ascii.js';
import { type BrokerRelease, type LoadedHash, mayBeRead, readBrokerHash } from './stored-hash.js';

/** A name in more lines than this lets nobody in: reading all of them would take too long. */
const MAX_LINES = 1000;

/**
 * What becomes of a line before it is parsed.
 *
 * | fate | meaning |
 * |---|---|
 * | `'read'` | the broker parses it, up to its first NUL |
 * | `'skipped'` | the broker does not parse it |
 * | `'unsure'` | it depends on other lines or on the build whether the broker parses it, or parts of it |
 */
export type LineFate = 'read' | 'skipped' | 'unsure';

/**
 * What the broker's line reader does with a line: 2.0.11 lib/misc_mosq.c `fgets_extending`, 2.1.2
 * libcommon/file_common.c `mosquitto_fgets`.
 *
 * - At a NUL, 2.0 ends the file; 2.1 drops the line, or only a part of a line longer than its buffer. Both read a short
 *   last line without line feed up to the NUL. 2.0.21, unlike 2.0.11, reads on after a NUL that begins a line.
 * - The last line is lost if it has no line feed and fills the buffer, whose size depends on the longest line so far.
 *
 * @param nul the position of the first NUL of the file, or -1
 */
export function fateOf(line: LineReader, release: BrokerRelease, nul: number): LineFate {
  const { bytes, start, end } = line;
  if (release === '2.0' && nul >= 0 && nul < start)
    return nul === 0 || bytes[nul - 1] === LF ? 'unsure' : 'skipped';
  const isUnterminated = end === bytes.length;
  if (nul < 0 || line.contentEnd === end) return line.isLost ? 'unsure' : 'read';
  const isShort = end - start < FIRST_READ;
  if (isShort && isUnterminated) return 'read';
  return (release === '2.0' ? bytes.at(-1) === LF : isShort) ? 'skipped' : 'unsure';
}

/**
 * What a broker of one release compares a user's password with; `undefined`: it lets no client with this name in, or that
 * is uncertain. Only the lines of this name count: `checkPasswordFile` reports whether another line keeps Mosquitto 2.1
 * from loading the file.
 *
 * @param index of the whole file, or at least of this name
 */
export function hashOfUser(index: NameIndex, name: string, release: BrokerRelease): LoadedHash | undefined {
  if (!canBeSent(name)) return undefined;
  const line = new LineReader(index.bytes);
  let found: LoadedHash | undefined;
  let [lines, read] = [0, 0];
  for (const start of index.lines(name)) {
    if (++lines > MAX_LINES) return undefined;
    line.read(start);
    const fate = fateOf(line, release, index.firstNul);
    if (fate === 'skipped') continue;
    // 2.1.2 plugins/password-file/password_parse.c refuses a file with a duplicate name.
    if (fate === 'unsure' || (++read > 1 && release === '2.1')) return undefined;
    // 2.0 uses the last line that it can read (2.0.11 src/security_default.c `pwfile__parse`).
    if (found !== undefined) continue;
    const { hash, fault } = readBrokerHash(line.hash(), release);
    if (fault !== undefined && mayBeRead(fault)) return undefined;
    found = hash;
  }
  return found;
}

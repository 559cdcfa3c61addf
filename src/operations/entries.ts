/** Reads the users of a file with their hashes, one by one. */
import { type FindingKind, finding, shownName } from '../check/findings.js';
import { readBrokerHash } from '../check/stored-hash.js';
import { canBeSent, MAX_BYTES } from '../credentials/rules.js';
import { canonicalLineEnd, LineReader } from '../document/line.js';
import { type Finding, systemCode } from '../errors.js';
import { assertHash } from '../hash/encoding.js';
import type { Settings, WaitOptions } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { Turn } from '../util/event-loop.js';

/**
 * The options of `PasswordFile.entries`.
 *
 * @example
 * const options: EntriesOptions = { onSkipped: ({ message }) => console.warn(message) };
 * for await (const [name] of new PasswordFile('passwd').entries(options)) console.log(name);
 */
export interface EntriesOptions extends WaitOptions {
  /** Called with each user who is not among the entries: without a hash that `setHashes` accepts, or with a name that no client can send. */
  onSkipped?: ((finding: Finding) => void) | undefined;
}

/**
 * A user name and a hash.
 *
 * @example const rows: HashEntry[] = [['alice', await hashPassword('secret')]];
 */
export type HashEntry = readonly [username: string, hash: string];

/** All entries of one version of the file, which is kept until the end or until `return()` is called. */
export async function* readEntries(
  cache: Cache,
  settings: Settings,
  { signal, onSkipped }: EntriesOptions,
): AsyncGenerator<HashEntry, void, void> {
  const index = await cache.index(signal);
  const { bytes } = index;
  const line = new LineReader(bytes);
  const turn = new Turn();
  for (let start = 0, number = 1; start < bytes.length; number++) {
    if (line.isEndOfStep(start) && turn.isOver()) await turn.yield();
    signal?.throwIfAborted();
    // Where names come twice, each line has to be looked up.
    const end = index.hasDuplicates ? -1 : canonicalLineEnd(bytes, start, settings.hash.maxIterations);
    if (end >= 0) {
      const text = bytes.toString('latin1', start, end);
      const colon = text.indexOf(':');
      start = end + 1;
      yield [text.slice(0, colon), text.slice(colon + 1)];
      continue;
    }
    line.read(start);
    start = line.next;
    if (line.nameStart < 0) continue;
    const user = index.numberOf(line);
    // Of a duplicate name the last line counts: 2.0 uses it, and 2.1 loads no such file.
    if (user > 0 && index.lastLine(user) !== line.start) continue;
    const obstacle = obstacleIn(line, number, settings);
    if (obstacle === undefined) yield [line.name() as string, line.hash()];
    else onSkipped?.(obstacle);
  }
}

/** Why `setHashes` does not accept the name and hash of a line; `undefined`: it does. */
function obstacleIn(line: LineReader, number: number, settings: Settings): Finding | undefined {
  const { broker } = settings;
  const about = (kind: FindingKind) => finding(kind, broker, number, shownName(line));
  const inName = nameObstacle(line);
  if (inName !== undefined) return about(inName);
  const hash = line.hash();
  try {
    assertHash(hash, settings.hash.maxIterations);
    return undefined;
  } catch (error) {
    if (systemCode(error) !== 'ERR_COST_LIMIT')
      return about(readBrokerHash(hash, broker).fault ?? 'ODD_HASH');
    // The limit may be another than that of `check`.
    return { ...about('SLOW_HASH'), message: (error as Error).message };
  }
}

/** What is wrong with a line apart from its hash; `undefined`: nothing. */
function nameObstacle(line: LineReader): FindingKind | undefined {
  if (line.nameStart === line.nameEnd) return 'EMPTY_NAME';
  if (line.nameEnd - line.nameStart > MAX_BYTES) return 'LONG_NAME';
  const name = line.name();
  if (name === undefined || !canBeSent(name)) return 'UNSENDABLE_NAME';
  if (name.startsWith('#')) return 'HASH_SIGN_NAME';
  return line.contentEnd < line.end ? 'NUL_BYTE' : undefined;
}

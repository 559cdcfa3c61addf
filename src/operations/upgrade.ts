/** Hashes the passwords that a file holds in plain text, and only those. */

import { type FindingKind, FindingList, shownName } from '../check/findings.js';
import { type BrokerRelease, looksLikeHash, readBrokerHash } from '../check/stored-hash.js';
import { MAX_BYTES } from '../credentials/rules.js';
import type { Draft } from '../document/draft.js';
import { LineReader } from '../document/line.js';
import type { Finding } from '../errors.js';
import { newHash } from '../hash/hash.js';
import type { ProgressOptions, Settings } from '../options.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { NUL } from '../util/ascii.js';
import { runYielding } from '../util/event-loop.js';
import { inParallel } from '../util/limiter.js';
import { isFunction, isSignal, readOptions } from '../util/read-options.js';

/**
 * The options of `PasswordFile.upgrade`.
 *
 * @example
 * const options: UpgradeOptions = { onSkipped: ({ line, message }) => console.warn(line, message) };
 * await new PasswordFile('passwd').upgrade(options);
 */
export interface UpgradeOptions extends ProgressOptions {
  /**
   * Called for each line without a readable hash that is not hashed: a damaged hash, a name or password that cannot be
   * used, or a duplicate name. Such lines stay as they are. Called before the passwords are hashed; after 100,000 lines,
   * once more with how many others there are.
   */
  onSkipped?: ((finding: Finding) => void) | undefined;
}

/** Upgrades in one commit. A line that another writer changes meanwhile stays as it is. */
export async function upgrade(
  source: EditSource,
  settings: Settings,
  options: UpgradeOptions | undefined,
): Promise<string[]> {
  const checks = { signal: isSignal, onProgress: isFunction, onSkipped: isFunction };
  const { signal, onProgress, onSkipped } = readOptions<UpgradeOptions>(options, checks);
  const view = await source.cache.view(signal);
  const skipped = new FindingList(settings.broker);
  const plain = await runYielding(plainLines(view, skipped), signal);
  for (const finding of skipped.all()) onSkipped?.(finding);
  if (plain.length === 0) return [];
  const line = new LineReader(view.index.bytes);
  const hashes = new Map<number, string>();
  const hash = async (start: number): Promise<void> => {
    line.read(start);
    hashes.set(start, await newHash(line.rest() as Buffer, settings.hash, signal));
  };
  await inParallel(plain.length, settings.hash.iterations, plain, hash, signal, onProgress);
  return submit({
    source,
    names: undefined,
    signal,
    *apply(draft) {
      const names: string[] = [];
      for (const start of plain) {
        yield;
        line.read(start);
        const name = line.name() as string;
        // Another writer may have changed or removed the user since.
        if (!draft.rest(name)?.equals(line.rest() as Buffer)) continue;
        draft.set(name, hashes.get(start) as string);
        names.push(name);
      }
      return names;
    },
  });
}

/** The offsets of the lines to hash. Those that are neither hashes nor passwords that can be hashed are `skipped`. */
function* plainLines(view: Draft, skipped: FindingList): Generator<void, number[]> {
  const plain: number[] = [];
  let number = 0;
  for (const line of view.lines()) {
    yield;
    number++;
    if (line.nameStart < 0 || isReadable(line.hash())) continue;
    const obstacle = obstacleTo(view, line, skipped.release);
    if (obstacle === undefined) plain.push(line.start);
    else skipped.add(obstacle, number, shownName(line));
  }
  return plain;
}

/** Whether a broker of any release can read it as a hash. */
function isReadable(hash: string): boolean {
  return readBrokerHash(hash, '2.1').hash !== undefined || readBrokerHash(hash, '2.0').hash !== undefined;
}

/** Why a line cannot be upgraded; `undefined`: it can. */
function obstacleTo(view: Draft, line: LineReader, broker: BrokerRelease): FindingKind | undefined {
  if (line.nameEnd - line.nameStart > MAX_BYTES) return 'LONG_NAME';
  const name = line.name();
  // mosquitto_passwd trims blanks around passwords too (C `isspace`).
  const password = line.rest();
  if (name === undefined) return 'UNSENDABLE_NAME';
  if (name === '' || password === undefined) return 'EMPTY_NAME';
  // Without the blanks before it, the line would be a comment.
  if (name.startsWith('#')) return 'HASH_SIGN_NAME';
  if (password.length === 0) return 'MISSING_HASH';
  if (password.length > MAX_BYTES) return 'LONG_HASH';
  const hash = line.hash();
  if (looksLikeHash(hash) || looksLikeHash(password.toString('latin1'))) {
    const { fault = 'PLAIN_TEXT' } = readBrokerHash(hash, broker);
    // A hash follows a further `:`.
    return fault === 'PLAIN_TEXT' ? 'COLON_IN_NAME' : fault;
  }
  const [last] = view.index.lines(name);
  if (last !== view.index.firstLine(name)) return 'DUPLICATE_NAME';
  return password.includes(NUL) ? 'NUL_BYTE' : undefined;
}

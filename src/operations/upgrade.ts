/** Hashes the passwords that a file holds in plain text, and only those. */

import { type FindingKind, FindingList, shownName } from '../check/findings.js';
import { type BrokerRelease, looksLikeHash, readBrokerHash } from '../check/stored-hash.js';
import { MAX_BYTES } from '../credentials/rules.js';
import type { Draft } from '../document/draft.js';
import { dropBlanks, LineReader, skipBlanks } from '../document/line.js';
import type { Finding } from '../errors.js';
import { newHash } from '../hash/hash.js';
import type { ProgressOptions, Settings } from '../options.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { orAborted } from '../util/abort.js';
import { NUL } from '../util/ascii.js';
import { runYielding, yieldToEventLoop } from '../util/event-loop.js';
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
   * Called for each line that holds neither a readable hash nor a usable password; such lines stay as they are. Called
   * before the passwords are hashed; after 100,000 lines, once more with how many others there are.
   */
  onSkipped?: ((finding: Finding) => void) | undefined;
}

/** The lines to upgrade, and the findings about those that are skipped. */
interface Sorted {
  /** The offsets of the lines with a password in plain text. */
  plain: number[];
  skipped: Finding[];
}

/** Upgrades in one commit. A line that another writer changes meanwhile stays as it is. */
export async function upgrade(
  source: EditSource,
  settings: Settings,
  given: UpgradeOptions | undefined,
): Promise<string[]> {
  const checks = { signal: isSignal, onProgress: isFunction, onSkipped: isFunction };
  const options = readOptions<UpgradeOptions>('', given, checks);
  const { signal, onSkipped } = options;
  const view = await source.cache.view(signal);
  // Each of these steps may read a line of many megabytes.
  await orAborted(yieldToEventLoop(), signal);
  const { plain, skipped } = await runYielding(sortLines(view, settings.broker), signal);
  await orAborted(yieldToEventLoop(), signal);
  for (const finding of skipped) onSkipped?.(finding);
  return plain.length === 0 ? [] : commitHashes(source, settings, view, plain, options);
}

async function commitHashes(
  source: EditSource,
  settings: Settings,
  view: Draft,
  plain: readonly number[],
  { signal, onProgress }: UpgradeOptions,
): Promise<string[]> {
  const line = new LineReader(view.index.bytes);
  const hashes: string[] = [];
  let done = 0;
  const hash = async ([i, start]: [number, number]): Promise<void> => {
    line.read(start);
    hashes[i] = await newHash(trimmed(line.rest() as Buffer), settings.hash, signal);
    onProgress?.(++done, plain.length);
  };
  await inParallel(plain.length, settings.hash.iterations, plain.entries(), hash, signal);
  return submit({
    source,
    names: undefined,
    signal,
    *apply(draft) {
      const names: string[] = [];
      for (const [i, start] of plain.entries()) {
        yield;
        line.read(start);
        const name = line.name() as string;
        // Another writer may have changed or removed the user since.
        if (!draft.rest(name)?.equals(line.rest() as Buffer)) continue;
        draft.set(name, hashes[i] as string);
        names.push(name);
      }
      return names;
    },
  });
}

/** Finds the lines to hash, and those that are neither hashes nor passwords that can be hashed. */
function* sortLines(view: Draft, broker: BrokerRelease): Generator<void, Sorted> {
  const plain: number[] = [];
  const skipped = new FindingList(broker);
  let number = 0;
  for (const line of view.lines()) {
    yield;
    number++;
    if (line.nameStart < 0) continue;
    const hash = line.hash();
    if (isReadable(hash)) continue;
    const obstacle = obstacleTo(view, line, hash, broker);
    if (obstacle === undefined) plain.push(line.start);
    else skipped.add(obstacle, number, shownName(line));
  }
  return { plain, skipped: skipped.all() };
}

/** Whether a broker of any release can read it as a hash. */
function isReadable(hash: string): boolean {
  return readBrokerHash(hash, '2.1').hash !== undefined || readBrokerHash(hash, '2.0').hash !== undefined;
}

/** Why a line cannot be upgraded; `undefined`: it can. */
function obstacleTo(
  view: Draft,
  line: LineReader,
  hash: string,
  broker: BrokerRelease,
): FindingKind | undefined {
  if (line.nameEnd - line.nameStart > MAX_BYTES) return 'LONG_NAME';
  const name = line.name();
  const rest = line.rest();
  if (name === undefined) return 'UNSENDABLE_NAME';
  if (name === '' || rest === undefined) return 'EMPTY_NAME';
  // Without the blanks before it, the line would be a comment.
  if (name.startsWith('#')) return 'HASH_SIGN_NAME';
  const password = trimmed(rest);
  if (password.length === 0) return 'MISSING_HASH';
  if (password.length > MAX_BYTES) return 'LONG_HASH';
  if (looksLikeHash(hash) || looksLikeHash(password.toString('latin1'))) {
    const { fault = 'PLAIN_TEXT' } = readBrokerHash(hash, broker);
    // A hash follows a further `:`.
    return fault === 'PLAIN_TEXT' ? 'COLON_IN_NAME' : fault;
  }
  if (view.index.isDuplicate(line)) return 'DUPLICATE_NAME';
  return password.includes(NUL) ? 'NUL_BYTE' : undefined;
}

/** mosquitto_passwd trims blanks too (C `isspace`). */
function trimmed(rest: Buffer): Buffer {
  const from = skipBlanks(rest, 0, rest.length);
  return rest.subarray(from, dropBlanks(rest, from, rest.length));
}

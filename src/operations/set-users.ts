/** Sets the passwords of many users in one commit. They are hashed before that, in all threads of the pool. */

import { checkedLogin } from '../credentials/rules.js';
import type { SetOutcome } from '../document/draft.js';
import { PasswordFileError } from '../errors.js';
import { tryParseHash } from '../hash/encoding.js';
import { compareKey, type HashSettings, newHash } from '../hash/hash.js';
import type { ProgressOptions, Settings } from '../options.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { type Entries, forEachEntry } from '../util/entries.js';
import { inParallel, limited } from '../util/limiter.js';
import { isFunction, isSignal, readOptions } from '../util/read-options.js';

/**
 * A user name and its password; `undefined`, an unset variable, is `ERR_INVALID_PASSWORD`.
 *
 * @example const devices: PasswordEntry[] = [['device_1', 'first password'], ['device_2', 'second password']];
 */
export type PasswordEntry = readonly [username: string, password: string | Uint8Array | undefined];

/** Sets all passwords or, if anything fails, none. If a name comes twice, its last password counts. */
export async function setUsers(
  source: EditSource,
  { hash: settings }: Settings,
  entries: Entries<unknown>,
  options: ProgressOptions | undefined,
): Promise<Map<string, SetOutcome>> {
  const checks = { signal: isSignal, onProgress: isFunction };
  const { signal, onProgress } = readOptions<ProgressOptions>(options, checks);
  const passwords = new Map<string, string | Uint8Array>();
  const addPassword = (username: unknown, password: unknown, number: number): void => {
    try {
      passwords.set(...checkedLogin(username, password));
    } catch (error) {
      const { code, message, username: shown } = error as PasswordFileError;
      throw new PasswordFileError(code, `Entry ${number}: ${message}`, { username: shown });
    }
  };
  await forEachEntry(entries, addPassword, signal);
  const names = new Set(passwords.keys());
  const before = await source.cache.view(signal, names);
  const hashes = new Map<string, string>();
  const prepare = async ([name, password]: [string, string | Uint8Array]): Promise<void> => {
    const present = before.get(name);
    const isKept = present !== undefined && (await isUpToDate(present, password, settings, signal));
    hashes.set(name, isKept ? present : await newHash(password, settings, signal));
  };
  await inParallel(names.size, settings.iterations, passwords, prepare, signal, onProgress);
  return submit({
    source,
    names,
    signal,
    *apply(draft) {
      const outcomes = new Map<string, SetOutcome>();
      for (const name of names) {
        yield;
        // Also a hash that was kept: another writer may have changed it since.
        outcomes.set(name, draft.set(name, hashes.get(name) as string));
      }
      return outcomes;
    },
  });
}

async function isUpToDate(
  hash: string,
  password: string | Uint8Array,
  wanted: HashSettings,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const parsed = tryParseHash(hash);
  return (
    parsed !== undefined &&
    parsed.algorithm === wanted.algorithm &&
    parsed.salt.length === wanted.saltBytes &&
    // Only then does the comparison cost no more than a new hash.
    (parsed.algorithm !== 'pbkdf2-sha512' || parsed.iterations === wanted.iterations) &&
    limited<boolean>(done => {
      signal?.throwIfAborted();
      return compareKey(password, parsed, done);
    })
  );
}

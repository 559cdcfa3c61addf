/** Gives many users their passwords in one commit; hashing comes first, on all cores. */

import { assertPassword, assertUsername, ownCopy } from '../credentials/rules.js';
import type { Draft } from '../document/draft.js';
import { type ParsedHash, parseHash } from '../hash/encoding.js';
import { compareKey, type HashSettings, newHash } from '../hash/hash.js';
import type { ProgressOptions, Settings } from '../options.js';
import type { Cache } from '../storage/cache.js';
import { type EditSource, submit } from '../storage/group-commit.js';
import { orAborted } from '../util/abort.js';
import { type Entries, forEachEntry } from '../util/entries.js';
import { inParallel, limited } from '../util/limiter.js';

/** What became of a user: `'unchanged'` where the password verified already, with the same algorithm and cost. */
export type SetOutcome = 'added' | 'updated' | 'unchanged';

/** A user name and its password; `undefined`, an unset variable, is `ERR_INVALID_PASSWORD`. */
export type PasswordEntry = readonly [username: string, password: string | Uint8Array | undefined];

/** Checked and copied, by user name. */
export type Passwords = Map<string, string | Uint8Array>;

/** Of a name that comes twice the last password counts. */
export function addPassword(passwords: Passwords, username: unknown, password: unknown): Passwords {
  assertUsername(username);
  const own = ownCopy(password);
  assertPassword(own, username);
  return passwords.set(username, own);
}

export async function readPasswords(
  entries: Entries<unknown>,
  signal: AbortSignal | undefined,
): Promise<Passwords> {
  const passwords: Passwords = new Map();
  await forEachEntry(entries, (name, password) => void addPassword(passwords, name, password), signal);
  return passwords;
}

/** Sets all of them or, should anything fail, none. */
export async function setUsers(
  cache: Cache,
  source: EditSource,
  { hash: settings }: Settings,
  passwords: Passwords,
  { signal, onProgress }: ProgressOptions,
): Promise<Map<string, SetOutcome>> {
  signal?.throwIfAborted();
  const names = new Set(passwords.keys());
  const before = await cache.view(signal, names);
  const kept = new Map<string, string>();
  const hashes = new Map<string, string>();
  let done = 0;
  const prepare = async ([name, password]: [string, string | Uint8Array]): Promise<void> => {
    const present = before.isDuplicate(name) ? undefined : before.get(name);
    if (present !== undefined && (await isUpToDate(present, password, settings))) kept.set(name, present);
    else hashes.set(name, await newHash(password, settings));
    onProgress?.(++done, names.size);
  };
  await orAborted(inParallel(passwords, prepare, signal), signal);

  for (;;) {
    const { outcomes, stale } = await submit({
      source,
      names,
      signal,
      apply: draft => makeEdits(draft, names, kept, hashes),
    });
    if (stale.size === 0) return outcomes;
    // Another writer has changed these since they were found unchanged.
    for (const [name, password] of passwords) {
      if (!stale.has(name)) continue;
      kept.delete(name);
      hashes.set(name, await orAborted(newHash(password, settings), signal));
    }
  }
}

function* makeEdits(
  draft: Draft,
  names: ReadonlySet<string>,
  kept: ReadonlyMap<string, string>,
  hashes: ReadonlyMap<string, string>,
): Generator<void, { outcomes: Map<string, SetOutcome>; stale: Set<string> }> {
  const outcomes = new Map<string, SetOutcome>();
  const stale = new Set<string>();
  for (const [name, hash] of kept) {
    yield;
    if (draft.isDuplicate(name) || draft.get(name) !== hash) stale.add(name);
  }
  if (stale.size > 0) return { outcomes, stale };
  for (const name of names) {
    yield;
    const hash = hashes.get(name);
    outcomes.set(name, hash === undefined ? 'unchanged' : draft.has(name) ? 'updated' : 'added');
    if (hash !== undefined) draft.set(name, hash);
  }
  return { outcomes, stale };
}

async function isUpToDate(
  hash: string,
  password: string | Uint8Array,
  wanted: HashSettings,
): Promise<boolean> {
  let parsed: ParsedHash;
  try {
    parsed = parseHash(hash);
  } catch {
    return false;
  }
  return (
    parsed.algorithm === wanted.algorithm &&
    parsed.salt.length === wanted.saltBytes &&
    // So it costs no more than new hashes may.
    (parsed.algorithm !== 'pbkdf2-sha512' || parsed.iterations === wanted.iterations) &&
    limited<boolean>(done => compareKey(password, parsed, done))
  );
}

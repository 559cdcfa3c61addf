/** Giving many users their passwords in one commit: hashing comes first, on all cores. */

import { assertPassword, assertUsername } from '../credentials/rules.js';
import type { Draft } from '../document/draft.js';
import { type ParsedHash, parseHash } from '../hash/encoding.js';
import { verifyPassword } from '../hash/hash.js';
import { hashFor, type Settings } from '../options.js';
import { submit } from '../storage/group-commit.js';
import type { FileSite } from '../storage/site.js';
import { inParallel } from '../util/limiter.js';

/** What became of a user: `'unchanged'` where the password verified already, with the same algorithm and cost. */
export type SetOutcome = 'added' | 'updated' | 'unchanged';

/** What a call that waits can be given. */
export interface WaitOptions {
  /** Gives up waiting: the promise rejects with its `reason`. An edit that is being written by then still settles by its commit. */
  signal?: AbortSignal | undefined;
}

/** What a call with many users can be given. */
export interface ProgressOptions extends WaitOptions {
  /** Told after each user how many of how many are hashed. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A user name and its password. */
export type PasswordEntry = readonly [username: string, password: string | Uint8Array];

/** Takes all entries in; of a name that comes twice the last password. */
export async function gather(
  entries: Iterable<PasswordEntry> | AsyncIterable<PasswordEntry>,
  signal: AbortSignal | undefined,
): Promise<Map<string, string | Uint8Array>> {
  const passwords = new Map<string, string | Uint8Array>();
  for await (const [username, password] of entries) {
    signal?.throwIfAborted();
    passwords.set(username, ownCopy(password));
  }
  return passwords;
}

/** Callers may wipe or reuse their bytes before these have been hashed. */
export function ownCopy(password: string | Uint8Array): string | Uint8Array {
  return password instanceof Uint8Array ? new Uint8Array(password) : password;
}

type Passwords = ReadonlyMap<string, string | Uint8Array>;

/** Sets all of them or, should anything fail, none. */
export async function setUsers(
  site: FileSite,
  settings: Settings,
  passwords: Passwords,
  { signal, onProgress }: ProgressOptions,
): Promise<Map<string, SetOutcome>> {
  for (const [username, password] of passwords) {
    assertUsername(username);
    assertPassword(password, username);
  }
  signal?.throwIfAborted();
  const names = new Set(passwords.keys());
  const before = await site.view();
  const kept = new Map<string, string>();
  const hashes = new Map<string, string>();
  let done = 0;
  const prepare = async ([name, password]: [string, string | Uint8Array]): Promise<void> => {
    const present = before.isDoubled(name) ? undefined : before.get(name);
    if (present !== undefined && (await isUpToDate(present, password, settings))) kept.set(name, present);
    else hashes.set(name, await hashFor(settings, password));
    onProgress?.(++done, names.size);
  };
  await inParallel(passwords, prepare, signal);

  for (;;) {
    const { outcomes, stale } = await submit(site.target, {
      site,
      names,
      signal,
      apply: draft => makeEdits(draft, names, kept, hashes),
    });
    if (stale.size === 0) return outcomes;
    // Somebody has changed these since they were found unchanged.
    for (const [name, password] of passwords) {
      if (!stale.has(name)) continue;
      kept.delete(name);
      hashes.set(name, await hashFor(settings, password));
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
    if (draft.isDoubled(name) || draft.get(name) !== hash) stale.add(name);
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
  { hash: wanted }: Settings,
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
    (parsed.algorithm !== 'pbkdf2-sha512' || parsed.iterations === wanted.iterations) &&
    (await verifyPassword(password, hash))
  );
}

/** Files, hashes and calls that tests of `PasswordFile` share. */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { hashPasswordSync } from '../../src/hash/hash.js';
import { PasswordFile } from '../../src/password-file.js';
import { testDirectory } from './directory.js';
import { diskCalls } from './disk-calls.js';

// Hashes that are quick to compute, in the form that the library writes.
export const quick = { hash: { iterations: 1 } } as const;
/** A hash of the password `secret`. */
export const HASH = hashPasswordSync('secret', { iterations: 1 });
export const OTHER_HASH = hashPasswordSync('other secret', { iterations: 1 });

/** A file that does not exist yet, in a directory of its own. */
export function newFile(): { directory: string; path: string; file: PasswordFile } {
  onTestFinished(() => {
    diskCalls.before = undefined;
    diskCalls.fail = undefined;
  });
  const directory = testDirectory();
  const path = join(directory, 'passwd');
  return { directory, path, file: new PasswordFile(path, quick) };
}

/** Values that change when a file is replaced or written to. */
export async function identityOf(path: string): Promise<unknown[]> {
  const { ino, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [ino, mtimeNs, ctimeNs];
}

/** Counts the commits of this process from here on. */
export function countCommits(): { readonly count: number } {
  const commits = { count: 0 };
  diskCalls.before = call => {
    if (call === 'sync') commits.count++;
  };
  return commits;
}

export const OTHER_WRITER = 'what no writer of this library made';

/** Makes another writer the owner of the lock, until its file is removed. */
export async function hold(path: string): Promise<void> {
  await mkdir(`${path}.writer`);
  await writeFile(join(`${path}.writer`, OTHER_WRITER), '');
}

async function readAll(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of source);
}

/** A call of each method that may wait, and whether it writes; upgrade and check have tests of their own. */
export const CALLS: Array<
  [name: string, writes: boolean, call: (file: PasswordFile, signal?: AbortSignal) => Promise<unknown>]
> = [
  ['create', true, (file, signal) => file.create({ signal })],
  ['setUser', true, (file, signal) => file.setUser('zoe', 'new', { signal })],
  ['addUser', true, (file, signal) => file.addUser('zoe', 'new', { signal })],
  ['removeUser', true, (file, signal) => file.removeUser('alice', { signal })],
  ['setUsers', true, (file, signal) => file.setUsers([['zoe', 'new']], { signal })],
  ['removeUsers', true, (file, signal) => file.removeUsers(['alice'], { signal })],
  ['provision', true, (file, signal) => file.provision({ signal })],
  ['setHash', true, (file, signal) => file.setHash('zoe', HASH, { signal })],
  ['setHashes', true, (file, signal) => file.setHashes([['zoe', HASH]], { signal })],
  ['update', true, (file, signal) => file.update(draft => draft.delete('alice'), { signal })],
  ['verify', false, (file, signal) => file.verify('alice', 'secret', { signal })],
  ['hasUser', false, (file, signal) => file.hasUser('alice', { signal })],
  ['users', false, (file, signal) => file.users({ signal })],
  ['getHash', false, (file, signal) => file.getHash('alice', { signal })],
  ['entries', false, (file, signal) => readAll(file.entries({ signal }))],
];
export const WRITES = CALLS.filter(([, writes]) => writes);
export const READS = CALLS.filter(([, writes]) => !writes);

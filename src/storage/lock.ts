/**
 * One writer at a time. The lock, the temp file and the fence are one thing: a directory that holds nothing but the
 * current writer's temp file. A writer acquires the lock by renaming its candidate directory to it, and commits and
 * releases it by renaming the temp file to the password file. Removing the temp file fences its writer: if that one is
 * alive after all, it only has to start over.
 *
 * test/storage/lock.test.ts runs these functions in every interleaving of several writers on a modelled disk.
 */
import { dirname } from 'node:path';
import { systemCode } from '../errors.js';
import type { Answer, Disk, Ownership } from './disk.js';
import { abandon, candidateDirectory, isCandidate, lockDirectory, tempFileName } from './lock-owner.js';
import type { TempFile } from './temp-file.js';

/** A writer of one password file, and how it decides what depends on clocks and chance. */
export interface Writer {
  readonly disk: Disk;
  /** The path of the password file for system calls. */
  readonly file: string;
  /** Owner and mode of the file's directory. */
  readonly directory: Ownership;
  /** The temp file of this attempt. */
  temp: TempFile | undefined;
  /** How often in a row {@link mayBeOwned} has found the lock directory empty. */
  failures: number;
  newNonce(): string;
  /** Whether a name in the lock directory, or in a candidate directory, is that of a temp file whose writer is dead. */
  isStale(directory: string, name: string): Answer<boolean>;
  /** Waits a little before the next attempt. Throws when the timeout is over or the wait is cancelled. */
  pause(): Answer<void>;
}

export type Outcome = 'committed' | 'unchanged' | 'fenced';

/** How often a fenced writer starts over. */
const ATTEMPTS = 16;
/** How many names are read of the file's directory, how many of a lock or candidate directory; how many are swept. */
const MOST_NAMES = 1024;
const MOST_TEMP_FILES = 16;
const MOST_CANDIDATES = 16;
/** How often in a row a rename to the lock directory may fail without a reason. */
const MOST_FAILURES = 10;
/** What NFS and FUSE rename a removed file to while it is open. */
const REMOVED = /^\.(nfs|fuse_hidden)/;

/**
 * Replaces the password file as its only writer.
 *
 * @param work reads the file, edits it, writes the temp file and syncs it; `false`: nothing is to change. May be
 *   called again.
 */
export async function commitLocked(
  writer: Writer,
  work: (temp: TempFile) => Answer<boolean>,
): Promise<Outcome> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    let outcome: Outcome = 'unchanged';
    try {
      const temp = await acquire(writer);
      await sweep(writer);
      outcome = await workAndCommit(writer, temp, work);
    } finally {
      await release(writer);
    }
    if (outcome !== 'fenced') return outcome;
  }
  return 'fenced';
}

async function workAndCommit(
  writer: Writer,
  temp: TempFile,
  work: (temp: TempFile) => Answer<boolean>,
): Promise<Outcome> {
  try {
    if (!(await work(temp))) return 'unchanged';
  } catch (error) {
    // Of a file that was removed, NFS and some FUSE file systems refuse the descriptor too.
    if (await exists(writer.disk, temp)) throw error;
    return 'fenced';
  }
  return commit(writer, temp);
}

async function exists(disk: Disk, { directory, name }: TempFile): Promise<boolean> {
  try {
    await disk.modified(directory, name);
    return true;
  } catch (error) {
    return systemCode(error) !== 'ENOENT';
  }
}

/** Becomes the owner of the lock. The caller releases it, also where this throws. */
export async function acquire(writer: Writer): Promise<TempFile> {
  for (;;) {
    const temp = await tryToAcquire(writer);
    if (temp !== undefined) return temp;
    await writer.pause();
  }
}

/** Makes a candidate directory with a temp file in it; `undefined`: it was swept between the two calls. */
async function prepare(writer: Writer): Promise<TempFile | undefined> {
  const { disk } = writer;
  const nonce = writer.newNonce();
  const name = tempFileName(nonce);
  const directory = candidateDirectory(writer.file, nonce);
  await disk.mkdir(directory);
  try {
    return { directory, name, fd: await disk.create(directory, name, writer.directory) };
  } catch (error) {
    await remove(disk, directory, name);
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Renames the candidate directory to the lock directory; `undefined`: the writer has to wait. */
async function tryToAcquire(writer: Writer): Promise<TempFile | undefined> {
  const { disk } = writer;
  const lock = lockDirectory(writer.file);
  writer.temp ??= await prepare(writer);
  const { temp } = writer;
  if (temp === undefined) return undefined;
  try {
    if (disk.windows) await close(disk, temp);
    await disk.rename(temp.directory, lock);
    temp.directory = lock;
    if (disk.windows) temp.fd = await disk.open(lock, temp.name);
    return temp;
  } catch (error) {
    const code = systemCode(error);
    const isRefusal = isRefused(disk, error);
    // A refusal after the rename: another writer has removed the temp file, which therefore cannot be opened.
    if (code === 'ENOENT' || (isRefusal && temp.directory === lock)) await release(writer);
    else if (code === 'ENOTEMPTY' || code === 'EEXIST' || isRefusal || (await mayBeOwned(writer, code)))
      await breakIfStale(writer);
    else throw error;
    return undefined;
  }
}

/**
 * Whether the rename to the lock directory may have failed because that is not empty, which sshfs answers with EPERM and
 * mergerfs with EXDEV. If it is empty, its owner may have just left: so it may, but not many times in a row.
 */
async function mayBeOwned(writer: Writer, code: string | undefined): Promise<boolean> {
  if (code !== 'EPERM' && code !== 'EXDEV') return false;
  const names = await tryTo(() => writer.disk.list(lockDirectory(writer.file), 1));
  writer.failures = names?.length ? 0 : writer.failures + 1;
  return writer.failures <= MOST_FAILURES;
}

/**
 * Breaks the lock if its owner is dead, by removing its temp file. Where that is refused, renames the lock directory: its
 * owner can then no longer commit from there.
 */
async function breakIfStale(writer: Writer): Promise<void> {
  const { disk, file } = writer;
  const lock = lockDirectory(file);
  if (await clean(writer, lock)) return;
  await tryTo(() => disk.rename(lock, candidateDirectory(file, writer.newNonce())));
}

/**
 * Removes the temp files of dead writers from a directory, and the directory if it is empty then: NTFS and some network
 * file systems do not rename another one onto it. `false`: one of these files is
 * still there, because it could not be removed or another process has it open.
 */
async function clean(writer: Writer, directory: string): Promise<boolean> {
  const { disk } = writer;
  let isClean = true;
  for (const name of (await tryTo(() => disk.list(directory, MOST_TEMP_FILES))) ?? []) {
    if (REMOVED.test(name)) isClean = false;
    if (!(await writer.isStale(directory, name))) continue;
    try {
      await disk.unlink(directory, name);
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') isClean = false;
    }
  }
  await tryTo(() => disk.rmdir(directory));
  return isClean;
}

/**
 * Commits and releases in one step. It uses the path of the lock directory, because a writer that has fenced this one may
 * have renamed the directory. If another user has put a link there, it can lead only to a file of this random name.
 */
export async function commit(writer: Writer, temp: TempFile): Promise<Outcome> {
  const { disk, file } = writer;
  for (;;) {
    try {
      if (disk.windows) await close(disk, temp);
      await disk.rename(`${temp.directory}/${temp.name}`, file);
      return 'committed';
    } catch (error) {
      const { fd } = temp;
      // A file system of another host may fail, or repeat a rename, that has succeeded already.
      if (fd !== undefined && (await tryTo(() => disk.isSame(file, fd)))) return 'committed';
      if (systemCode(error) === 'ENOENT') return 'fenced';
      if (!isRefused(disk, error)) throw error;
    }
    await writer.pause();
  }
}

/** Removes what this writer has made and still owns: after a commit, only the lock directory. */
async function release(writer: Writer): Promise<void> {
  const { disk, temp } = writer;
  if (temp === undefined) return;
  writer.temp = undefined;
  await close(disk, temp);
  await remove(disk, temp.directory, temp.name);
}

/** Removes a temp file and its directory. If the directory is not empty then, or gone, another writer owns it by now. */
async function remove(disk: Disk, directory: string, name: string): Promise<void> {
  abandon(name);
  await tryTo(() => disk.unlink(directory, name));
  await tryTo(() => disk.rmdir(directory));
}

/** Removes candidate directories of dead writers, but not all of them, because another user may plant any number. */
async function sweep(writer: Writer): Promise<void> {
  const { disk, file } = writer;
  const beside = (await tryTo(() => disk.list(`${dirname(file)}/.`, MOST_NAMES))) ?? [];
  const candidates = beside.filter(name => isCandidate(file, name));
  while (candidates.length > MOST_CANDIDATES) {
    candidates.splice(Math.floor(Math.random() * candidates.length), 1);
  }
  for (const candidate of candidates) await clean(writer, `${dirname(file)}/${candidate}`);
}

async function close(disk: Disk, temp: TempFile): Promise<void> {
  const { fd } = temp;
  temp.fd = undefined;
  if (fd !== undefined) await tryTo(() => disk.close(fd));
}

/** Makes a call whose failure does no harm: a later writer removes what it leaves. */
export async function tryTo<T>(call: () => Answer<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch {
    return undefined;
  }
}

/** Windows answers EPERM, EACCES or EBUSY where a file is open, or the target exists. */
function isRefused(disk: Disk, error: unknown): boolean {
  return disk.windows && ['EACCES', 'EPERM', 'EBUSY'].includes(systemCode(error) ?? '');
}

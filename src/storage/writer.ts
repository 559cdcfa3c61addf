/** One writer from its first attempt to the end: how long it waits for others, what it reports of them, its heartbeat. */
import { dirname } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import { attempt } from '../util/attempt.js';
import { systemDisk } from './disk.js';
import { commitLocked, tryTo, type Writer } from './lock.js';
import { isStale, lockDirectory, newNonce, parseTempFileName } from './lock-owner.js';
import { assertUsable, notReplaceable, openPlace, type Place, writeError } from './path.js';
import { startHeartbeat, type TempFile } from './temp-file.js';

/**
 * How long writers wait for each other, in milliseconds.
 *
 * @example new PasswordFile('passwd', { lock: { timeout: 60_000 } });
 */
export interface LockOptions {
  /**
   * How long a commit waits for other writers before `ERR_LOCK_TIMEOUT`. Default 30,000. Edits of this process that come
   * while a commit waits join it. If it times out, they are for the next one, whose time begins then.
   */
  timeout?: number | undefined;
  /**
   * How long a writer whose process cannot be looked at may have no heartbeat before its lock is broken, at least 1,000.
   * Default 5,000.
   */
  stale?: number | undefined;
}

/** {@link LockOptions} with the defaults filled in. */
export type LockSettings = { readonly [K in keyof LockOptions]-?: number };

/** How old a temp file in a candidate directory may be, in milliseconds. Where clocks differ more, a writer starts over. */
const ORPHAN_AGE = 3_600_000;

/**
 * Replaces a file as its only writer, and resolves when that is on disk.
 *
 * @param signal ends the wait for other writers
 * @param work reads the file, edits it, writes the temp file and syncs it; `false`: nothing is to change. May be called
 *   again.
 * @returns whether there was anything to change
 */
export async function replaceFile(
  target: string,
  lock: LockSettings,
  signal: AbortSignal,
  work: (place: Place, temp: TempFile) => Promise<boolean>,
): Promise<boolean> {
  const place = openPlace(target);
  const writer = newWriter(place, lock, signal);
  const stopHeartbeat = startHeartbeat(writer);
  let directory: number | undefined;
  try {
    assertUsable(place);
    // Now, while a failure changes nothing yet. Windows cannot sync a directory.
    if (!systemDisk.windows) directory = systemDisk.openDirectory(`${dirname(place.file)}/.`);
    const outcome = await commitLocked(writer, async temp => {
      await assertSame(directory, place);
      return work(place, temp);
    });
    if (outcome === 'fenced') throw writer.timedOut('other writers broke its lock again and again.');
    if (directory !== undefined) await syncDirectory(directory, place, outcome === 'committed');
    return outcome === 'committed';
  } catch (error) {
    throw writeError(error, place.path);
  } finally {
    stopHeartbeat();
    place.close();
    attempt(() => directory !== undefined && systemDisk.close(directory));
  }
}

function newWriter(
  { path, file, directory }: Place,
  lock: LockSettings,
  signal: AbortSignal,
): Writer & { timedOut(reason: string): PasswordFileError } {
  const disk = systemDisk;
  const started = performance.now();
  let pauses = 0;
  return {
    disk,
    file,
    directory,
    temp: undefined,
    failures: 0,
    newNonce,

    async isStale(parent, name) {
      const orphanAge = parent === lockDirectory(file) ? Infinity : ORPHAN_AGE;
      // `undefined`: it is gone, or this user may not look at it.
      const modified = await tryTo(() => disk.modified(parent, name));
      return isStale(name, modified, lock.stale, orphanAge);
    },

    /** Waits for a random time, at first of up to 2 ms, after some attempts of up to 50 ms. */
    async pause() {
      if (performance.now() - started > lock.timeout) throw this.timedOut(await obstacleOf(this, path));
      await pause(Math.random() * Math.min(50, 2 ** ++pauses), signal);
    },

    timedOut(reason) {
      const waited = Math.round(performance.now() - started);
      const message = `Waited ${waited} ms to write ${path}, and nothing was changed: ${reason}`;
      return new PasswordFileError('ERR_LOCK_TIMEOUT', message, { path });
    },
  };
}

/** What keeps a writer waiting, and what to do. */
async function obstacleOf({ disk, file, temp }: Writer, path: string): Promise<string> {
  const lock = lockDirectory(path);
  let name: string | undefined;
  try {
    [name] = await disk.list(lockDirectory(file), 1);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT')
      return `this user may not read ${lock}. Give the writers a group of their own.`;
  }
  const more = 'allow more time (in the library with lock.timeout)';
  if (name === undefined) return `other writers were quicker each time. Try again, or ${more}.`;
  if (name === temp?.name)
    return 'another process has it open all the time, or it is read-only. Change that.';
  const owner = parseTempFileName(name);
  if (owner === undefined) {
    const what = `${JSON.stringify(name)}, which no writer of this library made`;
    return `${lock} holds ${what}. Remove it if nobody needs it.`;
  }
  const claim = `process ${owner.pid} in pid namespace ${owner.realm.split('-').at(-1) || 'unknown'}`;
  return `${lock} holds the file of another writer. Its name says ${claim}. Find out what that process waits for, or ${more}.`;
}

/** Refuses to edit a file whose directory another one has replaced, since the call began to wait for the lock. */
async function assertSame(directory: number | undefined, { path }: Place): Promise<void> {
  if (directory === undefined || (await systemDisk.isSame(dirname(path), directory))) return;
  const problem = 'was not changed: another directory has taken the place of its directory meanwhile';
  throw notReplaceable(path, `${problem}. Repeat the call.`);
}

/** Makes the renames in the file's directory durable. */
async function syncDirectory(directory: number, { path }: Place, committed: boolean): Promise<void> {
  try {
    await systemDisk.syncDirectory(directory);
  } catch (cause) {
    const code = systemCode(cause);
    // Some file systems have no such call.
    if (code === 'EINVAL' || code === 'ENOTSUP') return;
    const done = committed ? 'The new file is in place' : 'Nothing was to change';
    const problem = `${done}, but the directory ${dirname(path)} could not be synced`;
    const message = `${problem}: after a power cut the old file may be back. Check the disk, then repeat the call.`;
    throw new PasswordFileError('ERR_NOT_DURABLE', message, { path, cause, committed });
  }
}

/** One writer from its first attempt to the end: how long it waits for others, what it reports of them, its heartbeat. */
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import type { Disk, Ownership } from './disk.js';
import { commitLocked, type Obstacle, tryTo, type Writer } from './lock.js';
import { abandon, isStale, lockDirectory, newNonce, parseTempFileName, tempFileName } from './lock-owner.js';
import { assertUsable, notReplaceable, openPlace, type Place, writeError } from './path.js';
import { startHeartbeat, type TempFile } from './temp-file.js';

/** How long writers wait for each other, in milliseconds. */
export interface LockOptions {
  /** How long to wait for other writers before `ERR_LOCK_TIMEOUT`. Default 30,000. */
  timeout?: number | undefined;
  /** How long a writer whose process cannot be looked at may have no heartbeat before its lock is broken. Default 5,000. */
  stale?: number | undefined;
}

/** {@link LockOptions} with the defaults filled in. */
export type LockSettings = { readonly [K in keyof LockOptions]-?: number };

/** How a writer waits for others. */
export interface Waiting {
  lock: LockSettings;
  /** Ends the wait for other writers. */
  signal: AbortSignal;
}

/** How old a temp file may be in a candidate directory, in milliseconds. Clocks differ by less; else it costs an attempt. */
const ORPHAN_AGE = 3_600_000;

/**
 * Replaces a file as its only writer, and resolves when that is on disk.
 *
 * @param work reads the file, edits it, writes the temp file and syncs it; `false`: nothing is to change. May be called
 *   again.
 * @returns whether there was anything to change
 */
export async function replaceFile(
  disk: Disk,
  target: string,
  waiting: Waiting,
  work: (place: Place, temp: TempFile) => Promise<boolean>,
): Promise<boolean> {
  const place = openPlace(target);
  const writer = new DiskWriter(disk, place, waiting);
  const stopHeartbeat = startHeartbeat(writer);
  try {
    assertUsable(place);
    const outcome = await commitLocked(writer, temp => work(place, temp));
    stopHeartbeat();
    if (outcome === 'fenced') throw writer.timedOut('other writers broke its lock again and again.');
    await syncDirectory(disk, place, outcome === 'committed');
    return outcome === 'committed';
  } catch (error) {
    throw systemCode(error) === 'ENOTDIR' ? obstructed(place.path, error) : writeError(error, place.path);
  } finally {
    stopHeartbeat();
    place.close();
  }
}

class DiskWriter implements Writer {
  readonly file: string;
  readonly directory: Ownership;
  temp: TempFile | undefined;
  readonly newNonce = newNonce;
  readonly tempFileName = tempFileName;
  readonly abandon = abandon;
  readonly #started = performance.now();
  #pauses = 0;

  constructor(
    readonly disk: Disk,
    readonly place: Place,
    readonly waiting: Waiting,
  ) {
    this.file = place.file;
    this.directory = place.directory;
  }

  async isStale(directory: string, name: string): Promise<boolean> {
    const orphanAge = directory === lockDirectory(this.file) ? Infinity : ORPHAN_AGE;
    // `undefined`: it is gone, or may not be looked at.
    const modified = await tryTo(() => this.disk.modified(directory, name));
    return isStale(name, modified, this.waiting.lock.stale, orphanAge);
  }

  /** Waits for some milliseconds, longer each time up to 50. */
  async pause(obstacle: Obstacle): Promise<void> {
    const { lock, signal } = this.waiting;
    signal.throwIfAborted();
    if (performance.now() - this.#started > lock.timeout)
      throw this.timedOut(describe(this.place.path, obstacle));
    const most = Math.min(50, 2 ** ++this.#pauses);
    await pause(most * (0.25 + 0.75 * Math.random()), signal);
  }

  timedOut(reason: string): PasswordFileError {
    const { path } = this.place;
    const waited = Math.round(performance.now() - this.#started);
    const message = `Waited ${waited} ms to write ${path}, and nothing was changed: ${reason}`;
    return new PasswordFileError('ERR_LOCK_TIMEOUT', message, { path });
  }
}

/** What kept a writer waiting, and what to do. */
function describe(path: string, obstacle: Obstacle): string {
  const lock = lockDirectory(path);
  switch (obstacle) {
    case 'unreadable':
      return `this user may not read ${lock}, which ${kindOf(lock)}. Give the writers a group of their own.`;
    case 'swept':
      return 'its candidate directories were removed again and again. Find out by whom.';
    case 'in use':
      return 'another process has it open all the time, or it is read-only. Change that.';
  }
  const [name] = obstacle;
  const more = 'allow more time (in the library with lock.timeout)';
  if (name === undefined) return `other writers were quicker each time. Try again, or ${more}.`;
  const owner = parseTempFileName(name);
  if (owner === undefined) {
    const file = `${JSON.stringify(name)}, which no writer of this library made`;
    return `${lock}, which ${kindOf(lock)}, holds ${file}. Remove it if nobody needs it.`;
  }
  const claim = `process ${owner.pid} in pid namespace ${owner.realm.split('-').at(-1) || 'unknown'}`;
  return `${lock} holds the file of another writer. Its name says ${claim}. Find out what that process waits for, or ${more}.`;
}

/** The error where something else than a directory has the name of the lock directory. */
function obstructed(path: string, cause: unknown): PasswordFileError {
  const lock = lockDirectory(path);
  const problem = `cannot be edited, because ${lock} ${kindOf(lock)}, and writers need that name for a directory.`;
  return notReplaceable(path, `${problem} Remove it if nobody needs it, then repeat the call.`, cause);
}

function kindOf(path: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 'is gone by now';
  const kind = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symbolic link' : 'file';
  return `is a ${kind} of user ${stats.uid}`;
}

/** Makes the renames in the file's directory durable. */
async function syncDirectory(disk: Disk, { path, file }: Place, committed: boolean): Promise<void> {
  try {
    await disk.syncDirectory(`${dirname(file)}/.`);
  } catch (cause) {
    const code = systemCode(cause);
    // Some file systems, and Windows, have no such call.
    if (code === 'EINVAL' || code === 'ENOTSUP' || (disk.windows && code !== undefined)) return;
    const done = committed ? 'The new file is in place' : 'Nothing was to change';
    const problem = `${done}, but the directory ${dirname(path)} could not be synced`;
    const message = `${problem}: after a power cut the old file may be back. Check the disk, then repeat the call.`;
    throw new PasswordFileError('ERR_NOT_DURABLE', message, { path, cause, committed });
  }
}

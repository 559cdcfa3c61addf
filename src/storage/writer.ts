/** One writer from its first attempt to the end: how long it waits for others, what it says of them, its heartbeat. */
import { lstatSync } from 'node:fs';
import { dirname } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import type { Disk } from './disk.js';
import { commitLocked, type Obstacle, type Writer } from './lock.js';
import {
  lockDirectory,
  newNonce,
  parseTempFileName,
  type StalenessDetector,
  tempFileName,
} from './lock-owner.js';
import { assertUsable, notReplaceable, openPlace, type Place, writeError } from './path.js';
import { startHeartbeat, type TempFile } from './temp-file.js';

/** How long writers wait for each other, in milliseconds. */
export interface LockOptions {
  /** How long to wait for other writers before `ERR_LOCK_TIMEOUT`. Default 30,000. */
  timeout?: number | undefined;
  /** How long a writer whose process cannot be looked at may have no heartbeat before its lock is broken. Default 5,000. */
  stale?: number | undefined;
}

/** How a writer waits for others. */
export interface Waiting {
  lock: Required<{ [K in keyof LockOptions]: number }>;
  detector: StalenessDetector;
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
  readonly directory: { uid: number; gid: number; mode: number };
  temp: TempFile | undefined;
  readonly newNonce = newNonce;
  readonly tempFileName = tempFileName;
  readonly #started = performance.now();
  #pauses = 0;

  constructor(
    readonly disk: Disk,
    readonly place: Place,
    readonly waiting: Waiting,
  ) {
    const { uid, gid, mode } = place.directory;
    this.file = place.file;
    this.directory = { uid: Number(uid), gid: Number(gid), mode: Number(mode) };
  }

  async isStale(directory: string, name: string): Promise<boolean> {
    const { detector, lock } = this.waiting;
    const orphanAge = directory === lockDirectory(this.file) ? Infinity : ORPHAN_AGE;
    let modified: bigint | undefined;
    try {
      modified = await this.disk.modified(directory, name);
    } catch {
      // It is gone, or may not be looked at.
    }
    return detector.isStale(name, modified, lock.stale, orphanAge);
  }

  abandon(name: string): void {
    this.waiting.detector.abandon(name);
  }

  /** Waits for some milliseconds, longer each time up to 50. */
  async pause(obstacle: Obstacle): Promise<void> {
    const { lock, signal } = this.waiting;
    signal.throwIfAborted();
    if (performance.now() - this.#started > lock.timeout) {
      throw this.timedOut(describe(this.place.path, obstacle));
    }
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

function describe(path: string, obstacle: Obstacle): string {
  const lock = lockDirectory(path);
  const [name] = obstacle;
  switch (obstacle) {
    case 'unreadable':
      return `this user may not read ${lock}, which ${ownerOf(lock)}. Give the writers a group of their own.`;
    case 'swept':
      return 'what it makes beside the file was removed again and again. Find out by whom.';
    case 'in use':
      return 'another process has it open all the time, or it is read-only.';
  }
  if (name === undefined)
    return 'other writers were quicker each time. Try again, or allow more time (in the library with lock.timeout).';
  const owner = parseTempFileName(name);
  if (owner === undefined) {
    const problem = `${lock}, which ${ownerOf(lock)}, holds ${JSON.stringify(name)}, which no writer of this library`;
    return `${problem} made. Remove it if nobody needs it.`;
  }
  const claim = `process ${owner.pid} in pid namespace ${owner.realm.split('-').at(-1) || 'unknown'}`;
  const remedy =
    'Find out what that process waits for, or allow more time (in the library with lock.timeout).';
  return `${lock} holds the file of another writer. Its name says ${claim}. ${remedy}`;
}

/** The error where the lock directory cannot be made, because something else has its name. */
export function obstructed(path: string, cause: unknown): PasswordFileError {
  const lock = lockDirectory(path);
  return notReplaceable(
    path,
    `cannot be edited, because ${lock} ${ownerOf(lock)}, and writers need that name for a directory. ` +
      'Remove it if nobody needs it, then repeat the call.',
    cause,
  );
}

function ownerOf(path: string): string {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 'is gone by now';
  const what = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symbolic link' : 'file';
  return `is a ${what} of user ${stats.uid}`;
}

/** Makes the renames in the file's directory durable. */
async function syncDirectory(disk: Disk, { path, file }: Place, committed: boolean): Promise<void> {
  try {
    await disk.syncDirectory(`${dirname(file)}/.`);
  } catch (error) {
    if (cannotSyncDirectories(disk, error)) return;
    throw new PasswordFileError(
      'ERR_NOT_DURABLE',
      `${committed ? 'The new file is in place' : 'Nothing was to change'}, but the directory ${dirname(path)} could ` +
        'not be synced: after a power cut the old file may be back. Check the disk, then repeat the call.',
      { path, cause: error, committed },
    );
  }
}

/** Some file systems, and Windows, have no such call. */
function cannotSyncDirectories(disk: Disk, error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EINVAL' || code === 'ENOTSUP' || (disk.windows && code !== undefined);
}

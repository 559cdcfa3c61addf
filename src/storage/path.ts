/** Where a password file lies: whose symbolic links lead there, what cannot be replaced, what system errors mean. */
import * as fs from 'node:fs';
import { basename, dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { O_PATH } from './disk.js';

/** A file and the directory that holds it. The directory is open, so that nobody can put another in its place. */
export interface Place {
  /** The file's path without symbolic links. */
  readonly path: string;
  /** The path for system calls, `/proc/self/fd/N/name`. It leads to the opened directory, whatever became of `path`. */
  readonly file: string;
  /** Owner and mode of the directory. */
  readonly directory: fs.BigIntStats;
  /** Whether others could lead `file` elsewhere: without /proc, it is a path like any other. */
  readonly isRedirectable: boolean;
  close(): void;
}

const MAX_LINKS = 40;
/** How coarsely file systems stamp a change, in milliseconds. */
const CLOCK_TICK = 20;

/**
 * The file that a path leads to, its symbolic links followed; it need not exist yet.
 *
 * @throws PasswordFileError `ERR_NOT_REPLACEABLE` (a link of another user than root or us, a circle),
 *   `ERR_DIRECTORY_MISSING`, `ERR_READ_FAILED`
 */
export function resolveTarget(path: string): string {
  return explained(path, () => follow(path).path);
}

/** Opens the directory of the file that a path leads to. The caller closes it. */
export function openPlace(path: string): Place {
  for (let attempt = 0; attempt < MAX_LINKS; attempt++) {
    const place = explained(path, () => tryToOpen(path));
    if (place !== undefined) return place;
  }
  throw notReplaceable(path, 'leads through directories that others exchange all the time. Move the file.');
}

/** `undefined`: the directory that was opened is not the one that the path was followed to. */
function tryToOpen(path: string): Place | undefined {
  const { path: target, directories } = follow(path);
  const directory = directories.at(-1) as fs.BigIntStats;
  const byPath = { path: target, file: target, directory, isRedirectable: true, close: () => undefined };
  if (!reachesOpenDirectories()) return byPath;
  const fd = fs.openSync(dirname(target), O_PATH | fs.constants.O_DIRECTORY);
  const opened = `/proc/self/fd/${fd}`;
  const close = () => {
    try {
      fs.closeSync(fd);
    } catch {
      // It was only looked through.
    }
  };
  try {
    if (isBelow(opened, directories)) {
      return { ...byPath, file: `${opened}/${basename(target)}`, isRedirectable: false, close };
    }
  } catch (error) {
    close();
    throw error;
  }
  close();
  return undefined;
}

function reachesOpenDirectories(): boolean {
  try {
    return process.platform === 'linux' && fs.existsSync('/proc/self/fd');
  } catch {
    // Deno throws without --allow-all.
    return false;
  }
}

function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw systemCode(error)?.startsWith('ERR_') === false ? directoryError(error, dirname(path)) : error;
  }
}

/** Whether a directory lies where it was seen. `..` cannot be led elsewhere, as the names in a path can. */
function isBelow(directory: string, seen: readonly fs.BigIntStats[]): boolean {
  let at = directory;
  for (const { dev, ino } of seen.toReversed()) {
    const stats = fs.statSync(at, { bigint: true, throwIfNoEntry: false });
    if (stats?.ino !== ino || stats.dev !== dev) return false;
    at += '/..';
  }
  return true;
}

/** Follows a path name by name, because each symbolic link has to be one of root or of ours. */
function follow(path: string): { path: string; directories: fs.BigIntStats[] } {
  let { root: at } = parse(resolve(path));
  let names = resolve(path).slice(at.length).split(sep);
  let directories = [fs.lstatSync(at, { bigint: true })];
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      if (directories.length > 1) directories.pop();
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    const stats = look(next, names.length === 0);
    if (stats?.isSymbolicLink()) {
      if (++links > MAX_LINKS) {
        throw notReplaceable(
          path,
          'is a symbolic link that leads in a circle, or that changes all the time.',
        );
      }
      const to = readLink(next, stats, directories.at(-1) as fs.BigIntStats);
      names = [...(to ?? name).split(sep), ...names];
      if (to === undefined || !isAbsolute(to)) continue;
      at = parse(to).root;
      directories = [fs.lstatSync(at, { bigint: true })];
    } else if (names.length === 0) {
      return { path: next, directories };
    } else {
      directories.push(stats as fs.BigIntStats);
      at = next;
    }
  }
  return { path: at, directories: directories.length > 1 ? directories.slice(0, -1) : directories };
}

function look(path: string, isLast: boolean): fs.BigIntStats | undefined {
  try {
    return fs.lstatSync(path, { bigint: true });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' && isLast) return undefined;
    throw directoryError(error, code === 'ENOENT' || code === 'ENAMETOOLONG' ? path : dirname(path));
  }
}

/** Where a link leads; `undefined`: look again. */
function readLink(link: string, stats: fs.BigIntStats, directory: fs.BigIntStats): string | undefined {
  const user = process.geteuid?.() ?? 0;
  if (stats.uid !== 0n && Number(stats.uid) !== user) {
    throw notReplaceable(
      link,
      `is a symbolic link of user ${stats.uid}, who could lead this process (user ${user}) to any file with it. ` +
        'Pass the path of the file itself.',
    );
  }
  try {
    const to = fs.readlinkSync(link);
    if (!isWritableByOthers(directory)) return to;
    // Others could have put a link of theirs there in between, and this one back: that would show in its ctime.
    const age = Date.now() - Number(stats.ctimeNs / 1_000_000n);
    if (Math.abs(age) < CLOCK_TICK) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, CLOCK_TICK);
    else if (fs.lstatSync(link, { bigint: true }).ctimeNs === stats.ctimeNs) return to;
  } catch {
    // It has been removed or replaced.
  }
  return undefined;
}

function isWritableByOthers({ uid, mode }: fs.BigIntStats): boolean {
  return (uid !== 0n && Number(uid) !== process.geteuid?.()) || (mode & 0o022n) !== 0n;
}

/** Refuses what no atomic replacement can do right. `old`: the file that stands there, where one does. */
export function assertReplaceable({ path, directory, isRedirectable }: Place, old?: fs.BigIntStats): void {
  const user = process.geteuid?.();
  if (isRedirectable && user === 0 && isWritableByOthers(directory)) {
    throw notReplaceable(
      path,
      'lies in a directory that others may write, in which root needs /proc to be safe from them. ' +
        `Mount /proc, or run as user ${directory.uid}.`,
    );
  }
  if ((directory.mode & 0o1000n) !== 0n && user !== 0 && Number(directory.uid) !== user) {
    throw notReplaceable(
      path,
      "lies in a sticky directory of another user (as /tmp is). Put it into a directory of the service's own.",
    );
  }
  if (old !== undefined && old.nlink > 1n) {
    throw notReplaceable(
      path,
      `has ${old.nlink} hard links, and replacing it would part them. Use a symbolic link instead.`,
    );
  }
}

export function notReplaceable(path: string, problem: string, cause?: unknown): PasswordFileError {
  const details = cause === undefined ? { path } : { path, cause };
  return new PasswordFileError('ERR_NOT_REPLACEABLE', `${path} ${problem}`, details);
}

function directoryError(cause: unknown, directory: string): PasswordFileError {
  const because = { path: directory, cause };
  switch (systemCode(cause)) {
    case 'ENOENT':
      return new PasswordFileError(
        'ERR_DIRECTORY_MISSING',
        `The directory ${directory} does not exist. Make or mount it first.`,
        because,
      );
    case 'ENAMETOOLONG':
      return new PasswordFileError(
        'ERR_READ_FAILED',
        `${directory} is longer than a path or a name in it can be (ENAMETOOLONG). Give a shorter one.`,
        because,
      );
    default:
      return new PasswordFileError(
        'ERR_READ_FAILED',
        `The directory ${directory} cannot be reached (${systemCode(cause)}).`,
        because,
      );
  }
}

/** Says what a system error before the commit means and what to do. */
export function writeError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (error instanceof PasswordFileError || code === undefined) return error;
  const directory = dirname(path);
  switch (code) {
    case 'EBUSY':
      return notReplaceable(
        path,
        'is itself a mount point, a single-file bind mount for example, and cannot be replaced. ' +
          'Mount the directory that holds the file instead.',
        error,
      );
    case 'EROFS':
      return new PasswordFileError('ERR_NOT_REPLACEABLE', readOnly(path), { path, cause: error });
    case 'EACCES':
    case 'EPERM':
      return new PasswordFileError(
        'ERR_NOT_REPLACEABLE',
        `This user may not make files in ${directory}, which replacing ${path} needs. ` +
          'Give the process write permission on that directory.',
        { path, cause: error },
      );
  }
  if (code === 'ENOENT' && !fs.existsSync(directory)) return directoryError(error, directory);
  const { errno, message } = error as NodeJS.ErrnoException;
  const reason = errno === -EDQUOT ? 'EDQUOT: the disk quota is exhausted' : message;
  return new PasswordFileError(
    'ERR_WRITE_FAILED',
    `${path} was not changed: ${reason.replaceAll(OPENED, directory)}. Mend that, then repeat the call.`,
    { path, cause: error },
  );
}

/** Node has no name for EDQUOT (errno.h). */
const EDQUOT = process.platform === 'linux' ? 122 : 69;
/** A directory as system calls reach it. */
export const OPENED = /\/proc\/self\/fd\/\d+/g;

function readOnly(path: string): string {
  return /\/\.\.[^/]+\/[^/]*$/.test(path)
    ? `${path} comes from a Kubernetes Secret or ConfigMap, which is read-only in the pod. ` +
        'Change the Secret through the Kubernetes API, or keep the file on a volume that the pod may write.'
    : `${dirname(path)} is mounted read-only. Mount the directory of the file with write permission.`;
}

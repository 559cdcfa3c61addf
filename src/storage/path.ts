/** Where a password file lies: whose symbolic links are followed, what cannot be replaced, what system errors mean. */
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { O_PATH, type Ownership, ownershipOf } from './disk.js';
import { lockDirectory } from './lock-owner.js';

/** A file and its directory. The directory is open, so that nobody can put another in its place. */
export interface Place {
  /** The file's path without symbolic links. */
  readonly path: string;
  /**
   * The path for system calls, `/proc/self/fd/N/name`. It goes through the open directory, even if `path` leads elsewhere
   * by now. Without /proc: `path`.
   */
  readonly file: string;
  readonly directory: Ownership;
  close(): void;
}

const MAX_LINKS = 40;
/** The coarsest resolution of a file system's timestamps, in milliseconds. */
export const CLOCK_TICK = 20;

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
  for (let attempts = 0; attempts < MAX_LINKS; attempts++) {
    const place = explained(path, () => tryToOpen(path));
    if (place !== undefined) return place;
  }
  throw notReplaceable(path, 'leads through directories that others exchange all the time. Move the file.');
}

/** Opens the directory; `undefined`: it is not the one that the path was followed to. */
function tryToOpen(path: string): Place | undefined {
  const { path: target, directories } = follow(path);
  const directory = ownershipOf(directories.at(-1) as fs.BigIntStats);
  // Deno throws where it has no permission for /proc.
  if (process.platform !== 'linux' || !attempt(() => fs.existsSync('/proc/self/fd'))) {
    return { path: target, file: target, directory, close: () => undefined };
  }
  const fd = fs.openSync(dirname(target), O_PATH | fs.constants.O_DIRECTORY);
  // A failure does no harm, because nothing was written to it.
  const close = () => void attempt(() => fs.closeSync(fd));
  const opened = `/proc/self/fd/${fd}`;
  if (attempt(() => isBelow(opened, directories))) {
    return { path: target, file: `${opened}/${basename(target)}`, directory, close };
  }
  close();
  return undefined;
}

/** Turns a system error into one that says which directory it is about. */
function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const { code, path: at = path } = error as NodeJS.ErrnoException;
    if (code === undefined || code.startsWith('ERR_')) throw error;
    throw directoryError(error, code === 'ENOENT' || code === 'ENAMETOOLONG' ? at : dirname(at));
  }
}

/** Whether a directory and its parents are those that were seen. Names can be led elsewhere meanwhile, `..` cannot. */
function isBelow(directory: string, seen: readonly fs.BigIntStats[]): boolean {
  let at = directory;
  for (const { dev, ino } of seen.toReversed()) {
    const stats = fs.statSync(at, { bigint: true });
    if (stats.ino !== ino || stats.dev !== dev) return false;
    at += '/..';
  }
  return true;
}

/**
 * Follows a path name by name, because each symbolic link must belong to root or to our user. `directories` are those
 * on the way to the file, with the root twice: it is its own parent.
 */
function follow(path: string): { path: string; directories: fs.BigIntStats[] } {
  let at = '';
  let seen: fs.BigIntStats[] = [];
  const names: string[] = [];
  const goTo = (to: string): void => {
    const { root } = parse(to);
    if (root !== '') {
      at = root;
      const stats = fs.lstatSync(root, { bigint: true });
      seen = [stats, stats];
    }
    const parts = to.slice(root.length).split(sep);
    names.unshift(...parts.filter(name => name !== '' && name !== '.'));
  };
  // `resolve` removes `..` before links are followed, as Windows does.
  if (process.platform === 'win32') goTo(resolve(path));
  else goTo(isAbsolute(path) ? path : process.cwd() + sep + path);
  let links = 0;
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    const next = join(at, name);
    const stats = fs.lstatSync(next, { bigint: true, throwIfNoEntry: names.length > 0 });
    if (name === '..') goTo(next);
    else if (stats?.isSymbolicLink()) {
      if (++links > MAX_LINKS) {
        throw notReplaceable(path, 'is a symbolic link that leads in a circle or changes all the time.');
      }
      goTo(readLink(next, stats) ?? name);
    } else {
      seen.push(stats as fs.BigIntStats);
      at = next;
    }
  }
  return { path: at, directories: seen.slice(0, -1) };
}

/** Where a link leads; `undefined`: it has changed, and has to be read again. */
function readLink(link: string, { uid, ctimeNs }: fs.BigIntStats): string | undefined {
  const user = process.geteuid?.();
  if (uid !== 0n && Number(uid) !== user) {
    const problem = `is a symbolic link of user ${uid}, who could lead this process (user ${user}) to any file`;
    throw notReplaceable(link, `${problem} with it. Pass the path of the file itself.`);
  }
  // Others may put a link of theirs here and this one back. That changes its ctime, unless all happens in one tick.
  const age = Date.now() - Number(ctimeNs / 1_000_000n);
  if (Math.abs(age) < CLOCK_TICK) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, CLOCK_TICK);
  return attempt(() => {
    const to = fs.readlinkSync(link);
    return fs.lstatSync(link, { bigint: true }).ctimeNs === ctimeNs ? to : undefined;
  });
}

/** Refuses directories in which no file can be replaced safely, before anything is made there. */
export function assertUsable({ path, file, directory }: Place): void {
  const user = process.geteuid?.();
  const { uid, mode } = directory;
  if (file === path && user === 0 && (uid !== 0 || (mode & 0o022) !== 0)) {
    const problem =
      'lies in a directory that others may write, in which root needs /proc to be safe from them.';
    throw notReplaceable(path, `${problem} Mount /proc, or run as user ${uid}.`);
  }
  if ((mode & 0o1000) !== 0 && user !== 0 && uid !== user) {
    const problem = 'lies in a sticky directory of another user (as /tmp is).';
    throw notReplaceable(path, `${problem} Put it into a directory of the service's own.`);
  }
}

export function notReplaceable(path: string, problem: string, cause?: unknown): PasswordFileError {
  return new PasswordFileError('ERR_NOT_REPLACEABLE', `${path} ${problem}`, { path, cause });
}

function directoryError(cause: unknown, path: string): PasswordFileError {
  const code = systemCode(cause);
  if (code === 'ENOENT') {
    const message = `The directory ${path} does not exist. Make or mount it first.`;
    return new PasswordFileError('ERR_DIRECTORY_MISSING', message, { path, cause });
  }
  const message =
    code === 'ENAMETOOLONG'
      ? `${path} is longer than a path or a name in it can be (ENAMETOOLONG). Give a shorter one.`
      : `The directory ${path} cannot be reached (${code}). Mend the path or the permissions of its directories.`;
  return new PasswordFileError('ERR_READ_FAILED', message, { path, cause });
}

/** The path of an open directory, as messages of system errors contain it. */
export const OPENED = /\/proc\/self\/fd\/\d+/g;

/** Says what a system error before the commit means and what to do. */
export function writeError(cause: unknown, path: string): unknown {
  const code = systemCode(cause);
  if (cause instanceof PasswordFileError || code === undefined) return cause;
  const directory = dirname(path);
  if (code === 'ENOENT' && !fs.existsSync(directory)) return directoryError(cause, directory);
  const refusal = refusalOf(code, path);
  if (refusal !== undefined) return notReplaceable(path, refusal, cause);
  const { errno, message } = cause as NodeJS.ErrnoException;
  // Node has no name for this error.
  const reason = errno === -constants.errno.EDQUOT ? 'EDQUOT: the disk quota is exhausted' : message;
  const problem = `${path} was not changed: ${reason.replaceAll(OPENED, directory)}.`;
  return new PasswordFileError('ERR_WRITE_FAILED', `${problem} Mend that, then repeat the call.`, {
    path,
    cause,
  });
}

/** What it means that the system refuses to make or rename files beside this one; `undefined`: another error. */
function refusalOf(code: string, path: string): string | undefined {
  const lock = lockDirectory(path);
  switch (code) {
    case 'ENAMETOOLONG':
      // A candidate directory has a longer name.
      return 'has too long a name to be edited. Give it a shorter one.';
    case 'ENOTDIR':
      return `cannot be edited, because ${lock} ${kindOf(lock)}, and writers need that name for a directory. Remove it if nobody needs it, then repeat the call.`;
    case 'EBUSY':
      return 'is itself a mount point, as a single-file bind mount is. Mount the directory that holds it instead.';
    case 'EACCES':
    case 'EPERM':
      return 'cannot be replaced, because this user may not make files in its directory. Give it write permission there.';
    case 'EROFS':
      return dirname(path).includes('/..')
        ? 'comes from a Kubernetes Secret or ConfigMap, which is read-only. Change it by the Kubernetes API, or use a volume.'
        : 'is mounted read-only. Mount its directory with write permission.';
    default:
      return undefined;
  }
}

/** What is at a path, for messages. */
export function kindOf(path: string): string {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 'is gone by now';
  const kind = stats.isDirectory() ? 'directory' : stats.isSymbolicLink() ? 'symbolic link' : 'file';
  return `is a ${kind} of user ${stats.uid}`;
}

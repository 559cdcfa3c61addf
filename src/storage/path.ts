/** Where a password file lies: whose symbolic links lead there, what cannot be replaced, what system errors mean. */
import * as fs from 'node:fs';
import { basename, dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';
import { PasswordFileError, type PasswordFileErrorCode, systemCode } from '../errors.js';
import { O_PATH } from './disk.js';
import { candidateDirectory, newNonce } from './lock-owner.js';

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
/** Linux and macOS allow 255 bytes for a name. */
const NAME_MAX = 255;
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
  let isKept = false;
  try {
    isKept = isBelow(opened, directories);
  } finally {
    if (!isKept) close(fd);
  }
  if (!isKept) return undefined;
  const file = `${opened}/${basename(target)}`;
  return { ...byPath, file, isRedirectable: false, close: () => close(fd) };
}

function reachesOpenDirectories(): boolean {
  try {
    return process.platform === 'linux' && fs.existsSync('/proc/self/fd');
  } catch {
    // Deno throws without --allow-all.
    return false;
  }
}

function close(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch {
    // Nothing was written to it.
  }
}

/** Says which directory a system error is about. */
function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const { code, path: at = path } = error as NodeJS.ErrnoException;
    if (code === undefined || code.startsWith('ERR_')) throw error;
    throw directoryError(error, code === 'ENOENT' || code === 'ENAMETOOLONG' ? at : dirname(at));
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
    const stats = fs.lstatSync(next, { bigint: true, throwIfNoEntry: names.length > 0 });
    if (stats?.isSymbolicLink()) {
      if (++links > MAX_LINKS) {
        throw notReplaceable(path, 'is a symbolic link that leads in a circle or changes all the time.');
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

/** Where a link leads; `undefined`: look again. */
function readLink(link: string, stats: fs.BigIntStats, directory: fs.BigIntStats): string | undefined {
  const user = process.geteuid?.() ?? 0;
  if (stats.uid !== 0n && Number(stats.uid) !== user) {
    const problem = `is a symbolic link of user ${stats.uid}, who could lead this process (user ${user}) to any file`;
    throw notReplaceable(link, `${problem} with it. Pass the path of the file itself.`);
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

/** Refuses places in which no atomic replacement can do right, before anything is made there. */
export function assertUsable({ path, directory, isRedirectable }: Place): void {
  const user = process.geteuid?.();
  // The name of a candidate directory is the longest one beside the file.
  if (Buffer.byteLength(basename(candidateDirectory(path, newNonce()))) > NAME_MAX) {
    throw notReplaceable(path, 'has too long a name to be edited. Give it a shorter one.');
  }
  if (isRedirectable && user === 0 && isWritableByOthers(directory)) {
    const problem =
      'lies in a directory that others may write, in which root needs /proc to be safe from them.';
    throw notReplaceable(path, `${problem} Mount /proc, or run as user ${directory.uid}.`);
  }
  if ((directory.mode & 0o1000n) !== 0n && user !== 0 && Number(directory.uid) !== user) {
    const problem = 'lies in a sticky directory of another user (as /tmp is).';
    throw notReplaceable(path, `${problem} Put it into a directory of the service's own.`);
  }
}

export function notReplaceable(path: string, problem: string, cause?: unknown): PasswordFileError {
  return failure('ERR_NOT_REPLACEABLE', path, `${path} ${problem}`, cause);
}

function failure(
  code: PasswordFileErrorCode,
  path: string,
  message: string,
  cause?: unknown,
): PasswordFileError {
  return new PasswordFileError(code, message, cause === undefined ? { path } : { path, cause });
}

function directoryError(cause: unknown, directory: string): PasswordFileError {
  const code = systemCode(cause);
  if (code === 'ENOENT') {
    const message = `The directory ${directory} does not exist. Make or mount it first.`;
    return failure('ERR_DIRECTORY_MISSING', directory, message, cause);
  }
  const message =
    code === 'ENAMETOOLONG'
      ? `${directory} is longer than a path or a name in it can be (ENAMETOOLONG). Give a shorter one.`
      : `The directory ${directory} cannot be reached (${code}).`;
  return failure('ERR_READ_FAILED', directory, message, cause);
}

/** Says what a system error before the commit means and what to do. */
export function writeError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (error instanceof PasswordFileError || code === undefined) return error;
  const directory = dirname(path);
  if (code === 'ENOENT' && !fs.existsSync(directory)) return directoryError(error, directory);
  const { errno, message } = error as NodeJS.ErrnoException;
  // errno.h: EDQUOT, for which Node has no name.
  const quota = process.platform === 'linux' ? 122 : 69;
  const reason = errno === -quota ? 'EDQUOT: the disk quota is exhausted' : message;
  return REFUSALS.has(code)
    ? failure('ERR_NOT_REPLACEABLE', path, refusal(code, path, directory), error)
    : failure(
        'ERR_WRITE_FAILED',
        path,
        `${path} was not changed: ${reason.replaceAll(OPENED, directory)}. Mend that, then repeat the call.`,
        error,
      );
}

const REFUSALS: ReadonlySet<string> = new Set(['EBUSY', 'EROFS', 'EACCES', 'EPERM']);
/** A directory as system calls reach it. */
export const OPENED = /\/proc\/self\/fd\/\d+/g;

function refusal(code: string, path: string, directory: string): string {
  if (code === 'EBUSY') {
    const problem = 'is itself a mount point, a single-file bind mount for example, and cannot be replaced.';
    return `${path} ${problem} Mount the directory that holds the file instead.`;
  }
  if (code !== 'EROFS') {
    const problem = `This user may not make files in ${directory}, which replacing ${path} needs.`;
    return `${problem} Give the process write permission on that directory.`;
  }
  if (!/\/\.\.[^/]+\/[^/]*$/.test(path)) {
    return `${directory} is mounted read-only. Mount the directory of the file with write permission.`;
  }
  const problem = 'comes from a Kubernetes Secret or ConfigMap, which is read-only in the pod.';
  return `${path} ${problem} Change the Secret through the Kubernetes API, or keep the file on a volume that the pod may write.`;
}

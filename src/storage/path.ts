/** Where a password file lies: whose symbolic links are followed, what cannot be replaced, what system errors mean. */
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { dirname, isAbsolute, join, parse, resolve, sep } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { O_PATH, type Ownership } from './disk.js';
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

/** The coarsest timestamps of file systems that keep fractions of a second, in milliseconds. */
export const CLOCK_TICK = 20;
/** The same of those that keep whole seconds. */
const SECONDS_TICK = 2_000 + CLOCK_TICK;

/** For how many milliseconds after a change a further one may have the same time. FAT, HFS+ and some ext4 keep seconds. */
export function tickOf(ctimeNs: bigint): number {
  return ctimeNs % 1_000_000_000n === 0n ? SECONDS_TICK : CLOCK_TICK;
}

/** The same path from the root, so that a later change of the working directory has no effect. */
export function absolutePath(path: string): string {
  // `resolve` removes `..` before links are followed, as only Windows does.
  if (process.platform === 'win32' || !path.includes('..')) return explained('.', () => resolve(path));
  return isAbsolute(path) ? path : explained('.', () => process.cwd()) + sep + path;
}

/**
 * The file that an absolute path leads to, its symbolic links followed; it need not exist yet.
 *
 * @throws PasswordFileError `ERR_NOT_REPLACEABLE` (a link of another user than root or us, a circle),
 *   `ERR_DIRECTORY_MISSING`, `ERR_READ_FAILED`
 */
export function resolveTarget(path: string): string {
  // Where no link is on the way, as mostly, this takes a fraction of the time.
  if (attempt(() => fs.realpathSync.native(path)) === path) return path;
  const { path: target, close } = openPlace(path);
  close();
  return target;
}

/**
 * Opens the directory of the file that a path leads to. The caller closes it. Follows the path name by name, because each
 * symbolic link must belong to root or to our user. The file is `.` where the path leads to a root directory or ends with
 * `..`.
 */
export function openPlace(path: string): Place {
  let directory = Directory.root(path);
  const names = namesIn(path);
  let links = 0;
  try {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const stats = directory.stats(name);
      if (stats?.isSymbolicLink()) {
        if (++links > MAX_LINKS) {
          const problem = `is a symbolic link that leads in a circle, changes all the time or leads to over ${MAX_LINKS} others.`;
          throw notReplaceable(path, problem);
        }
        const to = readLink(directory, name, stats) ?? name;
        if (isAbsolute(to)) {
          const root = Directory.root(to);
          directory.close();
          directory = root;
        }
        names.unshift(...namesIn(to));
      } else if (names.length > 0 || name === '..') directory = directory.enter(name);
      else return directory.place(name);
    }
    return directory.place('.');
  } catch (error) {
    directory.close();
    throw error;
  }
}

/** The names in a path, without its root. */
function namesIn(path: string): string[] {
  const names = path.slice(parse(path).root.length).split(sep);
  return names.filter(name => name !== '' && name !== '.');
}

/** A directory on the way to a file. On Linux it is open, so that nobody can put another in its place. */
class Directory {
  /** @param fd `undefined`: there is no /proc, by which the files in an open directory are reached */
  private constructor(
    readonly path: string,
    readonly fd: number | undefined,
  ) {}

  static root(path: string): Directory {
    const { root } = parse(path);
    // Deno throws where it has no permission for /proc.
    const hasProc = process.platform === 'linux' && attempt(() => fs.existsSync('/proc/self/fd'));
    return new Directory(root, hasProc ? openDirectory(root, root) : undefined);
  }

  /** The path of a name in it, for system calls. */
  at(name: string): string {
    return this.fd === undefined ? join(this.path, name) : `/proc/self/fd/${this.fd}/${name}`;
  }

  stats(name: string): fs.BigIntStats | undefined {
    const options = { bigint: true, throwIfNoEntry: false } as const;
    return explained(this.path, () => fs.lstatSync(this.at(name), options));
  }

  /** Goes to a directory in this one, or to `..`, and closes this one. */
  enter(name: string): Directory {
    const path = join(this.path, name);
    const fd = this.fd === undefined ? undefined : openDirectory(this.at(name), path);
    this.close();
    return new Directory(path, fd);
  }

  ownership(): Ownership {
    return explained(this.path, () => fs.statSync(this.at('.')));
  }

  place(name: string): Place {
    const close = () => this.close();
    return { path: join(this.path, name), file: this.at(name), directory: this.ownership(), close };
  }

  close(): void {
    const { fd } = this;
    // A failure does no harm, because nothing was written to it.
    if (fd !== undefined) attempt(() => fs.closeSync(fd));
  }
}

function openDirectory(opened: string, path: string): number {
  const { O_DIRECTORY, O_NOFOLLOW } = fs.constants;
  return explained(path, () => fs.openSync(opened, O_PATH | O_DIRECTORY | O_NOFOLLOW));
}

/** Turns a system error into one that says which directory it is about. */
function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw directoryError(error, path);
  }
}

/** Where a link leads; `undefined`: it has changed, and has to be read again. */
function readLink(directory: Directory, name: string, stats: fs.BigIntStats): string | undefined {
  const { dev, uid, ctimeNs } = stats;
  const link = join(directory.path, name);
  const user = process.geteuid?.();
  if (uid !== 0n && Number(uid) !== user) {
    const problem = `is a symbolic link of user ${uid}, who could lead this process (user ${user}) to any file`;
    throw notReplaceable(link, `${problem} with it. Pass the path of the file itself.`);
  }
  if (dev === attempt(() => fs.statSync('/proc/self/fd', { bigint: true }).dev)) {
    const problem = 'is a link of /proc, which may lead elsewhere than it says, as into a container';
    throw notReplaceable(link, `${problem}. Pass the path of the file itself.`);
  }
  // Others may put a link of theirs here, and this one back later. That changes its ctime, unless all is in one tick.
  const tick = tickOf(ctimeNs);
  if (!isClosed(directory.ownership()) && Math.abs(Date.now() - Number(ctimeNs / 1_000_000n)) < tick) {
    if (tick === SECONDS_TICK) {
      const problem = 'is a symbolic link that has just changed, where others could exchange it';
      throw notReplaceable(
        link,
        `${problem}. Repeat the call in ${tick} ms, or pass the path of the file itself.`,
      );
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, tick);
  }
  return attempt(() => {
    const to = fs.readlinkSync(directory.at(name));
    return directory.stats(name)?.ctimeNs === ctimeNs ? to : undefined;
  });
}

/** Whether only root and our user can move a link of theirs in a directory. */
function isClosed({ uid, mode }: Ownership): boolean {
  return (uid === 0 || uid === process.geteuid?.()) && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0);
}

/** Refuses directories in which no file can be replaced safely, before anything is made there. */
export function assertUsable({ path, file, directory }: Place): void {
  const user = process.geteuid?.();
  const { uid, mode } = directory;
  if (file === path && user === 0 && (uid !== 0 || (mode & 0o022) !== 0)) {
    const problem = 'lies in a directory that others may write, where root needs /proc to be safe';
    const remedy = uid === 0 ? 'take their permission' : `run as user ${uid}`;
    throw notReplaceable(path, `${problem}. Mount /proc, or ${remedy}.`);
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
  const remedies: { [code: string]: string } = {
    ENAMETOOLONG: 'A name in the path is too long. Give a shorter one.',
    EACCES: 'Fix the permissions of its directories.',
    ENOTDIR: 'It is no directory. Correct the path.',
  };
  const remedy = remedies[code ?? ''] ?? 'Fix that, then repeat the call.';
  const message = `The directory ${path} cannot be reached (${code ?? (cause as Error).message}). ${remedy}`;
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
  const problem = `${path} was not changed: ${reason.replaceAll(OPENED, () => directory).replace(/\.$/, '')}`;
  const text = `${problem}. Fix that, then repeat the call.`;
  return new PasswordFileError('ERR_WRITE_FAILED', text, { path, cause });
}

/** What it means that the system refuses to make or rename files beside this one; `undefined`: another error. */
function refusalOf(code: string, path: string): string | undefined {
  const lock = lockDirectory(path);
  switch (code) {
    case 'ENAMETOOLONG':
      // A candidate directory has a longer name.
      return 'has too long a name to be edited. Give it a shorter one.';
    case 'ENOTDIR':
      return `cannot be edited, because ${lock} is a file or a link, and writers need that name for a directory. Remove it if nobody needs it, then repeat the call.`;
    case 'EBUSY':
      return 'is itself a mount point, as a single-file bind mount is. Mount the directory that holds it instead.';
    case 'EACCES':
      return 'cannot be replaced, because this user may not read its directory, or may not make files there. Give the user both permissions. The umask must not take those of the owner.';
    case 'EPERM':
      return 'cannot be replaced: the system forbids this user a step of it. If the file or its directory is immutable or append-only (lsattr shows that), change it.';
    case 'EROFS':
      return dirname(path).includes('/..')
        ? 'comes from a Kubernetes Secret or ConfigMap, which is read-only. Change it by the Kubernetes API, or use a volume.'
        : 'is mounted read-only. Mount its directory with write permission.';
    default:
      return undefined;
  }
}

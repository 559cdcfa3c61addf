/** The system calls that a writer makes, each as a function. Tests model them, count them and make them fail. */
import * as fs from 'node:fs';
import { constants } from 'node:fs';
import { attempt } from '../util/attempt.js';
import { withPriority } from '../util/limiter.js';

/** What a function returns, at once or later. */
export type Answer<T> = T | Promise<T>;

/** Owner, group and permissions of a directory or file. */
export interface Ownership {
  uid: number;
  gid: number;
  mode: number;
}

export function ownershipOf({ uid, gid, mode }: fs.BigIntStats): Ownership {
  return { uid: Number(uid), gid: Number(gid), mode: Number(mode) };
}

/** Opens a directory only to reach files in it (Linux, include/uapi/asm-generic/fcntl.h). Node has no name for it. */
export const O_PATH = 0o10000000;

/** The most bytes of one write. A write locks the inode: a longer one would delay the heartbeat, and with it the event loop. */
export const BLOCK = 1_048_576;

/** See {@link systemDisk}. All functions throw or reject with system errors (`code`). */
export type Disk = typeof systemDisk;

/**
 * The real disk. A function that is one quick system call is synchronous, because the thread pool may be busy with
 * hashes. A function with the parameters `directory` and `name` reaches the directory without following a link.
 */
export const systemDisk = {
  /**
   * Whether the rules of NTFS hold: no directory is renamed while a file in it is open, no file is renamed over one
   * that is open, and a removed file that is open stays in its directory until it is closed.
   */
  windows: /* @__PURE__ */ (() => process.platform === 'win32')(),
  mkdir: (path: string): Answer<void> => void fs.mkdirSync(path, 0o700),
  rmdir: (path: string): Answer<void> => fs.rmdirSync(path),
  rename: (from: string, to: string): Answer<void> => fs.renameSync(from, to),
  create,
  open: (directory: string, name: string): Answer<number> =>
    fs.openSync(`${directory}/${name}`, constants.O_RDWR),
  close: (fd: number): Answer<void> => fs.closeSync(fd),
  unlink: (directory: string, name: string): Answer<void> =>
    within(directory, opened => fs.unlinkSync(`${opened}/${name}`)),
  list: (directory: string, most: number): Answer<string[]> =>
    within(directory, opened => firstNames(opened, most)),
  /** When a file was last modified, in nanoseconds. */
  modified: (directory: string, name: string): Answer<bigint> =>
    within(directory, opened => fs.lstatSync(`${opened}/${name}`, { bigint: true }).mtimeNs),
  isSame,
  touch,
  ownership: (fd: number): Ownership => fs.fstatSync(fd),
  chown: (fd: number, uid: number, gid: number): void => fs.fchownSync(fd, uid, gid),
  chmod: (fd: number, mode: number): void => fs.fchmodSync(fd, mode),
  /**
   * Writes bytes, at most {@link BLOCK}: so many in the thread pool, fewer at once, because the pool may be busy with
   * hashes. Returns how many were written: a full disk may accept a part of them.
   */
  write: (fd: number, bytes: Uint8Array, position: number): Answer<number> =>
    bytes.length < BLOCK
      ? fs.writeSync(fd, bytes, 0, bytes.length, position)
      : withPriority(done => fs.write(fd, bytes, 0, bytes.length, position, done)),
  sync,
  syncDirectory: sync,
  openDirectory: (path: string): number => fs.openSync(path, constants.O_RDONLY),
};

/**
 * Creates a file in an empty directory that this process has made. Gives the directory the group and mode of its parent,
 * as root the owner too, so that writers who may write there can clean up in it.
 *
 * Other users of the parent directory may have put a link or another directory in the place of the one that was made.
 * So it is opened once and reached only by that descriptor. It has to be ours and empty: giving that to others exposes
 * nothing. Or it belongs to the owner of the parent, whom some mounts report as the owner of whatever is in them.
 */
function create(directory: string, name: string, owner: Ownership): Answer<number> {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW } = constants;
  const createIn = (opened: string) => fs.openSync(`${opened}/${name}`, O_RDWR | O_CREAT | O_EXCL, 0o600);
  const user = process.geteuid?.();
  // Windows has no user ids.
  if (user === undefined) return createIn(directory);
  const own = fs.openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const opened = isOpened(directory) ? `/proc/self/fd/${own}` : directory;
    const { uid } = fs.fstatSync(own);
    if (uid !== user && uid !== owner.uid) {
      const problem = `user ${user} has made ${directory}, but it belongs to user ${uid}`;
      throw Object.assign(new Error(`ENOTSUP: ${problem}. Run as the owner of the directory`), {
        code: 'ENOTSUP',
      });
    }
    if (firstNames(opened, 1).length > 0) {
      throw Object.assign(new Error(`${directory} is not the directory that was made`), { code: 'ENOENT' });
    }
    const fd = createIn(opened);
    if (uid !== user) return fd;
    // Not before the file exists: until then nobody else can reach into the directory. Where this fails, other writers
    // cannot clean up in it.
    attempt(() => fs.fchownSync(own, user === 0 ? owner.uid : -1, owner.gid));
    attempt(() => fs.fchmodSync(own, owner.mode & 0o1777));
    return fd;
  } finally {
    fs.closeSync(own);
  }
}

/** Has system calls reach a directory by its descriptor: no link is followed, and nobody can exchange it meanwhile. */
function within<T>(directory: string, run: (opened: string) => T): T {
  if (!isOpened(directory)) return run(directory);
  const fd = fs.openSync(directory, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return run(`/proc/self/fd/${fd}`);
  } finally {
    fs.closeSync(fd);
  }
}

/** Whether a path goes through an open directory (see `Place`). */
function isOpened(path: string): boolean {
  return path.startsWith('/proc/self/fd/');
}

/** Lists at most `most` names: anybody who may write in a directory may have made any number. */
export function firstNames(directory: string, most: number): string[] {
  const names: string[] = [];
  const reader = fs.opendirSync(directory, { bufferSize: Math.min(most, 256) });
  try {
    for (let entry = reader.readSync(); entry !== null; entry = reader.readSync()) {
      if (names.push(entry.name) === most) break;
    }
  } finally {
    reader.closeSync();
  }
  return names;
}

/** Whether the file at a path is the open one. */
function isSame(path: string, fd: number): Answer<boolean> {
  const there = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
  const ours = fs.fstatSync(fd, { bigint: true });
  return there !== undefined && there.ino === ours.ino && there.dev === ours.dev;
}

/** Sets the time of modification to now. */
function touch(file: number | string): void {
  const now = Date.now() / 1000;
  if (typeof file === 'number') fs.futimesSync(file, now, now);
  else fs.utimesSync(file, now, now);
}

function sync(fd: number): Promise<void> {
  return withPriority(done => fs.fsync(fd, error => done(error)));
}

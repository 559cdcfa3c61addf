/** What a password file held at one moment, and whether it still does. */
import * as fs from 'node:fs';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { MAX_FILE_BYTES } from '../document/line.js';
import { NameIndex } from '../document/name-index.js';
import { PasswordFileError, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { runYielding } from '../util/event-loop.js';
import { withPriority } from '../util/limiter.js';
import { type Answer, systemDisk } from './disk.js';
import { OpenFile } from './open-files.js';
import { notReplaceable, OPENED, type Place, tickOf } from './path.js';

const CHUNK = 4_194_304;
const ATTEMPTS = 10;
/**
 * FUSE, NFS, SMB, 9P, Ceph, the mounts of Docker Desktop (fakeowner) and VirtualBox, as statfs(2) names them: what stat
 * says there may be seconds old.
 */
const REMOTE = [
  0x65735546, 0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x01021997, 0x00c36400, 0x6a656a63, 0x786f4256,
];
const NOT_A_FILE = 'is not a regular file. Give the path of a file.';

/** The bytes of a file with an index of their names. */
export class Snapshot {
  /**
   * @param readAt when it was read, in milliseconds since 1970
   * @param file open, so that the inode number is not reused while the snapshot is compared with the file
   * @param isRemote another host may change the file without a change of what stat says here: no cache may keep it
   */
  constructor(
    readonly index: NameIndex,
    readonly stats: fs.BigIntStats,
    readonly readAt: number,
    readonly file: OpenFile | undefined,
    readonly isRemote: boolean,
  ) {}

  close(): void {
    this.file?.close();
  }

  /** Whether the file at `path` is still this one, unchanged. */
  isCurrent(path: string): boolean {
    // A change in the tick in which the file was read would not show.
    const { ctimeNs } = this.stats;
    if (Math.abs(this.readAt - Number(ctimeNs / 1_000_000n)) <= tickOf(ctimeNs)) return false;
    this.file?.use();
    const now = attempt(() => fs.statSync(path, { bigint: true }));
    const fields = ['dev', 'ino', 'size', 'mtimeNs', 'ctimeNs'] as const;
    return now !== undefined && fields.every(field => now[field] === this.stats[field]);
  }
}

/**
 * Reads a regular file, indexing the lines while the next bytes arrive; `undefined`: there is none.
 *
 * @param names the only names that will be looked up in the index; `undefined`: any
 */
export async function takeSnapshot(
  { file, path }: Place,
  names: ReadonlySet<string> | undefined,
): Promise<Snapshot | undefined> {
  // O_NONBLOCK: opening a FIFO does not wait for a writer. O_NOFOLLOW: a link that appears only now was not checked.
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = fs.constants;
  for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
    let fd: number | undefined;
    try {
      fd = fs.openSync(file, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
      const readAt = Date.now();
      const stats = fs.fstatSync(fd, { bigint: true });
      if (!stats.isFile()) throw notReplaceable(path, NOT_A_FILE);
      if (stats.size > MAX_FILE_BYTES) {
        const problem = `has ${stats.size} bytes, and only files of up to ${MAX_FILE_BYTES} bytes are read.`;
        throw unreadable(path, `${problem} Spread its users over the files of several brokers.`);
      }
      const index = await readIndexed(fd, Number(stats.size), names);
      if (index === undefined) continue;
      const { type = 0n } = attempt(() => fs.statfsSync(file, { bigint: true })) ?? {};
      // Where the system has 32 bits, the sign of the type is extended to 64.
      const isRemote = REMOTE.includes(Number(type & 0xffff_ffffn));
      // On Windows an open file cannot be replaced.
      const kept = systemDisk.windows || isRemote ? undefined : new OpenFile(fd, index);
      if (kept !== undefined) fd = undefined;
      return new Snapshot(index, stats, readAt, kept, isRemote);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      // NFS: another host has replaced the open file.
      const isReplaced = (error as NodeJS.ErrnoException).errno === -constants.errno.ESTALE;
      if (!isReplaced || attempts === ATTEMPTS - 1) throw readError(error, path);
    } finally {
      if (fd !== undefined) fs.closeSync(fd);
    }
  }
  throw unreadable(path, 'changes each time it is read. Find out who writes it in place.');
}

/** The file's bytes, indexed; `undefined`: it has grown or shrunk meanwhile. */
async function readIndexed(
  fd: number,
  size: number,
  names: ReadonlySet<string> | undefined,
): Promise<NameIndex | undefined> {
  // One byte more than there should be shows a file that has grown.
  const buffer = Buffer.allocUnsafeSlow(size + 1);
  const index = new NameIndex(buffer.subarray(0, size), names);
  for (let length = 0; ; ) {
    // Lines are indexed while the next bytes arrive.
    const [count] = await Promise.all([read(fd, buffer, length), runYielding(index.scan(length))]);
    if (count === 0) return length === size ? index : undefined;
    length += count;
  }
}

/** Reads a small file synchronously, because the thread pool may be busy with hashes. */
function read(fd: number, buffer: Buffer, from: number): Answer<number> {
  const most = Math.min(CHUNK, buffer.length - from);
  if (buffer.length <= CHUNK) return fs.readSync(fd, buffer, from, most, from);
  return withPriority<number>(done => fs.read(fd, buffer, from, most, from, done));
}

/** The error of this library for a system error. */
export function readError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (error instanceof PasswordFileError || code === undefined) return error;
  // ENXIO: a socket. ELOOP: a symbolic link that was not there before.
  if (code === 'ENXIO' || code === 'ELOOP') return notReplaceable(path, NOT_A_FILE);
  const reason = (error as Error).message.replace(OPENED, () => dirname(path));
  const remedy =
    code === 'EACCES'
      ? "Run as its owner or as root (with CAP_DAC_OVERRIDE), or let this user's group read it."
      : `Fix that (${code}), then repeat the call.`;
  return unreadable(path, `cannot be read: ${reason}. ${remedy}`, error);
}

function unreadable(path: string, problem: string, cause?: unknown): PasswordFileError {
  return new PasswordFileError('ERR_READ_FAILED', `${path} ${problem}`, { path, cause });
}

/** The file that is renamed over the password file: owner and mode as they have to be, all bytes written and synced. */
import type * as fs from 'node:fs';
import { PasswordFileError, systemCode } from '../errors.js';
import type { Disk, Ownership } from './disk.js';
import type { Place } from './path.js';

/** Owner and mode of a file that is made because there was none. */
export interface CreateOptions {
  /** User id. Default: made by root the directory's owner, else the process's own. */
  uid?: number | undefined;
  /** Group id. Default: made by root the directory's group, else the system's choice. */
  gid?: number | undefined;
  /** Permission bits. Default `0o600`. */
  mode?: number | undefined;
}

/** What is allowed to change with the bytes. */
export interface ReplacePolicy {
  create: CreateOptions;
  /** Where the file's owner or group cannot be kept: go on (`true`), or `ERR_OWNERSHIP`. */
  allowOwnerChange: boolean;
}

/** A temp file: in a candidate directory, then in the lock directory. */
export interface TempFile {
  directory: string;
  readonly name: string;
  /** `undefined`: not open. */
  fd: number | undefined;
}

/** How often a writer shows that it is alive, in milliseconds. Others may look for it with any `lock.stale`. */
const HEARTBEAT = 250;

/**
 * Touches a writer's temp file again and again, until the returned function is called. Synchronous: the thread pool
 * may be busy with hashes for seconds.
 */
export function startHeartbeat(writer: { disk: Disk; temp: TempFile | undefined }): () => void {
  const beat = (): void => {
    const { disk, temp } = writer;
    // By path only on Windows, where the temp file is closed for a rename: elsewhere a link could lead it to another file.
    if (temp === undefined || (temp.fd === undefined && !disk.windows)) return;
    try {
      disk.touch(temp.fd ?? `${temp.directory}/${temp.name}`);
    } catch {
      // Without it this writer may be called dead, which costs it another attempt.
    }
  };
  const timer = setInterval(beat, HEARTBEAT);
  return () => clearInterval(timer);
}

/** Gives the temp file the owner, group and mode that the new file is to have. `old`: the file that it replaces. */
export function copyOwnership(
  disk: Disk,
  temp: TempFile,
  { path, directory }: Place,
  old: fs.BigIntStats | undefined,
  { create, allowOwnerChange }: ReplacePolicy,
): void {
  const fd = temp.fd as number;
  const wanted = old === undefined ? ownerOfNew(ownerOf(directory), create) : ownerOf(old);
  const made = disk.ownership(fd);
  const uid = wanted.uid ?? made.uid;
  const gid = wanted.gid ?? made.gid;
  if (uid !== made.uid || gid !== made.gid) {
    try {
      disk.chown(fd, uid, gid);
    } catch (error) {
      if (systemCode(error) !== 'EPERM') throw error;
      if (!allowOwnerChange) throw ownershipError(path, uid, gid, error);
      keepGroup(disk, fd, made.uid, gid);
    }
  }
  disk.chmod(fd, wanted.mode & 0o1777);
}

function ownerOf({ uid, gid, mode }: fs.BigIntStats): Ownership {
  return { uid: Number(uid), gid: Number(gid), mode: Number(mode) };
}

/** A broker runs as its own user: a file that only root can read would lock everybody out. */
function ownerOfNew(directory: Ownership, create: CreateOptions): CreateOptions & { mode: number } {
  const like = process.geteuid?.() === 0 ? directory : undefined;
  return { uid: create.uid ?? like?.uid, gid: create.gid ?? like?.gid, mode: create.mode ?? 0o600 };
}

function keepGroup(disk: Disk, fd: number, uid: number, gid: number): void {
  try {
    disk.chown(fd, uid, gid);
  } catch {
    // Neither can be kept, and the caller allows that.
  }
}

function ownershipError(path: string, uid: number, gid: number, cause: unknown): PasswordFileError {
  return new PasswordFileError(
    'ERR_OWNERSHIP',
    `This process may not give ${path} the owner ${uid}:${gid}, so replacing it could lock the broker out. ` +
      'Run as that user or as root, or set allowOwnerChange if the broker can read a file of this user.',
    { path, cause },
  );
}

/** Pieces smaller than this are gathered before they are written. */
const BLOCK = 1_048_576;

/** Writes all the pieces and has them on disk. */
export async function writeAndSync(
  disk: Disk,
  temp: TempFile,
  pieces: Iterable<Uint8Array | string>,
): Promise<void> {
  const fd = temp.fd as number;
  const block = Buffer.allocUnsafeSlow(BLOCK);
  let used = 0;
  let position = 0;
  // A full disk may take a part of the bytes before it refuses the rest.
  const writeInPool = async (bytes: Uint8Array): Promise<void> => {
    for (let done = 0; done < bytes.length; ) {
      const written = await disk.writeInPool(fd, bytes.subarray(done), position);
      done += written;
      position += written;
    }
  };
  for (const piece of pieces) {
    // A UTF-16 unit comes to three bytes of UTF-8 at most.
    const most = typeof piece === 'string' ? piece.length * 3 : piece.length;
    if (used + most > BLOCK) {
      await writeInPool(block.subarray(0, used));
      used = 0;
    }
    if (most > BLOCK) await writeInPool(typeof piece === 'string' ? Buffer.from(piece) : piece);
    else if (typeof piece === 'string') used += block.write(piece, used);
    else {
      block.set(piece, used);
      used += piece.length;
    }
  }
  // What fits one block is written at once: the thread pool may be busy with hashes.
  for (let done = 0; done < used; ) done += disk.write(fd, block.subarray(done, used), position + done);
  await disk.sync(fd);
}

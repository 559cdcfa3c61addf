/** The file that is renamed over the password file: owner and mode as they have to be, all bytes written and synced. */
import { PasswordFileError, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import type { Disk, Ownership } from './disk.js';
import type { Place } from './path.js';

/**
 * Owner and mode of a file that is made because there was none.
 *
 * @example new PasswordFile('/tmp/example-passwd', { create: { uid: 1883, gid: 1883, mode: 0o640 } });
 */
export interface CreateOptions {
  /** User id. Default: made by root the directory's owner, else the process's own. */
  uid?: number | undefined;
  /** Group id. Default: made by root the directory's group, else the system's choice. */
  gid?: number | undefined;
  /** Permission bits. Default `0o600`. */
  mode?: number | undefined;
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
    // Should it fail, this writer may be called dead, which costs it another attempt.
    attempt(() => disk.touch(temp.fd ?? `${temp.directory}/${temp.name}`));
  };
  const timer = setInterval(beat, HEARTBEAT);
  return () => clearInterval(timer);
}

/** Gives the temp file the owner, group and mode that the new file is to have. `old`: those of the file it replaces. */
export function copyOwnership(
  disk: Disk,
  temp: TempFile,
  { path, directory }: Place,
  old: Ownership | undefined,
  { create, allowOwnerChange }: { create: CreateOptions; allowOwnerChange: boolean },
): void {
  const fd = temp.fd as number;
  const made = disk.ownership(fd);
  // A broker runs as its own user: a file that only root can read would lock everybody out.
  const like = process.geteuid?.() === 0 ? directory : made;
  const { uid = like.uid, gid = like.gid, mode = 0o600 } = old ?? create;
  if (uid !== made.uid || gid !== made.gid) {
    try {
      disk.chown(fd, uid, gid);
    } catch (cause) {
      // EINVAL: the owner has no number in the user namespace of this process.
      if (!['EPERM', 'EINVAL'].includes(systemCode(cause) ?? '')) throw cause;
      if (!allowOwnerChange) {
        const problem = `This process may not give ${path} the owner ${uid}:${gid}, so replacing it could lock the broker out.`;
        const remedy =
          'Run as that user or as root, or set allowOwnerChange (in the library) if the broker can read a file of this user.';
        throw new PasswordFileError('ERR_OWNERSHIP', `${problem} ${remedy}`, { path, cause });
      }
      attempt(() => disk.chown(fd, made.uid, gid));
    }
  }
  disk.chmod(fd, mode & 0o1777);
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
  const writeAll = async (bytes: Uint8Array, write: Disk['write' | 'writeInPool']): Promise<void> => {
    for (let rest = bytes; rest.length > 0; ) {
      const written = await write(fd, rest, position);
      position += written;
      rest = rest.subarray(written);
    }
  };
  for (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    if (used + bytes.length > BLOCK) {
      await writeAll(block.subarray(0, used), disk.writeInPool);
      used = 0;
    }
    if (bytes.length > BLOCK) await writeAll(bytes, disk.writeInPool);
    else {
      block.set(bytes, used);
      used += bytes.length;
    }
  }
  // What fits one block is written at once: the thread pool may be busy with hashes.
  await writeAll(block.subarray(0, used), disk.write);
  await disk.sync(fd);
}

/** The file that is renamed over the password file, after its owner and mode are set and all bytes written and synced. */
import { PasswordFileError, systemCode } from '../errors.js';
import { attempt } from '../util/attempt.js';
import { BLOCK, type Disk, type Ownership } from './disk.js';
import type { Place } from './path.js';

/**
 * Owner and mode of a new file.
 *
 * @example new PasswordFile('passwd', { create: { uid: 1883, gid: 1883, mode: 0o640 } });
 */
export interface CreateOptions {
  /** User id. Default: the directory's owner if root makes the file, else that of the process. */
  uid?: number | undefined;
  /** Group id. Default: the directory's group if root makes the file, else the system's choice. */
  gid?: number | undefined;
  /** Permission bits, by which the owner must be allowed to read. Default `0o600`. */
  mode?: number | undefined;
}

/** A temp file: in a candidate directory, then in the lock directory. */
export interface TempFile {
  directory: string;
  readonly name: string;
  /** `undefined`: not open. */
  fd: number | undefined;
}

/** The interval of the heartbeat in milliseconds. No option sets it, because other writers may have any `lock.stale`. */
const HEARTBEAT = 250;

/**
 * Touches a writer's temp file again and again, until the returned function is called. Synchronous: the thread pool
 * may be busy with hashes for seconds.
 */
export function startHeartbeat(writer: { disk: Disk; temp: TempFile | undefined }): () => void {
  const beat = (): void => {
    const { disk, temp } = writer;
    // Touched by path only on Windows, where a rename needs the file closed. Elsewhere a link could lead to another file.
    if (temp === undefined || (temp.fd === undefined && !disk.windows)) return;
    // If it fails, another writer may break the lock, which costs this writer another attempt.
    attempt(() => disk.touch(temp.fd ?? `${temp.directory}/${temp.name}`));
  };
  const timer = setInterval(beat, HEARTBEAT);
  // A test may replace the timers by fake ones meanwhile, which would not stop this one.
  const stop = clearInterval;
  return () => stop(timer);
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
  const defaults = process.geteuid?.() === 0 ? directory : made;
  const { uid = defaults.uid, gid = defaults.gid, mode = 0o600 } = old ?? create;
  if (uid !== made.uid || gid !== made.gid) {
    try {
      disk.chown(fd, uid, gid);
    } catch (cause) {
      // EINVAL: the owner has no id in the user namespace of this process.
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

/** Writes all pieces and syncs them to disk. */
export async function writeAndSync(
  disk: Disk,
  temp: TempFile,
  pieces: Iterable<Uint8Array | string>,
): Promise<void> {
  const fd = temp.fd as number;
  const block = Buffer.allocUnsafeSlow(BLOCK);
  let used = 0;
  let position = 0;
  const flush = async (): Promise<void> => {
    for (let rest = block.subarray(0, used); rest.length > 0; ) {
      const written = await disk.write(fd, rest, position);
      position += written;
      rest = rest.subarray(written);
    }
    used = 0;
  };
  for (const piece of pieces) {
    let rest = typeof piece === 'string' ? Buffer.from(piece) : piece;
    while (rest.length > 0) {
      if (used === BLOCK) await flush();
      const part = rest.subarray(0, BLOCK - used);
      block.set(part, used);
      used += part.length;
      rest = rest.subarray(part.length);
    }
  }
  await flush();
  await disk.sync(fd);
}

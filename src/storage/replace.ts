/** What the new file must be like, and where it must lie: links, owner, mode, all of its bytes, on disk. */
import * as fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { withPriority } from '../util/limiter.js';
import { fsync, type Stage, step } from './commit.js';

/** Owner and mode of a file that is made because there was none. */
export interface CreateOptions {
  /** User id. Default: made by root the folder's owner, else the process's own. */
  uid?: number | undefined;
  /** Group id. Default: made by root the folder's group, else the system's choice. */
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

const MAX_LINKS = 40;

/** The file that a path leads to, its own links and those of its folders followed; it need not exist yet. */
export function resolveTarget(path: string): string {
  let file = resolve(path);
  for (let links = 0; links < MAX_LINKS; links++) {
    try {
      file = join(fs.realpathSync.native(dirname(file)), basename(file));
      if (!fs.lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()) return file;
      file = resolve(dirname(file), fs.readlinkSync(file));
    } catch (error) {
      throw folderError(error, file);
    }
  }
  throw new PasswordFileError('ERR_NOT_REPLACEABLE', `${path} is a symbolic link that leads in a circle.`, {
    path,
  });
}

function folderError(error: unknown, path: string): PasswordFileError {
  const folder = dirname(path);
  const because = { path, cause: error };
  switch (systemCode(error)) {
    case 'ENOENT':
      return new PasswordFileError(
        'ERR_DIRECTORY_MISSING',
        `The folder ${folder} does not exist. Make or mount it first.`,
        because,
      );
    case 'ENAMETOOLONG':
      return new PasswordFileError(
        'ERR_READ_FAILED',
        `${path} is longer than a path or a name in it can be (ENAMETOOLONG). Give a shorter one.`,
        because,
      );
    default:
      return new PasswordFileError(
        'ERR_READ_FAILED',
        `The folder ${folder} cannot be reached (${systemCode(error)}).`,
        because,
      );
  }
}

/** Refuses what no atomic replacement can do right. `old`: the file that stands there, where one does. */
export function assertReplaceable(target: string, old: fs.BigIntStats | undefined): void {
  const refuse = (problem: string): never => {
    throw new PasswordFileError('ERR_NOT_REPLACEABLE', `${target} ${problem}`, { path: target });
  };
  const folder = fs.statSync(dirname(target));
  const user = process.geteuid?.() ?? 0;
  if ((folder.mode & 0o1000) !== 0 && user !== 0 && folder.uid !== user) {
    refuse(
      "lies in a sticky folder of another user (as /tmp is). Put it into a folder of the service's own.",
    );
  }
  if (old === undefined) return;
  if (old.nlink > 1n) {
    refuse(`has ${old.nlink} hard links, and replacing it would part them. Use a symbolic link instead.`);
  }
}

/** Gives the stage the owner, group and mode that the new file is to have. */
export function dress(
  stage: Stage,
  target: string,
  old: fs.BigIntStats | undefined,
  policy: ReplacePolicy,
): void {
  const wanted = old === undefined ? ownerOfNew(target, policy.create) : ownerOf(old);
  const made = fs.fstatSync(stage.fd);
  const uid = wanted.uid ?? made.uid;
  const gid = wanted.gid ?? made.gid;
  if (uid !== made.uid || gid !== made.gid) {
    try {
      step('chown stage', () => fs.fchownSync(stage.fd, uid, gid));
    } catch (error) {
      if (systemCode(error) !== 'EPERM') throw error;
      if (!policy.allowOwnerChange) throw ownershipError(target, uid, gid, error);
      keepGroup(stage, made.uid, gid);
    }
  }
  step('chmod stage', () => fs.fchmodSync(stage.fd, wanted.mode));
}

function ownerOf(old: fs.BigIntStats): Required<{ [K in keyof CreateOptions]: number }> {
  return { uid: Number(old.uid), gid: Number(old.gid), mode: Number(old.mode & 0o7777n) };
}

/** A broker runs as its own user: a file that only root can read would lock everybody out. */
function ownerOfNew(target: string, create: CreateOptions): CreateOptions & { mode: number } {
  const folder = process.geteuid?.() === 0 ? fs.statSync(dirname(target)) : undefined;
  return { uid: create.uid ?? folder?.uid, gid: create.gid ?? folder?.gid, mode: create.mode ?? 0o600 };
}

function keepGroup(stage: Stage, uid: number, gid: number): void {
  try {
    fs.fchownSync(stage.fd, uid, gid);
  } catch {
    // Neither can be kept, and the caller allows that.
  }
}

function ownershipError(target: string, uid: number, gid: number, cause: unknown): PasswordFileError {
  return new PasswordFileError(
    'ERR_OWNERSHIP',
    `This process may not give ${target} the owner ${uid}:${gid}, so replacing it could lock the broker out. ` +
      'Run as that user or as root, or set allowOwnerChange if the broker can read a file of this user.',
    { path: target, cause },
  );
}

/** Pieces smaller than this are gathered before they are written. */
const BLOCK = 1 << 20;

/** Writes all the pieces to the stage and has them on disk. */
export async function fill(stage: Stage, pieces: Iterable<Uint8Array | string>): Promise<void> {
  const block = Buffer.allocUnsafeSlow(BLOCK);
  let used = 0;
  for (const piece of pieces) {
    // A UTF-16 unit comes to three bytes of UTF-8 at most.
    const most = typeof piece === 'string' ? piece.length * 3 : piece.length;
    if (used + most > BLOCK) {
      await write(stage.fd, block.subarray(0, used));
      used = 0;
    }
    if (most > BLOCK) await write(stage.fd, typeof piece === 'string' ? Buffer.from(piece) : piece);
    else if (typeof piece === 'string') used += block.write(piece, used);
    else {
      block.set(piece, used);
      used += piece.length;
    }
  }
  writeSync(stage.fd, block.subarray(0, used));
  await step('sync stage', () => fsync(stage.fd));
}

/** A full disk may take a part of the bytes before it refuses the rest. */
async function write(fd: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const writeOn = () =>
      new Promise<number>((settle, reject) =>
        fs.write(fd, bytes, done, bytes.length - done, null, (error, written) =>
          error ? reject(error) : settle(written),
        ),
      );
    done += await step('write', () => withPriority(writeOn));
  }
}

/** What fits one block is written at once: the thread pool may be busy with hashes. */
function writeSync(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    done += step('write', () => fs.writeSync(fd, bytes, done));
  }
}

/** Says what a system error of a step before the commit means and what to do. */
export function writeError(error: unknown, target: string): unknown {
  const code = systemCode(error);
  if (error instanceof PasswordFileError || code === undefined) return error;
  const because = { path: target, cause: error };
  switch (code) {
    case 'EBUSY':
      return new PasswordFileError(
        'ERR_NOT_REPLACEABLE',
        `${target} is itself a mount point, a single-file bind mount for example, and cannot be replaced. ` +
          'Mount the folder that holds the file instead.',
        because,
      );
    case 'EROFS':
      return new PasswordFileError('ERR_NOT_REPLACEABLE', readOnly(target), because);
    case 'EACCES':
    case 'EPERM':
      return new PasswordFileError(
        'ERR_NOT_REPLACEABLE',
        `This user may not make files in ${dirname(target)}, which replacing ${target} needs. ` +
          'Give the process write permission on that folder.',
        because,
      );
    case 'ENOENT':
      return folderError(error, target);
    default:
      return new PasswordFileError(
        'ERR_WRITE_FAILED',
        `${target} was not changed: ${reasonOf(error as NodeJS.ErrnoException)}. Mend that, then repeat the call.`,
        because,
      );
  }
}

/** Node has no name for EDQUOT (errno.h). */
const EDQUOT = process.platform === 'linux' ? 122 : 69;

function reasonOf({ errno, message }: NodeJS.ErrnoException): string {
  return errno === -EDQUOT ? 'EDQUOT: the disk quota is exhausted' : message;
}

function readOnly(target: string): string {
  return /\/\.\.[^/]+\/[^/]*$/.test(target)
    ? `${target} comes from a Kubernetes Secret or ConfigMap, which is read-only in the pod. ` +
        'Change the Secret through the Kubernetes API, or keep the file on a volume that the pod may write.'
    : `${dirname(target)} is mounted read-only. Mount the folder of the file with write permission.`;
}

/** A file that is read and then replaced atomically, also where its directory belongs to another user. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { describe } from './input.js';
import { CliError, STATUS } from './output.js';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;
/** Linux; Node has no name for it. The directory need not be readable. */
const O_PATH = 0o10000000;
/** Strings cannot be much longer. */
const MAX_BYTES = 2 ** 28;

export interface ReplaceableFile {
  bytes: Buffer;
  /** Puts these bytes in its place, with its owner and mode, if nobody has changed it. */
  replace(bytes: Uint8Array): void;
}

/** Keeps the directory of the file open until the program ends. */
export function openReplaceable(path: string): ReplaceableFile {
  try {
    const absolute = resolve(path);
    const directory = openDirectory(absolute);
    const file = `${directory}/${basename(absolute)}`;
    // A FIFO would keep it waiting.
    const fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    const stats = fs.fstatSync(fd, { bigint: true });
    if (!stats.isFile()) throw new CliError(`${path} is not a file.`);
    if (stats.size > MAX_BYTES) throw new CliError(`${path} has more than ${MAX_BYTES} bytes.`);
    const bytes = fs.readFileSync(fd);
    fs.closeSync(fd);
    return { bytes, replace: text => replace(path, directory, file, stats, text) };
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const remedy = code === 'ELOOP' || code === 'ENOTDIR' ? ' Pass the path without symbolic links.' : '';
    throw new CliError(`Unable to open file ${path}. ${describe(error)}.${remedy}`);
  }
}

/** The directory of a file, as a path that nobody can lead elsewhere: each directory is opened in the one above it. */
function openDirectory(path: string): string {
  if (process.platform === 'linux' && fs.existsSync('/proc/self/fd')) {
    let directory = '/';
    for (const name of dirname(path).split('/')) {
      const fd = fs.openSync(`${directory}/${name}`, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      directory = `/proc/self/fd/${fd}`;
    }
    return directory;
  }
  if (process.geteuid?.() !== 0) return dirname(path);
  throw new CliError(`Without /proc, root cannot replace ${path} safely. Run as the owner of the file.`);
}

function replace(
  path: string,
  directory: string,
  file: string,
  old: fs.BigIntStats,
  bytes: Uint8Array,
): void {
  const temp = `${directory}/.${randomBytes(12).toString('hex')}.tmp`;
  let status: number = STATUS.FAILED;
  try {
    const fd = fs.openSync(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    fs.writeFileSync(fd, bytes);
    fs.fchownSync(fd, Number(old.uid), Number(old.gid));
    fs.fchmodSync(fd, Number(old.mode & 0o777n));
    fs.fsyncSync(fd);
    const now = fs.lstatSync(file, { bigint: true });
    if (now.dev !== old.dev || now.ino !== old.ino || now.ctimeNs !== old.ctimeNs) {
      throw new CliError(
        `${path} has changed meanwhile. Stop the broker, then repeat this. Nothing was changed.`,
      );
    }
    fs.renameSync(temp, file);
    status = STATUS.CHANGED_BUT;
    // Windows syncs no directories.
    if (process.platform !== 'win32') fs.fsyncSync(fs.openSync(directory, O_RDONLY | O_DIRECTORY));
  } catch (error) {
    fs.rmSync(temp, { force: true });
    if (error instanceof CliError) throw error;
    const outcome = status === STATUS.FAILED ? 'was not changed' : 'was changed, but may not be on disk yet';
    const { code } = error as NodeJS.ErrnoException;
    const remedy = code === 'EPERM' || code === 'EACCES' ? ' Run as the owner of the file or as root.' : '';
    throw new CliError(`${path} ${outcome}: ${describe(error)}.${remedy}`, { status });
  }
}

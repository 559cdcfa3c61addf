/** A file that is read and then replaced atomically, also where its directory belongs to another user. */
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, dirname, isAbsolute, resolve } from 'node:path';
import { describe } from './input.js';
import { CliError, STATUS } from './output.js';

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = fs.constants;
/** Linux; Node has no name for it. The directory need not be readable. */
const O_PATH = 0o10000000;
const MAX_LINKS = 40;
/** Strings cannot be much longer. */
const MAX_BYTES = 2 ** 28;

export interface ReplaceableFile {
  bytes: Buffer;
  /** Puts these bytes in its place, with its owner and mode, if nobody has changed it. */
  replace(bytes: Uint8Array): void;
  close(): void;
}

/** The directory of a file, held open, so that nobody can lead what is done in it elsewhere. */
interface Place {
  directory: string;
  name: string;
  close(): void;
}

/** The caller closes it. */
export function openReplaceable(path: string): ReplaceableFile {
  const place = openPlace(path);
  try {
    const file = `${place.directory}/${place.name}`;
    const { bytes, stats } = read(path, file);
    return { bytes, replace: text => replace(path, place, stats, text), close: place.close };
  } catch (error) {
    place.close();
    throw error instanceof CliError ? error : unopened(path, error);
  }
}

function unopened(path: string, error: unknown): CliError {
  return new CliError(`Error: Unable to open file ${path}. ${describe(error)}.`);
}

function read(path: string, file: string): { bytes: Buffer; stats: fs.BigIntStats } {
  // A FIFO would keep it waiting.
  const fd = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stats = fs.fstatSync(fd, { bigint: true });
    if (!stats.isFile()) throw new CliError(`Error: ${path} is not a file.`);
    if (stats.size > MAX_BYTES) throw new CliError(`Error: ${path} has more than ${MAX_BYTES} bytes.`);
    return { bytes: fs.readFileSync(fd), stats };
  } finally {
    fs.closeSync(fd);
  }
}

function replace(path: string, { directory, name }: Place, old: fs.BigIntStats, bytes: Uint8Array): void {
  const file = `${directory}/${name}`;
  const temp = `${directory}/.${randomBytes(12).toString('hex')}.tmp`;
  try {
    const fd = fs.openSync(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      fs.writeFileSync(fd, bytes);
      const { uid, gid } = fs.fstatSync(fd, { bigint: true });
      if (uid !== old.uid || gid !== old.gid) fs.fchownSync(fd, Number(old.uid), Number(old.gid));
      fs.fchmodSync(fd, Number(old.mode & 0o777n));
      fs.fsyncSync(fd);
      const now = fs.lstatSync(file, { bigint: true });
      if (now.dev !== old.dev || now.ino !== old.ino || now.ctimeNs !== old.ctimeNs) {
        throw new CliError(
          `Error: ${path} has changed meanwhile. Stop the broker, then repeat this. Nothing was changed.`,
        );
      }
      fs.renameSync(temp, file);
    } catch (error) {
      fs.rmSync(temp, { force: true });
      throw error;
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const remedy = code === 'EPERM' || code === 'EACCES' ? ' Run as the owner of the file or as root.' : '';
    throw new CliError(`Error: ${path} was not changed: ${describe(error)}.${remedy}`);
  }
  syncDirectory(path, directory);
}

function syncDirectory(path: string, directory: string): void {
  try {
    const fd = fs.openSync(directory, O_RDONLY | O_DIRECTORY);
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    const message = `Error: ${path} was changed, but that may not be on disk yet: ${describe(error)}.`;
    throw new CliError(message, { status: STATUS.CHANGED_BUT });
  }
}

function openPlace(path: string): Place {
  try {
    if (process.platform === 'linux' && fs.existsSync('/proc/self/fd')) return walk(path);
    if (process.geteuid?.() === 0) {
      throw new CliError(
        `Error: Without /proc, root cannot replace ${path} safely. Run as the owner of the file.`,
      );
    }
    const real = fs.realpathSync(path);
    assertOurs(path, fs.lstatSync(path), fs.statSync(dirname(path)));
    return { directory: dirname(real), name: basename(real), close: () => undefined };
  } catch (error) {
    throw error instanceof CliError ? error : unopened(path, error);
  }
}

/** Goes to the file's directory name by name, each from the opened one above it. */
function walk(path: string): Place {
  let names = namesOf(resolve(path));
  let links = 0;
  let fd = fs.openSync('/', O_PATH | O_DIRECTORY);
  const enter = (directory: string): void => {
    const next = fs.openSync(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    fs.closeSync(fd);
    fd = next;
  };
  try {
    for (;;) {
      const directory = `/proc/self/fd/${fd}`;
      const name = names.shift() ?? '.';
      const stats = fs.lstatSync(`${directory}/${name}`);
      if (stats.isSymbolicLink()) {
        if (++links > MAX_LINKS) throw new CliError(`Error: ${path} is a symbolic link in a circle.`);
        assertOurs(path, stats, fs.statSync(directory));
        const to = fs.readlinkSync(`${directory}/${name}`);
        names = [...namesOf(to), ...names];
        if (isAbsolute(to)) enter('/');
      } else if (names.length === 0) {
        const opened = fd;
        return { directory, name, close: () => fs.closeSync(opened) };
      } else enter(`${directory}/${name}`);
    }
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

function namesOf(path: string): string[] {
  return path.split('/').filter(name => name !== '' && name !== '.');
}

/** Refuses a symbolic link that another user has made or could exchange. */
function assertOurs(path: string, stats: fs.Stats, directory: fs.Stats): void {
  const isOurs = ({ uid }: fs.Stats) => uid === 0 || uid === process.geteuid?.();
  // In a sticky directory, as /tmp is, others cannot remove our link.
  const isWritable = (directory.mode & 0o022) !== 0 && (directory.mode & 0o1000) === 0;
  if (!stats.isSymbolicLink() || (isOurs(stats) && isOurs(directory) && !isWritable)) return;
  throw new CliError(
    `Error: A symbolic link in ${path} can be led elsewhere by another user. Pass the path of the file itself.`,
  );
}

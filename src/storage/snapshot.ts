/** What a password file held at one moment, and whether it still does. */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { MAX_FILE_BYTES } from '../document/line.js';
import { NameIndex } from '../document/name-index.js';
import { PasswordFileError, systemCode } from '../errors.js';
import { inSlices } from '../util/event-loop.js';
import { withPriority } from '../util/limiter.js';
import { OpenFile } from './open-files.js';
import { OPENED } from './path.js';

const CHUNK = 4_194_304;
/** The clock that stamps files ticks this coarsely at worst, in milliseconds. */
const CLOCK_TICK = 20;
const ATTEMPTS = 10;

/** How a snapshot is taken. */
export interface SnapshotOptions {
  /** The only names that will be looked up in its index; without them, any. */
  names?: ReadonlySet<string> | undefined;
  /** The path for messages. */
  shownAs?: string | undefined;
  /**
   * Whether the file stays open, so that its inode number is not reused while the snapshot is compared with the file.
   * Default: not on Windows, where an open file cannot be replaced.
   */
  keepOpen?: boolean | undefined;
}

/** The bytes of a file with an index of their names. */
export class Snapshot {
  readonly bytes: Buffer;
  readonly index: NameIndex;
  readonly stats: fs.BigIntStats;
  readonly #readAt: number;
  readonly #file: OpenFile | undefined;

  constructor(index: NameIndex, stats: fs.BigIntStats, readAt: number, fd: number | undefined) {
    this.bytes = index.bytes;
    this.index = index;
    this.stats = stats;
    this.#readAt = readAt;
    this.#file = fd === undefined ? undefined : new OpenFile(fd, this);
  }

  /** Whether the file at `path` is still this one, unchanged. */
  isCurrent(path: string): boolean {
    const { dev, ino, size, mtimeNs, ctimeNs } = this.stats;
    // A change in the tick in which the file was read would not show.
    if (this.#readAt - Number(ctimeNs / 1_000_000n) <= CLOCK_TICK) return false;
    if (this.#file?.use() === false) return false;
    const now = statsOf(path);
    return (
      now !== undefined &&
      now.ino === ino &&
      now.dev === dev &&
      now.size === size &&
      now.mtimeNs === mtimeNs &&
      now.ctimeNs === ctimeNs
    );
  }

  /** Closes the file, not waiting for that; the bytes and the index stay. From then on it is never current. */
  close(): void {
    this.#file?.close();
  }

  /** As {@link close}, and the file is closed when this returns. */
  closeSync(): void {
    this.#file?.closeSync();
  }
}

function statsOf(path: string): fs.BigIntStats | undefined {
  try {
    return fs.statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}

/**
 * Reads a regular file, indexing the lines while the next bytes arrive; `undefined`: there is none.
 *
 * @param path not a symbolic link
 */
export async function takeSnapshot(
  path: string,
  { names, shownAs = path, keepOpen = process.platform !== 'win32' }: SnapshotOptions = {},
): Promise<Snapshot | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const fd = open(path, shownAs);
    if (fd === undefined) return undefined;
    let isKept = false;
    try {
      const readAt = Date.now();
      const stats = fs.fstatSync(fd, { bigint: true });
      if (!stats.isFile()) throw notAFile(shownAs);
      if (stats.size > MAX_FILE_BYTES) throw tooLarge(shownAs, stats.size);
      const index = await readIndexed(fd, Number(stats.size), names);
      isKept = keepOpen && index !== undefined;
      if (index !== undefined) return new Snapshot(index, stats, readAt, isKept ? fd : undefined);
    } catch (error) {
      throw readError(error, shownAs);
    } finally {
      if (!isKept) fs.closeSync(fd);
    }
  }
  throw new PasswordFileError(
    'ERR_READ_FAILED',
    `${shownAs} changes its size while it is read, again and again.`,
    { path: shownAs },
  );
}

function open(path: string, shownAs: string): number | undefined {
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = fs.constants;
  try {
    // O_NONBLOCK: a FIFO does not wait for a writer. O_NOFOLLOW: nobody has looked at a link that appears only now.
    return fs.openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT') return undefined;
    throw code === 'ENXIO' || code === 'ELOOP' ? notAFile(shownAs) : readError(error, shownAs);
  }
}

/** A directory, a FIFO, a device; a socket cannot even be opened. */
function notAFile(path: string): PasswordFileError {
  return new PasswordFileError(
    'ERR_NOT_REPLACEABLE',
    `${path} is not a regular file. Give the path of a file.`,
    { path },
  );
}

function tooLarge(path: string, size: bigint): PasswordFileError {
  return new PasswordFileError(
    'ERR_READ_FAILED',
    `${path} has ${size} bytes, and only files of up to ${MAX_FILE_BYTES} bytes are read. ` +
      'Spread its users over the files of several brokers.',
    { path },
  );
}

/** The file's bytes, indexed; `undefined`: they are not as many as they were to be. */
async function readIndexed(
  fd: number,
  size: number,
  names: ReadonlySet<string> | undefined,
): Promise<NameIndex | undefined> {
  // One byte more than there should be shows a file that has grown.
  const buffer = Buffer.allocUnsafeSlow(size + 1);
  const index = new NameIndex(buffer.subarray(0, size), names);
  const read = size < CHUNK ? readSync : readAsync;
  for (let length = 0; ; ) {
    // Lines are indexed while the next bytes arrive.
    const [count] = await Promise.all([read(fd, buffer, length), inSlices(index.scan(length))]);
    if (count === 0) return length === size ? index : undefined;
    length += count;
    if (length > size) return undefined;
  }
}

function readSync(fd: number, buffer: Buffer, from: number): number {
  return fs.readSync(fd, buffer, from, buffer.length - from, from);
}

function readAsync(fd: number, buffer: Buffer, from: number): Promise<number> {
  const read = () =>
    new Promise<number>((resolve, reject) =>
      fs.read(fd, buffer, from, Math.min(CHUNK, buffer.length - from), from, (error, count) =>
        error ? reject(error) : resolve(count),
      ),
    );
  return withPriority(read);
}

function readError(error: unknown, path: string): unknown {
  const code = systemCode(error);
  if (error instanceof PasswordFileError || code === undefined) return error;
  return new PasswordFileError(
    'ERR_READ_FAILED',
    `${path} cannot be read: ${(error as Error).message.replace(OPENED, dirname(path))}. Mend that (${code}), then repeat the call.`,
    { path, cause: error },
  );
}

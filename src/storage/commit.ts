/** The steps of protocol.ts taken on a real disk. */
import * as fs from 'node:fs';
import { basename, dirname } from 'node:path';
import { PasswordFileError, systemCode } from '../errors.js';
import { pause } from '../util/abort.js';
import { withPriority } from '../util/limiter.js';
import { type Step, Writer } from './lock.js';
import { newNonce, parseStageName, stageName } from './lock-owner.js';
import type { Watch } from './watch.js';

/** How long writers wait for each other, in milliseconds. */
export interface LockOptions {
  /** How long to wait for other writers before `ERR_LOCK_TIMEOUT`. Default 30,000. */
  timeout?: number | undefined;
  /** How long a writer whose process cannot be looked at may show no life before it is taken over. Default 5,000. */
  stale?: number | undefined;
}

/** What a writer fills and renames to the password file. */
export interface Stage {
  readonly fd: number;
}

/** One commit: what is to be written, and how long it may wait. */
export interface CommitRequest {
  /** The password file: no symbolic link any more. */
  target: string;
  lock: Required<{ [K in keyof LockOptions]: number }>;
  /** Who has been seen holding the file, kept from one commit to the next. */
  watch: Watch;
  /** Reads the file, edits, fills and syncs the stage; `false`: nothing is to change. May be called again. */
  work(stage: Stage): Promise<boolean>;
  /** Ends the waiting for other writers. */
  signal?: AbortSignal | undefined;
}

/** How old a stage may be that never got in, in milliseconds. Clocks differ by less; if they do not, it costs a retry. */
const FORGOTTEN = 3_600_000;

/** Linux and macOS allow 255 bytes for a name. */
const NAME_MAX = 255;

/**
 * Called before each file-system call of a commit. Tests set it, to die or to look on at every step.
 * @internal
 */
export const steps: { before?: ((call: string) => void) | undefined } = {};

/** Announces a file-system call to {@link steps} and makes it. */
export function step<T>(call: string, make: () => T): T {
  steps.before?.(call);
  return make();
}

/**
 * Replaces the password file as its only writer at that time. Resolves when the outcome is on disk: `true` with the
 * new file in place, `false` where there was nothing to change.
 */
export async function commit(request: CommitRequest): Promise<boolean> {
  const run = new Run(request);
  try {
    const outcome = await run.take();
    if (outcome === 'fenced') throw run.timedOut('took the file over again and again');
    await syncFolder(dirname(request.target), outcome === 'committed');
    return outcome === 'committed';
  } finally {
    run.end();
  }
}

/** One writer's way through the protocol. */
class Run {
  readonly #writer: Writer;
  readonly #deadline: number;
  #fd: number | undefined;
  #pauses = 0;
  #life: NodeJS.Timeout | undefined;

  constructor(readonly request: CommitRequest) {
    const { target, lock } = request;
    this.#writer = new Writer(target, newNonce, stageName);
    this.#deadline = performance.now() + lock.timeout;
    // The private folder's name is the longest one beside the file.
    if (Buffer.byteLength(basename(target)) + '..writer'.length + newNonce().length > NAME_MAX) {
      throw new PasswordFileError(
        'ERR_NOT_REPLACEABLE',
        `The file name of ${target} is too long to be edited.`,
        {
          path: target,
        },
      );
    }
  }

  async take(): Promise<'committed' | 'unchanged' | 'fenced'> {
    const protocol = this.#writer.run();
    let next = protocol.next();
    while (!next.done) {
      let result: unknown;
      try {
        result = this.#perform(next.value);
        // Only what cannot be one system call waits for the thread pool.
        if (result instanceof Promise) result = await result;
      } catch (error) {
        next = protocol.throw(error);
        continue;
      }
      next = protocol.next(result);
    }
    return next.value;
  }

  end(): void {
    clearInterval(this.#life);
    if (this.#fd !== undefined) fs.close(this.#fd, () => undefined);
  }

  #perform(next: Step): unknown {
    const { request } = this;
    switch (next.call) {
      case 'mkdir':
        return makeFolder(next.path);
      case 'create':
        return this.#create(next.path);
      case 'rename':
        return step('rename', () => fs.renameSync(next.from, next.to));
      case 'unlink':
        return this.#unlink(next.path);
      case 'rmdir':
        return step('rmdir', () => fs.rmdirSync(next.path));
      case 'list':
        return step('list', () => fs.readdirSync(next.path));
      case 'is stale':
        return request.watch.isStale(
          next.folder,
          next.stage,
          request.lock.stale,
          this.#patience(next.folder),
        );
      case 'work':
        request.watch.forgetOthers();
        return request.work({ fd: this.#fd as number });
      case 'is ours':
        return isSameFile(request.target, this.#fd as number);
      case 'pause':
        return this.#pause(next.held);
    }
  }

  /** For all private folders, so that they go even where no writer stays for long enough to watch them. */
  #patience(folder: string): number {
    return folder === this.#writer.folder ? Infinity : FORGOTTEN;
  }

  #unlink(path: string): void {
    try {
      step('unlink', () => fs.unlinkSync(path));
    } catch (error) {
      const stage = basename(path);
      if (stage === this.#writer.stage && systemCode(error) !== 'ENOENT') this.request.watch.abandon(stage);
      throw error;
    }
  }

  #create(path: string): void {
    if (this.#fd !== undefined) fs.close(this.#fd, () => undefined);
    this.#fd = undefined;
    this.#fd = step('create', () => fs.openSync(path, 'wx', 0o600));
    this.#life ??= setInterval(() => this.#showLife(), this.request.lock.stale / 4);
  }

  /** A moving mtime says that this writer lives. Synchronous: the thread pool may be busy with hashes for seconds. */
  #showLife(): void {
    const now = Date.now() / 1000;
    try {
      if (this.#fd !== undefined) fs.futimesSync(this.#fd, now, now);
    } catch {
      // Without it this writer may be taken for dead, which costs it a retry.
    }
  }

  async #pause(held: string[]): Promise<void> {
    const { signal } = this.request;
    if (performance.now() > this.#deadline) throw this.timedOut(describe(held));
    const most = Math.min(50, 2 ** ++this.#pauses);
    await pause(most * (0.25 + 0.75 * Math.random()), signal);
  }

  timedOut(holder: string): PasswordFileError {
    const { target, lock } = this.request;
    return new PasswordFileError(
      'ERR_LOCK_TIMEOUT',
      `Waited ${lock.timeout} ms to write ${target}: ${holder} (its folder: ${this.#writer.folder}). ` +
        'Nothing was changed. Find out what that writer waits for, or allow more time with lock.timeout.',
      { path: target },
    );
  }
}

function describe(held: string[]): string {
  const name = held[0] ?? '';
  const holder = parseStageName(name);
  if (holder === undefined)
    return `in its way is ${JSON.stringify(name)}, which no writer of this library made`;
  return `process ${holder.pid} (in pid namespace ${holder.realm.split('-').at(-1) || 'unknown'}) holds it`;
}

/** A folder that other writers may tidy as far as they may the one it stands in. */
function makeFolder(path: string): void {
  const { mode, uid, gid } = fs.statSync(dirname(path));
  step('mkdir', () => fs.mkdirSync(path, 0o700));
  try {
    step('chown', () => fs.chownSync(path, process.getuid?.() === 0 ? uid : -1, gid));
  } catch {
    // Not a member of that group; the mode below still counts for all others.
  }
  try {
    step('chmod', () => fs.chmodSync(path, mode & 0o7777));
  } catch (error) {
    // Swept already, because it is empty: that no stage can be made in it will tell.
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function isSameFile(path: string, fd: number): boolean {
  const there = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
  const ours = fs.fstatSync(fd, { bigint: true });
  return there !== undefined && there.ino === ours.ino && there.dev === ours.dev;
}

/** Makes renames and removals in a folder durable. */
async function syncFolder(folder: string, committed: boolean): Promise<void> {
  let fd: number | undefined;
  try {
    fd = step('open folder', () => fs.openSync(folder, 'r'));
    await step('sync folder', () => fsync(fd as number));
  } catch (error) {
    if (cannotSyncFolders(error)) return;
    throw new PasswordFileError(
      'ERR_NOT_DURABLE',
      `${committed ? 'The new file is in place' : 'Nothing was to change'}, but the folder ${folder} could not be ` +
        'synced: after a power cut the old file may be back. Check the disk, then repeat the call.',
      { path: folder, cause: error, committed },
    );
  } finally {
    // By now it does not matter whether that works.
    if (fd !== undefined) fs.close(fd, () => undefined);
  }
}

/** Some file systems, and Windows, have no such call. */
function cannotSyncFolders(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EINVAL' || code === 'ENOTSUP' || (process.platform === 'win32' && code !== undefined);
}

/** fsync on the thread pool. */
export function fsync(fd: number): Promise<void> {
  const sync = () =>
    new Promise<void>((resolve, reject) => fs.fsync(fd, error => (error ? reject(error) : resolve())));
  return withPriority(sync);
}

/**
 * The rules of NTFS on Linux, for all processes that share a registry. No directory is renamed while a file in it is
 * open, nor to a name that exists. No file is renamed over one that is open nor, as on some network drives, while it is
 * open itself. A removed file that is open stays in its directory until it is closed, and nobody can open it. /proc shows
 * which files the processes have open.
 */
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { systemDisk } from '../../src/storage/disk.js';

export class NtfsRegistry {
  readonly #processes: string;
  readonly #removed: string;
  readonly #refused: string;
  readonly #mutex: string;

  constructor(readonly directory: string) {
    this.#processes = join(directory, 'processes');
    this.#removed = join(directory, 'removed');
    this.#refused = join(directory, 'refused');
    this.#mutex = join(directory, 'mutex');
    for (const each of [this.#processes, this.#removed]) fs.mkdirSync(each, { recursive: true });
  }

  /** Adds a process to those whose open files count. */
  register(pid: number): void {
    fs.writeFileSync(join(this.#processes, String(pid)), '');
  }

  /** The calls that were refused so far. */
  refusals(): string[] {
    return fs.existsSync(this.#refused)
      ? fs.readFileSync(this.#refused, 'utf8').split('\n').slice(0, -1)
      : [];
  }

  /** Makes the rules hold for the disk of this process. */
  rule(): void {
    this.register(process.pid);
    const { rename, unlink, open, modified, rmdir } = systemDisk;
    Object.assign(systemDisk, {
      windows: true,
      rename: (from: string, to: string) =>
        this.#alone(() => {
          const source = real(from);
          const target = real(to);
          const isDirectory = fs.lstatSync(source).isDirectory();
          this.#refuseIf(
            isDirectory && this.#hasOpen(path => dirname(path) === source),
            'rename of a directory',
          );
          this.#refuseIf(isDirectory && fs.existsSync(target), 'rename to a directory');
          this.#refuseIf(!isDirectory && this.#hasOpen(path => path === target), 'rename over a file');
          this.#refuseIf(!isDirectory && this.#hasOpen(path => path === source), 'rename of an open file');
          this.#refuseIf(this.#isRemoved(source), 'rename of a removed file');
          return rename(from, to);
        }),
      unlink: (directory: string, name: string) =>
        this.#alone(() => {
          const path = real(join(directory, name));
          this.#refuseIf(this.#isRemoved(path), 'removal of a removed file');
          if (!this.#hasOpen(each => each === path)) return unlink(directory, name);
          fs.writeFileSync(this.#recordOf(path), path);
        }),
      rmdir: (path: string) => this.#alone(() => rmdir(path)),
      open: (directory: string, name: string) =>
        this.#alone(() => {
          this.#refuseIf(this.#isRemoved(real(join(directory, name))), 'open of a removed file');
          return open(directory, name);
        }),
      modified: (directory: string, name: string) =>
        this.#alone(() => {
          this.#refuseIf(this.#isRemoved(real(join(directory, name))), 'look at a removed file');
          return modified(directory, name);
        }),
    });
  }

  /** Makes one call at a time of all processes. First deletes the removed files that no process has open any more. */
  #alone<T>(call: () => T): T {
    for (;;) {
      try {
        fs.mkdirSync(this.#mutex);
        break;
      } catch {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.2);
      }
    }
    try {
      for (const record of fs.readdirSync(this.#removed)) {
        const path = fs.readFileSync(join(this.#removed, record), 'utf8');
        if (this.#hasOpen(each => each === path)) continue;
        fs.rmSync(path, { force: true });
        fs.rmSync(join(this.#removed, record));
      }
      return call();
    } finally {
      fs.rmdirSync(this.#mutex);
    }
  }

  #recordOf(path: string): string {
    return join(this.#removed, encodeURIComponent(basename(path)));
  }

  #isRemoved(path: string): boolean {
    return fs.existsSync(this.#recordOf(path));
  }

  #refuseIf(isRefused: boolean, what: string): void {
    if (!isRefused) return;
    fs.appendFileSync(this.#refused, `${what}\n`);
    throw Object.assign(new Error(`EPERM: ${what}`), { code: 'EPERM' });
  }

  #hasOpen(isIt: (path: string) => boolean): boolean {
    return fs.readdirSync(this.#processes).some(pid => {
      const descriptors = `/proc/${pid}/fd`;
      return listOf(descriptors).some(fd => isIt(linkOf(join(descriptors, fd))));
    });
  }
}

function real(path: string): string {
  return join(fs.realpathSync(dirname(path)), basename(path));
}

function listOf(directory: string): string[] {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return '';
  }
}

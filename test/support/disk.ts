/** File systems that tests mount, all by root. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { memoryDirectory, temporaryDirectory, undoing } from './leftovers.js';
import type { Need } from './require.js';

/** A directory on a file system of its own, of so many bytes. */
export function mountTmpfs(bytes: number): Disposable & { path: string } {
  const directory = temporaryDirectory('tmpfs');
  const mounted = mount(directory.path, ['-t', 'tmpfs', '-o', `size=${bytes},mode=755`, 'none']);
  return {
    path: directory.path,
    [Symbol.dispose]() {
      mounted[Symbol.dispose]();
      directory[Symbol.dispose]();
    },
  };
}

function mount(directory: string, what: string[]): Disposable {
  execFileSync('mount', [...what, directory], { stdio: 'pipe' });
  return undoing(() => {
    try {
      execFileSync('umount', [directory], { stdio: 'pipe' });
    } catch {
      // A process still uses it: it is detached now, and unmounted when that process has finished.
      execFileSync('umount', ['--lazy', directory], { stdio: 'pipe' });
    }
  });
}

const MIB = 1 << 20;

/**
 * A disk with ext4 whose current content can be copied while it is written to. It is a file on another ext4, which is
 * frozen for the copy. That stops all writes to the disk at one moment, between any two blocks, even in the middle of a
 * commit of the journal, and leaves in memory what the file system on the disk has in memory. The copy is what a disk
 * without a cache of its own, or one that obeys a flush, would contain after a power cut at that moment.
 *
 * It is mounted with options that do not protect programs without sync: with `noauto_da_alloc`, ext4 does not write a
 * file's bytes because it is renamed over another; with `data=writeback`, not before the directory that names the file.
 */
export class FreezableDisk implements Disposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #directory = temporaryDirectory('disk', memoryDirectory());
  readonly #outer = join(this.#directory.path, 'holder');
  #copies = 0;
  readonly #mounts: Disposable[] = [];

  constructor() {
    this.path = join(this.#directory.path, 'disk');
    try {
      this.#makeExt4(`${this.#outer}.img`, 32);
      this.#mount(`${this.#outer}.img`, this.#outer);
      this.#makeExt4(this.#image, 16);
      this.#mount(this.#image, this.path, ['noauto_da_alloc', 'data=writeback']);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get #image(): string {
    return join(this.#outer, 'disk.img');
  }

  #makeExt4(image: string, mebibytes: number): void {
    writeFileSync(image, '');
    truncateSync(image, mebibytes * MIB);
    execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: 'pipe' });
  }

  #mount(image: string, directory: string, options: string[] = []): Disposable {
    mkdirSync(directory, { recursive: true });
    const mounted = mount(directory, ['-o', ['loop', ...options].join(), image]);
    this.#mounts.push(mounted);
    return mounted;
  }

  /** Copies the disk as it is at one moment, and shows the copy's files after the recovery of its journal. */
  afterPowerCut<T>(look: (directory: string) => T): T {
    // A copy of its own: a mount namespace of another test may keep an earlier one mounted, and a further mount of the same
    // file would show what that one holds.
    const copy = join(this.#directory.path, `copy${++this.#copies}.img`);
    this.#copyFrozen(copy);
    const directory = join(this.#directory.path, 'recovered');
    const mounted = this.#mount(copy, directory);
    try {
      return look(directory);
    } finally {
      mounted[Symbol.dispose]();
      rmSync(copy);
    }
  }

  #copyFrozen(copy: string): void {
    execFileSync('fsfreeze', ['--freeze', this.#outer]);
    const thawed = undoing(() => execFileSync('fsfreeze', ['--unfreeze', this.#outer]));
    try {
      copyFileSync(this.#image, copy);
      // Equal after the copy too: the freeze has stopped all writing.
      if (!readFileSync(this.#image).equals(readFileSync(copy))) throw new Error('the disk was written to');
    } finally {
      thawed[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    for (const mounted of this.#mounts.reverse()) mounted[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

let works: boolean | undefined;

/** Needs a system on which disks can be made of files, mounted and frozen. */
export const freezableDisks: Need = {
  what: 'root with loop devices, mkfs.ext4 and fsfreeze',
  isProgram: false,
  met: () => {
    works ??= canMakeDisk();
    return works;
  },
};

function canMakeDisk(): boolean {
  if (process.geteuid?.() !== 0) return false;
  try {
    using disk = new FreezableDisk();
    disk.afterPowerCut(() => undefined);
    return true;
  } catch {
    return false;
  }
}

/** File systems that tests mount, all by root. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { memoryFolder, temporaryFolder, undoing } from './leftovers.js';
import type { Need } from './require.js';

/** A folder on a file system of its own, of so many bytes. */
export function mountTmpfs(bytes: number): Disposable & { path: string } {
  const folder = temporaryFolder('tmpfs');
  const mounted = mount(folder.path, ['-t', 'tmpfs', '-o', `size=${bytes},mode=755`, 'none']);
  return {
    path: folder.path,
    [Symbol.dispose]() {
      mounted[Symbol.dispose]();
      folder[Symbol.dispose]();
    },
  };
}

function mount(folder: string, what: string[]): Disposable {
  execFileSync('mount', [...what, folder], { stdio: 'pipe' });
  return undoing(() => {
    try {
      execFileSync('umount', [folder], { stdio: 'pipe' });
    } catch {
      // Something still looks at it: out of sight now, and gone when that has finished.
      execFileSync('umount', ['--lazy', folder], { stdio: 'pipe' });
    }
  });
}

const MIB = 1 << 20;

/**
 * A disk with ext4 whose present content can be copied while it is written to. It is a file on another ext4, which is
 * frozen for the copy: that stops all writing to the disk at one moment, between any two blocks and in the middle of a
 * journal's commit too, and leaves in memory what the file system on the disk has in memory. The copy is what a disk
 * without a cache of its own, or one that obeys a flush, would hold if the power went at that moment.
 *
 * It is mounted without ext4's kindness to those who forget to sync: `noauto_da_alloc` does not write a file's bytes
 * because it is renamed over another, `data=writeback` does not write them before the folder that names it.
 */
export class FreezableDisk implements Disposable {
  /** Where it is mounted. */
  readonly path: string;
  readonly #folder = temporaryFolder('disk', memoryFolder());
  readonly #holder = join(this.#folder.path, 'holder');
  readonly #copy = join(this.#folder.path, 'copy.img');
  readonly #mounts: Disposable[] = [];

  constructor() {
    this.path = join(this.#folder.path, 'disk');
    try {
      this.#makeExt4(`${this.#holder}.img`, 32);
      this.#mount(`${this.#holder}.img`, this.#holder);
      this.#makeExt4(this.#image, 16);
      this.#mount(this.#image, this.path, ['noauto_da_alloc', 'data=writeback']);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get #image(): string {
    return join(this.#holder, 'disk.img');
  }

  #makeExt4(image: string, mebibytes: number): void {
    writeFileSync(image, '');
    truncateSync(image, mebibytes * MIB);
    execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: 'pipe' });
  }

  #mount(image: string, folder: string, options: string[] = []): Disposable {
    mkdirSync(folder, { recursive: true });
    const mounted = mount(folder, ['-o', ['loop', ...options].join(), image]);
    this.#mounts.push(mounted);
    return mounted;
  }

  /** Copies the disk as it is at one moment, and shows the copy's files after the recovery of its journal. */
  afterPowerCut<T>(look: (folder: string) => T): T {
    this.#copyFrozen();
    const folder = join(this.#folder.path, 'recovered');
    const mounted = this.#mount(this.#copy, folder);
    try {
      return look(folder);
    } finally {
      mounted[Symbol.dispose]();
    }
  }

  #copyFrozen(): void {
    execFileSync('fsfreeze', ['--freeze', this.#holder]);
    const thawed = undoing(() => execFileSync('fsfreeze', ['--unfreeze', this.#holder]));
    try {
      copyFileSync(this.#image, this.#copy);
      // It did stand still.
      if (!readFileSync(this.#image).equals(readFileSync(this.#copy)))
        throw new Error('the disk was written to');
    } finally {
      thawed[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    for (const mounted of this.#mounts.reverse()) mounted[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
  }
}

let works: boolean | undefined;

/** Disks can be made of files, mounted and frozen. */
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

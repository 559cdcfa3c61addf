/** The files that snapshots keep open. */
import * as fs from 'node:fs';

/** How many files stay open at most, for all instances of a process. */
const MAX_OPEN = 32;

/** Least recently used first. */
const openFiles = new Set<OpenFile>();

const abandoned = /* @__PURE__ */ new FinalizationRegistry<OpenFile>(file => file.close());

/** A file that stays open until it is closed, its owner is collected, or too many others are used after it. */
export class OpenFile {
  readonly #fd: number;
  /** What keeps the bytes of the file. It drops them when too many other files are used after this one. */
  cache: WeakRef<{ drop(): void }> | undefined;

  constructor(fd: number, owner: object) {
    this.#fd = fd;
    openFiles.add(this);
    abandoned.register(owner, this);
    const [oldest] = openFiles;
    if (openFiles.size <= MAX_OPEN) return;
    oldest?.cache?.deref()?.drop();
    oldest?.close();
  }

  /** Marks it as the most recently used one. */
  use(): void {
    if (openFiles.delete(this)) openFiles.add(this);
  }

  /** Closes it once, without waiting: it was only read, and dropping the pages of a large file is slow. */
  close(): void {
    if (openFiles.delete(this)) fs.close(this.#fd, () => undefined);
  }

  /** Closes it once, before this returns. */
  closeSync(): void {
    if (openFiles.delete(this)) fs.closeSync(this.#fd);
  }
}

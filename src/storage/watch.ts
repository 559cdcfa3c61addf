/** Who has been seen holding a password file, and since when without a sign of life. */
import { lstatSync } from 'node:fs';
import { isGone, parseStageName } from './lock-owner.js';

/** The stages that were seen, and since when they have shown no life. */
export class Watch {
  #seen = new Map<string, { mtime: bigint; since: number }>();
  #looked = new Map<string, { mtime: bigint; since: number }>();
  readonly #abandoned = new Set<string>();

  /** A stage of ours that could not be removed; its process lives, its writer does not. */
  abandon(stage: string): void {
    this.#abandoned.add(stage);
  }

  /**
   * Whether a stage's writer is gone for sure, or has shown no life for `stale` ms of our own monotonic clock, or for
   * `patience` ms by what clock its file system goes.
   */
  isStale(folder: string, stage: string, stale: number, patience: number): boolean {
    const holder = parseStageName(stage);
    if (this.#abandoned.has(stage) || (holder !== undefined && isGone(holder))) return true;
    const key = `${folder}/${stage}`;
    const mtime = modified(key);
    if (mtime === undefined) return false;
    if (Date.now() - Number(mtime / 1_000_000n) > patience) return true;
    const seen = this.#looked.get(key) ?? this.#seen.get(key);
    const now = performance.now();
    const entry = seen?.mtime === mtime ? seen : { mtime, since: now };
    this.#looked.set(key, entry);
    return now - entry.since >= stale;
  }

  /** Drops what has not been looked at since the last call. */
  forgetOthers(): void {
    this.#seen = this.#looked;
    this.#looked = new Map();
  }
}

function modified(path: string): bigint | undefined {
  try {
    return lstatSync(path, { bigint: true }).mtimeNs;
  } catch {
    return undefined;
  }
}

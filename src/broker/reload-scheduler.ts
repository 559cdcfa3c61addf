/** Tells the broker of commits: soon, not too often, and only of files that it will load. */
import { statSync } from 'node:fs';
import type { CheckReport } from '../check/check.js';
import { PasswordFileError } from '../errors.js';
import { assertReloadTarget, type ReloadTarget, reloadBroker } from './reload.js';

/** Which broker a `PasswordFile` tells of its commits, and how often at most. */
export type ReloadOptions = ReloadTarget & {
  /** Milliseconds from one signal to the next at least. Default 1,000. A large file takes the broker longer, and us. */
  minInterval?: number | undefined;
  /** Told of each reload that was refused or failed; `reloaded()` rejects with the same error. */
  onError?: ((error: unknown) => void) | undefined;
};

/**
 * A signal that comes while the broker is still reading the file is lost (2.0.11 to 2.1.2: a flag, cleared after the
 * reload). Measured: 300,000 users (39 MB) take it 0.4 s; this allows four times as long.
 */
const MS_PER_BYTE = 40 / 1_000_000;

interface Waiting {
  commits: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** One broker to be told of the commits of one file. */
export class Reloader {
  readonly #target: ReloadTarget;
  readonly #minInterval: number;
  readonly #onError: ((error: unknown) => void) | undefined;
  readonly #check: () => Promise<CheckReport>;
  readonly #path: string;
  #commits = 0;
  #told = 0;
  #busy = false;
  /** Not before this time by the monotonic clock. */
  #notBefore = 0;
  #waiting: Waiting[] = [];

  /** @param check says what the broker will make of the file */
  constructor(path: string, options: ReloadOptions, check: () => Promise<CheckReport>) {
    const { minInterval = 1_000, onError, ...target } = options;
    this.#path = path;
    assertReloadTarget(target);
    this.#target = target;
    this.#minInterval = minInterval;
    this.#onError = onError;
    this.#check = check;
  }

  /** The file was replaced. */
  committed(): void {
    this.#commits++;
    this.#schedule();
  }

  /** Resolves when the broker has been told of all commits so far. */
  reloaded(): Promise<void> {
    if (this.#told === this.#commits) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ commits: this.#commits, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#busy) return;
    this.#busy = true;
    setTimeout(() => void this.#reload(), Math.max(0, this.#notBefore - performance.now()));
  }

  async #reload(): Promise<void> {
    const commits = this.#commits;
    let failure: { error: unknown } | undefined;
    try {
      const report = await this.#check();
      if (!report.loads) throw this.#refused(report);
      await reloadBroker(this.#target);
      this.#told = commits;
    } catch (error) {
      failure = { error };
    }
    this.#notBefore = performance.now() + this.#interval();
    this.#busy = false;
    this.#settle(commits, failure);
    if (this.#commits > commits || this.#waiting.length > 0) this.#schedule();
    if (failure !== undefined) this.#onError?.(failure.error);
  }

  #interval(): number {
    const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
    return Math.max(this.#minInterval, size * MS_PER_BYTE);
  }

  #settle(commits: number, failure: { error: unknown } | undefined): void {
    const settled = this.#waiting.filter(waiting => waiting.commits <= commits);
    this.#waiting = this.#waiting.filter(waiting => waiting.commits > commits);
    for (const { resolve, reject } of settled) {
      if (failure === undefined) resolve();
      else reject(failure.error);
    }
  }

  #refused({ findings }: CheckReport): PasswordFileError {
    const errors = findings.filter(({ severity }) => severity === 'error');
    const first = errors[0];
    return new PasswordFileError(
      'ERR_RELOAD_REFUSED',
      `The broker was not told to reload ${this.#path}, which it would not load` +
        `${first === undefined ? '' : `: line ${first.line}: ${first.message}`} ` +
        'What stands in the file has been written all the same. Mend it, then edit it again or call reloaded().',
      { path: this.#path, findings },
    );
  }
}

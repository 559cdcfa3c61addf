/** Makes the broker reload after commits: soon, not too often, and only a file that it will load. */
import { AsyncResource } from 'node:async_hooks';
import { statSync } from 'node:fs';
import { type Finding, PasswordFileError } from '../errors.js';
import { pause } from '../util/abort.js';
import { attempt } from '../util/attempt.js';
import { yieldToEventLoop } from '../util/event-loop.js';
import { isFunction, MAX_TIMER, type OptionCheck, readOptions, whole } from '../util/read-options.js';
import type { Eligible, ProcessOwner } from './process.js';
import { DEFAULT_TIMEOUT, sendReload } from './reload.js';
import { type ReloadTarget, TARGET_CHECKS, targetOf } from './reload-target.js';

/**
 * The broker that a `PasswordFile` makes reload after its commits, and how often it does so at most.
 *
 * @example new PasswordFile('passwd', { reload: { process: 'mosquitto', maxLoad: 0.1 } });
 */
export type ReloadOptions = ReloadTarget & {
  /**
   * The fewest milliseconds from one signal of this instance to the next. Default 0 where the kernel shows when the
   * broker has reloaded; where it does not, and for a command, 1,000, and more for a large file.
   */
  minInterval?: number | undefined;
  /**
   * The greatest share of the broker's time that the reloads of this instance may take, above 0 and up to 1. The CPU
   * time of the last one decides how long the next one waits. Default 0.5. All commits until then share the next reload.
   */
  maxLoad?: number | undefined;
  /** Called with the error of each reload that was refused or failed; `reloaded()` rejects with the same one. */
  onError?: ((error: unknown) => void) | undefined;
};

/** {@link ReloadOptions}, checked and copied. */
export type ReloadSettings = ReturnType<typeof readReloadOptions>;

/** Throws `ERR_INVALID_ARGUMENT`. */
export function readReloadOptions(options: ReloadOptions) {
  const checks = {
    ...TARGET_CHECKS,
    minInterval: whole(0, MAX_TIMER),
    maxLoad: isShare,
    onError: isFunction,
  };
  const checked = readOptions<ReloadOptions>(options, checks, 'reload');
  const { minInterval, maxLoad = 0.5, onError, ...target } = checked;
  return {
    target: targetOf(target as ReloadTarget),
    minInterval,
    maxLoad,
    // The commit may have been started by another caller, whose AsyncLocalStorage the function would see.
    onError: onError && AsyncResource.bind(onError, 'PasswordFile.onError'),
  };
}

const isShare: OptionCheck = value =>
  typeof value === 'number' && value > 0 && value <= 1 ? undefined : 'a number above 0 and up to 1';

/** The file that the broker is to read after commits. */
export interface ReportedFile {
  path: string;
  /** Whether the broker will load the file, and if not, why. */
  check(): Promise<{ loads: boolean; findings: readonly Finding[] }>;
  /** Whether a process of this owner could read it, as the broker must, in its place. */
  isReadableBy(owner: ProcessOwner): boolean;
  /** Why such a process could not read it in any place; `undefined`: it could, or the file is gone. */
  barrierTo(owner: ProcessOwner): Finding | undefined;
}

/**
 * A signal that comes while the broker reloads is lost (2.0.11 to 2.1.2: a flag, cleared after the reload). Where the
 * kernel does not show when a reload is over, it is taken to last this long: so many milliseconds, or more by the size
 * of the file. Measured: 300,000 users (39 MB) take 0.4 s; this allows four times as long.
 */
const DEFAULT_INTERVAL = 1_000;
const MS_PER_BYTE = 4e-5;

/** Makes one broker reload after the commits of one file. */
export class ReloadScheduler {
  /** The last reload that has begun. */
  #current: Promise<void> = Promise.resolve();
  #hasFailed = false;
  /** The reload after that, which has not begun. It is for all commits so far. */
  #next: Promise<void> | undefined;
  /** The time of the monotonic clock before which no reload begins. */
  #notBefore = 0;

  constructor(
    private readonly file: ReportedFile,
    private readonly settings: ReloadSettings,
  ) {}

  /** To be called after each commit. A reload that has not begun is for this commit too. */
  committed(): void {
    if (this.#next !== undefined) return;
    this.#next = this.#reload();
    this.#next.catch(() => undefined);
  }

  /**
   * Resolves when the broker has read all commits so far.
   *
   * @param force others may have committed too, so it reads the file in any case
   */
  reloaded(force = false): Promise<void> {
    if (force || this.#hasFailed) this.committed();
    return this.#next ?? this.#current;
  }

  async #reload(): Promise<void> {
    await this.#current.catch(() => undefined);
    const wait = Math.max(0, this.#notBefore - performance.now());
    await (wait > 0 ? pause(Math.min(wait, MAX_TIMER), undefined) : yieldToEventLoop());
    this.#current = this.#next as Promise<void>;
    this.#next = undefined;
    try {
      this.#hasFailed = false;
      await this.#send();
    } catch (error) {
      this.#hasFailed = true;
      void this.#callOnError(error);
      throw error;
    }
  }

  async #send(): Promise<void> {
    const { path, check, isReadableBy, barrierTo } = this.file;
    const { loads, findings } = await check();
    if (!loads) throw refused(path, findings);
    const eligible: Eligible = {
      whom: `a user who may read ${path}`,
      includes: isReadableBy,
      remedy: owner => barrierTo(owner) && 'give that user the file, or its group the permission to read it',
      assertLoads(owner) {
        const barrier = barrierTo(owner);
        if (barrier !== undefined) throw refused(path, [barrier]);
      },
    };
    let cost: number | undefined;
    try {
      cost = await sendReload(this.settings.target, eligible, { timeout: this.#duration(DEFAULT_TIMEOUT) });
    } finally {
      this.#notBefore = performance.now() + this.#interval(cost);
    }
  }

  /** Never rejects. */
  async #callOnError(error: unknown): Promise<void> {
    try {
      await this.settings.onError?.(error);
    } catch (thrown) {
      const shown = attempt(() => String(thrown instanceof Error ? thrown.stack : thrown)) ?? 'an object';
      process.emitWarning(`The function onError of the option reload failed: ${shown}`);
    }
  }

  /**
   * Milliseconds from the end of a reload to the beginning of the next.
   *
   * @param cost milliseconds of CPU time that the reload took; `undefined`: it is not known whether it is over
   */
  #interval(cost: number | undefined): number {
    const { minInterval, maxLoad } = this.settings;
    if (cost === undefined) return this.#duration(minInterval ?? DEFAULT_INTERVAL);
    return Math.max(minInterval ?? 0, cost / maxLoad - cost);
  }

  /** Milliseconds after which a reload of the file should be over. */
  #duration(least: number): number {
    const bytes = attempt(() => statSync(this.file.path).size) ?? 0;
    return Math.max(least, bytes * MS_PER_BYTE);
  }
}

function refused(path: string, findings: readonly Finding[]): PasswordFileError {
  const { line = 0, message = '' } = findings.find(({ severity }) => severity === 'error') ?? {};
  return new PasswordFileError(
    'ERR_RELOAD_REFUSED',
    `The broker was not made to reload ${path}, which it would not load: ${line > 0 ? `line ${line}: ` : ''}` +
      `${message} The file holds all edits. Fix it, then edit it again or call reloaded() ` +
      '(on the command line, run the command again).',
    { path, findings },
  );
}

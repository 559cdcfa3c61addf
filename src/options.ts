/** The options of a `PasswordFile` and of its methods: what they are, their defaults and their checks. */
import { sep } from 'node:path';
import { type ReloadOptions, type ReloadSettings, readReloadOptions } from './broker/reload-scheduler.js';
import { invalidArgument } from './errors.js';
import { FILE_HASH_CHECKS, type FileHashOptions, type HashSettings, hashSettings } from './hash/hash.js';
import type { WritePolicy } from './storage/group-commit.js';
import { absolutePath } from './storage/path.js';
import type { CreateOptions } from './storage/temp-file.js';
import type { LockOptions } from './storage/writer.js';
import {
  isAnything,
  isBoolean,
  isId,
  isSignal,
  MAX_TIMER,
  NO_OPTIONS,
  type OptionCheck,
  oneOf,
  pathOf,
  readOptions,
  whole,
} from './util/read-options.js';

/**
 * How a `PasswordFile` behaves.
 *
 * @example new PasswordFile('passwd', { broker: '2.0', reload: { process: 'mosquitto' } });
 */
export interface PasswordFileOptions {
  /**
   * The release of the broker that reads the file; `verify` and `check` answer for it. Default `'2.1'`, the stricter one.
   * `'2.0'` reads only 12-byte salts, so with it `hash.saltBytes` must be 12.
   */
  broker?: '2.0' | '2.1' | undefined;
  /**
   * The environment of the broker has `MOSQUITTO_UNSAFE_ALLOW_SYMLINKS`, so that it loads the file through a symbolic
   * link too (2.1.1 and later). Default `false`: such a file does not load, and is not reloaded.
   */
  brokerFollowsLinks?: boolean | undefined;
  /** How new hashes are made, and what they may cost. */
  hash?: FileHashOptions | undefined;
  /** Owner and mode of a file that a write creates. */
  create?: CreateOptions | undefined;
  /** A missing file is empty and is made by the first write (`'empty'`, default), or it is `ERR_FILE_MISSING`. */
  missing?: 'empty' | 'error' | undefined;
  /** Replace another user's file even where its owner or group cannot be kept. Default `false`: `ERR_OWNERSHIP`. */
  allowOwnerChange?: boolean | undefined;
  /** How long to wait for other writers. */
  lock?: LockOptions | undefined;
  /** The broker to reload after commits. It is never made to reload a file that it would not load. */
  reload?: ReloadOptions | undefined;
}

/**
 * The option of a call that waits.
 *
 * @example await new PasswordFile('passwd').users({ signal: AbortSignal.timeout(5_000) });
 */
export interface WaitOptions {
  /** Cancels: the promise rejects with its `reason`. It has no effect on an edit that is being written already. */
  signal?: AbortSignal | undefined;
}

/**
 * The options of `PasswordFile.reloaded`.
 *
 * @example
 * const file = new PasswordFile('passwd', { reload: { process: 'mosquitto' } });
 * // When a service starts: it may have ended before the reload of its last commit.
 * await file.reloaded({ force: true }).catch(error => console.error(error.message));
 */
export interface ReloadedOptions extends WaitOptions {
  /** Makes the broker read the file also where this instance has committed nothing: others may have. Default `false`. */
  force?: boolean | undefined;
}

/**
 * The options of a call with many users.
 *
 * @example
 * const options: ProgressOptions = { onProgress: (done, total) => console.log(`${done} of ${total}`) };
 * await new PasswordFile('passwd').setUsers([['alice', 'secret']], options); // 1 of 1
 */
export interface ProgressOptions extends WaitOptions {
  /** Called after each user with the number of users that are done, and of all users. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** {@link PasswordFileOptions}, checked and copied, with all defaults filled in. */
export interface Settings {
  path: string;
  broker: '2.0' | '2.1';
  brokerFollowsLinks: boolean;
  fileMustExist: boolean;
  hash: HashSettings;
  policy: WritePolicy;
  reload: ReloadSettings | undefined;
}

/** Checks the arguments of a `PasswordFile`, copies them and fills in the defaults. */
export function settingsOf(path: string | URL, options: PasswordFileOptions | undefined): Settings {
  const given = readOptions<PasswordFileOptions>(options, {
    broker: oneOf('2.0', '2.1'),
    brokerFollowsLinks: isBoolean,
    hash: FILE_HASH_CHECKS,
    create: { uid: isId, gid: isId, mode: isMode },
    missing: oneOf('empty', 'error'),
    allowOwnerChange: isBoolean,
    lock: { timeout: whole(0, MAX_TIMER), stale: whole(1_000, MAX_TIMER) },
    reload: isAnything,
  });
  const { broker = '2.1', create = NO_OPTIONS, lock = NO_OPTIONS } = given;
  const { timeout = 30_000, stale = 5_000 }: LockOptions = lock;
  const hash = hashSettings(given.hash ?? NO_OPTIONS);
  if (broker === '2.0' && hash.saltBytes === 64)
    throw invalidArgument('Mosquitto 2.0 cannot read hashes with hash.saltBytes 64. Use 12, or broker 2.1.');
  return {
    path: filePathOf(path),
    broker,
    brokerFollowsLinks: given.brokerFollowsLinks ?? false,
    fileMustExist: given.missing === 'error',
    hash,
    policy: { create, allowOwnerChange: given.allowOwnerChange ?? false, lock: { timeout, stale } },
    reload: given.reload === undefined ? undefined : readReloadOptions(given.reload),
  };
}

/** Refuses the decimal 640 and 600, which a missing `0o` makes of a usual mode: with these the owner could not read the file. */
const isMode: OptionCheck = value =>
  whole(0, 0o7777)(value) ??
  ((Number(value) & 0o400) === 0 ? 'permission bits by which the owner may read, such as 0o640' : undefined);

export function signalOf(options: WaitOptions | undefined): AbortSignal | undefined {
  return readOptions<WaitOptions>(options, { signal: isSignal }).signal;
}

function filePathOf(value: string | URL): string {
  const path = pathOf(value);
  if (path !== undefined && path !== '' && !path.endsWith('/') && !path.endsWith(sep))
    return absolutePath(path);
  const problem =
    'path must be a file: URL or a string that is not empty, has no NUL and does not end with a slash.';
  throw invalidArgument(`${problem} Is the variable that should hold it set?`);
}

/** The options of a `PasswordFile`: what they are, their defaults and their checks. */
import { fileURLToPath } from 'node:url';
import { type ReloadOptions, type ReloadSettings, readReloadOptions } from './broker/reload-scheduler.js';
import { PasswordFileError } from './errors.js';
import { type HashOptions, hashPassword, newSalt } from './hash/hash.js';
import type { LockOptions } from './storage/commit.js';
import type { WritePolicy } from './storage/group-commit.js';
import type { CreateOptions } from './storage/replace.js';

/** How the hashes of a file are made. */
export interface FileHashOptions {
  /** Default `'pbkdf2-sha512'`; `'sha512'` is for Mosquitto 1.x brokers only. */
  algorithm?: HashOptions['algorithm'];
  /** Iterations of PBKDF2. Default 101, as Mosquitto 2.0 writes; 2.1 writes 1000. */
  iterations?: number | undefined;
  /** 12, which every 2.x broker reads (default), or 64, as 2.1 writes and 2.0 cannot read. */
  saltBytes?: 12 | 64 | undefined;
}

/** How a `PasswordFile` behaves. */
export interface PasswordFileOptions {
  /** Which release reads the file: what `verify` answers by. Default `'2.1'`, the stricter one. */
  broker?: '2.0' | '2.1' | undefined;
  /** How new hashes are made. */
  hash?: FileHashOptions | undefined;
  /** Owner and mode of a file that a write makes because there is none. */
  create?: CreateOptions | undefined;
  /** A missing file is empty and is made by the first write (`'empty'`, default), or it is `ERR_FILE_MISSING`. */
  missing?: 'empty' | 'error' | undefined;
  /** Replace another user's file even where its owner or group cannot be kept. Default `false`: `ERR_OWNERSHIP`. */
  allowOwnerChange?: boolean | undefined;
  /** How long to wait for other writers. */
  lock?: LockOptions | undefined;
  /** The broker that reloads after each commit, but never a file that it would not load. */
  reload?: ReloadOptions | undefined;
}

/** Options with all defaults filled in. */
export interface Settings {
  path: string;
  broker: '2.0' | '2.1';
  fileMustExist: boolean;
  hash: Required<{ [K in keyof FileHashOptions]: NonNullable<FileHashOptions[K]> }>;
  policy: WritePolicy;
  reload: ReloadSettings | undefined;
}

/** Checks the arguments of a `PasswordFile` and fills in the defaults. */
export function settingsOf(path: string | URL, options: PasswordFileOptions): Settings {
  const {
    broker = '2.1',
    hash = {},
    create = {},
    missing = 'empty',
    allowOwnerChange = false,
    lock = {},
  } = options;
  const { reload } = options;
  oneOf('broker', broker, ['2.0', '2.1']);
  oneOf('missing', missing, ['empty', 'error']);
  oneOf('allowOwnerChange', allowOwnerChange, [true, false]);
  const { algorithm = 'pbkdf2-sha512', iterations = 101, saltBytes = 12 } = hash;
  oneOf('hash.algorithm', algorithm, ['pbkdf2-sha512', 'sha512']);
  oneOf('hash.saltBytes', saltBytes, [12, 64]);
  whole('hash.iterations', iterations, 1, 2 ** 31 - 1);
  const { timeout = 30_000, stale = 5_000 } = lock;
  whole('lock.timeout', timeout, 0, 2 ** 31 - 1);
  whole('lock.stale', stale, 100, 2 ** 31 - 1);
  if (create.uid !== undefined) whole('create.uid', create.uid, 0, 2 ** 32 - 2);
  if (create.gid !== undefined) whole('create.gid', create.gid, 0, 2 ** 32 - 2);
  if (create.mode !== undefined) whole('create.mode', create.mode, 0, 0o7777);
  return {
    path: pathOf(path),
    broker,
    fileMustExist: missing === 'error',
    hash: { algorithm, iterations, saltBytes },
    policy: { create, allowOwnerChange, lock: { timeout, stale } },
    reload: reload === undefined ? undefined : readReloadOptions(reload),
  };
}

/** Hashes a password as the file's options say. */
export function hashFor({ hash }: Settings, password: string | Uint8Array): Promise<string> {
  const { algorithm, iterations, saltBytes } = hash;
  return hashPassword(password, { algorithm, iterations, salt: newSalt(saltBytes) });
}

function pathOf(path: string | URL): string {
  if (path instanceof URL) {
    if (path.protocol === 'file:') return fileURLToPath(path);
    throw invalid('path', `a file: URL, not ${path.protocol}`);
  }
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new PasswordFileError(
      'ERR_INVALID_ARGUMENT',
      'path must be a non-empty string or a file: URL. Is the variable that should hold it set?',
    );
  }
  return path;
}

function oneOf(option: string, value: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(value))
    throw invalid(option, `one of ${allowed.map(each => JSON.stringify(each)).join(', ')}`);
}

function whole(option: string, value: unknown, from: number, to: number): void {
  if (Number.isInteger(value) && (value as number) >= from && (value as number) <= to) return;
  throw invalid(option, `a whole number from ${from} to ${to}`);
}

function invalid(option: string, wanted: string): PasswordFileError {
  return new PasswordFileError('ERR_INVALID_ARGUMENT', `${option} must be ${wanted}.`);
}

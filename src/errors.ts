/**
 * Why a call failed. Compare this, not `instanceof`: an ESM and a CommonJS copy of the library may both be loaded.
 *
 * | code | what it says |
 * |---|---|
 * | `ERR_INVALID_ARGUMENT` | an option or argument has a wrong type or is out of range |
 * | `ERR_INVALID_USERNAME` | no client could log in with this user name |
 * | `ERR_INVALID_PASSWORD` | no client could log in with this password, or it is not set at all |
 * | `ERR_INVALID_HASH` | not a hash in the form that mosquitto_passwd writes |
 * | `ERR_UNSUPPORTED_HASH` | a well-formed hash that this Node cannot compute, or that is never made |
 * | `ERR_COST_LIMIT` | computing the hash would occupy a thread for too long; see `maxIterations` |
 * | `ERR_USER_EXISTS` | `addUser`: the name is in the file already |
 * | `ERR_FILE_MISSING` | there is no such file and `missing: 'error'` is set |
 * | `ERR_DIRECTORY_MISSING` | the directory of the file does not exist |
 * | `ERR_READ_FAILED` | the system refused to read the file (see `cause`), or it has 2 GiB or more |
 * | `ERR_WRITE_FAILED` | the system refused a step of writing; nothing changed; see `cause` |
 * | `ERR_NOT_REPLACEABLE` | what stands at the path cannot be replaced atomically: a mount point, a read-only folder, a FIFO, … |
 * | `ERR_OWNERSHIP` | the new file could not keep its owner and group |
 * | `ERR_LOCK_TIMEOUT` | another writer held the file for longer than `lock.timeout` |
 * | `ERR_RELOAD_REFUSED` | the broker was not told, because the file would not load; see `findings` |
 * | `ERR_RELOAD_FAILED` | the broker could not be told to reload |
 * | `ERR_LOGIN_REFUSED` | the broker answered the login with another code than 0 |
 * | `ERR_LOGIN_FAILED` | no answer to the login: no connection, or it was dropped |
 * | `ERR_LOGIN_TIMEOUT` | the broker did not let the user in within the timeout |
 * | `ERR_NOT_DURABLE` | the new file is in place (`committed: true`), but the disk did not confirm it |
 */
export type PasswordFileErrorCode =
  | 'ERR_INVALID_ARGUMENT'
  | 'ERR_INVALID_USERNAME'
  | 'ERR_INVALID_PASSWORD'
  | 'ERR_INVALID_HASH'
  | 'ERR_UNSUPPORTED_HASH'
  | 'ERR_COST_LIMIT'
  | 'ERR_USER_EXISTS'
  | 'ERR_FILE_MISSING'
  | 'ERR_DIRECTORY_MISSING'
  | 'ERR_READ_FAILED'
  | 'ERR_WRITE_FAILED'
  | 'ERR_NOT_REPLACEABLE'
  | 'ERR_OWNERSHIP'
  | 'ERR_LOCK_TIMEOUT'
  | 'ERR_NOT_DURABLE'
  | 'ERR_RELOAD_REFUSED'
  | 'ERR_RELOAD_FAILED'
  | 'ERR_LOGIN_REFUSED'
  | 'ERR_LOGIN_FAILED'
  | 'ERR_LOGIN_TIMEOUT';

/** Something about a password file that a broker refuses, or that is odd. */
export interface Finding {
  /** The line it is about, counted from 1; 0: the file as a whole. */
  line: number;
  /** `error`: the broker refuses the file, or this user cannot log in. `warning`: it works, but is odd or will break. */
  severity: 'error' | 'warning';
  /** A stable name for this kind of finding, `'DOUBLED_NAME'` for example. */
  code: string;
  /** What is wrong and what to do. */
  message: string;
  /** The user name it is about, where there is one. */
  username?: string | undefined;
}

/** What a {@link PasswordFileError} can carry beside its code and message. */
export interface PasswordFileErrorDetails {
  /** The system's error, where one is the reason. */
  cause?: unknown;
  /** The file it is about. */
  path?: string | undefined;
  /** The line in that file, counted from 1. */
  line?: number | undefined;
  /** The user name it is about. */
  username?: string | undefined;
  /** With `ERR_RELOAD_REFUSED`: what the broker would refuse. */
  findings?: readonly Finding[] | undefined;
  /** `true`: the file was replaced before this went wrong; the edit stands. */
  committed?: boolean | undefined;
}

/**
 * The one error class of this library: `code` says which error it is, `message` what is wrong and what to do.
 * Passwords and hashes never stand in a message.
 *
 * @example
 * ```ts
 * import { PasswordFile } from 'mosquitto-passwd-ts';
 *
 * try {
 *   await new PasswordFile('/mosquitto/auth/passwd').addUser('alice', 'correct horse');
 * } catch (error) {
 *   if ((error as { code?: string }).code === 'ERR_USER_EXISTS') console.log('pick another name');
 *   else throw error;
 * }
 * ```
 */
export class PasswordFileError extends Error {
  override readonly name = 'PasswordFileError';
  readonly code: PasswordFileErrorCode;
  readonly path?: string;
  readonly line?: number;
  readonly username?: string;
  readonly findings?: readonly Finding[];
  readonly committed?: boolean;

  constructor(code: PasswordFileErrorCode, message: string, details: PasswordFileErrorDetails = {}) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.code = code;
    if (details.path !== undefined) this.path = details.path;
    if (details.line !== undefined) this.line = details.line;
    if (details.username !== undefined) this.username = details.username;
    if (details.findings !== undefined) this.findings = details.findings;
    if (details.committed !== undefined) this.committed = details.committed;
  }
}

/** The `code` of a system error (`'ENOENT'`, …), or `undefined` for anything else. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

/**
 * Why a call failed. Compare the code instead of using `instanceof`: an ESM and a CommonJS copy of the library may both
 * be loaded.
 *
 * | code | what it says |
 * |---|---|
 * | `ERR_INVALID_ARGUMENT` | an option or argument has a wrong type or is out of range |
 * | `ERR_INVALID_USERNAME` | no client could log in with this user name |
 * | `ERR_INVALID_PASSWORD` | no client could log in with this password, or it is not set at all |
 * | `ERR_INVALID_HASH` | not a hash in the form that mosquitto_passwd writes |
 * | `ERR_UNSUPPORTED_HASH` | a well-formed hash that this Node cannot compute |
 * | `ERR_COST_LIMIT` | computing the hash would occupy a thread for too long; see `maxIterations` |
 * | `ERR_USER_EXISTS` | `addUser`: the name is in the file already |
 * | `ERR_FILE_MISSING` | there is no such file and `missing: 'error'` is set |
 * | `ERR_DIRECTORY_MISSING` | the directory of the file does not exist |
 * | `ERR_READ_FAILED` | the system refused to read the file (see `cause`), or it has 2 GiB or more |
 * | `ERR_WRITE_FAILED` | the system refused a step of writing; nothing changed; see `cause` |
 * | `ERR_NOT_REPLACEABLE` | what is at the path cannot be replaced atomically: a mount point, a read-only directory, a FIFO, … Or the path has a symbolic link of another user; reads refuse that too |
 * | `ERR_OWNERSHIP` | the new file could not keep its owner and group |
 * | `ERR_LOCK_TIMEOUT` | another writer held the file for longer than `lock.timeout` |
 * | `ERR_RELOAD_REFUSED` | the broker was not signalled, because it would not load the file; see `findings` |
 * | `ERR_RELOAD_FAILED` | the broker could not be made to reload, or ended before it had read the file |
 * | `ERR_LOGIN_REFUSED` | the broker answered the login with another code than 0 |
 * | `ERR_LOGIN_FAILED` | no connection for the login, a dropped one, or no MQTT broker there |
 * | `ERR_LOGIN_TIMEOUT` | a connection, but no answer to the login within the timeout |
 * | `ERR_NOT_DURABLE` | the disk did not confirm the file; `committed` says whether this call has replaced it |
 *
 * @example
 * const remedies: Partial<Record<PasswordFileErrorCode, string>> = { ERR_USER_EXISTS: 'Pick another name.' };
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

/**
 * What a {@link Finding} is about; its `message` says it in words, with what to do. `docs/broker-rules.md` lists what
 * Mosquitto 2.0 and 2.1 do in each case. The codes up to `NO_FINAL_NEWLINE` are about a line, those after
 * `MORE_FINDINGS` about what only the file system shows.
 *
 * @example const weak: FindingCode[] = ['WEAK_HASH', 'PLAIN_TEXT'];
 */
export type FindingCode =
  | 'MISSING_HASH'
  | 'PLAIN_TEXT'
  | 'COLON_IN_NAME'
  | 'UNSUPPORTED_HASH'
  | 'MALFORMED_HASH'
  | 'LONG_HASH'
  | 'LONG_SALT'
  | 'ONLY_2_0_HASH'
  | 'ODD_HASH'
  | 'WEAK_HASH'
  | 'SLOW_HASH'
  | 'EMPTY_NAME'
  | 'DUPLICATE_NAME'
  | 'LONG_NAME'
  | 'UNSENDABLE_NAME'
  | 'PATTERN_ACL_NAME'
  | 'HASH_SIGN_NAME'
  | 'NUL_BYTE'
  | 'LOST_LAST_LINE'
  | 'COMMENTED_OUT'
  | 'NO_COLON'
  | 'EXTRA_COLON'
  | 'FURTHER_FIELD'
  | 'BLANKS'
  | 'CR_LF'
  | 'BYTE_ORDER_MARK'
  | 'NO_FINAL_NEWLINE'
  | 'MORE_FINDINGS'
  | 'MISSING_FILE'
  | 'NOT_A_FILE'
  | 'SYMBOLIC_LINK'
  | 'NOT_READABLE'
  | 'WORLD_ACCESSIBLE'
  | 'FOREIGN_OWNER'
  | 'FOREIGN_GROUP';

/**
 * Something about a password file that a broker refuses, or that is odd.
 *
 * @example
 * const { findings } = await new PasswordFile('passwd').check();
 * for (const { line, severity, message } of findings) console.log(`${line}: ${severity}: ${message}`);
 */
export interface Finding {
  /** The line it is about, counted from 1; 0: the file as a whole. */
  line: number;
  /**
   * `error`: the broker refuses the file, a user cannot log in, or each login of the user stops the broker for a second
   * or more. `warning`: it works, but is odd or will break.
   */
  severity: 'error' | 'warning';
  /** What kind of finding it is. */
  code: FindingCode;
  /** What is wrong and what to do. */
  message: string;
  /** The user name it is about, where there is one. */
  username?: string | undefined;
}

/**
 * What a {@link PasswordFileError} can have besides its code and message.
 *
 * @example
 * const report = ({ path, cause }: PasswordFileErrorDetails) => console.error(path, cause);
 * await new PasswordFile('passwd').users().catch(report);
 */
export interface PasswordFileErrorDetails {
  /** The system's error, where one is the reason. */
  cause?: unknown;
  /** The path it is about: the password file, or a directory, link or pid file. */
  path?: string | undefined;
  /**
   * The user name it is about. A refused one is cut before the first `:` or control character: a password may follow. One
   * that looks like a hash is left out.
   */
  username?: string | undefined;
  /** With `ERR_RELOAD_REFUSED`: what the broker would refuse. */
  findings?: readonly Finding[] | undefined;
  /** `true`: the file was replaced before this went wrong, with the edit in it. */
  committed?: boolean | undefined;
}

/**
 * The one error class of this library: `code` says which error it is, `message` what is wrong and what to do.
 * No message holds a password or a hash.
 *
 * @example
 * ```ts
 * import { PasswordFile } from 'mosquitto-passwd-ts';
 *
 * try {
 *   await new PasswordFile('passwd').addUser('alice', 'correct horse');
 * } catch (error) {
 *   if ((error as { code?: string }).code === 'ERR_USER_EXISTS') console.log('pick another name');
 *   else throw error;
 * }
 * ```
 */
export class PasswordFileError extends Error {
  override readonly name = 'PasswordFileError';
  readonly code: PasswordFileErrorCode;
  declare readonly path?: string;
  declare readonly username?: string;
  declare readonly findings?: readonly Finding[];
  declare readonly committed?: boolean;

  constructor(code: PasswordFileErrorCode, message: string, details: PasswordFileErrorDetails = {}) {
    const { cause, ...fields } = details;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    // Where a hash is passed as the name by mistake.
    if (/^\$\w+\$/.test(fields.username ?? '')) delete fields.username;
    for (const [field, value] of Object.entries(fields))
      if (value !== undefined) Object.assign(this, { [field]: value });
  }
}

export function invalidArgument(message: string, path?: string): PasswordFileError {
  return new PasswordFileError('ERR_INVALID_ARGUMENT', message, { path });
}

/** The `code` of a system error (`'ENOENT'`, …), or `undefined` for anything else. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' ? code : undefined;
}

export function fileMissing(path: string): PasswordFileError {
  const message = `There is no file ${path}. Make it with create() (on the command line -c), or check the path and the mounts.`;
  return new PasswordFileError('ERR_FILE_MISSING', message, { path });
}

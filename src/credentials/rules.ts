import { PasswordFileError } from '../errors.js';

/** MQTT carries user names and passwords with a two-byte length (MQTT 3.1.1 section 1.5.3). */
export const MAX_BYTES = 65_535;

/** Control characters (U+0000–001F, 007F–009F), halves of surrogate pairs and noncharacters. */
const UNSENDABLE = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u;

/** What is wrong with a user name and what to do about it: the first rule that it breaks. */
function usernameProblem(name: string): string | undefined {
  if (name === '')
    return 'is empty. Mosquitto 2.1 refuses the whole file over such a line. Give every user a name.';
  if (name.includes(':'))
    return "contains ':', which ends the name in the password file. Use '/', '.', '-' or '_' in its place.";
  if (name.startsWith('#'))
    return "starts with '#'. The broker takes such a line for a comment. Start the name with another character.";
  if (/^[\t-\r ]|[\t-\r ]$/.test(name))
    return 'starts or ends with a blank. The broker trims it, so it would be another name there. Trim it first.';
  if (!name.isWellFormed())
    return 'contains half of a surrogate pair. It has no UTF-8 form. Cut strings between characters.';
  if (UNSENDABLE.test(name)) {
    return (
      'contains a control character or a Unicode noncharacter. The broker drops the connection of a client with such ' +
      'a user name. Remove it.'
    );
  }
  if (Buffer.byteLength(name) > MAX_BYTES)
    return `is longer than ${MAX_BYTES} bytes. MQTT cannot carry it. Use a shorter name.`;
  return undefined;
}

/**
 * Whether an MQTT client can log in with a name that a file contains, even one that breaks the rules for new names
 * (2.0.11 lib/utf8_mosq.c `mosquitto_validate_utf8`, the same in 2.1).
 */
export function canBeSent(name: string): boolean {
  return name !== '' && !UNSENDABLE.test(name) && Buffer.byteLength(name) <= MAX_BYTES;
}

/**
 * Throws `ERR_INVALID_USERNAME` unless a client could log in with this user name: not empty, no `:`, no leading `#`,
 * no blanks at the ends, no control characters (U+0000–001F, 007F–009F), noncharacters or lone surrogates, at most
 * 65,535 bytes of UTF-8. The message names the broken rule and the remedy.
 *
 * @example
 * ```ts
 * import { assertUsername } from 'mosquitto-passwd-ts';
 *
 * assertUsername('device/tenant-1/42'); // fine
 * try {
 *   assertUsername('device:tenant-1:42');
 * } catch (error) {
 *   console.log((error as Error).message); // The user name contains ':'. …
 * }
 * ```
 */
export function assertUsername(username: unknown): asserts username is string {
  if (typeof username !== 'string') {
    throw new PasswordFileError(
      'ERR_INVALID_USERNAME',
      `The user name is ${typeName(username)}, not a string. Is the variable that should hold it set?`,
    );
  }
  const problem = usernameProblem(username);
  if (problem === undefined) return;
  // Where a whole line or row is passed as the name by mistake, a password may follow the separator.
  const [shown] = username.split(/[:\p{Cc}]/u, 1);
  throw new PasswordFileError('ERR_INVALID_USERNAME', `The user name ${problem}`, {
    username: shown || undefined,
  });
}

/** Lookups take any string: a name in the file may break the rules for new names. */
export function checkedString(name: unknown): string {
  if (typeof name !== 'string') assertUsername(name);
  return name as string;
}

/**
 * Throws `ERR_INVALID_PASSWORD` unless a client could log in with this password: a string or bytes, not empty, no NUL
 * byte (the broker compares only up to it), no lone surrogates, at most 65,535 bytes. Unicode is not normalised.
 *
 * @param username the user whose password it is, for `username` of the error
 * @example
 * ```ts
 * import { assertPassword } from 'mosquitto-passwd-ts';
 *
 * try {
 *   assertPassword(process.env.MQTT_PASSWORD_THAT_NOBODY_SET);
 * } catch (error) {
 *   console.log((error as { code?: string }).code); // ERR_INVALID_PASSWORD
 * }
 * ```
 */
export function assertPassword(
  password: unknown,
  username?: string | undefined,
): asserts password is string | Uint8Array {
  const problem = passwordProblem(password);
  if (problem !== undefined) {
    throw new PasswordFileError('ERR_INVALID_PASSWORD', `The password ${problem}`, { username });
  }
}

function passwordProblem(password: unknown): string | undefined {
  if (typeof password !== 'string' && !isBytes(password)) {
    return `is ${typeName(password)}, not a string or Uint8Array. Is the variable that should hold it set?`;
  }
  if (typeof password === 'string' && !password.isWellFormed()) {
    return 'contains half of a surrogate pair, which has no UTF-8 form. Pass bytes, or a well-formed string.';
  }
  if (password.length === 0) return 'is empty. No client can log in with an empty password.';
  if (typeof password === 'string' ? password.includes('\0') : password.includes(0)) {
    return 'contains a NUL, and the broker compares only what stands before it. Remove it.';
  }
  if (Buffer.byteLength(password) > MAX_BYTES) {
    return `is longer than ${MAX_BYTES} bytes, which MQTT cannot carry. Use a shorter one.`;
  }
  return undefined;
}

/** Whether a value is a `Uint8Array`, even of another realm, but not a Proxy of one. */
export function isBytes(value: unknown): value is Uint8Array {
  if (!ArrayBuffer.isView(value)) return false;
  return value instanceof Uint8Array || Object.prototype.toString.call(value) === '[object Uint8Array]';
}

/**
 * A copy of bytes, because a caller may wipe or reuse them before they are hashed. Returns everything else as it is, also
 * detached bytes, which cannot be copied.
 */
export function ownCopy<T>(password: T): T | Uint8Array {
  const canBeUsed = isBytes(password) && password.length > 0 && password.length <= MAX_BYTES;
  return canBeUsed ? new Uint8Array(password) : password;
}

/** A user name and its password, checked; the password is an {@link ownCopy}. */
export function checkedLogin(
  username: unknown,
  password: unknown,
): [username: string, password: string | Uint8Array] {
  const own = ownCopy(password);
  assertUsername(username);
  assertPassword(own, username);
  return [username, own];
}

/** The part of a client's password that the broker compares; `undefined`: no client can log in with it. */
export function comparedPassword(password: unknown): string | Uint8Array | undefined {
  const own = ownCopy(password);
  if (typeof own !== 'string' && !isBytes(own)) assertPassword(own);
  if (typeof own === 'string' && !own.isWellFormed()) return undefined;
  if (own.length === 0 || Buffer.byteLength(own) > MAX_BYTES) return undefined;
  const nul = typeof own === 'string' ? own.indexOf('\0') : own.indexOf(0);
  const compared = nul < 0 ? own : own.slice(0, nul);
  return compared.length === 0 ? undefined : compared;
}

export function typeName(value: unknown): string {
  return value === null ? 'null' : typeof value;
}

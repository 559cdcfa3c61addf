import { randomInt } from 'node:crypto';
import { invalidArgument } from '../errors.js';
import { isString, readOptions, whole } from '../util/read-options.js';
import { assertPassword, assertUsername } from './rules.js';

/**
 * How {@link generateUsername} makes a user name.
 *
 * @example generateUsername({ prefix: 'sensor_', length: 12 });
 */
export interface UsernameOptions {
  /** What the name starts with. Default `'device_'`. */
  prefix?: string | undefined;
  /** How many random characters follow, 1 to 1024. Default 8. */
  length?: number | undefined;
  /** The characters to draw from, at least two different ones. Default `a`–`z` and `0`–`9`. */
  alphabet?: string | undefined;
}

/**
 * How {@link generatePassword} makes a password.
 *
 * @example generatePassword({ length: 40, alphabet: '0123456789abcdef' });
 */
export interface PasswordOptions {
  /** How many characters, up to 1024; at least 128 bits, which are 22 characters of the default alphabet. Default 32. */
  length?: number | undefined;
  /** The characters to draw from, at least two different ones. Default the 64 URL-safe ones of base64url. */
  alphabet?: string | undefined;
}

/**
 * How {@link generateCredentials} makes a user name and a password.
 *
 * @example generateCredentials({ username: { prefix: 'sensor_' }, password: { length: 48 } });
 */
export interface CredentialsOptions {
  /** How the user name is made. */
  username?: UsernameOptions | undefined;
  /** How the password is made. */
  password?: PasswordOptions | undefined;
}

/**
 * A user name and a password: what a device needs to log in.
 *
 * @example const { username, password }: Credentials = generateCredentials();
 */
export interface Credentials {
  username: string;
  password: string;
}

const NAME_ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';
/** base64url (RFC 4648 section 5). */
const PASSWORD_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const MIN_PASSWORD_BITS = 128;
const PASSWORD_CHECKS = { length: /* @__PURE__ */ whole(1, 1024), alphabet: checkAlphabet };
const USERNAME_CHECKS = { ...PASSWORD_CHECKS, prefix: isString };

/**
 * A user name and a password for a new device: `device_` with 8 random characters, and 192 random bits. Two names are
 * equal with a probability of 1 in 2.8 × 10^12; `PasswordFile.provision` also makes sure that the file has no such name.
 *
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT` for options out of range, `ERR_INVALID_USERNAME` or
 *   `ERR_INVALID_PASSWORD` for a prefix or alphabet with characters that a name or password cannot have
 * @example
 * ```ts
 * import { generateCredentials } from 'mosquitto-passwd-ts';
 *
 * const { username, password } = generateCredentials({ username: { prefix: 'sensor-' } });
 * console.log(username, password.length); // sensor-… 32
 * ```
 */
export function generateCredentials(options?: CredentialsOptions | undefined): Credentials {
  const checks = { username: USERNAME_CHECKS, password: PASSWORD_CHECKS };
  const { username, password } = readOptions<CredentialsOptions>(options, checks);
  return { username: generateUsername(username), password: generatePassword(password) };
}

/**
 * A random user name, `device_` and 8 characters of `a`–`z`, `0`–`9` by default.
 *
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT`, `ERR_INVALID_USERNAME`
 * @example
 * ```ts
 * import { generateUsername } from 'mosquitto-passwd-ts';
 *
 * console.log(generateUsername({ prefix: 'meter/', length: 12 }));
 * ```
 */
export function generateUsername(options?: UsernameOptions | undefined): string {
  const { prefix = 'device_', length = 8, alphabet = NAME_ALPHABET } = readOptions(options, USERNAME_CHECKS);
  const characters = [...alphabet];
  // Any character may be drawn for the last place, and for the first where there is no prefix. All are checked, so that
  // an alphabet fails each time or never.
  for (const character of characters) assertUsername(prefix + character);
  const username = prefix + draw(characters, length);
  assertUsername(username);
  return username;
}

/**
 * A random password, 32 URL-safe characters (192 bits) by default. One with less than 128 bits of entropy
 * (length × log2 of the alphabet's size) is refused: 101 iterations do not protect a guessable password.
 *
 * @throws PasswordFileError `ERR_INVALID_ARGUMENT`, `ERR_INVALID_PASSWORD`
 * @example
 * ```ts
 * import { generatePassword } from 'mosquitto-passwd-ts';
 *
 * console.log(generatePassword({ alphabet: '0123456789abcdef', length: 32 })); // 128 bits
 * ```
 */
export function generatePassword(options?: PasswordOptions | undefined): string {
  const { length = 32, alphabet = PASSWORD_ALPHABET } = readOptions(options, PASSWORD_CHECKS);
  assertPassword(alphabet);
  const characters = [...alphabet];
  const bits = Math.log2(characters.length);
  if (length * bits < MIN_PASSWORD_BITS) {
    const problem = `${length} characters of this alphabet are ${Math.floor(length * bits)} bits, fewer than ${MIN_PASSWORD_BITS}.`;
    throw invalidArgument(`${problem} Use at least ${Math.ceil(MIN_PASSWORD_BITS / bits)} characters.`);
  }
  return draw(characters, length);
}

function checkAlphabet(alphabet: unknown): string | undefined {
  const characters = typeof alphabet === 'string' ? [...alphabet] : [];
  return characters.length >= 2 && new Set(characters).size === characters.length
    ? undefined
    : 'a string of at least two characters, each standing in it once';
}

/** Draws random characters; `randomInt` has no modulo bias. */
function draw(characters: string[], length: number): string {
  return Array.from({ length }, () => characters[randomInt(characters.length)]).join('');
}

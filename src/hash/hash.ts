import * as crypto from 'node:crypto';
import { assertPassword, comparedPassword } from '../credentials/rules.js';
import { PasswordFileError } from '../errors.js';
import {
  type Argon2idHash,
  joinHash,
  KEY_BYTES,
  type KeyParams,
  MAX_ITERATIONS,
  type ParsedHash,
  parseHash,
} from './encoding.js';

/** How a new hash is made. */
export interface HashOptions {
  /** Default `'pbkdf2-sha512'`. `'sha512'` is for Mosquitto 1.x brokers only: it is one fast SHA-512. */
  algorithm?: 'pbkdf2-sha512' | 'sha512' | undefined;
  /** Iterations of PBKDF2, 1 to 2^31 − 1. Default 101, as Mosquitto 2.0 writes. */
  iterations?: number | undefined;
  /** 12 or 64 bytes, to reproduce a hash. Default: 12 random bytes, which every 2.x broker reads. */
  salt?: Uint8Array | undefined;
}

/**
 * Hashes a password into what stands behind the `:` in a password file, `$7$101$<salt>$<key>` by default, on the
 * thread pool. Mosquitto 2.0 and 2.1 both read the default (2.0.11 src/security_default.c, 2.1.2 common/password_mosq.c).
 *
 * @param password a string (hashed as UTF-8, not normalised) or bytes
 * @throws PasswordFileError `ERR_INVALID_PASSWORD`, `ERR_INVALID_ARGUMENT` (options), `ERR_UNSUPPORTED_HASH` (argon2id)
 * @example
 * ```ts
 * import { hashPassword } from 'mosquitto-passwd-ts';
 *
 * console.log(`alice:${await hashPassword('correct horse battery staple')}`);
 * ```
 */
export async function hashPassword(password: string | Uint8Array, options?: HashOptions): Promise<string> {
  assertPassword(password);
  const params = newKeyParams(options);
  return await new Promise((resolve, reject) =>
    deriveKey(password, params, (error, key) => (error ? reject(error) : resolve(joinHash(params, key)))),
  );
}

/**
 * {@link hashPassword}, computed on the calling thread.
 *
 * @throws PasswordFileError with the same codes
 * @example
 * ```ts
 * import { hashPasswordSync } from 'mosquitto-passwd-ts';
 *
 * console.log(hashPasswordSync('correct horse battery staple', { iterations: 1000 }));
 * ```
 */
export function hashPasswordSync(password: string | Uint8Array, options?: HashOptions): string {
  assertPassword(password);
  const params = newKeyParams(options);
  return joinHash(params, deriveKeySync(password, params));
}

/**
 * Whether a broker would let a client with this password in by this hash. It compares as the broker does: up to the
 * first NUL byte, and never an empty password. The comparison takes the same time wherever the keys differ.
 *
 * @throws PasswordFileError `ERR_INVALID_HASH` (malformed), `ERR_UNSUPPORTED_HASH` (argon2id before Node 24.7),
 *   `ERR_INVALID_PASSWORD` (neither string nor bytes)
 * @example
 * ```ts
 * import { hashPassword, verifyPassword } from 'mosquitto-passwd-ts';
 *
 * const hash = await hashPassword('secret');
 * console.log(await verifyPassword('secret', hash), await verifyPassword('Secret', hash)); // true false
 * ```
 */
export async function verifyPassword(password: string | Uint8Array, hash: string): Promise<boolean> {
  const parsed = parseHash(hash);
  return await new Promise((resolve, reject) =>
    verifyParsed(password, parsed, (error, verified) => (error ? reject(error) : resolve(verified))),
  );
}

/** {@link verifyPassword} for a hash that has been taken apart, by whatever rules; calls back as {@link deriveKey} does. */
export function verifyParsed(
  password: string | Uint8Array,
  hash: ParsedHash,
  done: (error: Error | null, verified: boolean) => void,
): void {
  const compared = comparedPassword(password);
  if (compared === undefined) done(null, false);
  else
    deriveKey(compared, hash, (error, key) => done(error, !error && crypto.timingSafeEqual(hash.key, key)));
}

/**
 * {@link verifyPassword}, computed on the calling thread.
 *
 * @throws PasswordFileError with the same codes
 * @example
 * ```ts
 * import { hashPasswordSync, verifyPasswordSync } from 'mosquitto-passwd-ts';
 *
 * console.log(verifyPasswordSync('secret', hashPasswordSync('secret'))); // true
 * ```
 */
export function verifyPasswordSync(password: string | Uint8Array, hash: string): boolean {
  const parsed = parseHash(hash);
  const compared = comparedPassword(password);
  return compared !== undefined && crypto.timingSafeEqual(parsed.key, deriveKeySync(compared, parsed));
}

type NewKeyParams = Exclude<KeyParams, { algorithm: 'argon2id' }>;

/** Checks the options and draws the salt. */
function newKeyParams(options: HashOptions = {}): NewKeyParams {
  const { algorithm = 'pbkdf2-sha512', iterations = 101, salt = newSalt(12) } = options;
  if (!(salt instanceof Uint8Array) || (salt.length !== 12 && salt.length !== 64)) {
    throw new PasswordFileError('ERR_INVALID_ARGUMENT', 'The salt must be a Uint8Array of 12 or 64 bytes.');
  }
  if (algorithm === 'sha512') return { algorithm, salt };
  if (algorithm === 'pbkdf2-sha512') {
    if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS) {
      throw new PasswordFileError(
        'ERR_INVALID_ARGUMENT',
        `The number of iterations must be a whole number from 1 to ${MAX_ITERATIONS}.`,
      );
    }
    return { algorithm, iterations, salt };
  }
  if (algorithm === 'argon2id') {
    throw new PasswordFileError(
      'ERR_UNSUPPORTED_HASH',
      'argon2id hashes are not made, because stock Mosquitto brokers cannot read them. Use pbkdf2-sha512.',
    );
  }
  throw new PasswordFileError('ERR_INVALID_ARGUMENT', "The algorithm must be 'pbkdf2-sha512' or 'sha512'.");
}

let randomness = new Uint8Array(0);
let drawn = 0;

/** Random bytes, drawn many at a time: one call of the generator for each salt takes a tenth of the time of the hash. */
export function newSalt(bytes: 12 | 64): Uint8Array {
  if (drawn + bytes > randomness.length) {
    randomness = crypto.randomBytes(4096);
    drawn = 0;
  }
  drawn += bytes;
  return randomness.subarray(drawn - bytes, drawn);
}

/** Calls back, on the spot where there is nothing to wait for: a promise of its own would cost the main thread time. */
function deriveKey(
  password: string | Uint8Array,
  params: KeyParams,
  done: (error: Error | null, key: Uint8Array) => void,
): void {
  if (params.algorithm === 'sha512') done(null, sha512(password, params.salt));
  else if (params.algorithm === 'argon2id')
    argon2().argon2('argon2id', argon2Options(password, params), done);
  else crypto.pbkdf2(password, params.salt, params.iterations, KEY_BYTES, 'sha512', done);
}

function deriveKeySync(password: string | Uint8Array, params: KeyParams): Uint8Array {
  if (params.algorithm === 'sha512') return sha512(password, params.salt);
  if (params.algorithm === 'argon2id')
    return argon2().argon2Sync('argon2id', argon2Options(password, params));
  return crypto.pbkdf2Sync(password, params.salt, params.iterations, KEY_BYTES, 'sha512');
}

function sha512(password: string | Uint8Array, salt: Uint8Array): Uint8Array {
  return crypto.createHash('sha512').update(password).update(salt).digest();
}

interface Argon2Options {
  message: string | Uint8Array;
  nonce: Uint8Array;
  memory: number;
  passes: number;
  parallelism: number;
  tagLength: number;
}

/** `crypto.argon2`, which @types/node for Node 20 cannot know. */
interface Argon2Crypto {
  argon2(
    algorithm: 'argon2id',
    options: Argon2Options,
    callback: (error: Error | null, key: Uint8Array) => void,
  ): void;
  argon2Sync(algorithm: 'argon2id', options: Argon2Options): Uint8Array;
}

function argon2(): Argon2Crypto {
  if ('argon2' in crypto && 'argon2Sync' in crypto) return crypto as unknown as Argon2Crypto;
  throw new PasswordFileError(
    'ERR_UNSUPPORTED_HASH',
    `Node ${process.versions.node} cannot compute argon2id; Node 24.7 and later can. ` +
      'Update Node, or give the user a new password (hashed with PBKDF2).',
  );
}

function argon2Options(message: string | Uint8Array, params: Omit<Argon2idHash, 'key'>): Argon2Options {
  const { memory, passes, parallelism, salt } = params;
  return { message, nonce: salt, memory, passes, parallelism, tagLength: KEY_BYTES };
}
